// The supervision log of all processes: what failed and why, what was restarted and by which operator; a restart from here.
import { html, useState } from '../view.js';
import { get, useData } from '../api.js';
import { setQuery } from '../router.js';
import { hasRole } from '../state.js';
import { moment } from '../time.js';
import { count } from '../format.js';
import { Badge, Panel } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { Restart, restartColumn } from '../parts/restart.js';
import { t } from '../texts.js';

const EVERY = 5;
const TONES = {
  failed: 'bad',
  stalled: 'bad',
  parked: 'bad',
  escalated: 'bad',
  fenced: 'warn',
  gap: 'warn',
  unread: 'warn',
  skipped: 'warn',
  restarted: 'ok',
  started: 'ok',
  restart_requested: 'accent',
  drilled: 'accent',
  reset: 'accent',
};
const RESTARTABLE = ['failed', 'stalled', 'parked'];

export default function Supervision({ me, state }) {
  const { zone, query } = state;
  const [restarting, setRestarting] = useState(null);
  const params = { actor: query.actor, before: query.before, limit: 100 };
  const of = useData(`supervision ${JSON.stringify(params)}`, ({ poll }) => get('/ops/supervision', { poll, params }), {
    every: query.before ? 0 : EVERY,
  });
  const operator = hasRole(me, 'operator');
  return html`
    <div class="toolbar no-print"><${ActorFilter} key=${query.actor} value=${query.actor} />
      ${operator && query.actor && html`<button type="button" class="primary"
        onClick=${() => setRestarting(query.actor)}>${t.restart.title(query.actor)}</button>`}</div>
    <${Panel} title=${t.supervision.title} note=${t.supervision.note} of=${of} zone=${zone}
      empty=${page => page.events.length === 0 && t.supervision.none}>
      ${page => html`
        ${page.source === 'memory' && html`<p class="notice warn">${t.supervision.memory}</p>`}
        <${Log} events=${page.events} zone=${zone} onRestart=${operator ? setRestarting : undefined} />
        <p class="pager no-print">${query.before && html`<button type="button"
          onClick=${() => setQuery({ before: undefined })}>${t.newest}</button>`}
          ${page.next && html`<button type="button" onClick=${() => setQuery({ before: page.next })}>${t.older}</button>`}</p>`}
    <//>
    ${
      restarting &&
      html`<${Restart} state=${state} name=${restarting} onClose=${() => {
        setRestarting(null);
        of.reload();
      }} />`
    }`;
}

function ActorFilter({ value = '' }) {
  const [text, setText] = useState(value);
  const apply = event => {
    event.preventDefault();
    setQuery({ actor: text.trim() || undefined, before: undefined });
  };
  return html`<form class="inline-form" role="search" onSubmit=${apply}>
    <label class="control"><span class="control-label">${t.supervision.actor}</span>
    <input type="search" value=${text} placeholder="writer/0" onInput=${event => setText(event.target.value)} /></label>
    <button class="small">${t.letters.filter}</button></form>`;
}

function Log({ events, zone, onRestart }) {
  const columns = [
    {
      key: 'occurredAt',
      time: true,
      label: t.supervision.when,
      value: event => event.occurredAt,
      sort: event => event.eventId,
      cell: event => moment(event.occurredAt, zone),
    },
    {
      key: 'actor',
      label: t.supervision.actor,
      value: event => event.actor,
      cell: event =>
        html`<button type="button" class="link"
          onClick=${() => setQuery({ actor: event.actor, before: undefined })}>${event.actor}</button>`,
    },
    {
      key: 'what',
      label: t.supervision.what,
      value: event => event.what,
      cell: event => html`<${Badge} tone=${TONES[event.what] ?? ''}>${t.supervision.whats[event.what] ?? event.what}<//>`,
    },
    {
      key: 'cause',
      label: t.supervision.cause,
      wide: true,
      value: event => event.cause,
      cell: event =>
        html`<bdi>${event.cause ?? (event.byWhom ? '' : '–')}</bdi>${event.byWhom && html` <span
          class="quiet">${t.supervision.by} <bdi>${event.byWhom}</bdi></span>`}`,
    },
    {
      key: 'generation',
      label: t.restart.generation,
      right: true,
      value: event => event.generation,
      cell: event => count(event.generation),
    },
    { key: 'process', label: t.supervision.process, value: event => event.process },
    ...(onRestart ? [restartColumn(event => RESTARTABLE.includes(event.what) && event.actor, onRestart)] : []),
  ];
  return html`<${Table} columns=${columns} rows=${events} sort="-occurredAt" name="supervision" caption=${t.supervision.title}
    rowKey=${event => event.eventId} />`;
}
