// Trust: how complete the numbers are, whether the ledger balances, what changed after it was final, what became of one event.
import { html, useState } from '../view.js';
import { get, ofOrg, useData } from '../api.js';
import { setQuery } from '../router.js';
import { isUuid, may, pageAddress, useCompleteness } from '../state.js';
import { fileName, highest, labels, rangeParams, places, spread } from '../series.js';
import { daysBetween, HOUR, hour, moment, now, rangeLabel, recent, startOfDay } from '../time.js';
import { count, seconds } from '../format.js';
import { BalanceBadge, Panel, Tile } from '../parts/panel.js';
import { FigurePanel } from '../parts/chart.js';
import { Fate } from '../parts/fate.js';
import { useNames } from '../parts/names.js';
import { Revisions } from '../parts/revisions.js';
import { t } from '../texts.js';

const EVERY = 15;
const HOURS = 72;
const MOST_DAYS = 90;

export default function Trust({ me, state }) {
  const { org, zone, range } = state;
  const every = state.polls ? EVERY : 0;
  const recentHours = useData(
    `final ${org}`,
    ({ poll }) => {
      const since = Math.floor(now() / HOUR - HOURS) * HOUR;
      return get(ofOrg(org, 'usage'), { poll, params: { start: new Date(since).toISOString(), granularity: 'hour', fill: 'zero' } });
    },
    { every },
  );
  useCompleteness(recentHours.data);
  const nameOf = useNames(org, 'modelId');
  const long = daysBetween(range.start, range.end) > MOST_DAYS;
  const ledger = useData(
    `ledger ${org} ${zone} ${range.start} ${range.end}`,
    ({ poll }) => (long ? null : get(ofOrg(org, 'ledger'), { poll, params: rangeParams(range, zone) })),
    { every: long ? 0 : every },
  );
  return html`
    <${Panel} className="bare" of=${recentHours} zone=${zone} lines=4>${report => html`<${Completeness} report=${report}
      range=${state.range} zone=${zone} />`}<//>
    ${may(me, 'reliability') && html`<${EventLookup} key=${state.query.event} state=${state} me=${me} nameOf=${nameOf} />`}
    <${FigurePanel} title=${t.trust.ledger} note=${t.trust.ledgerNote} of=${ledger} zone=${zone}
      fileName=${fileName('ledger', state)} height=${200}
      empty=${report => (report === null || report.hours.length === 0) && noMessages(report, state)}
      make=${report => ledgerChart(report, state)} foot=${report => html`<${Balance} report=${report} me=${me} state=${state} />`} />
    <${Revisions} state=${state} nameOf=${nameOf} />`;
}

/** No message, or more days than a ledger has; with a link to as many as it may have. */
function noMessages(report, state) {
  const longest =
    state.range.range !== `${MOST_DAYS}d` &&
    html`<a href=${pageAddress(state, 'trust', { range: `${MOST_DAYS}d`, start: '', end: '' })}>${t.trust.longest(MOST_DAYS)}</a>`;
  return report
    ? { title: t.trust.noMessages, hint: html`${t.trust.noMessagesHint} ${longest}` }
    : { title: t.trust.tooLong(MOST_DAYS), hint: longest };
}

/**
 * Up to when the numbers are final: the hours are without a hole, so the first that is open says it. Where that is the first of all, it
 * is not known: hours before it may be open too.
 */
export function finalTo({ series, range }) {
  const open = series.findIndex(point => !point.final);
  return open < 0 ? range.end : series[open - 1] && series[open].bucketStart;
}

function Completeness({ report, range, zone }) {
  const { asOf, freshness } = report;
  const final = asOf && finalTo(report);
  const whole = final && startOfDay(range.end, zone) <= Date.parse(final);
  return html`
    <div class="tiles">
      <${Tile} label=${t.trust.completeTo} value=${recent(asOf, zone)}
        hint=${asOf ? t.complete.lag(seconds(freshness.lagSeconds)) : t.complete.unknown} tone=${freshness.status} />
      <${Tile} label=${t.trust.finalTo} value=${final ? hour(final, zone) : '–'} hint=${(whole ? t.trust.rangeFinal : t.trust.rangeOpen)(rangeLabel(range))} />
      <${Tile} label=${t.trust.lastEvent} value=${recent(freshness.lastEventAt, zone)} hint=${t.trust.lastEventHint} />
    </div>
    <p class="explain">${asOf ? t.trust.meaning(moment(asOf, zone), final ? hour(final, zone) : undefined, HOURS) : t.trust.unknownMeaning}</p>`;
}

