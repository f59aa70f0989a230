#!/usr/bin/env python3
"""junit_totals.py FILE: prints how many tests passed, failed and were left out."""

import sys
import xml.etree.ElementTree as ElementTree


def totals(path):
    passed = failed = left_out = 0
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        skipped = int(suite.get("skipped"))
        failed += bad
        left_out += skipped
        passed += int(suite.get("tests")) - bad - skipped
    return passed, failed, left_out


if __name__ == "__main__":
    print(*totals(sys.argv[1]))
