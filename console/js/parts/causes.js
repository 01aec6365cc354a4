// What fails, by model, client or error code: a row for each, with its worst hour.
import { html } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { setQuery } from '../router.js';
import { fileName, highest, rangeParams } from '../series.js';
import { addDays, daysBetween, hour, longDay, rangeLabel } from '../time.js';
import { count, latency, percent } from '../format.js';
import { Choice, Panel, Value } from './panel.js';
import { Table } from './table.js';
import { t } from '../texts.js';

const KINDS = ['model', 'client', 'errorCode'];
const FIELD = { model: 'modelId', client: 'clientId', errorCode: 'errorCode' };
/** Those read raw events. */
const MOST_DAYS = 7;

export function Causes({ state }) {
  const { org, zone, query } = state;
  const by = KINDS.includes(query.by) ? query.by : 'model';
  const short = by !== 'model' && daysBetween(state.range.start, state.range.end) > MOST_DAYS;
  const range = short ? { start: addDays(state.range.end, -MOST_DAYS), end: state.range.end } : state.range;
  const granularity = daysBetween(range.start, range.end) <= MOST_DAYS ? 'hour' : 'day';
  const of = useData(`causes ${org} ${zone} ${range.start} ${range.end} ${by}`, () =>
    get(ofOrg(org, 'reliability'), { params: { ...rangeParams(range, zone), granularity, groupBy: by } }),
  );
  return html`
    <${Panel} title=${t.causes.title} note=${short ? t.causes.shortened(rangeLabel(range)) : null} of=${of} zone=${zone}
      empty=${report => report.series.length === 0 && t.usage.empty}
      actions=${html`<${Choice} label=${t.causes.by} value=${by} options=${KINDS.map(kind => [kind, t.by(FIELD[kind])])}
        onChange=${kind => setQuery({ by: kind, sort: undefined }, { replace: true })} />`}>
      ${report => html`<${CauseTable} rows=${byValue(report, FIELD[by])} field=${FIELD[by]} granularity=${granularity} zone=${zone}
        name=${fileName(`reliability-by-${by}`, { org, range })} />`}
    <//>`;
}

/** Counts add up; percentiles do not: of these the worst bucket is shown. */
export function byValue(report, field) {
  const rows = new Map();
  for (const point of report.series) {
    const id = point[field] ?? null;
    const names = report.names?.[field] ?? {};
    const name = Object.hasOwn(names, id) ? names[id] : undefined;
    if (!rows.has(id)) rows.set(id, { id, name, invocations: 0, errors: 0, points: [] });
    const row = rows.get(id);
    row.invocations += point.invocations;
    row.errors += point.errors;
    row.points.push({ at: point.bucketStart, errors: point.errors, p95: point.latencyMs?.p95 });
  }
  const most = (points, key) => points[highest(points.map(point => point[key]))];
  return [...rows.values()].map(row => ({ ...row, worst: most(row.points, 'p95'), failed: most(row.points, 'errors') }));
}

function CauseTable({ rows, field, granularity, zone, name }) {
  const when = at => (granularity === 'hour' ? hour(at, zone) : longDay(at, zone));
  const columns = [
    {
      key: 'name',
      label: t.by(field),
      file: field,
      value: row => row.id,
      sort: row => row.name ?? row.id,
      cell: row => html`<${Value} id=${row.id} name=${row.name} none=${t.none(field)} />`,
    },
    {
      key: 'invocations',
      label: t.measures.invocations,
      right: true,
      value: row => row.invocations,
      cell: row => count(row.invocations),
    },
    { key: 'errors', label: t.columns.errors, right: true, value: row => row.errors, cell: row => count(row.errors) },
    {
      key: 'rate',
      label: t.columns.errorRate,
      right: true,
      value: row => (row.invocations ? row.errors / row.invocations : null),
      cell: row => percent(row.invocations ? row.errors / row.invocations : null),
    },
    {
      key: 'most',
      time: true,
      label: t.causes.most(granularity),
      value: row => row.failed?.at,
      sort: row => row.failed?.errors,
      cell: row => (row.failed ? t.causes.at(count(row.failed.errors), when(row.failed.at)) : '–'),
    },
    {
      key: 'p95',
      label: t.causes.worst(granularity),
      right: true,
      value: row => row.worst?.p95,
      cell: row => (row.worst ? html`${latency(row.worst.p95)} <span class="quiet">${when(row.worst.at)}</span>` : '–'),
    },
  ];
  return html`<${Table} columns=${columns} rows=${rows} sort="-errors" param="sort" name=${name} caption=${t.causes.title}
    rowKey=${row => row.id} />`;
}
