// Moments and days, in the zone of the page: never in the browser's own, and by the service's clock, not the browser's.

export const HOUR = 3_600_000;
const DAY = 86_400_000;
const locale = typeof navigator === 'undefined' ? 'en-GB' : navigator.language || 'en-GB';
const formats = new Map();

function format(zone, options) {
  const key = zone + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale, { timeZone: zone, ...options }));
  return formats.get(key);
}

/** How far the service's clock is ahead of the browser's, by the Date header of its responses. */
let ahead = 0;
export function noteServerTime(header) {
  const time = Date.parse(header);
  // The header has whole seconds: a difference below two says nothing.
  if (!Number.isNaN(time)) ahead = Math.abs(time - Date.now()) < 2000 ? 0 : time - Date.now();
}
export const now = () => Date.now() + ahead;

export function isZone(zone) {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return /^[A-Za-z]/.test(zone);
  } catch {
    return false;
  }
}

const UNKNOWN_TO_SOME = ['UTC'];
/** Every zone that the browser knows, UTC first. */
export const zones = () => [...new Set([...UNKNOWN_TO_SOME, ...(Intl.supportedValuesOf?.('timeZone') ?? [])])];

/** What a clock in the zone shows, as if it were UTC. */
function shown(ms, zone) {
  const parts = {};
  const format = fields(zone);
  for (const { type, value } of format.formatToParts(ms)) parts[type] = Number(value);
  return Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second);
}

const fieldFormats = new Map();
function fields(zone) {
  if (!fieldFormats.has(zone)) {
    fieldFormats.set(
      zone,
      new Intl.DateTimeFormat('en-US', {
        timeZone: zone,
        hourCycle: 'h23',
        year: 'numeric',
        month: '2-digit',
        day: '2-digit',
        hour: '2-digit',
        minute: '2-digit',
        second: '2-digit',
      }),
    );
  }
  return fieldFormats.get(zone);
}

/** The date of a moment in a zone: 2026-11-27. */
export const dateIn = (ms, zone) => new Date(shown(ms, zone)).toISOString().slice(0, 10);

/** The first moment of a date in a zone. Where the zone skips the whole date, that of the next one. */
export function startOfDay(date, zone) {
  const target = Date.parse(`${date}T00:00:00Z`);
  // The offset is between -12 and +14 hours, and changes at most once within these bounds.
  let [low, high] = [target - 15 * HOUR, target + 13 * HOUR];
  while (high - low > 1000) {
    const middle = Math.floor((low + high) / 2000) * 1000;
    if (shown(middle, zone) >= target) high = middle;
    else low = middle;
  }
  return high;
}

export const isDate = text => /^\d{4}-\d\d-\d\d$/.test(text ?? '') && new Date(`${text}T00:00:00Z`).toJSON()?.slice(0, 10) === text;
const utc = date => Date.parse(`${date}T00:00:00Z`);
export const addDays = (date, days) => new Date(utc(date) + days * DAY).toISOString().slice(0, 10);
export const daysBetween = (start, end) => Math.round((utc(end) - utc(start)) / DAY);
const monthStart = date => `${date.slice(0, 7)}-01`;
export const addMonths = (date, months) => {
  const [year, month] = date.split('-').map(Number);
  return new Date(Date.UTC(year, month - 1 + months, 1)).toISOString().slice(0, 10);
};

export const RANGES = ['today', 'yesterday', '7d', '28d', '90d', 'month', 'last-month', '12m', 'custom'];

/** The dates [start, end) of a range in the zone. */
export function resolveRange({ range, start, end }, zone, at = now()) {
  const today = dateIn(at, zone);
  const tomorrow = addDays(today, 1);
  const days = /^([1-9]\d{0,3})d$/.exec(range)?.[1];
  if (isDate(start) && isDate(end) && start < end) return { range: 'custom', start, end };
  if (days) return { range, start: addDays(tomorrow, -Number(days)), end: tomorrow };
  if (range === 'today') return { range, start: today, end: tomorrow };
  if (range === 'yesterday') return { range, start: addDays(today, -1), end: today };
  if (range === 'month') return { range, start: monthStart(today), end: tomorrow };
  if (range === 'last-month') return { range, start: addMonths(today, -1), end: monthStart(today) };
  if (range === '12m') return { range, start: addMonths(today, -11), end: tomorrow };
  return resolveRange({ range: '28d' }, zone, at);
}

/** The range before, to compare with: as many days; of a month the one before, as far as this one has come. */
export function previousRange({ range, start, end }) {
  if (range === 'month' || range === 'last-month') {
    const before = addMonths(start, -1);
    const reached = addDays(before, daysBetween(start, end));
    return { start: before, end: range === 'last-month' || reached > start ? start : reached };
  }
  return { start: addDays(start, -daysBetween(start, end)), end: start };
}

const ms = moment => (typeof moment === 'number' ? moment : Date.parse(moment));

/** 27 Nov, of a day's first moment. */
export const day = (moment, zone) => format(zone, { day: 'numeric', month: 'short' }).format(ms(moment));
export const longDay = (moment, zone) =>
  format(zone, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }).format(ms(moment));
export const month = (moment, zone) => format(zone, { month: 'short', year: 'numeric' }).format(ms(moment));
export const clock = (moment, zone) => format(zone, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(ms(moment));
const clockSeconds = (moment, zone) =>
  format(zone, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(ms(moment));
export const hour = (moment, zone) => `${day(moment, zone)}, ${clock(moment, zone)}`;

/** A moment with its date and seconds, and its year unless that is this one. The zone is printed by the page once. */
export function moment(value, zone) {
  if (value == null) return '–';
  const year = dateIn(ms(value), zone).slice(0, 4) === dateIn(now(), zone).slice(0, 4) ? {} : { year: 'numeric' };
  return `${format(zone, { day: 'numeric', month: 'short', ...year }).format(ms(value))}, ${clockSeconds(value, zone)}`;
}

/** A moment as short as it can be: without its date if it is of today. */
export const recent = (value, zone) =>
  value == null
    ? '–'
    : dateIn(ms(value), zone) === dateIn(now(), zone)
      ? clockSeconds(value, zone)
      : `${day(value, zone)}, ${clock(value, zone)}`;

/** The dates of a range for people, its last day included. */
export function rangeLabel({ start, end }) {
  const last = addDays(end, -1);
  const one = date => format('UTC', { day: 'numeric', month: 'short', year: 'numeric' }).format(utc(date));
  return start === last ? one(start) : `${one(start)} – ${one(last)}`;
}

/** UTC+01:00: the offset of a zone at a moment. */
export function offset(value, zone) {
  const minutes = Math.round((shown(ms(value), zone) - Math.floor(ms(value) / 1000) * 1000) / 60_000);
  if (minutes === 0) return 'UTC';
  const size = Math.abs(minutes);
  const two = n => String(n).padStart(2, '0');
  return `UTC${minutes < 0 ? '−' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** The first moments of the buckets of dates [start, end): days of the zone, or hours of UTC within them. */
export function buckets({ start, end }, granularity, zone) {
  const found = [];
  if (granularity === 'hour') {
    const last = startOfDay(end, zone);
    for (let at = Math.floor(startOfDay(start, zone) / HOUR) * HOUR; at < last; at += HOUR) found.push(at);
    return found;
  }
  for (let date = start; date < end; date = addDays(date, 1)) {
    const at = startOfDay(date, zone);
    if (at !== found.at(-1)) found.push(at);
  }
  return found;
}
