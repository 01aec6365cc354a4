// Overview: what this month has cost, how much of it is final, how complete the picture is, what waits for somebody.
import { html } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { may, pageAddress, useCompleteness } from '../state.js';
import { fileName, highest, labels, MEASURES, numbers, openBuckets, places, rangeParams, spread, total } from '../series.js';
import { addMonths, dateIn, HOUR, now, recent, startOfDay } from '../time.js';
import { Decimal } from '../money.js';
import { count, exactMoney, money, percent, short } from '../format.js';
import { noUsage, Panel, Tile, Value } from '../parts/panel.js';
import { FigurePanel, finalColumn, timeColumn } from '../parts/chart.js';
import { t } from '../texts.js';

const EVERY = 30;

export default function Overview({ me, state }) {
  const { org, zone, range } = state;
  const every = state.polls ? EVERY : 0;
  const thisMonth = `${dateIn(now(), zone).slice(0, 7)}-01`;
  const months = useData(
    `months ${org} ${zone} ${thisMonth}`,
    ({ poll }) => get(ofOrg(org, 'usage'), { poll, params: { start: addMonths(thisMonth, -1), timezone: zone } }),
    { every },
  );
  useCompleteness(months.data);
  // Most ranges lie in these two months: then their days are there already.
  const within = range.start >= addMonths(thisMonth, -1);
  const apart = useData(
    `spend ${org} ${zone} ${range.start} ${range.end} ${within}`,
    ({ poll }) => (within ? null : get(ofOrg(org, 'usage'), { poll, params: rangeParams(range, zone) })),
    { every: within ? 0 : every },
  );
  const spend = within ? { ...months, data: months.data && daysOf(months.data, range, zone) } : apart;

  return html`
    <${Panel} className="bare" of=${months} zone=${zone} lines=4>${report => html`<${Tiles} report=${report} thisMonth=${thisMonth}
      me=${me} state=${state} />`}<//>
    <${FigurePanel} title=${t.overview.byDay} note=${t.overview.byDayNote} of=${spend} zone=${zone}
      make=${report => chartOf(report, state)} fileName=${fileName('spend', state)}
      empty=${report => report.series.length === 0 && noUsage(state)}
      actions=${html`<a class="button small" href=${pageAddress(state, 'usage')}>${t.overview.explore}</a>`} />
    <${Largest} state=${state} every=${every} />`;
}

/** The part of a report that is of a range. */
function daysOf(report, range, zone) {
  const dates = point => dateIn(Date.parse(point.bucketStart), zone);
  const series = report.series.filter(point => dates(point) >= range.start && dates(point) < range.end);
  return { ...report, series, totals: { costEstimateCents: Decimal.sum(series.map(point => point.costEstimateCents)) } };
}

function Tiles({ report, thisMonth, me, state }) {
  const { zone } = state;
  const inMonth = point => dateIn(Date.parse(point.bucketStart), zone) >= thisMonth;
  const current = report.series.filter(inMonth);
  const before = report.series.filter(point => !inMonth(point));
  const sum = points => Decimal.sum(points.map(point => point.costEstimateCents));
  const final = sum(current.filter(point => point.final));
  const open = sum(current.filter(point => !point.final));
  const lastMonthFinal = before.every(point => point.final) && monthIsFinal(report, thisMonth, zone);
  return html`
    <div class="tiles">
      <${Tile} label=${t.overview.thisMonth} value=${money(final.plus(open))} title=${exactMoney(final.plus(open))}
        hint=${`${t.overview.finalPart(exactMoney(final))} · ${t.overview.openPart(exactMoney(open))}`} tone="lead" />
      <${Tile} label=${t.overview.lastMonth} value=${money(sum(before))} title=${exactMoney(sum(before))}
        hint=${html`${lastMonthFinal ? t.final : t.overview.notFinal} · <a
          href=${pageAddress(state, 'trust', { range: 'last-month', start: undefined, end: undefined })}>${t.overview.changed}</a>`} />
      <${Tile} label=${t.overview.requests} value=${count(total(current, 'invocations'))}
        hint=${t.overview.tokens(short(total(current, 'inputTokens')), short(total(current, 'outputTokens')))} />
      <${Tile} label=${t.overview.complete} value=${recent(report.asOf, zone)}
        hint=${html`${t.complete.status[report.freshness.status]} · <a href=${pageAddress(state, 'trust')}>${t.overview.why}</a>`}
          tone=${report.freshness.status} />
      ${may(me, 'dead-letters') && html`<${OpenLetters} state=${state} />`}
    </div>`;
}

