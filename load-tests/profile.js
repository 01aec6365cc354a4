// The load of a profile: producers by HTTP (INGEST=post), dashboards, exports, and a probe that waits for its own event to be
// counted, all at the same time. load-tests/run starts it and publishes by the stream beside it (INGEST=publish).
import { check, sleep } from "k6";
import crypto from "k6/crypto";
import { SharedArray } from "k6/data";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { token, viewer } from "./lib/credentials.js";
import { Producer, id, orgs as orgsOf } from "./lib/events.js";

const { API, OPS, RUN, INGEST, ORGS_FILE } = __ENV;
const [RATE, BATCH, DURATION, READS, EXPORT_EVERY, ORGS] = ["RATE", "BATCH", "DURATION", "READS", "EXPORT_EVERY", "ORGS"].map((name) =>
    Number(__ENV[name]),
);
const { LIMIT_READ_P95_MS, LIMIT_READ_P99_MS, LIMIT_POST_P95_MS, LIMIT_LAG_S, LIMIT_COUNTED_P95_S, LIMIT_EXPORT_P95_S, LIMIT_MIB, LIMIT_FAILED, LIMIT_DROPPED } = __ENV;
const PRODUCERS = 10;
const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;
const PATIENCE_S = 60;

// What was sent and confirmed, exactly. load-tests/balance.js holds the ledger against it.
const sent = {};
for (const kind of ["events", "late", "duplicates", "conflicts", "invalid", "unknown"]) sent[kind] = new Counter(`sent_${kind}`);
const lag = new Trend("lag_seconds");
const counted = new Trend("sent_to_counted_seconds");
const exported = new Trend("export_seconds");
const resident = new Trend("service_resident_mib");

const READING = [
    ["usage-hours", (org) => `/orgs/${org}/usage?granularity=hour&${last(7)}`],
    ["usage-days", (org) => `/orgs/${org}/usage?granularity=day&groupBy=model&${last(30)}`],
    ["reliability-hours", (org) => `/orgs/${org}/reliability?granularity=hour&${last(1)}`],
    ["reliability-days", (org) => `/orgs/${org}/reliability?granularity=day&percentile=p95&${last(30)}`],
    ["freshness", (org) => `/orgs/${org}/freshness`],
];

// Where events come from the stream, their orgs are those of the publisher's first report.
const orgs = new SharedArray("orgs", () =>
    INGEST === "post" ? orgsOf(RUN, ORGS) : JSON.parse(open(ORGS_FILE)).orgs.map((org) => org.orgId),
);

// So many a time unit, whatever the service does: what cannot be started in time is a dropped iteration, which is so when responses
// take longer than three seconds.
function atRate(name, rate, seconds) {
    const vus = Math.min(100, 2 + Math.ceil((3 * rate) / seconds));
    return { executor: "constant-arrival-rate", exec: name, rate, timeUnit: `${seconds}s`, duration: `${DURATION}s`, preAllocatedVUs: vus, maxVUs: vus };
}
const oneByOne = (name) => ({ executor: "constant-vus", exec: name, vus: 1, duration: `${DURATION}s`, gracefulStop: `${PATIENCE_S + 5}s` });

const scenarios = {
    dashboards: atRate("dashboards", READS, 1),
    exports: atRate("exportFile", 1, EXPORT_EVERY),
    probe: oneByOne("probe"),
};
// A threshold of a metric without any sample holds, so each has a counter beside it that must not be zero.
const thresholds = {
    checks: [`rate>=${1 - LIMIT_FAILED}`],
    http_req_failed: [`rate<=${LIMIT_FAILED}`],
    dropped_iterations: [`count<=${LIMIT_DROPPED}`],
    sent_unknown: ["count==0"],
    sent_events: ["count>0"],
    lag_seconds: [`p(95)<${LIMIT_LAG_S}`],
    sent_to_counted_seconds: [`p(95)<${LIMIT_COUNTED_P95_S}`],
    export_seconds: [`p(95)<${LIMIT_EXPORT_P95_S}`],
    "http_reqs{name:export}": ["count>0"],
};
for (const [name] of READING) {
    thresholds[`http_req_duration{name:${name}}`] = [`p(95)<${LIMIT_READ_P95_MS}`, `p(99)<${LIMIT_READ_P99_MS}`];
    thresholds[`http_reqs{name:${name}}`] = ["count>0"];
}
if (INGEST === "post") {
    scenarios.ingest = atRate("ingest", RATE, BATCH);
    thresholds["http_req_duration{name:post-events}"] = [`p(95)<${LIMIT_POST_P95_MS}`];
    thresholds["http_reqs{name:post-events}"] = ["count>0"];
}
if (OPS) {
    scenarios.watch = oneByOne("watch");
    thresholds.service_resident_mib = [`max<${LIMIT_MIB}`];
    thresholds["http_reqs{name:metrics}"] = ["count>0"];
}
export const options = { scenarios, thresholds, summaryTrendStats: ["med", "p(95)", "p(99)", "max"] };

const utc = (ms) => new Date(ms).toISOString();
function last(days) {
    const end = Math.ceil(Date.now() / HOUR) * HOUR;
    return `start=${utc(end - days * DAY)}&end=${utc(end)}`;
}

