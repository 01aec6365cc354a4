// What became of one event: counted, a duplicate, rejected, or not known; and what to do.
import { html, useEffect, useState } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { may, pageAddress } from '../state.js';
import { hour, moment } from '../time.js';
import { count } from '../format.js';
import { Badge, Facts, Failure, Skeleton, Value } from './panel.js';
import { t } from '../texts.js';

const TONE = { stored: 'ok', duplicate: 'warn', rejected: 'bad', unknown: '' };

/**
 * @param nameOf (id of a model) → its name
 * @param letterId the dead letter on whose page this is: nothing leads to it
 * @param every seconds, while the fate may still change
 */
export function Fate({ state, me, eventId, nameOf, letterId, every = 0 }) {
  const { org, zone } = state;
  const [settled, setSettled] = useState(false);
  const of = useData(`event ${org} ${eventId}`, ({ poll }) => get(ofOrg(org, 'events', eventId), { poll }), {
    every: settled ? 0 : every,
  });
  useEffect(() => setSettled(of.data?.status === 'stored' && of.data.stored.every(one => one.merged)), [of.data]);
  if (!of.data) return of.problem ? html`<${Failure} problem=${of.problem} reload=${of.reload} />` : html`<${Skeleton} lines=2 />`;
  const { status, stored, duplicates, rejections, rawFrom, asOf } = of.data;
  const later = rejections.some(one => one.state !== 'open');
  return html`
    <div class="fate" role="status">
      <p><${Badge} tone=${TONE[status]}>${t.fate.status[status]}<//> ${t.fate.meaning(status, moment(asOf, zone))}</p>
      ${stored.map(
        one =>
          html`<${Facts} of=${[
            [t.fate.countedIn, hour(one.bucketStart, zone)],
            [t.fate.occurred, moment(one.occurredAt, zone)],
            [t.fate.committed, moment(one.committedAt, zone)],
            [t.by('modelId'), html`<${Value} id=${one.modelId} name=${nameOf(one.modelId)} />`],
            [t.fate.merged, one.merged ? t.yes : t.fate.soon],
          ]} />`,
      )}
      ${
        duplicates &&
        html`<${Facts} of=${[
          [t.fate.copies, count(duplicates.copies)],
          [t.fate.lastCopy, moment(duplicates.lastAt, zone)],
          [t.fate.conflict, duplicates.conflict ? html`<b>${t.fate.otherContent}</b>` : t.fate.sameContent],
        ]} />`
      }
      ${rejections.map(
        one => html`<div>
        <p>${t.fate.rejectedAt(moment(one.rejectedAt, zone))} · ${t.letters.states[one.state]}</p>
        <ul>${one.reasons.map(reason => html`<li><code>${reason}</code></li>`)}</ul>
        ${may(me, 'dead-letters') && one.deadLetterId !== letterId && html`<p><a
          href=${pageAddress(state, `dead-letters/${one.deadLetterId}`)}>${one.state === 'open' ? t.fate.correct : t.fate.show}</a>
            </p>`}
      </div>`,
      )}
      ${status === 'unknown' && html`<ul class="hints">${t.fate.unknownHints.map(hint => html`<li>${hint}</li>`)}</ul>`}
      ${rawFrom && html`<p class="quiet">${t.fate.rawFrom(moment(rawFrom, zone))}</p>`}
      ${later && status !== 'stored' && html`<p class="quiet">${t.fate.underway}</p>`}
    </div>`;
}
