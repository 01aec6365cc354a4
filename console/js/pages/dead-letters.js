// Dead letters: what was rejected and why; a message, its rules, and the correction that takes its place.
import { html, useState } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { setQuery } from '../router.js';
import { isUuid, pageAddress } from '../state.js';
import { moment } from '../time.js';
import { bytes } from '../format.js';
import { Badge, Choice, Panel } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { Letter } from '../parts/letter.js';
import { t } from '../texts.js';

const STATES = ['open', 'corrected', 'replayed', 'all'];
export const TONES = { open: 'warn', corrected: 'accent', replayed: 'ok' };
const EVERY = 15;

export default function DeadLetters({ me, state, place }) {
  const id = place.path.split('/')[1];
  return isUuid(id) ? html`<${Letter} key=${id} me=${me} state=${state} id=${id} />` : html`<${List} state=${state} />`;
}

function List({ state }) {
  const { org, zone, query } = state;
  const chosen = STATES.includes(query.state) ? query.state : 'open';
  const params = { state: chosen, reason: query.reason, limit: 100, cursor: query.cursor };
  const of = useData(`letters ${org} ${JSON.stringify(params)}`, ({ poll }) => get(ofOrg(org, 'dead-letters'), { poll, params }), { every: state.polls ? EVERY : 0 });
  return html`
    <div class="toolbar no-print">
      <${Choice} label=${t.letters.state} value=${chosen} options=${STATES.map(one => [one, t.letters.states[one]])} onChange=${one => setQuery({ state: one, cursor: undefined })} />
      <${ReasonFilter} value=${query.reason} />
    </div>
    <${Panel} title=${t.letters.title} note=${t.letters.note} of=${of} zone=${zone}
      empty=${page => page.deadLetters.length === 0 && (chosen === 'open' && !query.reason ? { title: t.letters.none, hint: t.letters.noneHint } : t.letters.noneFound)}>
      ${page => html`<${LetterTable} letters=${page.deadLetters} state=${state} href=${id => pageAddress(state, `dead-letters/${id}`)} />
        <${Pager} query=${query} next=${page.nextCursor} />`}
    <//>`;
}

function ReasonFilter({ value = '' }) {
  const [text, setText] = useState(value);
  const apply = event => {
    event.preventDefault();
    setQuery({ reason: text.trim() || undefined, cursor: undefined });
  };
  return html`<form class="inline-form" role="search" onSubmit=${apply}>
    <label class="control"><span class="control-label">${t.letters.reasonHas}</span><input type="search" value=${text} placeholder="latencyMs:" onInput=${event => setText(event.target.value)} /></label>
    <button class="small">${t.letters.filter}</button></form>`;
}

export function LetterTable({ letters, state, href }) {
  const { zone } = state;
  const columns = [
    { key: 'rejectedAt', time: true, label: t.letters.rejected, value: letter => letter.rejectedAt, cell: letter => html`<a href=${href(letter.id)}>${moment(letter.rejectedAt, zone)}</a>` },
    { key: 'reasons', label: t.letters.reasons, wide: true, value: letter => letter.reasons.join('; '), cell: letter => html`<${Reasons} of=${letter.reasons} />` },
    { key: 'state', label: t.letters.state, value: letter => letter.state, cell: letter => html`<${Badge} tone=${TONES[letter.state]}>${t.letters.states[letter.state]}<//>` },
    { key: 'correctedBy', label: t.letters.correctedBy, value: letter => letter.correctedBy, cell: letter => (letter.correctedBy ? html`<bdi>${letter.correctedBy}</bdi>` : '–') },
    { key: 'payloadBytes', label: t.letters.size, right: true, value: letter => letter.payloadBytes, cell: letter => bytes(letter.payloadBytes) },
    { key: 'go', label: html`<span class="off-screen">${t.letters.open}</span>`, unsorted: true, screenOnly: true, value: () => '',
      cell: letter => html`<a href=${href(letter.id)}>${letter.state === 'open' && letter.orgId ? t.letters.correct : t.letters.open}</a>` },
  ];
  return html`<${Table} columns=${columns} rows=${letters} sort="-rejectedAt" name=${`dead-letters-${state.org?.slice(0, 8) ?? 'unreadable'}`} caption=${t.letters.title} rowKey=${letter => letter.id} />`;
}

const SHOWN = 3;
function Reasons({ of }) {
  return html`<ul class="reasons">${of.slice(0, SHOWN).map(reason => html`<li><${Reason} text=${reason} /></li>`)}${of.length > SHOWN && html`<li class="quiet">${t.letters.moreReasons(of.length - SHOWN)}</li>`}</ul>`;
}

/** A reason is a field and its rule. */
export function Reason({ text }) {
  const [field, ...rule] = text.split(': ');
  return rule.length ? html`<code>${field}</code> ${rule.join(': ')}` : text;
}

/** Further pages are in the address, so that back goes to the one before. */
export function Pager({ query, next }) {
  if (!next && !query.cursor) return null;
  return html`<p class="pager no-print">
    ${query.cursor && html`<button type="button" onClick=${() => setQuery({ cursor: undefined })}>${t.newest}</button>`}
    ${next && html`<button type="button" onClick=${() => setQuery({ cursor: next })}>${t.older}</button>`}</p>`;
}
