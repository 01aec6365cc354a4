// Data life: which engine keeps the rollups, how long data is kept, what maintenance did last, how large it is.
import { html } from '../view.js';
import { get, useData } from '../api.js';
import { moment } from '../time.js';
import { bytes, count, seconds } from '../format.js';
import { Badge, Panel, Tile } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { t } from '../texts.js';

const EVERY = 60;
const TONES = { done: 'ok', failed: 'warn' };

export default function DataLife({ state }) {
  const { zone } = state;
  const of = useData('data-life', ({ poll }) => get('/ops/data-life', { poll }), { every: EVERY });
  if (!of.data) return html`<${Panel} title=${t.dataLife.runs} of=${of} />`;
  const size = data => data.tables.reduce((sum, table) => sum + table.bytes, 0);
  return html`
    <${Panel} className="bare" of=${of} zone=${zone} lines=4>${data => html`<div class="tiles">
      <${Tile} label=${t.dataLife.engine} value=${t.dataLife.engines[data.engine] ?? data.engine}
        hint=${t.dataLife.engineHints[data.engine]} />
      <${Tile} label=${t.dataLife.edition} value=${t.dataLife.editions[data.edition] ?? data.edition} hint=${t.dataLife.editionHint(data.timescaledb, data.postgresql)} />
      <${Tile} label=${t.dataLife.schema} value=${String(data.schemaVersion)}
        hint=${`${t.version} ${data.version}`} />
      <${Tile} label=${t.dataLife.size} value=${bytes(size(data))} hint=${t.dataLife.sizeHint} />
    </div>`}<//>
    <${Panel} title=${t.dataLife.runs} note=${t.dataLife.runsNote} of=${of} zone=${zone}
      empty=${data => data.runs.length === 0 && t.dataLife.noRuns}>
      ${data =>
        html`<${Table} rows=${data.runs} sort="kind" name="maintenance" caption=${t.dataLife.runs} rowKey=${run => run.kind}
          columns=${[
          { key: 'kind', label: t.dataLife.kind, value: run => t.dataLife.kinds[run.kind] ?? run.kind },
          {
            key: 'outcome',
            label: t.dataLife.outcome,
            value: run => run.outcome,
            cell: run =>
              html`<${Badge} tone=${TONES[run.outcome] ?? 'accent'}>${t.dataLife.outcomes[run.outcome] ?? t.dataLife.underway}<//>`,
          },
          {
            key: 'startedAt',
            time: true,
            label: t.dataLife.started,
            value: run => run.startedAt,
            cell: run => moment(run.startedAt, zone),
          },
          {
            key: 'lastDoneAt',
            time: true,
            label: t.dataLife.lastDone,
            value: run => run.lastDoneAt,
            cell: run => moment(run.lastDoneAt, zone),
          },
          {
            key: 'took',
            label: t.dataLife.took,
            right: true,
            value: run => (run.finishedAt ? (Date.parse(run.finishedAt) - Date.parse(run.startedAt)) / 1000 : null),
            cell: run => (run.finishedAt ? seconds((Date.parse(run.finishedAt) - Date.parse(run.startedAt)) / 1000) : '–'),
          },
          { key: 'detail', label: t.audit.detail, wide: true, value: run => run.detail },
        ]} />`}<//>
    <${Panel} title=${t.dataLife.retention} note=${t.dataLife.retentionNote} of=${of} zone=${zone}>
      ${data =>
        html`<${Table} rows=${data.retention} sort="table" name="retention" caption=${t.dataLife.retention}
          rowKey=${row => row.table} columns=${[
          { key: 'table', label: t.dataLife.what, value: row => row.table, cell: row => html`<code>${row.table}</code>` },
          {
            key: 'days',
            label: t.dataLife.days,
            right: true,
            value: row => row.days,
            cell: row => t.dataLife.forDays(count(row.days)),
          },
          { key: 'holds', label: t.dataLife.holds, wide: true, value: row => t.dataLife.holdsOf[row.table] },
        ]} />`}<//>
    <${Panel} title=${t.dataLife.tables} of=${of} zone=${zone}>
      ${data => html`<${Sizes} rows=${data.tables} />`}<//>
    <${Panel} title=${t.dataLife.sets} note=${t.dataLife.setsNote} of=${of} zone=${zone}
      empty=${data => data.attribution.length === 0 && t.dataLife.noSets}>
      ${data =>
        html`<${Table} rows=${data.attribution} name="attribution-sets" caption=${t.dataLife.sets} rowKey=${row => row.set}
          columns=${[
          {
            key: 'set',
            label: t.dataLife.set,
            value: row => row.set,
            cell: row => html`<code>${row.set.replaceAll(',', ', ')}</code>`,
          },
          {
            key: 'completeFrom',
            time: true,
            label: t.dataLife.completeFrom,
            value: row => row.completeFrom,
            cell: row => (Date.parse(row.completeFrom) > 0 ? moment(row.completeFrom, zone) : t.dataLife.fromTheBeginning),
          },
        ]} />`}<//>`;
}

function Sizes({ rows }) {
  return html`<${Table} rows=${rows} sort="-bytes" name="table-sizes" caption=${t.dataLife.tables} rowKey=${row => row.name} first=12
    columns=${[
    { key: 'name', label: t.dataLife.name, value: row => row.name, cell: row => html`<code>${row.name}</code>` },
    { key: 'bytes', label: t.dataLife.size, right: true, value: row => row.bytes, cell: row => bytes(row.bytes) },
    {
      key: 'rows',
      label: t.dataLife.rows,
      right: true,
      value: row => row.rows,
      cell: row => (row.rows == null ? t.dataLife.notCounted : count(row.rows)),
    },
  ]} />`;
}
