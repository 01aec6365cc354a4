// One dead letter: the message as it came, why it was rejected, and the editor of its correction.
import { html, useEffect, useState } from '../view.js';
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
  const [checked, setChecked] = useState();
  const [busy, setBusy] = useState('');
  const edit = value => {
    setDraft(value);
    drafts.set(letter.id, value);
    setChecked(undefined);
  };
  const run = kind => async event => {
    event.preventDefault();
    // A button that is disabled while it works would lose the focus: it does nothing instead.
    if (busy) return undefined;
    const wrong = notJson(draft);
    if (wrong) return setChecked({ problem: wrong });
    setBusy(kind);
    try {
      if (kind === 'check') {
        await post('/analytics/v1/events/validate', draft);
        setChecked({ good: true });
      } else {
        await post(ofOrg(state.org, 'dead-letters', letter.id, 'replay'), draft);
        drafts.delete(letter.id);
        announce(t.letter.sent);
        onDone();
      }
    } catch (problem) {
      setChecked({ problem });
    }
    return setBusy('');
  };
  const errors = checked?.problem?.errors ?? [];
  const fields = checked ? errors.map(error => error.field) : fieldsOf(letter.reasons);
  return html`<${Panel} title=${t.letter.correct} note=${t.letter.correctNote}>
    <form class="editor" onSubmit=${run('replay')}>
      <div>
        <label class="field"><span>${t.letter.event}</span>
          <textarea class="code" rows="16" spellcheck=${false} dir="ltr" value=${draft} aria-describedby="editor-result"
            aria-invalid=${errors.length > 0} onInput=${event => edit(event.target.value)}></textarea></label>
        <div id="editor-result" role="status">
          ${checked?.good && html`<p class="notice ok"><b>${t.letter.good}</b></p>`}
          ${
            checked?.problem &&
            html`<div class="notice bad"><b>${errors.length ? t.letter.wrong(errors.length) : checked.problem.message}</b>
            ${errors.length > 0 && html`<ul>${errors.map(({ field, message }) => html`<li>
              <code>${field}</code> ${message}</li>`)}</ul>`}
            ${checked.problem.status === 409 && html`<span>${t.letter.first}</span>`}</div>`
          }
        </div>
        <div class="buttons">
          <button class="primary"
            disabled=${!draft.trim()} aria-disabled=${!!busy}>${busy === 'replay' ? t.letter.sending : t.letter.replay}</button>
          <button type="button" disabled=${!draft.trim()} aria-disabled=${!!busy}
            onClick=${run('check')}>${busy === 'check' ? t.letter.checking : t.letter.check}</button>
          <button type="button" class="plain" disabled=${draft === (text ?? '')}
            onClick=${() => edit(text ?? '')}>${t.letter.reset}</button>
        </div>
        <p class="quiet">${t.letter.once}</p>
      </div>
      <${Rules} marked=${fields} />
    </form><//>`;
}

/** A text that is no JSON is not sent: the browser says where it breaks. */
function notJson(text) {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return new Problem(400, { detail: t.letter.notJson(error.message) });
  }
}
