// The seed's story, through what openapi-typescript and openapi-fetch make of openapi.yaml:
// node story-fetch.js URL REFERENCE
import assert from 'node:assert/strict';
import createClient from 'openapi-fetch';
import type { components, paths } from './schema.js';

type Pull = components['schemas']['Pull'];

const [baseUrl, reference] = process.argv.slice(2);
assert(baseUrl && reference);
const client = createClient<paths>({ baseUrl });

async function pull(reference: string): Promise<Pull> {
  const { data, response } = await client.POST('/images:pull', {
    params: { header: { Prefer: 'wait=60' } },
    body: { reference },
  });
  assert.equal(response.status, 200);
  assert(data);
  return data;
}

// Bring it here.
const pulled = await pull(reference);
assert.equal(pulled.state, 'done');
assert(pulled.image);
assert.equal(pulled.image.reference, reference);

// List: it is there, once, and pages end.
const listed = await client.GET('/images', { params: { query: { reference, limit: 1 } } });
assert.equal(listed.data?.images.length, 1);
assert.equal(listed.data.next_page_token, null);
const globbed = await client.GET('/images', { params: { query: { reference: '*/sdk/*' } } });
assert(globbed.data?.images.some((image) => image.reference === reference));

// Get and inspect, by every spelling: with `/`, `:` and `@` in it.
const name = reference.slice(0, reference.lastIndexOf(':'));
const digest = pulled.image.manifest_digest;
assert(digest);
for (const spelling of [reference, `${name}@${digest}`, `${reference}@${digest}`]) {
  const path = { reference: spelling };
  const got = await client.GET('/images/{reference}', { params: { path } });
  assert.equal(got.data?.manifest_digest, digest, spelling);
  const inspected = await client.GET('/images/{reference}/inspect', { params: { path } });
  assert.equal(inspected.data?.handle.manifest_digest, digest, spelling);
  assert.equal(inspected.data.layers.length, inspected.data.handle.layer_count);
  assert(inspected.data.config?.env.every((variable) => variable.includes('=')));
}

// A file of it, in part.
const detail = await client.GET('/images/{reference}/inspect', { params: { path: { reference } } });
const layer = detail.data?.layers[0];
assert(layer);
const part = await client.GET('/layers/{diff_id}', {
  params: { path: { diff_id: layer.diff_id }, header: { Range: 'bytes=1024-1027' } },
  parseAs: 'arrayBuffer',
});
assert.equal(part.response.status, 206);
assert.deepEqual([...new Uint8Array(part.data ?? new ArrayBuffer(0))], [0xe2, 0xe1, 0xf5, 0xe0]);

// Hold it.
const held = await client.PUT('/sandboxes/{id}', {
  params: { path: { id: 'fetch/1' } },
  body: { host: 'h1', ttl_seconds: 600, rootfs: { type: 'oci', reference } },
});
assert.equal(held.response.status, 201);
assert.equal(held.data?.rootfs.type, 'oci');
assert.equal(held.data.image?.files.layers.length, detail.data?.files.layers.length);

// Removing it is refused, and says who holds it.
const path = { reference };
const refused = await client.DELETE('/images/{reference}', { params: { path } });
assert.equal(refused.response.status, 409);
assert.equal(refused.error?.code, 'ImageInUse');
assert.deepEqual(refused.error.sandboxes, ['fetch/1']);

// Nor does a prune take it.
const dryRun = await client.POST('/images:prune', { body: { dry_run: true, reference } });
assert.equal(dryRun.data?.image_refs_removed, 0);

// By force it goes.
const forced = await client.DELETE('/images/{reference}', {
  params: { path, query: { force: true } },
});
assert.equal(forced.response.status, 204);
const gone = await client.GET('/images/{reference}', { params: { path } });
assert.equal(gone.response.status, 404);
assert.equal(gone.error?.code, 'ImageNotFound');

// Released, pulled again, and pruned.
const released = await client.DELETE('/sandboxes/{id}', { params: { path: { id: 'fetch/1' } } });
assert.equal(released.response.status, 204);
await pull(reference);
const pruned = await client.POST('/images:prune', { body: { reference } });
assert.equal(pruned.data?.image_refs_removed, 1);
assert(pruned.data.layers_removed > 0);
assert.equal(pruned.data.dry_run, false);
console.log('the story ends well');
