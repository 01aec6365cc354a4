// A table that is sorted by its headings, copied, and saved as CSV: with the rows that are on the page, and every digit.
import { html, useState } from '../view.js';
import { copy, saveCsv, tabbed } from '../save.js';
import { setQuery, here } from '../router.js';
import { plain } from '../money.js';
import { t } from '../texts.js';

const FIRST_ROWS = 100;

/**
 * @param columns [{key, label, right?, value(row) for sorting and files, cell?(row), foot?(value), file?, unsorted?, wide?, time?, screenOnly?, fileOnly?}]
 * @param sort the column sorted by at first, with - before it where the largest is first
 * @param param where the order is kept in the address; without it the table keeps it
 * @param foot rows that stay below, whatever the order: [{cells: {key: value}, kind}]; those of the kind `total` are sums of the others
 * @param name of the file
 * @param first how many rows are shown at first
 */
export function Table({ columns, rows, sort = '', param, foot = [], name, caption, rowKey, first = FIRST_ROWS }) {
  const [own, setOwn] = useState(sort);
  const [all, setAll] = useState(false);
  const visible = columns.filter(column => !column.fileOnly);
  const order = (param ? here().query[param] : own) || sort;
  const sorted = sortRows(rows, columns, order);
  const shown = all ? sorted : sorted.slice(0, first);
  const setOrder = to => (param ? setQuery({ [param]: to === sort ? undefined : to }, { replace: true }) : setOwn(to));
  return html`
    <div class="table-wrap">
      ${name && rows.length > 0 && html`<${Tools} columns=${columns} rows=${sorted} foot=${foot} name=${name} />`}
      <div class="scroll" tabindex="0" role="group" aria-label=${caption}>
        <table>
          <caption class="off-screen">${caption}</caption>
          <thead><tr>${visible.map(column => html`<${Heading} column=${column} order=${order} setOrder=${setOrder} />`)}</tr>
          </thead>
          <tbody>${shown.map(
            (row, n) => html`
            <tr key=${rowKey?.(row) ?? n}>${visible.map(column => cellOf(column, row))}</tr>`,
          )}
          </tbody>
          ${
            foot.length > 0 &&
            html`<tfoot>${foot.map(
              ({ cells, kind }) => html`
            <tr class=${kind}>${visible.map((column, n) => footCell(column, cells, n))}</tr>`,
            )}</tfoot>`
          }
        </table>
      </div>
      ${
        shown.length < sorted.length &&
        html`
        <button type="button" class="plain" onClick=${() => setAll(true)}>${t.table.all(sorted.length)}</button>`
      }
    </div>`;
}

const cellOf = (column, row) =>
  html`<td class=${column.right ? 'number' : column.wide ? 'wide' : column.time ? 'time' : null}>${column.cell ? column.cell(row) : (column.value(row) ?? '–')}</td>`;

function footCell(column, cells, n) {
  const value = cells[column.key];
  const content = value !== undefined && column.foot ? column.foot(value) : value;
  return n === 0 ? html`<th scope="row">${content}</th>` : html`<td class=${column.right ? 'number' : null}>${content ?? ''}</td>`;
}

function Heading({ column, order, setOrder }) {
  const by = order.replace(/^-/, '');
  const down = order.startsWith('-');
  const active = by === column.key;
  const sorted = active ? (down ? 'descending' : 'ascending') : undefined;
  const next = active ? (down ? column.key : `-${column.key}`) : column.right ? `-${column.key}` : column.key;
  return html`<th scope="col" class=${column.right ? 'number' : null} aria-sort=${sorted}>
    ${column.unsorted ? column.label : html`<button type="button" class="sort" onClick=${() => setOrder(next)}>${column.label}<span class="arrow"
      aria-hidden="true">${active ? (down ? '↓' : '↑') : ''}</span></button>`}
  </th>`;
}

function sortRows(rows, columns, order) {
  const column = columns.find(one => one.key === order.replace(/^-/, ''));
  if (!column) return rows;
  const way = order.startsWith('-') ? -1 : 1;
  const of = row => (column.sort ?? column.value)(row);
  return rows
    .map((row, n) => ({ row, n, value: of(row) }))
    .sort((a, b) => way * compare(a.value, b.value) || a.n - b.n)
    .map(({ row }) => row);
}

/** Nothing sorts below everything. */
function compare(a, b) {
  if (a == null || b == null) return (a != null) - (b != null);
  if (a.compare && b.compare) return a.compare(b);
  if (typeof a === 'string') return a.localeCompare(b);
  return plain(a) - plain(b);
}

/** The table as rows of a file: without totals, which whoever adds up its rows would count twice. */
export function fileRows({ columns, rows, foot }) {
  const kept = columns.filter(column => !column.screenOnly);
  return [
    kept.map(column => column.file ?? column.label),
    ...rows.map(row => kept.map(column => column.value(row))),
    ...foot.filter(({ kind }) => kind !== 'total').map(({ cells }) => kept.map(column => cells[column.key])),
  ];
}

function Tools({ name, ...table }) {
  const [said, setSaid] = useState('');
  const cells = () => fileRows(table);
  const say = text => {
    setSaid(text);
    setTimeout(() => setSaid(''), 4000);
  };
  return html`
    <div class="tools no-print">
      <span class="said" role="status">${said}</span>
      <button type="button" class="small"
        onClick=${async () => say((await copy(tabbed(cells()))) ? t.table.copied : t.table.notCopied)}>${t.table.copy}</button>
      <button type="button" class="small" onClick=${() => saveCsv(name, cells())}>${t.table.csv}</button>
    </div>`;
}
