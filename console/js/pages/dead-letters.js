// Dead letters: what was rejected and why; a message, its rules, and the correction that takes its place.
import { html, useState } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { setQuery } from '../router.js';
import { isUuid, pageAddress } from '../state.js';
import { Choice, Pager, Panel } from '../parts/panel.js';
import { Letter } from '../parts/letter.js';
import { LetterTable } from '../parts/letters.js';
import { t } from '../texts.js';

const STATES = ['open', 'corrected', 'replayed', 'all'];
const EVERY = 15;

export default function DeadLetters({ me, state, place }) {
  const id = place.path.split('/')[1];
  return isUuid(id) ? html`<${Letter} key=${id} me=${me} state=${state} id=${id} />` : html`<${List} state=${state} />`;
}

function List({ state }) {
  const { org, zone, query } = state;
  const chosen = STATES.includes(query.state) ? query.state : 'open';
  const params = { state: chosen, reason: query.reason, limit: 100, cursor: query.cursor };
  const of = useData(`letters ${org} ${JSON.stringify(params)}`, ({ poll }) => get(ofOrg(org, 'dead-letters'), { poll, params }), {
    every: state.polls ? EVERY : 0,
  });
  return html`
    <div class="toolbar no-print">
      <${Choice} label=${t.letters.state} value=${chosen} options=${STATES.map(one => [one, t.letters.states[one]])}
        onChange=${one => setQuery({ state: one, cursor: undefined })} />
      <${ReasonFilter} key=${query.reason} value=${query.reason} />
    </div>
    <${Panel} title=${t.letters.title} note=${t.letters.note} of=${of} zone=${zone}
      empty=${page => page.deadLetters.length === 0 && (chosen === 'open' && !query.reason ? { title: t.letters.none, hint: t.letters.noneHint } : t.letters.noneFound)}>
      ${page => html`<${LetterTable} letters=${page.deadLetters} state=${state}
        href=${id => pageAddress(state, `dead-letters/${id}`)} />
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
    <label class="control"><span class="control-label">${t.letters.reasonHas}</span>
    <input type="search" value=${text} placeholder="latencyMs:" onInput=${event => setText(event.target.value)} /></label>
    <button class="small">${t.letters.filter}</button></form>`;
}
