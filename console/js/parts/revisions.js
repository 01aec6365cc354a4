// Final numbers that changed: what they were, what they are, and why.
import { html, useState } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { setQuery } from '../router.js';
import { fileName, rangeParams } from '../series.js';
import { hour, moment } from '../time.js';
import { Decimal, subtract } from '../money.js';
import { count, exactMoney, moneyChange } from '../format.js';
import { Badge, Failure, Panel, Value } from './panel.js';
import { Table } from './table.js';
import { t } from '../texts.js';

const exactChange = cents => moneyChange(cents, exactMoney);
const REASONS = ['all', 'late', 'replay', 'rebuild', 'erasure'];

export function Revisions({ state, nameOf }) {
  const { org, zone, range, query } = state;
  const reason = REASONS.includes(query.reason) ? query.reason : 'all';
  const params = { ...rangeParams(range, zone), reason };
  const of = useData(`revisions ${org} ${zone} ${range.start} ${range.end} ${reason}`, ({ poll }) => get(ofOrg(org, 'revisions'), { poll, params }));
  return html`
    <${Panel} title=${t.revisions.title} note=${t.revisions.note} of=${of} zone=${zone}
      empty=${page => page.revisions.length === 0 && { title: t.revisions.none, hint: t.revisions.noneHint }}
      actions=${html`<label class="control"><span class="control-label">${t.revisions.reason}</span>
        <select value=${reason}
          onChange=${event => setQuery({ reason: event.target.value === 'all' ? undefined : event.target.value }, { replace: true })}>
        ${REASONS.map(one => html`<option value=${one}>${t.revisions.reasons[one]}</option>`)}</select></label>`}>
      ${page => html`<${Pages} key=${`${reason} ${range.start} ${range.end} ${of.at}`} first=${page}
        load=${cursor => get(ofOrg(org, 'revisions'), { params: { ...params, cursor } })} state=${state} nameOf=${nameOf} />`}
    <//>`;
}

function Pages({ first, load, state, nameOf }) {
  const { zone } = state;
  const [more, setMore] = useState([]);
  const [problem, setProblem] = useState();
  const pages = [first, ...more];
  const next = pages.at(-1).nextCursor;
  const older = () => {
    setProblem(undefined);
    load(next).then(page => setMore([...more, page]), setProblem);
  };
  const rows = pages.flatMap(page => page.revisions);
  // Seen as one column, and in files as two.
  const both = (key, text) => [
    {
      key,
      label: t.measures[key],
      right: true,
      screenOnly: true,
      value: row => subtract(row.after[key], row.before[key]),
      cell: row => html`<span class="before-after"><span class="quiet">${text(row.before[key])}</span><span aria-hidden="true"> → </span>
        <span class="off-screen"> ${t.revisions.became} </span>${text(row.after[key])}</span>`,
    },
    { key: `${key}Before`, fileOnly: true, file: `${key} before`, value: row => row.before[key] },
    { key: `${key}After`, fileOnly: true, file: `${key} after`, value: row => row.after[key] },
  ];
  const difference = Decimal.sum(rows.map(row => subtract(row.after.costEstimateCents, row.before.costEstimateCents)));
  const columns = [
    {
      key: 'revisedAt',
      time: true,
      label: t.revisions.when,
      value: row => row.revisedAt,
      cell: row => moment(row.revisedAt, zone),
    },
    {
      key: 'bucketStart',
      time: true,
      label: t.revisions.bucket,
      file: 'hour_utc',
      value: row => row.bucketStart,
      cell: row => hour(row.bucketStart, zone),
    },
    {
      key: 'modelId',
      label: t.by('modelId'),
      file: 'modelId',
      value: row => row.modelId,
      sort: row => nameOf(row.modelId) ?? row.modelId,
      cell: row => html`<${Value} id=${row.modelId} name=${nameOf(row.modelId)} />`,
    },
    { key: 'called', fileOnly: true, file: 'name', value: row => nameOf(row.modelId) },
    {
      key: 'reason',
      label: t.revisions.reason,
      value: row => row.reason,
      cell: row => html`<${Badge}>${t.revisions.reasons[row.reason] ?? row.reason}<//>`,
    },
    {
      key: 'difference',
      label: t.revisions.difference,
      right: true,
      foot: exactChange,
      value: row => subtract(row.after.costEstimateCents, row.before.costEstimateCents),
      cell: row => exactChange(subtract(row.after.costEstimateCents, row.before.costEstimateCents)),
    },
    ...both('costEstimateCents', exactMoney),
    ...both('invocations', count),
    ...both('inputTokens', count),
    ...both('outputTokens', count),
  ];
  return html`
    <${Table} columns=${columns} rows=${rows}
      foot=${[{ kind: 'total', cells: { revisedAt: t.revisions.all(count(rows.length), !!next), difference } }]} sort="-revisedAt"
        name=${fileName('revisions', state)} caption=${t.revisions.title} rowKey=${row => row.revisionId} first=12 />
    ${problem && html`<${Failure} problem=${problem} />`}
    ${next && html`<button type="button" class="plain" onClick=${older}>${t.more}</button>`}`;
}
