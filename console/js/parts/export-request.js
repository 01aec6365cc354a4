// Requesting a file: its days, one row per what, grouped by what; what the service refuses is said at its field.
import { html, useId, useState } from '../view.js';
import { useAct } from '../act.js';
import { get, ofOrg, post, useData } from '../api.js';
import { addDays, addMonths, dateIn, daysBetween, isDate, now, rangeLabel, resolveRange } from '../time.js';
import { announce, Failure, Panel } from './panel.js';
import { t } from '../texts.js';

const MOST_DAYS = 31;
/** Clients and error codes with latency are read from raw events. */
const MOST_RAW_DAYS = 7;
const MOST_DIMENSIONS = 3;
/** As the API calls what the form has. */
const FIELDS = ['timeRange.start', 'timeRange.end', 'granularity', 'groupBy', 'names'];

/** The whole days of UTC of the chosen range, up to yesterday; last month where there is no range or it is too long. */
export function daysOf(query, at = now()) {
  const [today, range] = [dateIn(at, 'UTC'), resolveRange(query, 'UTC', at)];
  const yesterday = addDays(today, -1);
  const end = addDays(range.end, -1) < yesterday ? addDays(range.end, -1) : yesterday;
  const fits = range.start <= end && daysBetween(range.start, end) < MOST_DAYS;
  return (query.range || query.start) && fits
    ? { start: range.start, end }
    : { start: addMonths(today, -1), end: addDays(addMonths(today, 0), -1) };
}

/**
 * What is wrong in the form, by its field. What is only missing is not said while somebody fills it in.
 * @param yesterday the last day that is over
 */
export function faults({ start, end, groupBy, dimensions }, yesterday) {
  const missing = {};
  if (!isDate(start)) missing.start = t.exports.noDay;
  if (!isDate(end)) missing.end = t.exports.noDay;
  if (groupBy === 'dimensions' && dimensions.length === 0) missing.dimensions = t.exports.noDimension;
  if (missing.start || missing.end) return { missing };
  const days = daysBetween(start, end) + 1;
  const wrong =
    end > yesterday
      ? t.exports.notOver(rangeLabel({ start: yesterday, end: addDays(yesterday, 1) }))
      : days < 1
        ? t.exports.backwards
        : days > MOST_DAYS
          ? t.exports.tooLong(MOST_DAYS)
          : isRaw(groupBy) && days > MOST_RAW_DAYS && t.exports.rawTooLong(MOST_RAW_DAYS);
  return { missing, ...(wrong && { end: wrong }) };
}

const isRaw = groupBy => ['client', 'errorCode'].includes(groupBy);

