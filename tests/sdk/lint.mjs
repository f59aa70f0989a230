// node lint.mjs FILE: Redocly's recommended rules. (Its command line tool brings 140 packages
// more than its library, which openapi-typescript has anyway.)
import { formatProblems, getTotals, lint, loadConfig } from '@redocly/openapi-core';
import { fileURLToPath } from 'node:url';

const config = await loadConfig({
  configPath: fileURLToPath(new URL('redocly.yaml', import.meta.url)),
});
const problems = await lint({ ref: process.argv[2], config });
const totals = getTotals(problems);
formatProblems(problems, { format: 'codeframe', totals, version: '' });
process.exitCode = totals.errors + totals.warnings > 0 ? 1 : 0;
