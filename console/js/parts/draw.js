// Draws a chart on a canvas: stacked bars, of which open buckets are hatched, or lines. Knows nothing of pages, zones or money.

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const TOP = 10;
const BOTTOM = 24;
/** Charts below one another begin at the same place. */
const LEFT = 46;
const COLOURS = 10;
/** How the colours of the second and third ten differ from those of the first: towards the background, towards the text. */
const TONES = [
  ['back', 0],
  ['back', 0.5],
  ['strong', 0.45],
];

/** The colours of the page as they are now: light, dark or print. */
export function theme(element) {
  const style = getComputedStyle(element);
  const colour = name => style.getPropertyValue(name).trim();
  return {
    text: colour('--text-quiet'),
    grid: colour('--line'),
    strong: colour('--text'),
    back: colour('--surface'),
    series: Array.from({ length: COLOURS }, (_, n) => colour(`--series-${n + 1}`)),
    rest: colour('--series-rest'),
    bad: colour('--bad'),
    ok: colour('--ok'),
    warn: colour('--warn'),
    'latency-1': colour('--latency-1'),
    'latency-2': colour('--latency-2'),
    'latency-3': colour('--latency-3'),
  };
}

/** The colour of a series: a name of the theme, else its place. */
function colourOf(series, n, colours) {
  if (series.colour) return colours[series.colour];
  const [towards, part] = TONES[Math.floor(n / COLOURS) % TONES.length];
  return part ? mix(colours.series[n % COLOURS], colours[towards], part) : colours.series[n % COLOURS];
}

/** Between two colours that are written as #rrggbb. */
function mix(from, to, part) {
  const channels = [1, 3, 5].map(at => {
    const [a, b] = [from, to].map(colour => parseInt(colour.slice(at, at + 2), 16));
    return Math.round(a + (b - a) * part)
      .toString(16)
      .padStart(2, '0');
  });
  return `#${channels.join('')}`;
}

/** Round steps from zero to what covers the largest value. */
function ticks(max, wanted = 4) {
  if (!(max > 0)) return [0, 1];
  const raw = max / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find(by => by * power >= raw) * power;
  return Array.from({ length: Math.ceil(max / step - 1e-9) + 1 }, (_, n) => n * step);
}

/**
 * @param spec kind bars or lines; buckets (how many); series [{name, values, colour?}]; open (whether a bucket may still grow);
 *   yLabel(value), marks [{at, label, begin?}] of the time axis
 * @returns where the buckets are: {left, width}, for the pointer.
 */
export function draw(context, { width, height }, spec, colours, cursor = -1) {
  const { kind, buckets, series } = spec;
  context.font = FONT;
  const steps = ticks(largest(spec));
  const labels = steps.map(spec.yLabel);
  const left = Math.ceil(Math.max(LEFT, ...labels.map(label => context.measureText(label).width))) + 12;
  const plot = { left, top: TOP, width: Math.max(10, width - left - 6), height: height - TOP - BOTTOM };
  const top = steps.at(-1);
  const y = value => plot.top + plot.height * (1 - value / top);
  const slot = plot.width / Math.max(1, buckets);

  drawGrid(context, { plot, steps, labels, y, colours });
  drawDates(context, { plot, slot, spec, colours });
  if (cursor >= 0) {
    context.fillStyle = colours.grid;
    context.globalAlpha = 0.6;
    context.fillRect(plot.left + cursor * slot, plot.top, Math.max(1, slot), plot.height);
    context.globalAlpha = 1;
  }
  if (kind === 'lines') drawLines(context, { plot, slot, y, series, colours, buckets, open: spec.open });
  else drawBars(context, { plot, slot, y, spec, colours });
  return { left: plot.left, width: plot.width };
}

function largest({ kind, buckets, series }) {
  let max = 0;
  for (let at = 0; at < buckets; at += 1) {
    let sum = 0;
    for (const { values } of series) {
      const value = values[at] ?? 0;
      sum = kind === 'lines' ? Math.max(sum, value) : sum + value;
    }
    max = Math.max(max, sum);
  }
  return max;
}

function drawGrid(context, { plot, steps, labels, y, colours }) {
  context.strokeStyle = colours.grid;
  context.fillStyle = colours.text;
  context.lineWidth = 1;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  steps.forEach((step, n) => {
    const at = Math.round(y(step)) + 0.5;
    context.beginPath();
    context.moveTo(plot.left, at);
    context.lineTo(plot.left + plot.width, at);
    context.stroke();
    context.fillText(labels[n], plot.left - 8, at);
  });
}

function drawDates(context, { plot, slot, spec, colours }) {
  context.fillStyle = colours.text;
  context.textBaseline = 'top';
  const marks = spec.marks;
  const widths = marks.map(({ label }) => context.measureText(label).width);
  const apart = marks.length > 1 ? ((marks.at(-1).at - marks[0].at) / (marks.length - 1)) * slot : Infinity;
  const every = Math.max(1, Math.ceil((Math.max(0, ...widths) + 18) / apart));
  const right = plot.left + plot.width + 4;
  context.textAlign = 'center';
  context.strokeStyle = colours.text;
  // From the end, so that the newest has its label.
  for (let n = marks.length - 1; n >= 0; n -= every) {
    const half = widths[n] / 2;
    const middle = plot.left + (marks[n].at + (marks[n].begin ? 0 : 0.5)) * slot;
    const from = Math.min(Math.max(middle, half), right - half);
    context.fillText(marks[n].label, from, plot.top + plot.height + 8);
    context.beginPath();
    context.moveTo(Math.round(middle) + 0.5, plot.top + plot.height);
    context.lineTo(Math.round(middle) + 0.5, plot.top + plot.height + 4);
    context.stroke();
  }
}

