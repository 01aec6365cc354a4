// One dead letter: the message as it came, why it was rejected, and the editor of its correction.
import { html, useEffect, useState } from '../view.js';
import { useAct } from '../act.js';
import { get, ofOrg, post, Problem, useData } from '../api.js';
import { pageAddress } from '../state.js';
import { moment } from '../time.js';
import { prettyJson } from '../money.js';
import { bytes } from '../format.js';
import { announce, Badge, CopyButton, Facts, Panel } from './panel.js';
import { Fate } from './fate.js';
import { useNames } from './names.js';
import { Rules, fieldsOf } from './rules.js';
import { Reason, TONES } from './letters.js';
import { t } from '../texts.js';

const EVERY = 2;

export function Letter({ me, state, id }) {
  const { org, zone } = state;
  const [waits, setWaits] = useState(false);
  const of = useData(`letter ${org} ${id}`, ({ poll }) => get(ofOrg(org, 'dead-letters', id), { poll }), {
    every: waits && state.polls ? EVERY : 0,
  });
  const nameOf = useNames(org, 'modelId');
  const letter = of.data;
  // Until the broker has it: then there is nothing more to wait for.
  useEffect(() => setWaits(letter?.state === 'corrected'), [letter?.state]);
  const text = letter && (letter.payload === undefined ? null : prettyJson(letter.payload));
  return html`
    <p class="back no-print"><a href=${pageAddress(state, 'dead-letters')}>← ${t.letters.back}</a></p>
    <${Panel} title=${t.letter.rejected} of=${of} zone=${zone}
      actions=${letter && html`<${Badge} tone=${TONES[letter.state]}>${t.letters.states[letter.state]}<//>`}>
      ${() => html`
        <ul class="reasons large">${letter.reasons.map(reason => html`<li><${Reason} text=${reason} /></li>`)}</ul>
        <${Facts} of=${[
          [t.letters.rejected, moment(letter.rejectedAt, zone)],
          [t.letters.size, bytes(letter.payloadBytes)],
          [t.letter.sha, html`<code class="clip">${letter.payloadSha256}</code>`],
          letter.correctedBy && [
            t.letters.correctedBy,
            html`<bdi>${letter.correctedBy}</bdi>, ${moment(letter.correctedAt, zone)}`,
          ],
          letter.replayedAt && [t.letter.replayed, moment(letter.replayedAt, zone)],
        ]} />`}
    <//>
    ${letter && letter.state === 'open' && html`<${Editor} letter=${letter} text=${text} state=${state} onDone=${of.reload} />`}
    ${letter && html`<${Message} letter=${letter} text=${text} />`}
    ${
      letter?.correction &&
      html`
      <${Panel} title=${t.letter.correction}><pre class="payload"
        tabindex="0">${prettyJson(JSON.stringify(letter.correction, decimalsAsWritten))}</pre>
        <h3>${t.letter.fate}</h3><${Fate} key=${letter.state} state=${state} me=${me} eventId=${letter.correction.eventId}
          nameOf=${nameOf} letterId=${letter.id} every=${state.polls ? EVERY : 0} /><//>`
    }`;
}

/** A decimal of the correction is shown as the number that it is. */
const decimalsAsWritten = (key, value) =>
  key === 'costEstimateCents' && typeof value === 'string' && typeof JSON.rawJSON === 'function' ? JSON.rawJSON(value) : value;

function Message({ letter, text }) {
  return html`<${Panel} title=${t.letter.message}
    note=${letter.payloadTruncated ? t.letter.truncated(bytes(letter.payloadBytes)) : null}
    actions=${html`<${CopyButton} text=${letter.payload ?? letter.payloadBase64} />`}>
    <details open=${letter.state !== 'open' || text === null}><summary>${t.letter.asItCame}</summary>
      ${text === null ? html`<p class="quiet">${t.letter.binary}</p>
        <pre class="payload" tabindex="0">${letter.payloadBase64}</pre>` : html`<pre class="payload" tabindex="0">
        <bdi>${letter.payload}</bdi></pre>`}
    </details><//>`;
}

/** What was typed and not sent: a session that ends meanwhile does not lose it. Gone with the tab. */
const drafts = new Map();

function Editor({ letter, text, state, onDone }) {
  const [draft, setDraft] = useState(drafts.get(letter.id) ?? text ?? '');
  // What was tried last: a result is of the text that was sent, whatever was typed meanwhile.
  const [tried, setTried] = useState();
  // A button that is disabled while it works would lose the focus: it does nothing instead.
  const { act, busy, problem } = useAct();
  const run = (kind, work) =>
    act(async () => {
      setTried({ kind, text: draft });
      mustBeJson(draft);
      await work();
    });
  const check = () => run('check', () => post('/analytics/v1/events/validate', draft));
  const replay = event => {
    event.preventDefault();
    run('replay', async () => {
      await post(ofOrg(state.org, 'dead-letters', letter.id, 'replay'), draft);
      drafts.delete(letter.id);
      announce(t.letter.sent);
      onDone();
    });
  };
  const edit = value => {
    setDraft(value);
    drafts.set(letter.id, value);
  };
  const working = busy && tried?.kind;
  const known = !busy && tried?.text === draft;
  const refused = known ? problem : undefined;
  const errors = refused?.errors ?? [];
  const fields = known ? errors.map(error => error.field) : fieldsOf(letter.reasons);
  return html`<${Panel} title=${t.letter.correct} note=${t.letter.correctNote}>
    <form class="editor" onSubmit=${replay}>
      <div>
        <label class="field"><span>${t.letter.event}</span>
          <textarea class="code" rows="16" spellcheck=${false} dir="ltr" value=${draft} aria-describedby="editor-result"
            aria-invalid=${errors.length > 0} onInput=${event => edit(event.target.value)}></textarea></label>
        <div id="editor-result" role="status">
          ${known && tried.kind === 'check' && !refused && html`<p class="notice ok"><b>${t.letter.good}</b></p>`}
          ${
            refused &&
            html`<div class="notice bad"><b>${errors.length ? t.letter.wrong(errors.length) : refused.message}</b>
            ${errors.length > 0 && html`<ul>${errors.map(({ field, message }) => html`<li>
              <code>${field}</code> ${message}</li>`)}</ul>`}
            ${refused.status === 409 && html`<span>${t.letter.first}</span>`}</div>`
          }
        </div>
        <div class="buttons">
          <button class="primary"
            disabled=${!draft.trim()} aria-disabled=${busy}>${working === 'replay' ? t.letter.sending : t.letter.replay}</button>
          <button type="button" disabled=${!draft.trim()} aria-disabled=${busy}
            onClick=${check}>${working === 'check' ? t.letter.checking : t.letter.check}</button>
          <button type="button" class="plain" disabled=${draft === (text ?? '')}
            onClick=${() => edit(text ?? '')}>${t.letter.reset}</button>
        </div>
        <p class="quiet">${t.letter.once}</p>
      </div>
      <${Rules} marked=${fields} />
    </form><//>`;
}

/** A text that is no JSON is not sent: the browser says where it breaks. */
function mustBeJson(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Problem(400, { detail: t.letter.notJson(error.message) });
  }
}
