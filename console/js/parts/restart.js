// Restarts an actor's group, and shows offset and ledger of its partition before and after: what was lost would be missing there.
import { html, useEffect, useRef, useState } from '../view.js';
import { get, post } from '../api.js';
import { moment, recent } from '../time.js';
import { count } from '../format.js';
import { pageAddress } from '../state.js';
import { Badge, BalanceBadge, Dialog, Failure } from './panel.js';
import { ACTOR_TONES, balances, flat } from './tree.js';
import { t } from '../texts.js';

const EVERY_MS = 700;
const LONGEST_MS = 60_000;

/** The actor, and the partition that it belongs to, as they are now. */
async function look(name) {
  const [{ actors }, { partitions }] = await Promise.all([get('/ops/actors'), get('/ops/partitions')]);
  const actor = flat(actors).find(row => row.name === name);
  const number = /^partition\/(\d+)$/.exec(actor?.group ?? '')?.[1];
  return { actor, partition: number === undefined ? undefined : partitions.find(one => one.partition === Number(number)) };
}

/** The column of a table by which an actor is restarted: `actorOf(row)` is its name, or nothing where there is nothing to restart. */
export const restartColumn = (actorOf, onRestart) => ({
  key: 'restart',
  label: html`<span class="off-screen">${t.restart.do}</span>`,
  unsorted: true,
  screenOnly: true,
  value: () => '',
  cell: row =>
    actorOf(row) &&
    html`<button type="button" class="small" aria-label=${t.restart.title(actorOf(row))}
      onClick=${() => onRestart(actorOf(row))}>${t.restart.do}</button>`,
});

export function Restart({ name, state, onClose }) {
  const { zone } = state;
  const [before, setBefore] = useState();
  const [after, setAfter] = useState();
  const [problem, setProblem] = useState();
  const [phase, setPhase] = useState('ready');
  const close = useRef();
  // The button that was pressed is gone then.
  useEffect(() => {
    if (phase === 'done') close.current.focus();
  }, [phase]);
  useEffect(() => {
    look(name).then(setBefore, setProblem);
  }, [name]);

  const run = async () => {
    if (phase === 'running') return;
    setPhase('running');
    setProblem(undefined);
    try {
      const was = await look(name);
      setBefore(was);
      await post(`/ops/actors/${name.split('/').map(encodeURIComponent).join('/')}/restart`);
      const end = Date.now() + LONGEST_MS;
      let is;
      do {
        await new Promise(done => setTimeout(done, EVERY_MS));
        is = await look(name).catch(() => is);
        if (is) setAfter(is);
      } while (
        !(is?.actor && is.actor.generation > (was.actor?.generation ?? 0) && is.actor.state === 'running') &&
        Date.now() < end
      );
      setPhase(Date.now() < end ? 'done' : 'late');
    } catch (found) {
      setProblem(found);
      setPhase('ready');
    }
  };
  return html`<${Dialog} title=${t.restart.title(name)} onClose=${onClose} wide>
    <p>${t.restart.hint(before?.actor?.group ?? name, before?.actor?.group === name || before?.partition)}</p>
    ${before && html`<${Compare} before=${before} after=${after} zone=${zone} />`}
    ${problem && html`<${Failure} problem=${problem} />`}
    <div role="status">
      ${phase === 'running' && html`<p class="notice">${t.restart.running}</p>`}
      ${phase === 'done' && html`<${Result} before=${before} after=${after} />`}
      ${phase === 'late' && html`<p class="notice warn">${t.restart.late} <a
        href=${pageAddress(state, 'supervision', { actor: name })}>${t.restart.toLog}</a></p>`}
    </div>
    <div class="buttons">
      ${phase !== 'done' && html`<button type="button" class="primary" disabled=${!before} aria-disabled=${phase === 'running'}
        onClick=${run}>${t.restart.do}</button>`}
      <button type="button" ref=${close} onClick=${onClose}>${phase === 'done' ? t.close : t.cancel}</button>
    </div><//>`;
}

const LEDGER = ['received', 'stored', 'duplicates', 'rejected'];
function Compare({ before, after, zone }) {
  const row = (name, of, text = count) =>
    html`<tr><th scope="row">${name}</th><td class="number">${show(of(before), text)}</td>
      <td class="number">${after ? show(of(after), text) : ''}</td></tr>`;
  const ledger = before.partition?.ledger;
  return html`<div class="scroll" tabindex="0" role="group" aria-label=${t.restart.compare}><table>
    <caption class="off-screen">${t.restart.compare}</caption>
    <thead><tr><td></td><th scope="col" class="number">${t.restart.before}</th>
    <th scope="col" class="number">${t.restart.after}</th></tr></thead>
    <tbody>
      ${row(
        t.actors.state,
        one => one.actor?.state,
        value => html`<${Badge} tone=${ACTOR_TONES[value]}>${t.actors.states[value] ?? value}<//>`,
      )}
      ${row(t.restart.generation, one => one.actor?.generation)}
      ${row(
        t.restart.since,
        one => one.actor?.since,
        value => recent(value, zone),
      )}
      ${before.partition && row(t.restart.nextOffset, one => one.partition?.nextOffset)}
      ${ledger?.since && html`<tr class="quiet"><td colspan="3">${t.restart.ledgerSince(moment(ledger.since, zone))}</td></tr>`}
      ${ledger && LEDGER.map(key => row(t.ledger[key], one => one.partition?.ledger?.[key]))}
      ${
        ledger &&
        row(
          t.ledger.balance,
          one => one.partition?.ledger && balances(one.partition.ledger),
          value => html`<${BalanceBadge} holds=${value} />`,
        )
      }
    </tbody></table></div>`;
}

const show = (value, text) => (value === undefined || value === null ? '–' : text(value));

function Result({ before, after }) {
  const [was, is] = [before.partition, after.partition];
  if (!was || !is) return html`<p class="notice ok"><b>${t.restart.done}</b></p>`;
  const whole =
    is.nextOffset >= was.nextOffset &&
    (!is.ledger || (balances(is.ledger) && (is.ledger.since !== was.ledger.since || is.ledger.received >= was.ledger.received)));
  return html`<div class=${`notice ${whole ? 'ok' : 'bad'}`}><b>${whole ? t.restart.nothingLost : t.restart.lost}</b>
    <span>${whole ? t.restart.proof(count(was.nextOffset), count(is.nextOffset), is.ledger && count(is.ledger.received)) : t.restart.lostHint}</span></div>`;
}
