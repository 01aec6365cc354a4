// Reliability: what fails and how slow it is, when it was worst, and by model, client or error code.
import { html } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { setQuery } from '../router.js';
import { useCompleteness } from '../state.js';
import { beyondDays, fileName, highest, labels, openBuckets, places, rangeParams, spread } from '../series.js';
import { daysBetween, hour, longDay } from '../time.js';
import { count, latency, percent } from '../format.js';
import { Choice, noUsage, Panel, Tile } from '../parts/panel.js';
import { FigurePanel, timeColumn } from '../parts/chart.js';
import { Causes } from '../parts/causes.js';
import { t } from '../texts.js';

const EVERY = 30;
const MOST_HOURS_DAYS = 90;
/** Ranges that are shown by hour unless the address says otherwise: the worst hour is what is looked for. */
const FEW_DAYS = 31;
const PERCENTILES = ['p50', 'p95', 'p99'];

export default function Reliability({ state }) {
  const { org, zone, range, query } = state;
  const days = daysBetween(range.start, range.end);
  const granularity =
    (query.granularity ?? (days <= FEW_DAYS ? 'hour' : 'day')) === 'hour' && days <= MOST_HOURS_DAYS ? 'hour' : 'day';
  const percentile = PERCENTILES.includes(query.percentile) ? query.percentile : 'p95';
  const of = useData(
    `${org} ${zone} ${range.start} ${range.end} ${granularity} ${percentile}`,
    ({ poll }) =>
      get(ofOrg(org, 'reliability'), { poll, params: { ...rangeParams(range, zone), granularity, percentile } }),
    { every: state.polls ? EVERY : 0 },
  );
  useCompleteness(of.data);
  const empty = report => report.series.length === 0 && noUsage(state);
  const tooLong = days > MOST_HOURS_DAYS && t.usage.tooLongForHours(MOST_HOURS_DAYS);
  return html`
    <div class="toolbar no-print">
      <${Choice} label=${t.granularity.label} value=${granularity} options=${[
        ['day', t.granularity.day],
        ['hour', t.granularity.hour, tooLong],
      ]} onChange=${one => setQuery({ granularity: one })} />
      <${Choice} label=${t.reliability.percentile} value=${percentile} options=${PERCENTILES.map(one => [one, one])}
        onChange=${one => setQuery({ percentile: one })} />
    </div>
    <${Panel} className="bare" of=${of} zone=${zone} lines=4>${report => html`<${Tiles} report=${report} percentile=${percentile}
      granularity=${granularity} range=${range} zone=${zone} />`}<//>
    <${FigurePanel} title=${t.reliability.latency} note=${t.reliability.latencyNote} of=${of} zone=${zone} empty=${empty}
      fileName=${fileName('latency', state)}
      make=${report => latencyChart(report, state, granularity, percentile)} />
    <${FigurePanel} title=${t.reliability.errors} of=${of} zone=${zone} empty=${empty} fileName=${fileName('errors', state)}
      height=${200}
      make=${report => errorChart(report, state, granularity)} />
    <${Causes} state=${state} />`;
}

function Tiles({ report, percentile, granularity, range, zone }) {
  const { totals, highlight } = report;
  const worst = highlight?.worst;
  const when = worst && (granularity === 'hour' ? hour(worst.bucketStart, zone) : longDay(worst.bucketStart, zone));
  const equal = worst ? report.series.filter(point => point.latencyMs?.[percentile] === worst.latencyMs).length : 0;
  const by = totals.byStatus;
  const beyond = beyondDays(report, range, zone);
  return html`${beyond && html`<p class="notice">${beyond}</p>`}<div class="tiles">
    <${Tile} label=${t.reliability.errorRate} value=${percent(totals.errorRate)}
      hint=${t.reliability.errorsOf(count(totals.errors), count(totals.invocations))} tone="lead" />
    <${Tile} label=${t.reliability.statuses} value=${count(totals.errors)}
      hint=${t.reliability.byStatus(count(by.error), count(by.timeout), count(by.throttled))} />
    <${Tile} label=${t.reliability.ofRange(percentile)} value=${latency(totals.latencyMs?.[percentile])} hint=${PERCENTILES.filter(
      one => one !== percentile,
    )
      .map(one => `${one} ${latency(totals.latencyMs?.[one])}`)
      .join(' · ')} />
    <${Tile} label=${t.reliability.worst(percentile, granularity)} value=${latency(worst?.latencyMs)}
      hint=${when ? (equal > 1 ? `${when} · ${t.reliability.equal(count(equal))}` : when) : '–'} />
  </div>`;
}

