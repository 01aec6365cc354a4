// Partitions: which process holds each, how far it is, and whether its ledger balances.
import { html } from '../view.js';
import { get, useData } from '../api.js';
import { moment } from '../time.js';
import { count, seconds } from '../format.js';
import { pageAddress } from '../state.js';
import { Badge, BalanceBadge, Panel } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { ACTOR_TONES, balances } from '../parts/tree.js';
import { t } from '../texts.js';

const EVERY = 5;
const LEDGER = ['received', 'stored', 'duplicates', 'rejected'];

export default function Partitions({ state }) {
  const { zone } = state;
  const of = useData('partitions', ({ poll }) => get('/ops/partitions', { poll }), { every: EVERY });
  return html`<${Panel} title=${t.partitions.title}
    note=${t.partitions.note(of.data?.partitions.find(one => one.ledger?.since)?.ledger.since, zone)} of=${of} zone=${zone}
      empty=${({ partitions }) => partitions.length === 0 && t.partitions.none}>
    ${({ partitions }) => html`<${Table} columns=${columns(zone, state, partitions.some(one => one.ledger))} rows=${partitions} sort="partition"
      name="partitions" caption=${t.partitions.title} rowKey=${one => one.partition} />`}
  <//>`;
}

/** @param counted whether the ledger's sums are known: the database responds */
const columns = (zone, state, counted) => [
  {
    key: 'partition',
    label: t.ops.partition,
    value: one => one.partition,
    cell: one =>
      html`<a href=${pageAddress(state, 'supervision', { actor: `partition/${one.partition}` })}>${one.partition}</a> <span
        class="quiet">${one.stream}</span>`,
  },
  {
    key: 'ownerName',
    label: t.partitions.owner,
    value: one => one.ownerName,
    cell: one =>
      html`<bdi>${one.ownerName ?? t.partitions.nobody}</bdi> ${!one.leased && html`<${Badge}
        tone="warn">${t.partitions.expired}<//>`}`,
  },
  {
    key: 'state',
    label: t.actors.state,
    value: one => one.state,
    cell: one =>
      html`${one.state ? html`<${Badge} tone=${ACTOR_TONES[one.state]}>${t.actors.states[one.state] ?? one.state}<//>` : html`<span
        class="quiet">${t.partitions.elsewhere}</span>`}`,
  },
  { key: 'lagSeconds', label: t.ops.lag, right: true, value: one => one.lagSeconds, cell: one => seconds(one.lagSeconds) },
  {
    key: 'watermark',
    time: true,
    label: t.partitions.watermark,
    value: one => one.watermark,
    cell: one => moment(one.watermark, zone),
  },
  ...(counted
    ? [
        {
          key: 'balanced',
          label: t.ledger.balance,
          value: one => one.ledger && String(balances(one.ledger)),
          cell: one =>
            one.ledger
              ? html`<${BalanceBadge} holds=${balances(one.ledger)} />`
              : '–',
        },
      ]
    : []),
  { key: 'nextOffset', label: t.restart.nextOffset, right: true, value: one => one.nextOffset, cell: one => count(one.nextOffset) },
  ...(counted
    ? LEDGER.map(key => ({
        key,
        label: t.ledger[key],
        right: true,
        value: one => one.ledger?.[key],
        cell: one => count(one.ledger?.[key]),
      }))
    : []),
  { key: 'epoch', label: t.partitions.epoch, right: true, value: one => one.epoch, cell: one => count(one.epoch) },
  { key: 'cause', label: t.actors.cause, wide: true, value: one => one.cause, cell: one => html`<bdi>${one.cause ?? '–'}</bdi>` },
];
