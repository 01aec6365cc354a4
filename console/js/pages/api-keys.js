// API keys: created and shown once, listed with their use, revoked with those that they created.
import { html, useState } from '../view.js';
import { useAct } from '../act.js';
import { get, ofOrg, post, useData } from '../api.js';
import { addDays, dateIn, moment, now } from '../time.js';
import { count } from '../format.js';
import { announce, Badge, CopyButton, Dialog, Failure, Pager, Panel } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { t } from '../texts.js';

const ROLES = ['org_viewer', 'finance', 'org_admin', 'producer'];
const TONES = { active: 'ok', expired: '', revoked: 'bad' };
const LIFETIMES = ['30', '90', '365', ''];

export default function ApiKeys({ state }) {
  const { org, zone, query } = state;
  const of = useData(`keys ${org} ${query.cursor}`, () =>
    get(ofOrg(org, 'api-keys'), { params: { limit: 100, cursor: query.cursor } }),
  );
  const [creating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState(null);
  return html`
    <${Panel} title=${t.keys.title} note=${t.keys.note} of=${of} zone=${zone}
      empty=${page => page.apiKeys.length === 0 && { title: t.keys.none, hint: t.keys.noneHint }}
      actions=${html`<button type="button" class="primary" onClick=${() => setCreating(true)}>${t.keys.create}</button>`}>
      ${page => html`<${KeyTable} keys=${page.apiKeys} zone=${zone} org=${org} onRevoke=${setRevoking} />
        <${Pager} query=${query} next=${page.nextCursor} />`}
    <//>
    ${
      creating &&
      html`<${Create} state=${state} onClose=${() => {
        setCreating(false);
        of.reload();
      }} />`
    }
    ${revoking && html`<${Revoke} state=${state} found=${revoking} onClose=${() => setRevoking(null)} onDone=${of.reload} />`}`;
}

function KeyTable({ keys, zone, org, onRevoke }) {
  const columns = [
    {
      key: 'name',
      label: t.keys.name,
      value: key => key.name,
      cell: key =>
        html`<span class="who"><bdi class="clip">${key.name}</bdi> <code class="quiet">${key.id.slice(0, 8)}</code></span>`,
    },
    { key: 'role', label: t.keys.role, value: key => key.role, cell: key => t.roles[key.role] ?? key.role },
    {
      key: 'state',
      label: t.keys.state,
      value: key => key.state,
      cell: key =>
        html`<${Badge} tone=${TONES[key.state]}>${t.keys.states[key.state]}<//>${key.revokedAt && html` ${moment(key.revokedAt, zone)} <span
          class="quiet"><bdi>${key.revokedBy}</bdi></span>`}`,
    },
    {
      key: 'createdAt',
      time: true,
      label: t.keys.created,
      value: key => key.createdAt,
      cell: key => html`${moment(key.createdAt, zone)} <span class="quiet"><bdi>${key.createdBy}</bdi></span>`,
    },
    {
      key: 'lastUsedAt',
      time: true,
      label: t.keys.used,
      value: key => key.lastUsedAt,
      cell: key => (key.lastUsedAt ? moment(key.lastUsedAt, zone) : t.keys.never),
    },
    {
      key: 'expiresAt',
      time: true,
      label: t.keys.expires,
      value: key => key.expiresAt,
      cell: key => (key.expiresAt ? moment(key.expiresAt, zone) : t.keys.never),
    },
    ...['id', 'createdBy', 'revokedAt', 'revokedBy'].map(key => ({ key, fileOnly: true, file: key, value: row => row[key] })),
    {
      key: 'revoke',
      label: html`<span class="off-screen">${t.keys.revoke}</span>`,
      unsorted: true,
      screenOnly: true,
      value: () => '',
      cell: key =>
        key.state === 'active'
          ? html`<button type="button" class="small danger" aria-label=${t.keys.revokeOf(key.name)}
            onClick=${() => onRevoke(key)}>${t.keys.revoke}</button>`
          : '',
    },
  ];
  return html`<${Table} columns=${columns} rows=${keys} sort="-createdAt" name=${`api-keys-${org.slice(0, 8)}`}
    caption=${t.keys.title} rowKey=${key => key.id} />`;
}

function Create({ state, onClose }) {
  const [form, setForm] = useState({ name: '', role: 'org_viewer', days: '90' });
  const { act, busy, problem } = useAct();
  const [made, setMade] = useState();
  const create = event => {
    event.preventDefault();
    act(async () => {
      const expiresAt = form.days && `${addDays(dateIn(now(), 'UTC'), Number(form.days))}T00:00:00Z`;
      setMade(
        await post(ofOrg(state.org, 'api-keys'), { name: form.name.trim(), role: form.role, ...(expiresAt && { expiresAt }) }),
      );
    });
  };
  if (made) {
    return html`<${Dialog} key="made" title=${t.keys.made} onClose=${onClose} wide stays>
      <p class="notice warn"><b>${t.keys.once}</b><span>${t.keys.onceHint}</span></p>
      <p class="secret"><code tabindex="0">${made.key}</code></p>
      <div class="buttons"><${CopyButton} text=${made.key} label=${t.keys.copy} className="primary" />
      <button type="button" onClick=${onClose}>${t.keys.kept}</button></div>
      <p class="quiet">${t.keys.use}</p><pre class="payload">X-API-Key: ak_…</pre><//>`;
  }
  return html`<${Dialog} title=${t.keys.create} onClose=${onClose}>
    <form onSubmit=${create}>
      <label class="field"><span>${t.keys.name}</span><input type="text" required maxlength="100" value=${form.name}
        placeholder=${t.keys.nameExample} onInput=${event => setForm(was => ({ ...was, name: event.target.value }))} /></label>
      <label class="field"><span>${t.keys.role}</span><select value=${form.role}
        onChange=${event => setForm(was => ({ ...was, role: event.target.value }))}>${ROLES.map(role => html`<option
          value=${role}>${t.roles[role]}</option>`)}</select></label>
      <p class="quiet">${t.roleHints[form.role]}</p>
      <label class="field"><span>${t.keys.lifetime}</span><select value=${form.days}
        onChange=${event => setForm(was => ({ ...was, days: event.target.value }))}>${LIFETIMES.map(days => html`<option
          value=${days}>${days ? t.keys.days(days) : t.keys.noEnd}</option>`)}</select></label>
      ${problem && html`<${Failure} problem=${problem} />`}
      <div class="buttons"><button class="primary" aria-disabled=${busy}>${t.keys.create}</button>
      <button type="button" onClick=${onClose}>${t.cancel}</button></div>
    </form><//>`;
}

function Revoke({ state, found, onClose, onDone }) {
  const [cascade, setCascade] = useState(false);
  const { act, busy, problem } = useAct();
  // How many keys that it created are still active.
  const [left, setLeft] = useState(0);
  const revoke = () =>
    act(async () => {
      const { descendants } = await post(`${ofOrg(state.org, 'api-keys', found.id, 'revoke')}${cascade ? '?cascade=true' : ''}`);
      announce(t.keys.revoked(found.name));
      onDone();
      const active = descendants.filter(key => key.state === 'active').length;
      if (active) setLeft(active);
      else onClose();
    });
  return html`<${Dialog} title=${t.keys.revokeOf(found.name)} onClose=${onClose}>
    ${
      left
        ? html`<p class="notice warn"><b>${t.keys.descendants(count(left))}</b></p><div class="buttons">
          <button type="button" onClick=${onClose}>${t.close}</button></div>`
        : html`
      <p>${t.keys.revokeHint}</p>
      <label class="check"><input type="checkbox" checked=${cascade}
        onChange=${event => setCascade(event.target.checked)} /> ${t.keys.cascade}</label>
      ${problem && html`<${Failure} problem=${problem} />`}
      <div class="buttons"><button type="button" class="primary danger" aria-disabled=${busy} onClick=${revoke}>${t.keys.revoke}</button>
      <button type="button" onClick=${onClose}>${t.cancel}</button></div>`
    }
  <//>`;
}