const KINDS = ['stored', 'duplicates', 'rejected'];
function ledgerChart(report, { range, zone }) {
  const points = report.hours.map(found => ({ ...found, bucketStart: found.hour }));
  const wide = daysBetween(range.start, range.end) > 14;
  const days = wide ? byDay(points, range, zone) : undefined;
  const granularity = wide ? 'day' : 'hour';
  const at = days?.at ?? places(range, 'hour', zone, points);
  const row = days?.row ?? spread(points, at);
  const series = KINDS.map((kind, n) => ({
    name: t.ledger[kind],
    colour: ['ok', 'rest', 'bad'][n],
    values: row.map(point => point?.[kind] ?? 0),
  }));
  const shown = labels(at.times, granularity, zone);
  const sums = row.map(point => point?.received ?? 0);
  const top = highest(sums);
  return {
    spec: {
      kind: 'bars',
      buckets: at.times.length,
      series,
      yLabel: count,
      ...shown,
      tip: (n, s) => count(series[s].values[n]),
      totals: n =>
        row[n]
          ? `${t.ledger.receivedOf(count(row[n].received))} · ${row[n].balanced ? t.ledger.balanced : t.ledger.unbalanced}`
          : t.chart.nothing,
    },
    summary: t.ledger.summary(count(report.totals.received), report.totals.balanced, top < 0 ? '–' : shown.title(top)),
    table: () => ({
      rows: report.hours,
      rowKey: one => one.hour,
      sort: '-hour',
      columns: [
        {
          key: 'hour',
          time: true,
          label: t.ledger.hour,
          file: 'hour_utc',
          value: one => one.hour,
          cell: one => hour(one.hour, zone),
        },
        ...['received', ...KINDS, 'conflicts', 'late'].map(key => ({
          key,
          label: t.ledger[key],
          right: true,
          value: one => one[key],
          cell: one => count(one[key]),
        })),
        {
          key: 'balanced',
          label: t.ledger.balance,
          value: one => String(one.balanced),
          cell: one => html`<${BalanceBadge} holds=${one.balanced} />`,
        },
      ],
    }),
  };
}

/** Hours that are many are drawn by day; the table has the hours. */
function byDay(points, range, zone) {
  const at = places(range, 'day', zone, []);
  const row = new Array(at.times.length);
  for (const point of points) {
    const time = Date.parse(point.bucketStart);
    let n = at.times.findIndex((start, i) => start <= time && (at.times[i + 1] ?? Infinity) > time);
    if (n < 0) n = 0;
    const into = (row[n] ??= { received: 0, stored: 0, duplicates: 0, rejected: 0, balanced: true });
    for (const key of ['received', ...KINDS]) into[key] += point[key];
    into.balanced &&= point.balanced;
  }
  return { at, row };
}

function Balance({ report, me, state }) {
  const { totals } = report;
  return html`
    <p class="balance" role="note">
      <${BalanceBadge} holds=${totals.balanced} />
      <span><b>${count(totals.received)}</b> ${t.ledger.received.toLowerCase()} = <b>${count(totals.stored)}</b> ${t.ledger.stored.toLowerCase()} + <b>${count(totals.duplicates)}</b> ${t.ledger.duplicates.toLowerCase()} + <b>${count(totals.rejected)}</b> ${t.ledger.rejected.toLowerCase()}</span>
      <span class="quiet">${t.ledger.ofThese(count(totals.conflicts), count(totals.late))}</span>
    </p>
    ${
      totals.rejected > 0 &&
      html`<p class="quiet">${t.ledger.rejectedHint} ${
        may(me, 'dead-letters') && html`<a href=${pageAddress(state, 'dead-letters')}>${t.ledger.toRejected}</a>`
      }</p>`
    }
    ${report.unreadSince && html`<p class="notice warn">${t.ledger.unread(moment(report.unreadSince, state.zone))}</p>`}`;
}

function EventLookup({ me, state, nameOf }) {
  const [text, setText] = useState(state.query.event ?? '');
  const [wrong, setWrong] = useState(!!state.query.event && !isUuid(state.query.event));
  const wanted = isUuid(state.query.event) ? state.query.event : undefined;
  const find = event => {
    event.preventDefault();
    setWrong(!isUuid(text.trim()));
    if (isUuid(text.trim())) setQuery({ event: text.trim().toLowerCase() });
  };
  return html`<${Panel} title=${t.event.title} note=${t.event.note}>
    <form class="inline-form" onSubmit=${find} role="search">
      <label class="field grow"><span>${t.event.id}</span><input type="text" class="code" spellcheck=${false} autocomplete="off"
        value=${text} aria-invalid=${wrong} aria-describedby=${wrong ? 'event-wrong' : null}
          onInput=${event => setText(event.target.value)} placeholder="00000000-0000-0000-0000-000000000000" /></label>
      <button class="primary">${t.event.find}</button>
    </form>
    ${wrong && html`<p class="error" id="event-wrong" role="alert">${t.event.notAnId}</p>`}
    ${wanted && !wrong && html`<${Fate} key=${wanted} state=${state} me=${me} eventId=${wanted} nameOf=${nameOf} />`}
  <//>`;
}
