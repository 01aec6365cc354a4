// Dashboards' queries at a constant rate, each about an organisation drawn at random, with a token of its own.
// k6 run -e API=… -e SECRET=… -e ORGS=250 -e QUESTION=hours -e RATE=200 -e SECONDS=30 read.js
// With COUNT in place of RATE and SECONDS: so many, one after the other. With END: of the time up to there.
import http from "k6/http";
import { check } from "k6";
import { viewer } from "./lib/credentials.js";

const { API, ORGS, QUESTION, RATE, SECONDS, COUNT, END } = __ENV;

const atARate = {
    executor: "constant-arrival-rate",
    rate: Number(RATE),
    timeUnit: "1s",
    duration: `${SECONDS}s`,
    preAllocatedVUs: 50,
    maxVUs: 200,
};
const oneByOne = { executor: "shared-iterations", vus: 1, iterations: Number(COUNT), maxDuration: "30m" };

export const options = {
    scenarios: { read: COUNT ? oneByOne : atARate },
    summaryTrendStats: ["med", "p(95)", "p(99)", "max"],
};

const HOUR = 3600 * 1000;
const now = END ? Date.parse(END) : Math.ceil(Date.now() / HOUR) * HOUR;
const since = (days) => `start=${new Date(now - days * 24 * HOUR).toISOString()}&end=${new Date(now).toISOString()}`;
const QUESTIONS = {
    "usage-hours": `usage?granularity=hour&${since(7)}`,
    "usage-days": `usage?granularity=day&${since(30)}`,
    "reliability-hours": `reliability?granularity=hour&${since(7)}`,
    "reliability-days": `reliability?granularity=day&${since(30)}`,
    "reliability-models": `reliability?granularity=day&groupBy=model&${since(7)}`,
    "reliability-codes": `reliability?granularity=day&groupBy=errorCode&${since(7)}`,
};

function id(n) {
    return `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
}

export default function () {
    const org = id(1 + Math.floor(Math.random() * Number(ORGS)));
    const params = { headers: { Authorization: `Bearer ${viewer(org)}`, "Accept-Encoding": "gzip" }, tags: { name: QUESTION } };
    const response = http.get(`${API}/orgs/${org}/${QUESTIONS[QUESTION]}`, params);
    check(response, { succeeded: (a) => a.status === 200 && a.json("series.0.invocations") > 0 });
}

// One line: the question, responses a second, milliseconds.
export function handleSummary({ metrics }) {
    const took = metrics.http_req_duration.values;
    const ms = ["med", "p(95)", "p(99)", "max"].map((name) => took[name].toFixed(1));
    const failed = metrics.checks.values.fails + (metrics.dropped_iterations ? metrics.dropped_iterations.values.count : 0);
    return { stdout: [metrics.http_reqs.values.rate.toFixed(0), ...ms, failed].join(" ") + "\n" };
}
