// What a profile says at its end, as text and as the head of the HTML page: the thresholds, those that do not hold first, and what was
// sent beside what the ledger has.

// Of a summary as k6 exports it (false: it holds), and of one as it hands it to handleSummary.
const exported = (metrics) => flatten(metrics, (threshold) => !threshold, (metric) => ({ rate: metric.value, ...metric }));
const handed = (metrics) => flatten(metrics, (threshold) => threshold.ok, (metric) => metric.values);

function flatten(metrics, holds, values) {
    return Object.entries(metrics).flatMap(([name, metric]) =>
        Object.entries(metric.thresholds || {}).map(([rule, threshold]) => {
            const value = values(metric)[rule.split(/[<>=]/)[0]];
            return { name, rule, holds: holds(threshold), found: value === undefined ? "-" : String(Math.round(value * 1000) / 1000) };
        }),
    );
}

function thresholds({ load, balance }) {
    const all = [...exported(load.metrics), ...handed(balance.metrics)];
    return all.sort((a, b) => Number(a.holds) - Number(b.holds) || a.name.localeCompare(b.name));
}

export function text(parts) {
    const rules = thresholds(parts);
    const broken = rules.filter((rule) => !rule.holds);
    const lines = [`${"what was sent, and what the ledger has".padEnd(44)} ${"sent".padStart(12)} ${"found".padStart(12)}`];
    for (const [name, sent, found] of parts.rows) lines.push(`${name.padEnd(44)} ${String(sent).padStart(12)} ${String(found).padStart(12)}`);
    lines.push("");
    for (const { name, rule, holds, found } of rules) lines.push(`${holds ? "holds " : "BROKEN"}  ${`${name} ${rule}`.padEnd(62)} ${found.padStart(12)}`);
    lines.push("", broken.length === 0 ? `all ${rules.length} thresholds hold` : `${broken.length} of ${rules.length} thresholds are broken`, "");
    return lines.join("\n");
}

const escape = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const row = (cells, kind) => `<tr>${cells.map((cell) => `<${kind}>${escape(cell)}</${kind}>`).join("")}</tr>`;
const table = (head, rows) => `<table><thead>${row(head, "th")}</thead><tbody>${rows.map((cells) => row(cells, "td")).join("")}</tbody></table>`;

export function page(parts) {
    const rules = thresholds(parts);
    const broken = rules.filter((rule) => !rule.holds).length;
    const [name, ...rest] = parts.title.split(": ");
    return `<style>
.profile { max-width: 1100px; margin: 2em auto; padding: 0 1em; font: 15px/1.5 system-ui, sans-serif; color: #222; }
.profile table { border-collapse: collapse; margin: 1em 0 2em; } .profile th, .profile td { padding: 3px 14px 3px 0; text-align: left; border-bottom: 1px solid #ddd; }
.profile td:nth-child(n+3) { text-align: right; font-variant-numeric: tabular-nums; } .profile .broken { color: #b00020; } .profile .holds { color: #1b6e3c; }
</style>
<section class="profile"><h1>${escape(name)}</h1><p>${escape(rest.join(": "))}</p>
<h2 class="${broken ? "broken" : "holds"}">${broken ? `${broken} of ${rules.length} thresholds are broken` : `All ${rules.length} thresholds hold`}</h2>
${table(["", "threshold", "found"], rules.map(({ name, rule, holds, found }) => [holds ? "holds" : "BROKEN", `${name} ${rule}`, found]))}
<h2>What was sent, and what the ledger has</h2>
${table(["", "sent", "found"], parts.rows)}
</section>
`;
}