function request(name, bearer, more) {
    return { headers: { Authorization: `Bearer ${bearer}`, "Content-Type": "application/json", "Accept-Encoding": "gzip" }, tags: { name }, ...more };
}

// Each virtual user reports the first responses that are not as they should be.
let reported = 0;
function verify(response, rule, holds) {
    const good = check(response, { [rule]: holds });
    if (!good && reported++ < 2) console.error(`not so: ${rule}: ${response.status} ${String(response.body).slice(0, 300)} ${response.error}`);
    return good;
}

// Sends a body of events and counts what became of it; false where that is not known.
function post(name, bearer, body, counts) {
    const response = http.post(`${API}/events`, body, request(name, bearer));
    const { events, duplicates, invalid } = counts;
    const rule = "events are accepted, and refused exactly where they break a rule";
    const known = verify(response, rule, (r) => r.status === 202 && r.json("accepted") === events + duplicates && r.json("rejected") === invalid);
    if (!known) sent.unknown.add(events + duplicates);
    for (const [kind, count] of Object.entries(known ? counts : {})) sent[kind].add(count);
    return known;
}

// One of ten producers, each with a tenth of the orgs.
const producer = new Producer(RUN, __VU);
const number = __VU % PRODUCERS;
let own;

export function ingest() {
    own = own || orgs.filter((_, n) => n % PRODUCERS === number);
    const batch = producer.batch(BATCH, own, exec.vu.iterationInScenario);
    const known = post("post-events", token(`load-producer-${number}`, ["producer"], own), batch.body, batch.counts);
    if (known) producer.accepted(batch);
}

export function dashboards() {
    const [name, path] = READING[exec.scenario.iterationInTest % READING.length];
    const org = orgs[Math.floor(orgs.length * Math.random() * Math.random())];
    const response = http.get(API + path(org), request(name, viewer(org)));
    const answered = verify(response, "queries are answered", (r) => r.status === 200);
    if (name === "freshness" && answered) {
        const known = response.json("entries").filter((entry) => entry.lagSeconds !== null);
        if (known.length > 0) lag.add(Math.max(...known.map((entry) => entry.lagSeconds)));
    }
}

// A file of the full hours of a day: late events are in it.
export function exportFile() {
    const org = orgs[Math.floor(orgs.length * Math.random() * Math.random())];
    const admin = token(`load-admin-${org}`, ["org_admin"], [org]);
    const end = Math.floor(Date.now() / HOUR) * HOUR;
    const began = Date.now();
    const timeRange = { start: utc(end - DAY), end: utc(end) };
    const requested = http.post(`${API}/orgs/${org}/exports`, JSON.stringify({ timeRange, granularity: "hourly" }), request("export", admin));
    if (!verify(requested, "exports are accepted", (r) => r.status === 202)) return;
    const path = `${API}/orgs/${org}/exports/${requested.json("jobId")}`;
    let job = requested;
    while (["pending", "running"].includes(job.json("status")) && Date.now() - began < PATIENCE_S * 1000) {
        sleep(0.25);
        job = http.get(path, request("export-status", admin));
    }
    if (!verify(job, "exports succeed", (r) => r.status === 200 && r.json("status") === "succeeded")) return;
    const file = http.get(`${path}/download`, request("download", admin, { responseType: "binary" }));
    verify(file, "files are what the job says", (r) => r.status === 200 && crypto.sha256(r.body, "hex") === job.json("checksum"));
    exported.add((Date.now() - began) / 1000);
}

// One event a second of an org of its own, and how long it takes until usage has it.
let published = 0;
export function probe() {
    const org = id(RUN, 2, 0);
    const now = Date.now();
    const event = {
        eventId: id(RUN, 3, published), orgId: org, modelId: id(RUN, 1, 0), occurredAt: utc(now), status: "success",
        latencyMs: 10, inputTokens: 1, outputTokens: 1, costEstimateCents: 0.01,
    };
    const counts = { events: 1, late: 0, duplicates: 0, conflicts: 0, invalid: 0 };
    if (post("post-one", token("load-probe", ["producer"], [org]), JSON.stringify(event), counts)) {
        published += 1;
        let invocations = 0;
        while (invocations < published && Date.now() - now < PATIENCE_S * 1000) {
            sleep(0.05);
            const response = http.get(`${API}/orgs/${org}/usage?granularity=day&${last(2)}`, request("probe", viewer(org)));
            invocations = response.status === 200 ? response.json("totals.invocations") : 0;
        }
        check(invocations, { "a single event is counted": (n) => n === published });
        counted.add((Date.now() - now) / 1000);
    }
    sleep(Math.max(0, 1 - (Date.now() - now) / 1000));
}

export function watch() {
    const response = http.get(`${OPS}/metrics`, { tags: { name: "metrics" } });
    const bytes = Number((response.body || "").match(/^process_resident_memory_bytes (\S+)$/m)?.[1]);
    if (check(bytes, { "memory is known": (n) => n > 0 })) resident.add(bytes / 2 ** 20);
    sleep(5);
}
