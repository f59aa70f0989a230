// The seed's story, through what @hey-api/openapi-ts makes of openapi.yaml:
// node story-hey.js URL REFERENCE
import assert from 'node:assert/strict';
import { client } from './hey/client.gen.js';
import {
  followPull,
  getImage,
  getLayerFile,
  inspectImage,
  listImages,
  pruneImages,
  pullImage,
  putSandbox,
  releaseSandbox,
  removeImage,
} from './hey/index.js';

const [baseUrl, reference] = process.argv.slice(2);
assert(baseUrl && reference);
client.setConfig({ baseUrl });

// Bring it here, and follow the pull to its end.
const accepted = await pullImage({ body: { reference, policy: 'always', force: true } });
assert.equal(accepted.response.status, 202);
assert(accepted.data);
const { stream } = await followPull({ path: { id: accepted.data.id } });
let state: string = accepted.data.state;
for await (const pull of stream) {
  state = pull.state;
}
assert.equal(state, 'done');

// List: it is there, once, and pages end.
const listed = await listImages({ query: { reference, limit: 1 } });
assert.equal(listed.data?.images.length, 1);
assert.equal(listed.data.next_page_token, null);
const digest = listed.data.images[0]?.manifest_digest;
assert(digest);

// Get and inspect, by every spelling: with `/`, `:` and `@` in it.
const name = reference.slice(0, reference.lastIndexOf(':'));
for (const spelling of [reference, `${name}@${digest}`, `${reference}@${digest}`]) {
  const got = await getImage({ path: { reference: spelling } });
  assert.equal(got.data?.manifest_digest, digest, spelling);
  const inspected = await inspectImage({ path: { reference: spelling } });
  assert.equal(inspected.data?.handle.manifest_digest, digest, spelling);
  assert.equal(inspected.data.layers.length, inspected.data.handle.layer_count);
}

// A file of it, in part.
const detail = await inspectImage({ path: { reference }, throwOnError: true });
const layer = detail.data.layers[0];
assert(layer);
const part = await getLayerFile({
  path: { diff_id: layer.diff_id },
  headers: { Range: 'bytes=1024-1027' },
});
assert.equal(part.response.status, 206);
assert(part.data instanceof Blob);
const bytes = new Uint8Array(await part.data.arrayBuffer());
assert.deepEqual([...bytes], [0xe2, 0xe1, 0xf5, 0xe0]);

// Hold it.
const held = await putSandbox({
  path: { id: 'hey/1' },
  body: { host: 'h1', ttl_seconds: 600, rootfs: { type: 'oci', reference } },
});
assert.equal(held.response.status, 201);
assert.equal(held.data?.rootfs.type, 'oci');
assert.equal(held.data.image?.files.layers.length, detail.data.files.layers.length);

// Removing it is refused, and says who holds it.
const refused = await removeImage({ path: { reference } });
assert.equal(refused.response.status, 409);
assert.equal(refused.error?.code, 'ImageInUse');
assert.deepEqual(refused.error.sandboxes, ['hey/1']);

// Nor does a prune take it.
const dryRun = await pruneImages({ body: { dry_run: true, reference } });
assert.equal(dryRun.data?.image_refs_removed, 0);

// By force it goes.
const forced = await removeImage({ path: { reference }, query: { force: true } });
assert.equal(forced.response.status, 204);
const gone = await getImage({ path: { reference } });
assert.equal(gone.response.status, 404);
assert.equal(gone.error?.code, 'ImageNotFound');

// Released, pulled again, and pruned; with errors thrown this time.
await releaseSandbox({ path: { id: 'hey/1' }, throwOnError: true });
const again = await pullImage({
  headers: { Prefer: 'wait=60' },
  body: { reference },
  throwOnError: true,
});
assert.equal(again.data.state, 'done');
const pruned = await pruneImages({ body: { reference }, throwOnError: true });
assert.equal(pruned.data.image_refs_removed, 1);
assert(pruned.data.layers_removed > 0);
await assert.rejects(getImage({ path: { reference }, throwOnError: true }), {
  code: 'ImageNotFound',
});
console.log('the story ends well');