function drawBars(context, { plot, slot, y, spec, colours }) {
  const gap = slot > 6 ? Math.min(12, Math.max(1, slot * 0.25)) : slot > 2.5 ? 1 : 0;
  const wide = Math.max(0.75, Math.min(slot - gap, 56));
  const base = plot.top + plot.height;
  const reached = new Float64Array(spec.buckets);
  spec.series.forEach((series, n) => {
    const colour = colourOf(series, n, colours);
    const hatch = hatched(context, colour, colours.back);
    let fill = null;
    for (let at = 0; at < spec.buckets; at += 1) {
      const value = series.values[at] ?? 0;
      if (!(value > 0)) continue;
      const [low, high] = [y(reached[at]), y(reached[at] + value)];
      reached[at] += value;
      const wanted = spec.open?.[at] ? hatch : colour;
      if (fill !== wanted) context.fillStyle = fill = wanted;
      const size = Math.max(low - high, base - high < 1 ? 1 : 0);
      context.fillRect(plot.left + at * slot + (slot - wide) / 2, low - size, wide, size > 3 && n && wide > 4 ? size - 0.5 : size);
    }
  });
}

const patterns = new Map();
/** Stripes of a colour: for what is not final. */
function hatched(context, colour, back) {
  const key = colour + back;
  if (!patterns.has(key)) {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 8;
    const brush = tile.getContext('2d');
    brush.fillStyle = back;
    brush.fillRect(0, 0, 8, 8);
    brush.globalAlpha = 0.25;
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 8, 8);
    brush.globalAlpha = 1;
    brush.strokeStyle = colour;
    brush.lineWidth = 2.5;
    for (const shift of [-8, 0, 8]) {
      brush.beginPath();
      brush.moveTo(shift - 1, 9);
      brush.lineTo(shift + 9, -1);
      brush.stroke();
    }
    patterns.set(key, context.createPattern(tile, 'repeat'));
  }
  return patterns.get(key);
}

function drawLines(context, { plot, slot, y, series, colours, buckets, open }) {
  context.lineWidth = 2;
  context.lineJoin = 'round';
  series.forEach((one, n) => {
    const colour = colourOf(one, n, colours);
    context.strokeStyle = context.fillStyle = colour;
    const point = at => [plot.left + (at + 0.5) * slot, y(one.values[at])];
    for (let at = 0; at < buckets; at += 1) {
      if (one.values[at] == null) continue;
      const before = at > 0 && one.values[at - 1] != null;
      if (before) {
        context.setLineDash(open?.[at] ? [4, 4] : []);
        context.beginPath();
        context.moveTo(...point(at - 1));
        context.lineTo(...point(at));
        context.stroke();
      }
      const alone = !before && one.values[at + 1] == null;
      if (alone || slot > 14) {
        context.beginPath();
        context.arc(...point(at), alone ? 3 : 2.5, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.setLineDash([]);
  });
}

/** The chart with a title, its legend and a line about what it shows, as a canvas of its own. */
export function picture(spec, colours, { title, note, width = 1200, height = 480 }) {
  const canvas = document.createElement('canvas');
  const scale = 2;
  const context = canvas.getContext('2d');
  context.font = FONT;
  const rows = legendRows(context, spec, width - 40);
  const foot = 24 + rows.length * 20;
  canvas.width = width * scale;
  canvas.height = (height + 80 + foot) * scale;
  context.scale(scale, scale);
  context.fillStyle = colours.back;
  context.fillRect(0, 0, width, canvas.height);
  context.fillStyle = colours.strong;
  context.textBaseline = 'top';
  context.textAlign = 'left';
  context.font = FONT.replace('12px', '600 18px');
  context.fillText(title, 20, 18);
  context.font = FONT;
  context.fillStyle = colours.text;
  context.fillText(note, 20, 46);
  context.translate(14, 72);
  draw(context, { width: width - 28, height }, spec, colours);
  context.textAlign = 'left';
  context.textBaseline = 'middle';
  rows.forEach((row, line) =>
    row.forEach(({ n, x }) => {
      const at = height + 22 + line * 20;
      context.fillStyle = colourOf(spec.series[n], n, colours);
      context.fillRect(x, at - 5, 10, 10);
      context.fillStyle = colours.strong;
      context.fillText(spec.series[n].name, x + 16, at);
    }),
  );
  return canvas;
}

function legendRows(context, spec, width) {
  const rows = [[]];
  let x = 6;
  spec.series.forEach((series, n) => {
    const wide = context.measureText(series.name).width + 36;
    if (x + wide > width && rows.at(-1).length) {
      rows.push([]);
      x = 6;
    }
    rows.at(-1).push({ n, x });
    x += wide;
  });
  return rows;
}
