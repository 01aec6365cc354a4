// The audit log: who did what. Reading it is itself recorded, so the page loads it when it is opened and when it is filtered, never by itself.
import { html, useState } from '../view.js';
import { get, useData } from '../api.js';
import { setQuery } from '../router.js';
import { isUuid } from '../state.js';
import { moment } from '../time.js';
import { count } from '../format.js';
import { Badge, Choice, Pager, Panel, Value } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { t } from '../texts.js';

const OUTCOMES = ['all', 'allowed', 'denied', 'failed'];
const TONES = { allowed: '', denied: 'warn', failed: 'bad' };

export default function Audit({ state }) {
  const { zone, query } = state;
  const outcome = OUTCOMES.includes(query.outcome) ? query.outcome : 'all';
  const params = {
    outcome,
    action: query.action,
    subject: query.subject,
    orgId: isUuid(query.about) ? query.about : undefined,
    limit: 100,
    cursor: query.cursor,
  };
  const of = useData(`audit ${JSON.stringify(params)}`, () => get('/analytics/v1/audit', { params }));
  return html`
    <div class="toolbar no-print">
      <${Choice} label=${t.audit.outcome} value=${outcome} options=${OUTCOMES.map(one => [one, t.audit.outcomes[one]])}
        onChange=${one => setQuery({ outcome: one, cursor: undefined })} />
      <${Filters} key=${[query.action, query.subject, query.about].join()} query=${query} />
      <button type="button" class="small" onClick=${of.reload}>${t.reload}</button>
    </div>
    <${Panel} title=${t.audit.title} note=${t.audit.note} of=${of} zone=${zone}
      empty=${page => page.events.length === 0 && t.audit.none}>
      ${page => html`<${Events} events=${page.events} zone=${zone} /><${Pager} query=${query} next=${page.nextCursor} />`}
    <//>`;
}

function Filters({ query }) {
  const [form, setForm] = useState({ action: query.action ?? '', subject: query.subject ?? '', about: query.about ?? '' });
  const apply = event => {
    event.preventDefault();
    setQuery({
      ...Object.fromEntries(Object.entries(form).map(([key, value]) => [key, value.trim() || undefined])),
      cursor: undefined,
    });
  };
  const input = (key, text, example) => html`<label class="control"><span class="control-label">${text}</span>
    <input type="search" value=${form[key]} placeholder=${example}
      onInput=${event => setForm(was => ({ ...was, [key]: event.target.value }))} /></label>`;
  return html`<form class="inline-form" role="search" onSubmit=${apply}>
    ${input('action', t.audit.action, 'dead_letter.correct')}${input('subject', t.audit.subject, '')}${input('about', t.audit.org, t.orgId)}
    <button class="small">${t.letters.filter}</button></form>`;
}

function Events({ events, zone }) {
  const columns = [
    {
      key: 'occurredAt',
      time: true,
      label: t.audit.when,
      value: event => event.occurredAt,
      cell: event => moment(event.occurredAt, zone),
    },
    {
      key: 'subject',
      label: t.audit.subject,
      value: event => event.subject,
      cell: event =>
        html`<span title=${(event.roles ?? []).map(role => t.roles[role] ?? role).join(', ')}>
          <${Value} id=${event.subject} none=${t.audit.nobody} /></span>`,
    },
    { key: 'action', label: t.audit.action, value: event => event.action, cell: event => html`<code>${event.action}</code>` },
    {
      key: 'outcome',
      label: t.audit.outcome,
      value: event => event.outcome,
      cell: event => html`<${Badge} tone=${TONES[event.outcome]}>${t.audit.outcomes[event.outcome]}<//>`,
    },
    { key: 'orgId', label: t.audit.org, value: event => event.orgId, cell: event => html`<${Value} id=${event.orgId} none="–" />` },
    {
      key: 'target',
      label: t.audit.target,
      value: event => event.target,
      cell: event => html`<${Value} id=${event.target} none="–" />`,
    },
    { key: 'count', label: t.audit.count, right: true, value: event => event.count, cell: event => count(event.count) },
    { key: 'address', label: t.audit.address, value: event => event.address },
    {
      key: 'detail',
      label: t.audit.detail,
      wide: true,
      value: event => event.detail,
      cell: event => (event.detail ? html`<bdi>${event.detail}</bdi>` : '–'),
    },
  ];
  return html`<${Table} columns=${columns} rows=${events} sort="-occurredAt" name="audit" caption=${t.audit.title}
    rowKey=${event => event.id} />`;
}
