// Two months of events of three organisations, with names and files: what the pictures of docs/console.md show.
// TOKEN=… node console/tests/two-months.mjs API ORG ORG ORG: the token has the roles producer, org_admin and finance for these, and the
// service has ingest.enabled. Its events are the same at each run of a day.
import { createHash } from 'node:crypto';

/** Names, and how large each is. */
const ORGS = [
  ['Acme Robotics', 1],
  ['Birch & Sons', 0.4],
  ['Cobalt Health', 0.2],
];
/** Name, share, hundredths of a cent for a thousand input and output tokens, median latency. */
const MODELS = [
  ['Large 3', 0.2, 300, 1500, 4200],
  ['Medium 3', 0.45, 80, 400, 1900],
  ['Small 3', 0.3, 15, 60, 700],
  ['Embed 2', 0.05, 2, 0, 120],
];
const CLIENTS = [['web-app', 44], ['mobile-app', 17], ['bot-7f31', 12, 'Support bot'], ['search', 8], ['notebooks', 4], ['batch-02', 4, 'Nightly batch'], ['code-review', 3], ['translate', 3], [null, 5]];
const ERRORS = [['error', 'upstream_500'], ['timeout', 'deadline_exceeded'], ['throttled', 'rate_limited']];
const DAYS = 61;
const DAY = 86_400_000;
/** Events of the largest organisation on a working day. */
const BUSY = 420;
const MOST = 500;

const [api, ...orgs] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.TOKEN}`, 'Content-Type': 'application/json' };
const send = async (method, path, body) => {
  const response = await fetch(`${api}/analytics/v1${path}`, { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
};

/** The same numbers at each run. */
let state = 7;
const random = () => {
  state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
  return state / 2_147_483_648;
};
const pick = (of, weight) => {
  let left = random() * of.reduce((sum, one) => sum + weight(one), 0);
  return of.find(one => (left -= weight(one)) < 0) ?? of[0];
};
const uuid = text => {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};
const modelId = name => uuid(`model ${name}`);

function event(org, n, at) {
  const [name, , input, output, median] = pick(MODELS, one => one[1]);
  const [inputTokens, outputTokens] = [Math.round(200 + random() ** 3 * 6000), output ? Math.round(20 + random() ** 2 * 900) : 0];
  const failed = random() < 0.013;
  const [status, errorCode] = failed ? ERRORS[Math.floor(random() * ERRORS.length)] : ['success', null];
  return {
    eventId: uuid(`event ${org} ${n}`),
    orgId: org,
    modelId: modelId(name),
    occurredAt: new Date(at).toISOString(),
    status,
    errorCode,
    latencyMs: Math.round(median * (0.5 + random() + (random() < 0.03 ? 3 * random() : 0))),
    inputTokens,
    outputTokens,
    costEstimateCents: (input * inputTokens + output * outputTokens) / 100_000,
    clientId: pick(CLIENTS, one => one[1])[0],
  };
}

const today = Math.floor(Date.now() / DAY) * DAY;
for (const [n, [name, size]] of ORGS.entries()) {
  const org = orgs[n];
  const events = [];
  for (let day = today - DAYS * DAY; day <= today; day += DAY) {
    const weekend = [0, 6].includes(new Date(day).getUTCDay());
    const count = Math.round(BUSY * size * (weekend ? 0.4 : 1) * (0.85 + 0.3 * random()) * (1 + (day - today) / DAY / 200));
    for (let n = 0; n < count; n += 1) {
      // Most of it by day.
      const at = day + ((random() + random() + random()) / 3) * DAY;
      if (at < Date.now() - 60_000) events.push(event(org, `${day} ${n}`, at));
    }
  }
  for (let from = 0; from < events.length; from += MOST) await send('POST', '/events', events.slice(from, from + MOST));
  const put = (dimension, id, value) => send('PUT', `/orgs/${org}/names/${dimension}/${encodeURIComponent(id)}`, { name: value });
  await put('orgId', org, name);
  for (const [model] of MODELS) await put('modelId', modelId(model), model);
  for (const [id, , called] of CLIENTS) if (called) await put('clientId', id, called);
  for (const [key, role] of [['gateway', 'producer'], ['dashboards', 'org_viewer']]) await send('POST', `/orgs/${org}/api-keys`, { name: key, role });
  console.log(name, events.length, 'events');
}
// Sums by client follow those by model.
await new Promise(done => setTimeout(done, 70_000));
const date = ms => new Date(ms).toISOString().slice(0, 10);
const month = new Date(today - 30 * DAY).toISOString().slice(0, 7);
for (const body of [
  { timeRange: { start: `${month}-01`, end: date(Date.parse(`${month}-28`) + 4 * DAY).slice(0, 8) + '01' }, granularity: 'daily' },
  { timeRange: { start: date(today - 7 * DAY), end: date(today) }, granularity: 'hourly' },
  { timeRange: { start: date(today - 28 * DAY), end: date(today) }, granularity: 'daily', groupBy: ['clientId', 'modelId'], names: true },
])
  await send('POST', `/orgs/${orgs[0]}/exports`, body);
