// A chart for eyes, keys and screen readers: a canvas, a cursor that the arrow keys move, a legend; its numbers as a table, its picture.
import { draw, picture, theme } from './draw.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../view.js';
import { MEASURES } from '../series.js';
import { dateIn, hour, longDay, moment } from '../time.js';
import { Badge, Panel } from './panel.js';
import { t } from '../texts.js';

const MOST_ROWS = 9;

/**
 * @param spec as draw.js has it, and tip(bucket, series) → the figure's text, title(bucket), totals?(bucket)
 * @param summary what the chart shows, in a sentence
 */
function Chart({ spec, title, summary, height = 260 }) {
  const canvas = useRef();
  const box = useRef();
  const plot = useRef({ left: 0, width: 1 });
  const [cursor, setCursor] = useState(-1);
  const [turn, setTurn] = useState(0);
  const again = () => setTurn(n => n + 1);

  useLayoutEffect(() => {
    const element = canvas.current;
    const width = Math.max(120, box.current.clientWidth);
    const scale = devicePixelRatio || 1;
    element.width = Math.round(width * scale);
    element.height = Math.round(height * scale);
    element.style.height = `${height}px`;
    const context = element.getContext('2d');
    context.setTransform(scale, 0, 0, scale, 0, 0);
    plot.current = draw(context, { width, height }, spec, theme(element), cursor);
  }, [spec, cursor, turn, height]);

  useEffect(() => {
    const sizes = new ResizeObserver(again);
    sizes.observe(box.current);
    const media = ['(prefers-color-scheme: dark)', 'print'].map(query => matchMedia(query));
    for (const one of media) one.addEventListener('change', again);
    return () => {
      sizes.disconnect();
      for (const one of media) one.removeEventListener('change', again);
    };
  }, []);

  const last = spec.buckets - 1;
  const at = Math.min(cursor, last);
  const pick = event => {
    const x = event.clientX - box.current.getBoundingClientRect().left - plot.current.left;
    const found = Math.floor((x / plot.current.width) * spec.buckets);
    setCursor(found >= 0 && found <= last ? found : -1);
  };
  const move = event => {
    const to = {
      ArrowLeft: cursor - 1,
      ArrowRight: cursor + 1,
      ArrowDown: cursor - 1,
      ArrowUp: cursor + 1,
      Home: 0,
      End: last,
      PageUp: cursor + 7,
      PageDown: cursor - 7,
      Escape: -1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    setCursor(event.key === 'Escape' ? -1 : Math.max(0, Math.min(last, cursor < 0 && event.key === 'ArrowLeft' ? last : to)));
  };
  return html`
    <div class="chart">
      <div class="chart-box" ref=${box} role="slider" tabindex="0" aria-label=${`${title}. ${summary} ${t.chart.keys}`}
        aria-orientation="horizontal"
           aria-valuemin="0" aria-valuemax=${Math.max(0, last)} aria-valuenow=${Math.max(0, at)}
           aria-valuetext=${at < 0 ? summary : spoken(spec, at)} onKeyDown=${move} onPointerMove=${pick} onPointerDown=${pick}
           onPointerLeave=${() => setCursor(-1)} onBlur=${() => setCursor(-1)}>
        <canvas ref=${canvas} aria-hidden="true"></canvas>
        ${at >= 0 && html`<${Tip} spec=${spec} at=${at} plot=${plot.current} box=${box.current} />`}
      </div>
      <${Legend} spec=${spec} />
    </div>`;
}

/** The series in which there is something in a bucket, largest first. */
function rowsOf(spec, at) {
  const rows = spec.series
    .map((series, n) => ({ series, n, value: series.values[at] }))
    .filter(row => row.value != null && (row.value > 0 || spec.kind === 'lines'));
  return spec.kind === 'lines' ? rows : rows.sort((a, b) => b.value - a.value);
}

function spoken(spec, at) {
  const rows = rowsOf(spec, at)
    .slice(0, MOST_ROWS)
    .map(({ series, n }) => `${series.name} ${spec.tip(at, n)}`);
  return [
    spec.title(at),
    spec.totals?.(at),
    spec.open?.[at] && t.chart.open,
    ...(spec.series.length > 1 ? rows : rows.slice(0, spec.totals ? 0 : 1)),
  ]
    .filter(Boolean)
    .join(', ');
}

function Tip({ spec, at, plot, box }) {
  const rows = rowsOf(spec, at);
  const x = plot.left + ((at + 0.5) / spec.buckets) * plot.width;
  const right = x > box.clientWidth / 2;
  const place = right ? { right: `${box.clientWidth - x + 14}px` } : { left: `${x + 14}px` };
  return html`
    <div class="tip" style=${place} aria-hidden="true">
      <div class="tip-title">${spec.title(at)}${spec.open?.[at] && html` <span class="badge open">${t.chart.open}</span>`}</div>
      ${spec.totals && html`<div class="tip-total">${spec.totals(at)}</div>`}
      ${
        (spec.series.length > 1 || !spec.totals) &&
        html`<ul>${rows.slice(0, MOST_ROWS).map(
          ({ series, n }) => html`
        <li><${Swatch} series=${series} n=${n} /><bdi class="clip">${series.name}</bdi><b>${spec.tip(at, n)}</b></li>`,
        )}</ul>`
      }
      ${rows.length > MOST_ROWS && html`<div class="quiet">${t.chart.more(rows.length - MOST_ROWS)}</div>`}
    </div>`;
}

function Swatch({ series, n }) {
  const colour = series.colour && series.colour !== 'rest' ? series.colour : `series-${series.colour ?? (n % 10) + 1}`;
  return html`<i class=${`swatch tone-${series.colour ? 0 : Math.floor(n / 10) % 3}`} style=${{ '--colour': `var(--${colour})` }}>
    </i>`;
}

function Legend({ spec }) {
  const open = spec.open?.some(Boolean);
  if (spec.series.length < 2 && !open) return null;
  return html`
    <ul class="legend" aria-hidden="true">
      ${spec.series.length > 1 && spec.series.map((series, n) => html`<li><${Swatch} series=${series} n=${n} />
        <bdi class="clip">${series.name}</bdi></li>`)}
      ${open && html`<li><i class=${spec.kind === 'lines' ? 'swatch dashed' : 'swatch hatched'}></i>${t.chart.legendOpen}</li>`}
    </ul>`;
}

/** Saves the chart as a PNG, in light colours. */
async function savePicture(spec, { title, note, name }) {
  const light = document.createElement('div');
  light.className = 'light-theme';
  document.body.append(light);
  const canvas = picture(spec, theme(light), { title, note });
  light.remove();
  const { save } = await import('../save.js');
  canvas.toBlob(blob => save(`${name}.png`, blob), 'image/png');
}

/**
 * @param make (data) → {spec, summary, table: {columns, rows}}; called again when the data changes
 * @param fileName of the picture and of the CSV
 */
export function FigurePanel({ title, note, of, empty, make, fileName, actions, zone, height, foot }) {
  const made = of.data !== undefined && !empty?.(of.data) ? make(of.data) : undefined;
  const saveIt = () => savePicture(made.spec, { title, note: pictureNote(of.data, made.spec, zone), name: fileName });
  const buttons = html`${actions}${made && html`<button type="button" class="small" onClick=${saveIt}>${t.chart.png}</button>`}`;
  return html`
    <${Panel} title=${title} note=${note} actions=${buttons} of=${of} empty=${empty} zone=${zone} lines=7>
      ${() => html`
        <${Chart} title=${title} spec=${made.spec} summary=${made.summary} height=${height} />
        ${foot?.(of.data)}
        <${DataTable} make=${made.table} name=${fileName} caption=${t.chart.dataOf(title)} />`}
    <//>`;
}

/** What somebody who has the picture alone has to know. */
const pictureNote = (data, { open }, zone) =>
  [data.asOf && `${t.complete.to(moment(data.asOf, zone))} ${zone}`, open?.some(Boolean) && t.chart.striped].filter(Boolean).join(' · ');

/** The chart's numbers. Their code and rows come when they are opened. */
function DataTable({ make, name, caption }) {
  const [open, setOpen] = useState(false);
  const [Table, setTable] = useState();
  useEffect(() => {
    if (open && !Table) import('./table.js').then(module => setTable(() => module.Table));
  }, [open]);
  return html`
    <details class="data" onToggle=${event => setOpen(event.target.open)}>
      <summary>${t.chart.data}</summary>
      ${open && Table && html`<${Table} ...${make()} name=${name} caption=${caption} />`}
    </details>`;
}

/** When a bucket begins: `timeOf(row)` is its first moment. */
export function timeColumn(timeOf, granularity, zone) {
  const hours = granularity === 'hour';
  return {
    key: 'time',
    time: true,
    label: t.columns[granularity],
    file: hours ? 'hour_utc' : 'day',
    value: row => (hours ? new Date(timeOf(row)).toISOString().replace('.000', '') : dateIn(timeOf(row), zone)),
    sort: timeOf,
    cell: row => (hours ? hour : longDay)(timeOf(row), zone),
  };
}

/** Whether a bucket may still grow: `pointOf(row)` is what the API has of it. */
export const finalColumn = pointOf => ({
  key: 'final',
  label: t.columns.final,
  value: row => (pointOf(row).final ? t.final : t.open),
  cell: row => (pointOf(row).final ? t.final : html`<${Badge} tone="open">${t.open}<//>`),
});

export function bucketTable({ at, whole, series, figure, measure, granularity, zone }) {
  const { exact } = MEASURES[measure];
  return {
    rows: whole.map((point, n) => ({ n, point })).filter(row => row.point),
    rowKey: row => row.n,
    sort: 'time',
    columns: [
      timeColumn(row => at.times[row.n], granularity, zone),
      ...(series.length > 1
        ? series.map((one, s) => ({
            key: `s${s}`,
            label: html`<bdi class="clip">${one.name}</bdi>`,
            file: one.name,
            right: true,
            value: row => figure(row.n, s),
            cell: row => exact(figure(row.n, s)),
          }))
        : []),
      {
        key: 'total',
        label: t.columns.total,
        file: `total ${measure}`,
        right: true,
        value: row => row.point[measure],
        cell: row => exact(row.point[measure]),
      },
      finalColumn(row => row.point),
    ],
  };
}
