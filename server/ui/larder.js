// The page at /ui/: a small reader of the same interface that everybody uses (/openapi.yaml). All
// text that comes from there is put in as text, never as markup.

const PAGE_SIZE = 100;
const LOOK_EVERY_MS = 5000;
const LOOK_WHILE_PULLING_MS = 1000;
const USERS_SHOWN = 20;
const AT_ONCE = 4; // requests of one batch

const $ = (selector, root = document) => root.querySelector(selector);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- asking the node ---

class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The node answered ${status}`);
    this.status = status;
    this.code = problem.code;
    this.sandboxes = problem.sandboxes ?? [];
  }
}

async function ask(method, path, { query = {}, body } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  const headers = {};
  const token = sessionStorage.getItem('token');
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers['Content-Type'] = 'application/json';
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const isJson = /json/.test(answer.headers.get('Content-Type') ?? '');
  const data = isJson ? await answer.json() : null;
  if (answer.status === 401) $('#login').hidden = false;
  if (!answer.ok) throw new Problem(answer.status, data ?? {});
  return data;
}

const imagePath = (image) => `/images/${encodeURIComponent(image.reference)}`;
const platformOf = (image) => `${image.os}/${image.architecture}`;
const keyOf = (image) => `${image.reference} ${image.manifest_digest}`;

// Runs the jobs, a few at once; one that fails gives undefined.
async function inBatches(items, job) {
  const results = new Array(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await job(items[index]).catch(() => undefined);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

function tell(error) {
  $('#trouble').textContent = error ? error.message : '';
  $('#trouble').hidden = !error;
}

// For what a person asked for: what goes wrong is told.
const telling = (action) => async (event) => {
  event?.preventDefault();
  try {
    await action(event);
    tell(null);
  } catch (error) {
    tell(error);
  }
};

function confirmed(question) {
  const dialog = $('#question');
  $('p', dialog).textContent = question;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

// --- words and numbers ---

function bytes(count) {
  if (count === null || count === undefined) return '?';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit++;
  }
  return `${unit === 0 ? count : count.toFixed(count < 10 ? 1 : 0)} ${units[unit]}`;
}

function span(milliseconds) {
  const steps = [[86400000, 'd'], [3600000, 'h'], [60000, 'min'], [1000, 's']];
  const [size, unit] = steps.find(([size]) => milliseconds >= size) ?? [1, 'ms'];
  return `${Math.max(0, Math.floor(milliseconds / size))} ${unit}`;
}

function ago(time) {
  if (time === null) return '';
  const text = Date.now() - time < 1000 ? 'now' : `${span(Date.now() - time)} ago`;
  return element('time', { textContent: text, title: new Date(time).toLocaleString() });
}

const many = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

// --- images ---

const state = { images: [], nextPage: null, users: new Map(), details: new Map(), open: new Set() };

function filterQuery() {
  const form = $('#filter');
  const reference = form.reference.value.trim();
  return { reference, in_use: form.in_use.checked ? 'true' : undefined };
}

async function loadImages(pageToken) {
  // As many as are shown already: looking again takes nothing away.
  const limit = pageToken ? PAGE_SIZE : Math.min(1000, Math.max(PAGE_SIZE, state.images.length));
  const query = { ...filterQuery(), limit, page_token: pageToken };
  const page = await ask('GET', '/images', { query });
  state.images = pageToken ? [...state.images, ...page.images] : page.images;
  state.nextPage = page.next_page_token;
  renderImages();
  await loadUsers();
}

// Who uses an image is asked only of those that someone does use.
async function loadUsers() {
  const inUse = await ask('GET', '/images', { query: { in_use: 'true', limit: 1000 } });
  const used = new Set(inUse.images.map((image) => image.manifest_digest));
  const digests = [...new Set(state.images.map((image) => image.manifest_digest))];
  state.users = new Map();
  await inBatches(digests.filter((digest) => used.has(digest)), async (digest) => {
    const query = { manifest_digest: digest, limit: USERS_SHOWN };
    const [sandboxes, snapshots] = await Promise.all([
      ask('GET', '/sandboxes', { query }),
      ask('GET', '/snapshots', { query }),
    ]);
    const names = [
      ...sandboxes.sandboxes.map((sandbox) => `${sandbox.id} on ${sandbox.host}`),
      ...snapshots.snapshots.map((snapshot) => `snapshot ${snapshot.id}`),
    ];
    const isMore = sandboxes.next_page_token !== null || snapshots.next_page_token !== null;
    state.users.set(digest, { names, isMore });
  });
  renderImages();
}

function usersText(image) {
  const users = state.users.get(image.manifest_digest);
  return users ? `${users.names.length}${users.isMore ? '+' : ''}` : '';
}

function imageRow(image) {
  const key = keyOf(image);
  const open = element('button', {
    className: 'link', textContent: image.reference, ariaExpanded: String(state.open.has(key)),
    onclick: telling(() => toggle(image)),
  });
  return element('tr', {},
    element('td', { className: 'name' }, open),
    element('td', { textContent: platformOf(image) }),
    element('td', { className: 'number', textContent: image.layer_count }),
    element('td', { className: 'number', textContent: bytes(image.size_bytes) }),
    element('td', {}, ago(image.created_at)),
    element('td', {}, ago(image.last_used_at)),
    element('td', { textContent: usersText(image),
      title: state.users.get(image.manifest_digest)?.names.join('\n') ?? '' }));
}

async function toggle(image) {
  const key = keyOf(image);
  if (state.open.delete(key)) return renderImages();
  state.open.add(key);
  renderImages();
  await loadDetails();
  renderImages();
}

// Of all that are listed: only so is it known what an image shares with the others.
async function loadDetails() {
  const missing = state.images.filter((image) => !state.details.has(keyOf(image)));
  await inBatches(missing, async (image) => {
    const query = { platform: platformOf(image) };
    const detail = await ask('GET', `${imagePath(image)}/inspect`, { query })
      .catch(() => ask('GET', `${imagePath(image)}/inspect`));
    state.details.set(keyOf(image), detail);
  });
}

function sharersOf(diffId, image) {
  return state.images
    .filter((other) => keyOf(other) !== keyOf(image))
    .filter((other) => state.details.get(keyOf(other))?.layers.some((l) => l.diff_id === diffId))
    .map((other) => other.reference);
}

function layerRow(layer, image) {
  const sharers = [...new Set(sharersOf(layer.diff_id, image))];
  const shared = sharers.length === 0 ? 'no other' : many(sharers.length, 'other image');
  return element('tr', {},
    element('td', { className: 'number', textContent: layer.position }),
    element('td', {}, element('code', { textContent: layer.diff_id })),
    element('td', { className: 'number', textContent: bytes(layer.compressed_size_bytes) }),
    element('td', { className: 'number', textContent: bytes(layer.erofs_size_bytes) }),
    element('td', { textContent: shared, title: sharers.join('\n') }));
}

function layersTable(detail, image) {
  const head = ['#', 'Layer', 'Compressed', 'EROFS', 'Shared with'];
  return element('table', {},
    element('thead', {}, element('tr', {}, ...head.map((text, column) =>
      element('th', { scope: 'col', textContent: text,
        className: [0, 2, 3].includes(column) ? 'number' : '' })))),
    element('tbody', {}, ...detail.layers.map((layer) => layerRow(layer, image))));
}

function facts(detail, image) {
  const own = detail.layers.filter((layer) => sharersOf(layer.diff_id, image).length === 0);
  const total = detail.layers.reduce((sum, layer) => sum + layer.erofs_size_bytes, 0);
  const alone = own.reduce((sum, layer) => sum + layer.erofs_size_bytes, 0);
  const users = state.users.get(image.manifest_digest)?.names ?? [];
  const config = detail.config ?? {};
  const rows = [
    ['Manifest', image.manifest_digest],
    ['Command', [...(config.entrypoint ?? []), ...(config.cmd ?? [])].join(' ')],
    ['Users', users.join(', ') || 'none'],
    ['Layer files', `${bytes(total)}, of which ${bytes(total - alone)} shared with other images listed`],
    ['To attach', detail.files.vmdk.path],
  ];
  return element('dl', {}, ...rows.filter(([, value]) => value).flatMap(([name, value]) =>
    [element('dt', { textContent: name }), element('dd', { textContent: value })]));
}

function detailRow(image) {
  const detail = state.details.get(keyOf(image));
  const cell = element('td', { colSpan: 7 });
  if (!detail) cell.append('…');
  else cell.append(facts(detail, image), layersTable(detail, image), removeButton(image));
  return element('tr', { className: 'detail' }, cell);
}

function removeButton(image) {
  return element('button', {
    className: 'bad', textContent: 'Remove',
    onclick: telling(async () => {
      if (!(await confirmed(`Remove ${image.reference} for ${platformOf(image)}?`))) return;
      await removeImage(image);
      await loadImages();
    }),
  });
}

async function removeImage(image) {
  const query = { platform: platformOf(image) };
  try {
    await ask('DELETE', imagePath(image), { query });
  } catch (error) {
    if (error.code !== 'ImageInUse') throw error;
    const question = `${error.message}. Remove it all the same, from under its users?`;
    if (await confirmed(question))
      await ask('DELETE', imagePath(image), { query: { ...query, force: 'true' } });
  }
}

function renderImages() {
  const rows = state.images.flatMap((image) =>
    state.open.has(keyOf(image)) ? [imageRow(image), detailRow(image)] : [imageRow(image)]);
  $('#images tbody').replaceChildren(...rows);
  $('#images-none').hidden = state.images.length > 0;
  $('#images-more').hidden = state.nextPage === null;
  const total = state.images.reduce((sum, image) => sum + (image.size_bytes ?? 0), 0);
  const more = state.nextPage === null ? '' : ' and more';
  $('#images-sum').textContent =
    `${many(state.images.length, 'image')}${more}, ${bytes(total)} compressed`;
}

// --- pulls ---

const isOver = (pull) => ['done', 'failed', 'cancelled'].includes(pull.state);

function progressCell(pull) {
  const sum = (field) => pull.layers.reduce((total, layer) => total + layer[field], 0);
  const total = sum('total_bytes');
  const received = pull.layers.reduce((bytesSoFar, layer) => bytesSoFar +
    (['done', 'reused'].includes(layer.state) ? layer.total_bytes : layer.received_bytes), 0);
  if (pull.error) return element('td', { textContent: pull.error.detail });
  if (total === 0) return element('td', {});
  if (isOver(pull)) return element('td', { textContent: bytes(total) });
  return element('td', {},
    element('progress', { max: total, value: received, ariaLabel: 'Bytes received' }),
    ` ${bytes(received)} of ${bytes(total)}`);
}

function pullRow(pull) {
  const actions = element('td', {});
  if (!isOver(pull))
    actions.append(element('button', { textContent: 'Cancel',
      onclick: telling(() => ask('DELETE', `/pulls/${pull.id}`).then(loadPulls)) }));
  const end = pull.finished_at ?? Date.now();
  return element('tr', {},
    element('td', { className: 'name', textContent: pull.reference }),
    element('td', { textContent: pull.platform }),
    element('td', { className: `state-${pull.state}`, textContent: pull.state }),
    progressCell(pull),
    element('td', {}, ago(pull.created_at)),
    element('td', { className: 'number', textContent: pull.started_at ? span(end - pull.started_at) : '' }),
    actions);
}

let running = new Set();

async function loadPulls() {
  const { pulls } = await ask('GET', '/pulls', { query: { limit: 10 } });
  $('#pulls tbody').replaceChildren(...pulls.map(pullRow));
  $('#pulls-none').hidden = pulls.length > 0;
  const before = running;
  running = new Set(pulls.filter((pull) => !isOver(pull)).map((pull) => pull.id));
  const hasEnded = [...before].some((id) => !running.has(id));
  if (hasEnded) await loadImages();
}

// --- prune ---

const pruneBody = (dryRun) => ({
  dry_run: dryRun,
  unused_for_seconds: Math.floor(Number($('#prune').days.value) * 86400),
});

function showReport(report) {
  const verb = report.dry_run ? 'would go' : 'went';
  const what = [
    many(report.image_refs_removed, 'image'), many(report.manifests_removed, 'manifest'),
    many(report.layers_removed, 'layer'),
  ].join(', ');
  $('#prune-report').textContent = `${what} ${verb}: ${bytes(report.bytes_reclaimed)}.`;
  const isNothing = report.image_refs_removed + report.manifests_removed + report.layers_removed === 0;
  $('#prune').go.disabled = !report.dry_run || isNothing;
}

async function lookPrune() {
  showReport(await ask('POST', '/images:prune', { body: pruneBody(true) }));
}

async function prune() {
  if (!(await confirmed(`Remove what nobody uses? ${$('#prune-report').textContent}`))) return;
  showReport(await ask('POST', '/images:prune', { body: pruneBody(false) }));
  await loadImages();
}

// --- the whole ---

async function loadNode() {
  const [{ version }, ready] = await Promise.all([
    ask('GET', '/version'),
    fetch('/readyz').then((answer) => answer.json()),
  ]);
  const failing = Object.entries(ready.checks ?? {})
    .filter(([, check]) => check.status !== 'ready')
    .map(([name, check]) => `${name.replace('_', ' ')}: ${check.detail}`);
  $('#node').textContent =
    `${version} at ${location.host}, ${failing.length ? `not ready (${failing.join('; ')})` : 'ready'}`;
}

let looks = 0;
let nextLook;

function lookLater() {
  clearTimeout(nextLook);
  nextLook = setTimeout(look, running.size > 0 ? LOOK_WHILE_PULLING_MS : LOOK_EVERY_MS);
}

async function look() {
  if (!document.hidden) {
    try {
      await loadPulls();
      if (looks++ % 12 === 0) await Promise.all([loadNode(), loadImages()]);
      if ($('#trouble').dataset.fromLook) tell(null);
      delete $('#trouble').dataset.fromLook;
    } catch (error) {
      tell(error);
      $('#trouble').dataset.fromLook = 'yes';
      looks = 0;
    }
  }
  lookLater();
}

function start() {
  $('#filter').onsubmit = telling(() => loadImages());
  $('#filter').onchange = telling(() => loadImages());
  $('#images-more').onclick = telling(() => loadImages(state.nextPage));
  $('#pull').onsubmit = telling(async () => {
    const reference = $('#pull').reference.value.trim();
    await ask('POST', '/images:pull', { body: { reference } });
    $('#pull').reset();
    await loadPulls();
    lookLater();
    if (running.size === 0) await loadImages();
  });
  $('#prune').look.onclick = telling(lookPrune);
  $('#prune').days.oninput = () => { $('#prune').go.disabled = true; };
  $('#prune').onsubmit = telling(prune);
  $('#login').onsubmit = telling(async () => {
    sessionStorage.setItem('token', $('#login').token.value.trim());
    $('#login').hidden = true;
    await Promise.all([loadNode(), loadImages(), loadPulls()]);
  });
  look();
}

start();
