// Tables as CSV and as text to paste; files that the browser saves.
import { Decimal } from './money.js';

/** A value as a cell: decimals with every digit, nothing as nothing. */
const plainText = value => (value == null ? '' : value instanceof Decimal ? value.toString() : String(value));

/** What some spreadsheet takes for the end of a cell or of a line, with what stands before it. */
const PART = /[^;|\p{Cc}\u2028\u2029]*(?:[;|\p{Cc}\u2028\u2029]|$)/gu;
const BEGINS = /^[\s\p{Cc}\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]|^[\t\r\n]/u;
const GOES_ON = /^["\s\p{Cc}\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]/u;

/** A text of which a spreadsheet takes no part for a formula: apostrophes as in the exports (docs/exports.md). */
export const neutral = text =>
  text
    .match(PART)
    .map((part, n) => ((n ? GOES_ON : BEGINS).test(part) ? `'${part}` : part))
    .join('');

const harmless = value => (typeof value === 'string' ? neutral(value) : plainText(value));

function csvCell(value) {
  const text = harmless(value);
  return /[",\r\n;\t|]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** RFC 4180: a row of names, then rows of values. */
export const csv = rows => rows.map(row => `${row.map(csvCell).join(',')}\r\n`).join('');

/** Columns by tabs, for the clipboard. */
export const tabbed = rows => rows.map(row => row.map(value => harmless(value).replace(/[\t\r\n]+/g, ' ')).join('\t')).join('\n');

export function save(name, blob) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const saveCsv = (name, rows) => save(`${name}.csv`, new Blob([csv(rows)], { type: 'text/csv;charset=utf-8' }));

/** Whether the text is on the clipboard: a browser may refuse that. It has one, as its sessions need HTTPS or this machine. */
export const copy = text =>
  navigator.clipboard.writeText(text).then(
    () => true,
    () => false,
  );
