// Dead letters as a table: when each was rejected, why, and what became of it.
import { html } from '../view.js';
import { moment } from '../time.js';
import { bytes } from '../format.js';
import { Badge } from './panel.js';
import { Table } from './table.js';
import { t } from '../texts.js';

export const TONES = { open: 'warn', corrected: 'accent', replayed: 'ok' };

export function LetterTable({ letters, state, href }) {
  const { zone } = state;
  const columns = [
    {
      key: 'rejectedAt',
      time: true,
      label: t.letters.rejected,
      value: letter => letter.rejectedAt,
      cell: letter => html`<a href=${href(letter.id)}>${moment(letter.rejectedAt, zone)}</a>`,
    },
    {
      key: 'reasons',
      label: t.letters.reasons,
      wide: true,
      value: letter => letter.reasons.join('; '),
      cell: letter => html`<${Reasons} of=${letter.reasons} />`,
    },
    {
      key: 'state',
      label: t.letters.state,
      value: letter => letter.state,
      cell: letter => html`<${Badge} tone=${TONES[letter.state]}>${t.letters.states[letter.state]}<//>`,
    },
    {
      key: 'correctedBy',
      label: t.letters.correctedBy,
      value: letter => letter.correctedBy,
      cell: letter => (letter.correctedBy ? html`<bdi>${letter.correctedBy}</bdi>` : '–'),
    },
    {
      key: 'payloadBytes',
      label: t.letters.size,
      right: true,
      value: letter => letter.payloadBytes,
      cell: letter => bytes(letter.payloadBytes),
    },
    {
      key: 'go',
      label: html`<span class="off-screen">${t.letters.open}</span>`,
      unsorted: true,
      screenOnly: true,
      value: () => '',
      cell: letter =>
        html`<a href=${href(letter.id)}>${letter.state === 'open' && letter.orgId ? t.letters.correct : t.letters.open}</a>`,
    },
  ];
  return html`<${Table} columns=${columns} rows=${letters} sort="-rejectedAt"
    name=${`dead-letters-${state.org?.slice(0, 8) ?? 'unreadable'}`} caption=${t.letters.title} rowKey=${letter => letter.id} />`;
}

const SHOWN = 3;
function Reasons({ of }) {
  return html`<ul class="reasons">${of.slice(0, SHOWN).map(reason => html`<li><${Reason} text=${reason} />
    </li>`)}${of.length > SHOWN && html`<li class="quiet">${t.letters.moreReasons(of.length - SHOWN)}</li>`}</ul>`;
}

/** A reason is a field and its rule. */
export function Reason({ text }) {
  const [field, ...rule] = text.split(': ');
  return rule.length ? html`<code>${field}</code> ${rule.join(': ')}` : text;
}
