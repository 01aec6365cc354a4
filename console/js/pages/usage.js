// Spend & usage: by day or hour, by model, client, team; the largest apart, everything else beside them; and the period before.
import { html } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { setQuery } from '../router.js';
import { useCompleteness } from '../state.js';
import { beyondDays, fileName, highest, labels, MEASURES, numbers, openBuckets, places, rangeParams, restOf, spread } from '../series.js';
import { daysBetween, HOUR, now, previousRange, rangeLabel, startOfDay } from '../time.js';
import { plain, subtract } from '../money.js';
import { label } from '../format.js';
import { Choice, Failure, noUsage, Panel, Tile } from '../parts/panel.js';
import { bucketTable, FigurePanel } from '../parts/chart.js';
import { Groups, Changed } from '../parts/groups.js';
import { t } from '../texts.js';

const EVERY = 30;
const MOST_HOURS_DAYS = 90;
/** Ranges that are shown by hour unless the address says otherwise. */
const FEW_DAYS = 2;
/** As many as a page of the API has. */
const MOST_GROUPS = 1000;
const TOPS = [5, 10, 25];
const ORDER = {
  __proto__: null,
  costEstimateCents: 'cost',
  invocations: 'invocations',
  inputTokens: 'inputTokens',
  outputTokens: 'outputTokens',
};

/** As other pages call these. */
const ALSO_CALLED = { __proto__: null, model: 'modelId', client: 'clientId' };

/** What the address says about this page. */
export function choices({ query, range, zone }) {
  const days = daysBetween(range.start, range.end);
  // Hours are those of UTC: where days begin within one, they are of other days too.
  const fits = days <= FEW_DAYS && startOfDay(range.start, zone) % HOUR === 0;
  const hours = (query.granularity ?? (fits ? 'hour' : 'day')) === 'hour' && days <= MOST_HOURS_DAYS;
  return {
    measure: ORDER[query.measure] ? query.measure : 'costEstimateCents',
    by: query.by === 'none' ? null : (ALSO_CALLED[query.by] ?? query.by) || 'modelId',
    granularity: hours ? 'hour' : 'day',
    top: TOPS.includes(Number(query.top)) ? Number(query.top) : 10,
    compare: query.compare === '1',
  };
}

export default function Usage({ me, state }) {
  const chosen = choices(state);
  const { measure, by, granularity, top, compare } = chosen;
  const { org, zone, range } = state;
  const key = [org, zone, range.start, range.end, granularity, by, measure, top].join(' ');
  const of = useData(key, ({ poll }) => load({ org, zone, range, ...chosen }, poll), { every: state.polls ? EVERY : 0 });
  useCompleteness(of.data?.usage);
  const before = previousRange(range);
  const earlier = useData(
    `${key} before ${compare}`,
    async ({ poll }) => (compare ? loadTotals({ org, zone, range: before, ...chosen }, poll) : null),
    {},
  );

  return html`
    <${Controls} state=${state} chosen=${chosen} />
    <${Totals} of=${of} earlier=${compare ? earlier : undefined} before=${before} range=${range} zone=${zone} />
    <${FigurePanel} title=${t.usage.chart(t.measures[measure], granularity, by && t.by(by))} of=${of} zone=${zone}
      make=${data => chartOf(data, state, chosen)} fileName=${fileName('usage', state)}
      empty=${({ usage }) => usage.series.length === 0 && noUsage(state)} height=${300} />
    ${by && html`<${Groups} me=${me} state=${state} chosen=${chosen} of=${of} earlier=${compare ? earlier : undefined}
      before=${before} />`}`;
}

async function load({ org, zone, range, by, measure, granularity, top }, poll) {
  const common = { ...rangeParams(range, zone), granularity };
  const [usage, groups] = await Promise.all([
    get(ofOrg(org, 'usage'), { poll, params: common }),
    by ? loadGroups(org, { ...common, groupBy: by, orderBy: ORDER[measure], top }, poll) : null,
  ]);
  return { usage, groups: groups?.problem ? null : groups, refused: groups?.problem, asOf: usage.asOf };
}

/** Where no sums are kept by this, or not since then, usage is shown all the same. */
async function loadGroups(org, params, poll) {
  try {
    return await get(ofOrg(org, 'attribution'), { poll, params });
  } catch (problem) {
    if (problem.status === 400) return { problem };
    throw problem;
  }
}

async function loadTotals({ org, zone, range, by, measure }, poll) {
  const [usage, groups] = await Promise.all([
    get(ofOrg(org, 'usage'), { poll, params: rangeParams(range, zone) }),
    by ? loadGroups(org, { ...rangeParams(range, zone), groupBy: by, orderBy: ORDER[measure], top: MOST_GROUPS }, poll) : null,
  ]);
  return { usage, groups: groups?.problem ? null : groups };
}

