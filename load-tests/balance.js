// The end of a profile: when everything that was sent is counted, the ledger of each org must say exactly what was sent, and usage
// must have what the ledger calls stored. Reads the load's counters and the publisher's reports; writes the report's head.
import { sleep } from "k6";
import http from "k6/http";
import { Counter, Gauge } from "k6/metrics";
import { viewer } from "./lib/credentials.js";
import { id, orgs as orgsOf } from "./lib/events.js";
import { page, text } from "./lib/report.js";

const { API, OPS, RUN, INGEST, STARTED, OUT, ALONE, TITLE } = __ENV;
const [ENDED, ORGS, PLANNED, LIMIT_SETTLE_S, LIMIT_NOT_SENT] = ["ENDED", "ORGS", "PLANNED", "LIMIT_SETTLE_S", "LIMIT_NOT_SENT"].map((name) =>
    Number(__ENV[name]),
);
const PATIENCE_S = 300;
const DAY = 24 * 3600 * 1000;

const read = (name) => JSON.parse(open(`${OUT}/${name}.json`));
const load = read("load");
const reports = INGEST === "publish" ? [read("published-first"), read("published")] : [];

const posted = (kind) => load.metrics[`sent_${kind}`]?.count || 0;
const sum = (values) => values.reduce((total, value) => total + value, 0);
// Messages of which no org can be read are in no org's ledger, only in what the process counts.
const shares = reports.flatMap((report) => report.orgs);
const expected = {};
for (const kind of ["events", "late", "duplicates", "conflicts"]) expected[kind] = posted(kind) + sum(shares.map((org) => org[kind]));
// What breaks a rule is refused over HTTP, and rejected where it comes by the stream.
expected.invalid = sum(shares.map((org) => org.invalid));
expected.received = expected.events + expected.duplicates + expected.invalid;
const unreadable = sum(reports.map((report) => report.sent)) - sum(shares.map((org) => org.sent));

const orgs = [id(RUN, 2, 0)];
if (INGEST === "post") orgs.push(...orgsOf(RUN, ORGS));
else orgs.push(...new Set(shares.map((org) => org.orgId)));

// The ledger's name for each kind.
const KINDS = { received: "received", events: "stored", late: "late", duplicates: "duplicates", conflicts: "conflicts", invalid: "rejected" };
const ledger = {};
const thresholds = { compared: ["count==1"], settled_seconds: [`value<${LIMIT_SETTLE_S}`], orgs_that_differ: ["value==0"] };
for (const [kind, name] of Object.entries(KINDS)) {
    ledger[kind] = new Gauge(`ledger_${name}`);
    thresholds[`ledger_${name}`] = [`value==${expected[kind]}`];
}
const usage = new Gauge("usage_invocations");
thresholds.usage_invocations = [`value==${expected.events}`];
const service = new Gauge("service_received");
if (ALONE) thresholds.service_received = [`value==${expected.received + unreadable}`];
const notSent = new Gauge("publisher_not_sent");
if (INGEST === "publish") thresholds.publisher_not_sent = [`value<=${Math.floor(PLANNED * LIMIT_NOT_SENT)}`];
const uncertain = new Gauge("publisher_uncertain");
if (INGEST === "publish") thresholds.publisher_uncertain = ["value==0"];
// Gauges without a sample hold, so this counts that there was one of each.
const compared = new Counter("compared");
const settled = new Gauge("settled_seconds");
const differing = new Gauge("orgs_that_differ");

export const options = {
    scenarios: { balance: { executor: "per-vu-iterations", vus: 1, iterations: 1, maxDuration: `${PATIENCE_S + 60}s` } },
    thresholds,
};

// A response that is complete up to the end of the load.
function complete(org, query) {
    for (;;) {
        const response = http.get(`${API}/orgs/${org}/${query}`, { headers: { Authorization: `Bearer ${viewer(org)}` }, tags: { name: "balance" } });
        if (response.status === 200 && Date.parse(response.json("asOf")) >= ENDED) return response.json();
        if (Date.now() - ENDED > PATIENCE_S * 1000) throw new Error(`not complete after ${PATIENCE_S} s: ${response.status} ${response.body}`);
        sleep(response.status === 200 ? 0.2 : 1);
    }
}

const utc = (ms) => new Date(ms).toISOString();

export default function () {
    complete(orgs[0], `ledger?start=${STARTED}`);
    settled.add((Date.now() - ENDED) / 1000);
    const found = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, 0]));
    const days = `start=${utc(Date.parse(STARTED) - 2 * DAY)}&end=${utc(Date.now() + DAY)}`;
    let [invocations, different] = [0, 0];
    for (const org of orgs) {
        const { totals } = complete(org, `ledger?start=${STARTED}`);
        for (const [kind, name] of Object.entries(KINDS)) found[kind] += totals[name];
        const counted = complete(org, `usage?granularity=hour&${days}`).totals.invocations;
        invocations += counted;
        const own = shares.filter((share) => share.orgId === org);
        const differs = (kind) => own.length > 0 && sum(own.map((share) => share[kind])) !== totals[KINDS[kind]];
        if (!totals.balanced || counted !== totals.stored || Object.keys(KINDS).some((kind) => kind !== "received" && differs(kind))) different += 1;
    }
    for (const kind of Object.keys(KINDS)) ledger[kind].add(found[kind]);
    usage.add(invocations);
    differing.add(different);
    if (INGEST === "publish") {
        const [, main] = reports;
        notSent.add(Math.max(0, PLANNED - main.sent));
        uncertain.add(sum(reports.map((report) => report.resent + report.unconfirmed)));
    }
    if (ALONE) {
        const lines = http.get(`${OPS}/metrics`, { tags: { name: "metrics" } }).body.matchAll(/^analytics_events_total\{[^}]*outcome="received"[^}]*\} (\S+)$/gm);
        service.add(sum([...lines].map((line) => Number(line[1]))));
    }
    compared.add(1);
}

export function handleSummary(data) {
    const rows = Object.entries(KINDS).map(([kind, name]) => [name, expected[kind], data.metrics[`ledger_${name}`]?.values.value]);
    rows.push(["usage, invocations", expected.events, data.metrics.usage_invocations?.values.value]);
    if (ALONE) rows.push(["by the process, without a readable org too", expected.received + unreadable, data.metrics.service_received?.values.value]);
    const parts = { title: TITLE, load, balance: data, rows };
    return { stdout: text(parts), [`${OUT}/head.html`]: page(parts) };
}
