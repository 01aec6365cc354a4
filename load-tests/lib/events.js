// Events as producers send them, with exact counts: of 1,000 about 20 are sent before (two of these with other content), 10 are late
// and 5 break a rule. About 380 bytes each.
export const MODELS = 40;
const RESENT_IN = 50;
const CHANGED_IN = 10;
const LATE_IN = 100;
// One batch in ten has events that break a rule: most requests have none.
const BROKEN_BATCH_IN = 10;
const BROKEN_IN = 20;
const REMEMBERED = 500;
const HOUR = 3600 * 1000;

const hex = (n, digits) => n.toString(16).padStart(digits, "0");

// An id of this run, which nobody else has. RUN: twelve hexadecimal digits.
export function id(run, kind, n) {
    return `${run.slice(0, 8)}-${run.slice(8)}-4000-${hex(0x8000 + kind, 4)}-${hex(n, 12)}`;
}

export function orgs(run, count) {
    return Array.from({ length: count }, (_, n) => id(run, 0, n));
}

function render(event, input) {
    return (
        `{"eventId":"${event.id}","orgId":"${event.org}","modelId":"${id("00000000000a", 1, event.model)}",` +
        `"occurredAt":"${event.at}","status":"${event.draw < 0.02 ? "error" : "success"}","latencyMs":${event.latency},` +
        `"inputTokens":${input},"outputTokens":${1 + event.model * 7},"costEstimateCents":${(event.draw * 3).toFixed(4)},` +
        `"clientId":"client-${event.model % 9}","errorCode":${event.draw < 0.02 ? '"upstream_error"' : "null"},` +
        `"metadata":{"region":"eu-west-1"}}`
    );
}

// What breaks a rule, one after the other.
const BREAKS = [
    (body) => body.replace(/"latencyMs":\d+/, '"latencyMs":-1'),
    (body) => body.replace(/"status":"\w+"/, '"status":"ok"'),
    (body) => body.replace(/"modelId":"[^"]+",/, ""),
];

// One virtual user's events. `number` makes its ids its own.
export class Producer {
    constructor(run, number) {
        Object.assign(this, { run, number, made: 0, sent: [] });
    }

    // A body of so many events of some orgs, the first ones drawn most often, and what is in it.
    batch(size, orgs, iteration) {
        const counts = { events: 0, late: 0, duplicates: 0, conflicts: 0, invalid: 0 };
        const earlier = this.sent;
        const originals = [];
        const bodies = [];
        const now = Date.now();
        const at = new Date(now).toISOString();
        for (let n = 0; n < size; n++) {
            const number = this.made++;
            if (earlier.length > 0 && number % RESENT_IN === 0) {
                const event = earlier[number % earlier.length];
                const changed = number % (RESENT_IN * CHANGED_IN) === 0;
                counts.duplicates += 1;
                counts.conflicts += changed ? 1 : 0;
                bodies.push(render(event, changed ? event.input + 1 : event.input));
                continue;
            }
            const draw = Math.random();
            const event = {
                id: id(this.run, 0x1000 + this.number, number),
                org: orgs[Math.floor(orgs.length * draw * draw)],
                model: Math.floor(MODELS * Math.random() * Math.random()),
                at,
                draw,
                latency: 50 + Math.floor(5000 * draw * draw),
                input: 8 + Math.floor(4000 * draw),
            };
            if (iteration % BROKEN_BATCH_IN === 1 && n % BROKEN_IN === 0) {
                counts.invalid += 1;
                bodies.push(BREAKS[counts.invalid % BREAKS.length](render(event, event.input)));
                continue;
            }
            if (number % LATE_IN === 1) {
                event.at = new Date(now - (2 + 18 * draw) * HOUR).toISOString();
                counts.late += 1;
            }
            counts.events += 1;
            originals.push(event);
            bodies.push(render(event, event.input));
        }
        return { body: `[${bodies.join(",")}]`, counts, originals };
    }

    // What the service has accepted may be sent again.
    accepted({ originals }) {
        this.sent = this.sent.concat(originals).slice(-REMEMBERED);
    }
}
