// Tables as CSV and as text to paste; files that the browser saves.
import { Decimal } from './money.js';

/** A value as a cell: decimals with every digit, nothing as nothing. */
const plainText = value => (value == null ? '' : value instanceof Decimal ? value.toString() : String(value));

/** A text that a spreadsheet would take for a formula gets an apostrophe, as in the exports. */
const harmless = value => (typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : plainText(value));

function csvCell(value) {
  const text = harmless(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
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
