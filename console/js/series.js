// From series of the API to what charts draw: one place for each bucket, also where nothing happened.
import { add, plain } from './money.js';
import { addDays, buckets, clock, dateIn, day, HOUR, hour, longDay, month, startOfDay } from './time.js';
import * as format from './format.js';
import { t } from './texts.js';

/** What is counted: how each is written. */
export const MEASURES = {
  costEstimateCents: { text: format.money, axis: format.shortMoney, exact: format.exactMoney },
  invocations: { text: format.count, axis: format.short, exact: format.count },
  inputTokens: { text: format.count, axis: format.short, exact: format.count },
  outputTokens: { text: format.count, axis: format.short, exact: format.count },
  errors: { text: format.count, axis: format.short, exact: format.count },
};

/** The buckets of a range with their places. What the API has beside them gets a place too. */
export function places(range, granularity, zone, points) {
  const times = new Set(buckets(range, granularity, zone));
  for (const point of points) times.add(Date.parse(point.bucketStart));
  const sorted = [...times].sort((a, b) => a - b);
  return { times: sorted, place: new Map(sorted.map((time, n) => [time, n])) };
}

/** The points by place. */
export function spread(points, { times, place }) {
  const row = new Array(times.length);
  for (const point of points) row[place.get(Date.parse(point.bucketStart))] = point;
  return row;
}

export const numbers = (row, measure) => row.map(point => (point ? plain(point[measure]) : 0));

/** The marks of the axis, and titles of buckets: of many hours the days are marked, of many days the months. */
export function labels(times, granularity, zone) {
  const all = times.map((_, at) => at);
  const begins = (at, part) => at > 0 && part(dateIn(times[at], zone)) !== part(dateIn(times[at - 1], zone));
  const mark = (places, text, begin) => places.map(at => ({ at, label: text(times[at], zone), begin }));
  const [hours, many] = [granularity === 'hour', times.length > (granularity === 'hour' ? 30 : 70)];
  const marks = !many
    ? mark(all, hours ? clock : day)
    : hours
      ? mark(
          all.filter(at => begins(at, date => date)),
          day,
          true,
        )
      : mark(
          all.filter(at => begins(at, date => date.slice(0, 7))),
          month,
          true,
        );
  return {
    marks,
    title: at =>
      granularity === 'hour' ? `${hour(times[at], zone)}–${clock(times[at] + HOUR, zone)}` : longDay(times[at], zone),
  };
}

/** The sum of a measure, exactly. */
export const total = (points, measure) => points.reduce((sum, point) => (point ? add(sum, point[measure]) : sum), 0);

/** Where most was: the latest of several that are equal, as in the API's `highlight`; -1 where there was nothing. */
export const highest = values => values.reduce((found, value, at) => (value > 0 && value >= (values[found] ?? 0) ? at : found), -1);

/** Where the events are that no group of a response of attribution has: each place with its name. */
export function restOf({ other, unattributed, overflow }, by) {
  return [
    other.groups > 0 && { name: t.groups.other(format.count(other.groups)), totals: other.totals },
    unattributed.totals.invocations > 0 && { name: t.none(by), totals: unattributed.totals },
    overflow.totals.invocations > 0 && { name: t.groups.overflow, totals: overflow.totals },
  ].filter(Boolean);
}

/** A bucket is open where the API says that it may still grow. */
export const openBuckets = row => row.map(point => !!point && !point.final);

/** The first part of a file's name: what it is of, and its first and last day. */
export const fileName = (what, { org, range }) =>
  [what, org?.slice(0, 8), ...new Set([range.start, addDays(range.end, -1)])].join('-');

/** The parameters of a range of the page. */
export const rangeParams = (range, zone) => ({ start: range.start, end: range.end, timezone: zone });

/** Hours of UTC reach beyond the days of some zones, and what is shown is of these hours: from when to when. Else nothing. */
export function beyondDays({ range: { start, end } }, range, zone) {
  const same = Date.parse(start) === startOfDay(range.start, zone) && Date.parse(end) === startOfDay(range.end, zone);
  return same ? undefined : t.usage.wholeHours(hour(start, zone), hour(end, zone));
}
