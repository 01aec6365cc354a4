// Messages whose org cannot be read: for system administrators. Reading them is recorded, so nothing is loaded by itself.
import { html } from '../view.js';
import { get, useData } from '../api.js';
import { isUuid, pageAddress } from '../state.js';
import { moment } from '../time.js';
import { prettyJson } from '../money.js';
import { bytes, count } from '../format.js';
import { Badge, CopyButton, Facts, Pager, Panel } from '../parts/panel.js';
import { LetterTable, Reason, TONES } from '../parts/letters.js';
import { t } from '../texts.js';

const PATH = '/analytics/v1/dead-letters';

export default function Unreadable({ state, place }) {
  const id = place.path.split('/')[1];
  return isUuid(id) ? html`<${One} key=${id} state=${state} id=${id} />` : html`<${List} state=${state} />`;
}

function List({ state }) {
  const params = { limit: 100, cursor: state.query.cursor };
  const of = useData(`unreadable ${state.query.cursor}`, () => get(PATH, { params }));
  return html`<${Panel} title=${t.unreadable.title} note=${t.unreadable.note} of=${of} zone=${state.zone}
    empty=${page => page.deadLetters.length === 0 && t.unreadable.none}>
    ${page => html`<${LetterTable} letters=${page.deadLetters} state=${{ ...state, org: undefined }}
      href=${id => pageAddress(state, `unreadable/${id}`)} /><${Pager} query=${state.query} next=${page.nextCursor} />`}
  <//>`;
}

function One({ state, id }) {
  const { zone } = state;
  const of = useData(`unreadable ${id}`, () => get(`${PATH}/${id}`));
  return html`
    <p class="back no-print"><a href=${pageAddress(state, 'unreadable')}>← ${t.letters.back}</a></p>
    <${Panel} title=${t.letter.rejected} of=${of} zone=${zone}>${letter => html`
      <p><${Badge} tone=${TONES[letter.state]}>${t.letters.states[letter.state]}<//></p>
      <ul class="reasons large">${letter.reasons.map(reason => html`<li><${Reason} text=${reason} /></li>`)}</ul>
      <${Facts} of=${[
        [t.letters.rejected, moment(letter.rejectedAt, zone)],
        [t.unreadable.stream, letter.stream],
        [t.ops.partition, String(letter.partition)],
        [t.ops.offset, count(letter.offset)],
        [t.letters.size, bytes(letter.payloadBytes)],
      ]} />
      <div class="actions"><${CopyButton} text=${letter.payload ?? letter.payloadBase64 ?? ''} /></div>
      ${letter.payload === undefined && html`<p class="quiet">${t.letter.binary}</p>`}
      <pre class="payload" tabindex="0">
      <bdi>${letter.payload === undefined ? letter.payloadBase64 : prettyJson(letter.payload)}</bdi></pre>
      <p class="quiet">${t.unreadable.hint}</p>`}
    <//>`;
}