function Controls({ state, chosen }) {
  const { measure, by, granularity, top, compare } = chosen;
  const sets = useData(`dimensions ${state.org}`, () => get(ofOrg(state.org, 'attribution', 'dimensions')));
  const known = [...new Set((sets.data?.sets ?? []).flatMap(set => set.dimensions))];
  const dimensions = known.includes(by) || !by ? known : [by, ...known];
  const tooLong = daysBetween(state.range.start, state.range.end) > MOST_HOURS_DAYS && t.usage.tooLongForHours(MOST_HOURS_DAYS);
  const set = values => setQuery({ ...values, sort: undefined });
  return html`
    <div class="toolbar no-print">
      <label class="control"><span class="control-label">${t.usage.measure}</span>
        <select value=${measure}
          onChange=${event => set({ measure: event.target.value })}>${Object.keys(ORDER).map(one => html`<option
            value=${one}>${t.measures[one]}</option>`)}</select></label>
      <label class="control"><span class="control-label">${t.usage.by}</span>
        <select value=${by ?? 'none'} onChange=${event => set({ by: event.target.value })}>
          <option value="none">${t.usage.noGroups}</option>
          ${dimensions.map(one => html`<option value=${one}>${t.by(one)}</option>`)}</select></label>
      ${
        by &&
        html`<label class="control"><span class="control-label">${t.usage.top}</span>
        <select value=${top} onChange=${event => set({ top: event.target.value })}>${TOPS.map(one => html`<option
          value=${one}>${t.usage.topN(one)}</option>`)}</select></label>`
      }
      <${Choice} label=${t.granularity.label} value=${granularity} options=${[
        ['day', t.granularity.day],
        ['hour', t.granularity.hour, tooLong],
      ]} onChange=${one => set({ granularity: one })} />
      <label class="check"><input type="checkbox" checked=${compare}
        onChange=${event => setQuery({ compare: event.target.checked ? '1' : undefined })} /> ${t.usage.compare}</label>
    </div>`;
}

function Totals({ of, earlier, before, range, zone }) {
  return html`<${Panel} className="bare" of=${of} zone=${zone} lines=4>${({ usage }) => {
    const { totals, final } = usage;
    const was = earlier?.data?.usage.totals;
    const beyond = beyondDays(usage, range, zone);
    const tile = (
      measure,
      extra,
    ) => html`<${Tile} label=${t.measures[measure]} value=${MEASURES[measure].text(totals[measure])}
      title=${MEASURES[measure].exact(totals[measure])}
      hint=${earlier ? (was ? html`<${Changed} before=${was[measure]} after=${totals[measure]}
        measure=${measure} />` : earlier.problem ? '–' : '…') : extra} />`;
    return html`${beyond && html`<p class="notice">${beyond}</p>`}<div class="tiles">
      ${tile('costEstimateCents', final ? t.usage.allFinal : t.usage.someOpen)}
      ${tile('invocations')}${tile('inputTokens')}${tile('outputTokens')}
    </div>${earlier && html`<p class="quiet">${t.usage.comparedWith(rangeLabel(before), startOfDay(range.end, zone) <= now())}</p>`}
    ${earlier?.problem && html`<${Failure} problem=${earlier.problem} reload=${earlier.reload} />`}`;
  }}<//>`;
}

function chartOf({ usage, groups }, { range, zone }, { measure, by, granularity }) {
  const at = places(range, granularity, zone, usage.series);
  const whole = spread(usage.series, at);
  const { text, axis } = MEASURES[measure];
  const series = (groups?.groups ?? []).map(group => {
    const row = spread(group.series ?? [], at);
    return { name: label(group.key[by], group.names?.[by], t.none(by)), row, values: numbers(row, measure) };
  });
  if (groups) {
    const rest = whole.map((point, n) => {
      if (!point) return null;
      const left = series.reduce((left, { row }) => (row[n] ? subtract(left, row[n][measure]) : left), point[measure]);
      return plain(left) > 0 ? left : null;
    });
    // What is not summed by these yet is among it.
    const beside = groups.totals.invocations === usage.totals.invocations ? restOf(groups, by) : [];
    const name = beside.length === 1 ? beside[0].name : t.usage.rest;
    if (rest.some(value => value !== null)) series.push({ name, colour: 'rest', rest, values: rest.map(plain) });
  } else {
    series.push({ name: t.measures[measure], row: whole, values: numbers(whole, measure) });
  }
  const sums = numbers(whole, measure);
  const shown = labels(at.times, granularity, zone);
  const open = openBuckets(whole);
  const top = highest(sums);
  const figure = (n, s) => (series[s].rest ? series[s].rest[n] : series[s].row[n]?.[measure]);
  return {
    spec: {
      kind: 'bars',
      buckets: at.times.length,
      series,
      open,
      yLabel: axis,
      ...shown,
      tip: (n, s) => text(figure(n, s)),
      totals: n => (whole[n] ? text(whole[n][measure]) : t.chart.nothing),
    },
    summary: t.chart.summary({
      buckets: t.chart.count(at.times.length, granularity),
      total: text(usage.totals[measure]),
      top: top < 0 ? '' : shown.title(top),
      most: top < 0 ? '' : text(whole[top][measure]),
      open: open.filter(Boolean).length,
    }),
    table: () => bucketTable({ at, whole, series, figure, measure, granularity, zone }),
  };
}
