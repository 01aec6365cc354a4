// Actors: what runs in this process, and a restart that shows that nothing was lost.
import { html, useState } from '../view.js';
import { get, useData } from '../api.js';
import { moment, now } from '../time.js';
import { count, seconds } from '../format.js';
import { hasRole, pageAddress } from '../state.js';
import { Badge, Panel, Tile } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { ACTOR_TONES, flat } from '../parts/tree.js';
import { Restart, restartColumn } from '../parts/restart.js';
import { t } from '../texts.js';

const EVERY = 5;

export default function Actors({ me, state }) {
  const { zone } = state;
  const [restarting, setRestarting] = useState(null);
  const of = useData('actors', ({ poll }) => get('/ops/actors', { poll }), { every: EVERY });
  const servers = useData('readiness', ({ poll }) => get('/readyz', { poll }), { every: EVERY });
  const operator = hasRole(me, 'operator');
  return html`
    <${Panel} className="bare" of=${of} zone=${zone} lines=4>${({ actors }) => html`<${Tiles} rows=${flat(actors)} servers=${servers} />`}<//>
    <${Panel} title=${t.actors.title} note=${t.actors.note} of=${of} zone=${zone}>
      ${({ actors }) => html`<${Tree} rows=${flat(actors)} zone=${zone} state=${state}
        onRestart=${operator ? setRestarting : undefined} />`}
    <//>
    ${
      restarting &&
      html`<${Restart} state=${state} name=${restarting} onClose=${() => {
        setRestarting(null);
        of.reload();
      }} />`
    }`;
}

const SERVERS = ['database', 'broker', 'cache', 'objects'];

function Tiles({ rows, servers }) {
  const of = state => rows.filter(row => row.state === state).length;
  const bad = rows.length - of('running');
  const lags = rows.map(row => row.lagSeconds).filter(lag => lag != null);
  const found = (servers.data?.components ?? []).filter(({ name }) => SERVERS.includes(name));
  const away = found.filter(({ state }) => state !== 'up').map(({ name }) => name);
  const unknown = servers.problem || found.length === 0;
  return html`<div class="tiles">
    <${Tile} label=${t.actors.servers} value=${unknown ? '–' : `${found.length - away.length} / ${found.length}`}
      hint=${unknown ? t.actors.serversUnknown : away.length ? t.actors.serversAway(away) : t.actors.serversUp(found.map(({ name }) => name))}
      tone=${away.length ? 'bad' : ''} />
    <${Tile} label=${t.actors.running} value=${`${of('running')} / ${rows.length}`}
      hint=${bad ? t.actors.notRunning(count(bad)) : t.actors.allRunning} tone=${bad ? 'warn' : 'fresh'} />
    <${Tile} label=${t.actors.parked} value=${count(of('parked'))} hint=${of('parked') ? t.actors.parkedHint : t.actors.noneParked}
      tone=${of('parked') ? 'bad' : ''} />
    <${Tile} label=${t.actors.restarts} value=${count(rows.reduce((sum, row) => sum + (row.depth === 0 ? row.restarts : 0), 0))}
      hint=${t.actors.restartsHint} />
    <${Tile} label=${t.actors.lag} value=${lags.length ? seconds(Math.max(...lags)) : '–'} hint=${t.actors.lagHint} />
  </div>`;
}

function Tree({ rows, zone, state, onRestart }) {
  const columns = [
    {
      key: 'name',
      label: t.actors.name,
      unsorted: true,
      value: row => row.name,
      cell: row =>
        html`<span class="tree" data-depth=${row.depth}><a
          href=${pageAddress(state, 'supervision', { actor: row.name })}>${row.name}</a></span>`,
    },
    {
      key: 'state',
      label: t.actors.state,
      unsorted: true,
      value: row => row.state,
      cell: row => html`<${Badge} tone=${ACTOR_TONES[row.state]}>${t.actors.states[row.state] ?? row.state}<//>`,
    },
    {
      key: 'restarts',
      label: t.actors.restarts,
      unsorted: true,
      right: true,
      value: row => row.restarts,
      cell: row => count(row.restarts),
    },
    {
      key: 'inFlight',
      label: t.actors.inFlight,
      unsorted: true,
      right: true,
      value: row => row.inFlight,
      cell: row => count(row.inFlight),
    },
    {
      key: 'lastProgressAt',
      label: t.actors.progress,
      unsorted: true,
      right: true,
      value: row => row.lastProgressAt,
      cell: row =>
        row.lastProgressAt
          ? html`<span title=${moment(row.lastProgressAt, zone)}>${t.ago(seconds(Math.max(0, (now() - Date.parse(row.lastProgressAt)) / 1000)))}</span>`
          : '–',
    },
    { key: 'offset', label: t.ops.offset, unsorted: true, right: true, value: row => row.offset, cell: row => count(row.offset) },
    {
      key: 'lagSeconds',
      label: t.ops.lag,
      unsorted: true,
      right: true,
      value: row => row.lagSeconds,
      cell: row => seconds(row.lagSeconds),
    },
    {
      key: 'cause',
      label: t.actors.cause,
      unsorted: true,
      wide: true,
      value: row => row.cause,
      cell: row =>
        row.cause
          ? html`<bdi>${row.cause}</bdi>${row.nextAttemptAt && html` <span
            class="quiet">${t.actors.next(moment(row.nextAttemptAt, zone))}</span>`}`
          : '–',
    },
    ...(onRestart ? [restartColumn(row => row.name, onRestart)] : []),
  ];
  return html`<${Table} columns=${columns} rows=${rows} name="actors" caption=${t.actors.title} rowKey=${row => row.name} />`;
}