function prepared(report, { range, zone }, granularity) {
  const at = places(range, granularity, zone, report.series);
  const row = spread(report.series, at);
  return { at, row, open: openBuckets(row), shown: labels(at.times, granularity, zone) };
}

function latencyChart(report, state, granularity, percentile) {
  const { at, row, open, shown } = prepared(report, state, granularity);
  const series = PERCENTILES.map((name, n) => ({
    name,
    colour: ['latency-1', 'latency-2', 'latency-3'][n],
    values: row.map(point => point?.latencyMs?.[name] ?? null),
  }));
  const chosen = series[PERCENTILES.indexOf(percentile)].values;
  const top = highest(chosen);
  return {
    spec: {
      kind: 'lines',
      buckets: at.times.length,
      series,
      open,
      yLabel: latency,
      ...shown,
      tip: (n, s) => latency(series[s].values[n]),
    },
    summary: t.reliability.latencySummary(
      percentile,
      latency(report.totals.latencyMs?.[percentile]),
      top < 0 ? '–' : shown.title(top),
      top < 0 ? '–' : latency(chosen[top]),
    ),
    table: () => reliabilityTable(row, at, state.zone, granularity),
  };
}

function errorChart(report, state, granularity) {
  const { at, row, open, shown } = prepared(report, state, granularity);
  const kinds = ['error', 'timeout', 'throttled'];
  const series = kinds.map((kind, n) => ({
    name: t.statuses[kind],
    colour: ['bad', 'warn', 'rest'][n],
    values: row.map(point => point?.byStatus[kind] ?? 0),
  }));
  const sums = row.map(point => point?.errors ?? 0);
  const top = highest(sums);
  return {
    spec: {
      kind: 'bars',
      buckets: at.times.length,
      series,
      open,
      yLabel: count,
      ...shown,
      tip: (n, s) => count(series[s].values[n]),
      totals: n =>
        row[n]
          ? `${t.reliability.errorsOf(count(row[n].errors), count(row[n].invocations))} · ${percent(row[n].errorRate)}`
          : t.chart.nothing,
    },
    summary: t.reliability.errorSummary(
      percent(report.totals.errorRate),
      top < 0 ? '–' : shown.title(top),
      top < 0 ? '0' : count(sums[top]),
    ),
    table: () => reliabilityTable(row, at, state.zone, granularity),
  };
}

function reliabilityTable(row, at, zone, granularity) {
  const column = (key, text, value) => ({
    key,
    label: t.columns[key] ?? key,
    right: true,
    value,
    cell: one => text(value(one)),
  });
  return {
    rows: row.map((point, n) => ({ time: at.times[n], point })).filter(one => one.point),
    rowKey: one => one.time,
    sort: 'time',
    columns: [
      timeColumn(one => one.time, granularity, zone),
      column('invocations', count, one => one.point.invocations),
      column('errors', count, one => one.point.errors),
      column('errorRate', percent, one => one.point.errorRate),
      ...['error', 'timeout', 'throttled'].map(kind => ({
        ...column(kind, count, one => one.point.byStatus[kind]),
        label: t.statuses[kind],
      })),
      ...PERCENTILES.map(one => column(one, latency, found => found.point.latencyMs?.[one])),
    ],
  };
}