const LARGEST = 5;
/** The models that cost most in the range, and everything else. */
function Largest({ state, every }) {
  const { org, zone, range } = state;
  const of = useData(
    `largest ${org} ${zone} ${range.start} ${range.end}`,
    ({ poll }) =>
      get(ofOrg(org, 'attribution'), { poll, params: { ...rangeParams(range, zone), groupBy: 'modelId', top: LARGEST } }),
    { every },
  );
  return html`<${Panel} title=${t.overview.largest} note=${t.overview.largestNote} of=${of} zone=${zone}
    empty=${({ groups }) => groups.length === 0 && t.usage.empty}>
    ${report => {
      const all = report.totals.costEstimateCents;
      const rest = report.groups.reduce((left, group) => left.minus(group.totals.costEstimateCents), all);
      const line = (name, cents, rest) => {
        const part = all.isZero ? 0 : cents.toNumber() / all.toNumber();
        return html`<li class=${rest ? 'quiet' : null}><span>${name}</span><span class="bar">
          <i class=${rest ? 'rest' : null} style=${{ width: `${part * 100}%` }}></i></span>
          <b title=${exactMoney(cents)}>${money(cents)}</b><span>${percent(part)}</span></li>`;
      };
      return html`<ul class="largest">
        ${report.groups.map(group => line(html`<${Value} id=${group.key.modelId} name=${group.names.modelId}
          none=${t.none('modelId')} />`, group.totals.costEstimateCents))}
        ${!rest.isZero && line(t.usage.rest, rest, true)}</ul>`;
    }}<//>`;
}

/** Whether the month before is over by an hour, and by the hour that it ends in: then a day without events is final too. */
export const monthIsFinal = (report, thisMonth, zone) =>
  !!report.asOf && Math.floor(Date.parse(report.asOf) / HOUR - 1) * HOUR >= startOfDay(thisMonth, zone);

const MOST = 200;
function OpenLetters({ state }) {
  const found = useData(
    `open ${state.org}`,
    ({ poll }) => get(ofOrg(state.org, 'dead-letters'), { poll, params: { state: 'open', limit: MOST } }),
    { every: state.polls ? EVERY : 0 },
  );
  const letters = found.data?.deadLetters;
  const value = letters ? (found.data.nextCursor ? `${count(MOST)}+` : count(letters.length)) : found.problem ? '–' : '…';
  return html`<${Tile} label=${t.overview.openLetters} value=${value} href=${pageAddress(state, 'dead-letters', { state: 'open' })}
    hint=${letters && (letters.length ? t.overview.lettersHint : t.overview.noLetters)} tone=${letters?.length ? 'warn' : ''} />`;
}

function chartOf(report, { range, zone }) {
  const at = places(range, 'day', zone, report.series);
  const row = spread(report.series, at);
  const measure = MEASURES.costEstimateCents;
  const values = numbers(row, 'costEstimateCents');
  const shown = labels(at.times, 'day', zone);
  const open = openBuckets(row);
  const top = highest(values);
  return {
    spec: {
      kind: 'bars',
      buckets: at.times.length,
      series: [{ name: t.measures.costEstimateCents, values }],
      open,
      yLabel: measure.axis,
      ...shown,
      tip: n => measure.text(row[n]?.costEstimateCents),
      totals: n =>
        row[n] ? `${measure.text(row[n].costEstimateCents)} · ${t.usage.requests(count(row[n].invocations))}` : t.chart.nothing,
    },
    summary: t.chart.summary({
      buckets: t.chart.days(at.times.length),
      total: money(report.totals.costEstimateCents),
      top: top < 0 ? '' : shown.title(top),
      most: top < 0 ? '' : measure.text(row[top].costEstimateCents),
      open: open.filter(Boolean).length,
    }),
    table: () => ({
      rows: row.map((point, n) => ({ time: at.times[n], ...point })).filter(point => point.bucketStart),
      sort: 'time',
      columns: [
        timeColumn(point => point.time, 'day', zone),
        {
          key: 'costEstimateCents',
          label: t.measures.costEstimateCents,
          file: 'costEstimateCents',
          right: true,
          value: point => point.costEstimateCents,
          cell: point => exactMoney(point.costEstimateCents),
        },
        ...['invocations', 'inputTokens', 'outputTokens'].map(key => ({
          key,
          label: t.measures[key],
          file: key,
          right: true,
          value: point => point[key],
          cell: point => count(point[key]),
        })),
        finalColumn(point => point),
      ],
      rowKey: point => point.time,
    }),
  };
}
