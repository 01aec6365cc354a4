// Numbers for people, by the browser's language; with their units.
import { Decimal, hundredthOf } from './money.js';

const locale = typeof navigator === 'undefined' ? 'en-GB' : navigator.language || 'en-GB';
const currency = typeof document === 'undefined' ? '' : (document.documentElement.dataset.currency ?? '');
const cache = new Map();

function number(options) {
  const key = JSON.stringify(options);
  if (!cache.has(key)) cache.set(key, new Intl.NumberFormat(locale, options));
  return cache.get(key);
}

const NONE = '–';

/** A count, exactly. */
export const count = value => (value == null ? NONE : number({ maximumFractionDigits: 0 }).format(String(value)));

/** A count in few characters: 1.2M. For axes and tiles. */
export const short = value =>
  value == null ? NONE : number({ notation: 'compact', maximumFractionDigits: 1 }).format(Number(value));

/** Money with two places, in the configured currency, else in cents. The exact figure is `exactMoney`. */
export function money(cents) {
  if (cents == null) return NONE;
  return currency
    ? number({ style: 'currency', currency }).format(cents.hundredth().toFixed(2))
    : `${number({ minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(cents.toFixed(2))} ¢`;
}

/** Money with every digit that the API has, which are at most twelve of a cent. */
export function exactMoney(cents) {
  if (cents == null) return NONE;
  return currency
    ? number({ style: 'currency', currency, minimumFractionDigits: 2, maximumFractionDigits: 14 }).format(hundredthOf(cents.toString()))
    : `${number({ maximumFractionDigits: 12 }).format(cents.toString())} ¢`;
}

/** Money on an axis. */
export function shortMoney(cents) {
  const options = { notation: 'compact', maximumFractionDigits: 1 };
  const small = Math.abs(cents) < 1000 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : {};
  return currency
    ? number({ ...options, ...small, style: 'currency', currency }).format(cents / 100)
    : `${number(options).format(cents)} ¢`;
}

/** A change of money, with its sign; with every digit by `exactMoney`. */
export function moneyChange(cents, write = money) {
  const text = write(cents.isNegative ? Decimal.zero().minus(cents) : cents);
  return cents.isZero ? text : `${cents.isNegative ? '−' : '+'}${text}`;
}

export const signed = value => (value > 0 ? '+' : value < 0 ? '−' : '') + count(String(value).replace('-', ''));

/** A fraction as a percentage. Small ones keep a digit that says something. */
export function percent(fraction, { sign = false } = {}) {
  if (fraction == null || Number.isNaN(fraction)) return NONE;
  const size = Math.abs(fraction);
  const places = size === 0 || size >= 0.1 ? 1 : size >= 0.001 ? 2 : 3;
  return number({
    style: 'percent',
    minimumFractionDigits: size === 0 ? 0 : Math.min(places, 2),
    maximumFractionDigits: places,
    signDisplay: sign ? 'exceptZero' : 'auto',
  }).format(fraction);
}

/** Latency: milliseconds below ten seconds, else seconds. */
export function latency(ms) {
  if (ms == null) return NONE;
  return ms < 10_000
    ? `${number({ maximumFractionDigits: ms < 10 ? 1 : 0 }).format(ms)} ms`
    : `${number({ maximumFractionDigits: 1 }).format(ms / 1000)} s`;
}

/** Seconds in the unit that suits them. */
export function seconds(value) {
  if (value == null) return NONE;
  const size = Math.abs(value);
  const [by, unit] = size < 100 ? [1, 's'] : size < 6000 ? [60, 'min'] : size < 172_800 ? [3600, 'h'] : [86_400, 'd'];
  return `${number({ maximumFractionDigits: size < 10 ? 1 : 0 }).format(value / by)} ${unit}`;
}

/** Bytes in powers of 1,024. */
export function bytes(value) {
  if (value == null) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const n = Math.min(units.length - 1, value > 0 ? Math.floor(Math.log2(value) / 10) : 0);
  return `${number({ maximumFractionDigits: n ? 1 : 0 }).format(value / 1024 ** n)} ${units[n]}`;
}

/** The beginning of an id: enough to recognise it. */
export const shortId = id => (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(id) ? `${id.slice(0, 8)}…` : id);

/** What people call a value, else the value; null is said in words. */
export const label = (value, name, none) => name ?? (value === null || value === undefined ? none : shortId(value));