/** The days of an export are those of UTC, as its buckets are: the last one that is over is yesterday's. */
export function ExportRequest({ state, onDone }) {
  const today = dateIn(now(), 'UTC');
  const yesterday = addDays(today, -1);
  const id = useId();
  const [tried, setTried] = useState(false);
  const [form, setForm] = useState(() => ({ ...daysOf(state.query), granularity: 'daily', groupBy: 'model', dimensions: [], names: false }));
  const { act, busy, problem, forget } = useAct();
  const sets = useData(`dimensions ${state.org}`, () => get(ofOrg(state.org, 'attribution', 'dimensions')));
  const known = [...new Set((sets.data?.sets ?? []).flatMap(set => set.dimensions))];
  const set = values => {
    setForm(was => ({ ...was, ...values }));
    setTried(false);
    forget();
  };
  const chosen = form.groupBy === 'dimensions';
  const full = form.dimensions.length >= MOST_DIMENSIONS;
  const raw = isRaw(form.groupBy);
  const { missing, ...wrongNow } = faults(form, yesterday);
  const own = tried ? { ...missing, ...wrongNow } : wrongNow;
  const run = event => {
    event.preventDefault();
    setTried(true);
    if (Object.keys({ ...missing, ...wrongNow }).length) return;
    act(async () => {
      await post(
        ofOrg(state.org, 'exports'),
        {
          timeRange: { start: form.start, end: addDays(form.end, 1) },
          granularity: raw ? 'hourly' : form.granularity,
          groupBy: chosen ? form.dimensions : form.groupBy,
          names: form.names,
        },
        { headers: { 'Idempotency-Key': randomKey() } },
      );
      announce(t.exports.requested);
      onDone();
    });
  };
  const errors = problem?.errors ?? [];
  const wrong = (field, ownText) => (ownText ? [ownText] : errors.filter(one => one.field === field).map(one => one.message));
  const elsewhere = problem && !(errors.length && errors.every(one => FIELDS.includes(one.field)));
  return html`<${Panel} title=${t.exports.request} note=${t.exports.requestNote}>
    <form class="request" novalidate onSubmit=${run}>
      <div class="fields">
        <${Field} label=${t.exports.first} wrong=${wrong('timeRange.start', own.start)}>${marks => html`<input type="date" required
          max=${yesterday} value=${form.start} onInput=${event => set({ start: event.target.value })} ...${marks} />`}<//>
        <${Field} label=${t.exports.last} wrong=${wrong('timeRange.end', own.end)}>${marks => html`<input type="date" required
          min=${form.start} max=${yesterday} value=${form.end} onInput=${event => set({ end: event.target.value })} ...${marks} />`}<//>
        <${Field} label=${t.exports.rowPer} wrong=${wrong('granularity')}>${marks => html`<select disabled=${raw}
          value=${raw ? 'hourly' : form.granularity} onChange=${event => set({ granularity: event.target.value })} ...${marks}>
          ${Object.entries(t.exports.granularities).map(([one, text]) => html`<option value=${one}>${text}</option>`)}</select>`}<//>
        <${Field} label=${t.exports.groupedBy} wrong=${chosen ? [] : wrong('groupBy')}>${marks => html`<select value=${form.groupBy}
          onChange=${event => set({ groupBy: event.target.value })} ...${marks}>
          ${Object.entries(t.exports.groupings).map(([one, text]) => html`<option value=${one}>${text}</option>`)}
          ${known.length > 0 && html`<option value="dimensions">${t.exports.together(known.map(t.by))}</option>`}</select>`}<//>
      </div>
      ${
        chosen &&
        html`<fieldset class="checks" aria-describedby=${`${id} ${id}-wrong`}><legend>${t.exports.dimensions}</legend>
        ${known.map(
          one => html`<label class="check"><input type="checkbox" checked=${form.dimensions.includes(one)}
          disabled=${full && !form.dimensions.includes(one)} aria-describedby=${full ? `${id}-full` : null}
          onChange=${event => set({ dimensions: form.dimensions.filter(other => other !== one).concat(event.target.checked ? one : []) })} />
          ${t.by(one)}</label>`,
        )}
        <p class="quiet" id=${id}>${t.exports.sets(sets.data.sets.map(({ dimensions }) => dimensions.map(t.by)))}</p>
        <p class="quiet" id=${`${id}-full`} role="status">${full && known.length > MOST_DIMENSIONS && t.exports.allChosen}</p>
        <${Wrong} id=${`${id}-wrong`} of=${wrong('groupBy', own.dimensions)} /></fieldset>`
      }
      <label class="check"><input type="checkbox" checked=${form.names}
        onChange=${event => set({ names: event.target.checked })} /> ${t.exports.withNames}</label>
      ${elsewhere && html`<${Failure} problem=${problem} />`}
      <div class="buttons"><button class="primary" aria-disabled=${busy}>${busy ? t.exports.requesting : t.exports.submit}</button></div>
    </form>
  <//>`;
}

/** A field with what is wrong in it. `children` is given the attributes of its control. */
function Field({ label, wrong, children }) {
  const id = useId();
  const marks = wrong.length ? { 'aria-invalid': true, 'aria-describedby': `${id}-wrong` } : {};
  return html`<div class="field"><label for=${id}>${label}</label>${children({ id, ...marks })}
    <${Wrong} id=${`${id}-wrong`} of=${wrong} /></div>`;
}

const Wrong = ({ id, of }) => of.length > 0 && html`<small class="error" id=${id} role="alert">${of.join('; ')}</small>`;

const randomKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');
