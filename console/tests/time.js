// Days of zones, whatever their clocks do; ranges and what they are compared with.
import { addMonths, buckets, dateIn, isZone, offset, previousRange, resolveRange, startOfDay } from '../js/time.js';

const at = text => Date.parse(text);
const iso = ms => new Date(ms).toISOString();

export default equal => ({
  a_day_begins_with_its_first_moment_in_the_zone() {
    equal(iso(startOfDay('2026-11-27', 'UTC')), '2026-11-27T00:00:00.000Z');
    equal(iso(startOfDay('2026-11-27', 'Asia/Kolkata')), '2026-11-26T18:30:00.000Z');
    equal(iso(startOfDay('2026-11-27', 'America/Los_Angeles')), '2026-11-27T08:00:00.000Z');
    equal(iso(startOfDay('2026-11-27', 'Pacific/Apia')), '2026-11-26T11:00:00.000Z');
    // Beirut's clocks go forward at midnight: the day begins at 01:00.
    equal(iso(startOfDay('2026-03-29', 'Asia/Beirut')), '2026-03-28T22:00:00.000Z');
  },
  a_day_has_23_or_25_hours_where_clocks_are_changed() {
    const length = (date, next, zone) => (startOfDay(next, zone) - startOfDay(date, zone)) / 3_600_000;
    equal(length('2026-03-08', '2026-03-09', 'America/Los_Angeles'), 23);
    equal(length('2026-11-01', '2026-11-02', 'America/Los_Angeles'), 25);
    equal(length('2026-10-25', '2026-10-26', 'Europe/Berlin'), 25);
  },
  a_date_that_a_zone_skipped_is_no_bucket() {
    // Samoa crossed the date line: there was no 30 December 2011.
    const found = buckets({ start: '2011-12-29', end: '2012-01-01' }, 'day', 'Pacific/Apia');
    equal(found.map(iso), ['2011-12-29T10:00:00.000Z', '2011-12-30T10:00:00.000Z']);
  },
  hours_are_hours_of_utc_in_every_zone() {
    const found = buckets({ start: '2026-11-27', end: '2026-11-28' }, 'hour', 'Asia/Kolkata');
    equal([found.length, iso(found[0]), iso(found.at(-1))], [25, '2026-11-26T18:00:00.000Z', '2026-11-27T18:00:00.000Z']);
    equal(buckets({ start: '2026-11-01', end: '2026-11-02' }, 'hour', 'America/Los_Angeles').length, 25);
  },
  today_is_that_of_the_zone() {
    equal(dateIn(at('2026-11-30T23:30:00Z'), 'Europe/Berlin'), '2026-12-01');
    equal(dateIn(at('2026-11-30T23:30:00Z'), 'America/Los_Angeles'), '2026-11-30');
  },
  ranges_end_with_today() {
    const now = at('2026-11-30T12:00:00Z');
    equal(resolveRange({ range: '7d' }, 'UTC', now), { range: '7d', start: '2026-11-24', end: '2026-12-01' });
    equal(resolveRange({ range: 'yesterday' }, 'UTC', now), { range: 'yesterday', start: '2026-11-29', end: '2026-11-30' });
    equal(resolveRange({ range: 'month' }, 'Pacific/Apia', at('2026-11-30T12:00:00Z')), {
      range: 'month',
      start: '2026-12-01',
      end: '2026-12-02',
    });
    equal(resolveRange({ range: 'last-month' }, 'UTC', now), { range: 'last-month', start: '2026-10-01', end: '2026-11-01' });
    equal(resolveRange({ range: '12m' }, 'UTC', now).start, '2025-12-01');
    equal(resolveRange({ start: '2026-11-01', end: '2026-11-08' }, 'UTC', now), {
      range: 'custom',
      start: '2026-11-01',
      end: '2026-11-08',
    });
    equal(resolveRange({ start: '2026-11-08', end: '2026-11-01' }, 'UTC', now).range, '28d');
  },
  a_range_is_compared_with_as_many_days_before() {
    equal(previousRange({ range: '7d', start: '2026-11-24', end: '2026-12-01' }), { start: '2026-11-17', end: '2026-11-24' });
    equal(previousRange({ range: 'month', start: '2026-11-01', end: '2026-11-11' }), { start: '2026-10-01', end: '2026-10-11' });
    equal(previousRange({ range: 'month', start: '2026-03-01', end: '2026-04-01' }), { start: '2026-02-01', end: '2026-03-01' });
    equal(previousRange({ range: 'last-month', start: '2026-10-01', end: '2026-11-01' }), {
      start: '2026-09-01',
      end: '2026-10-01',
    });
  },
  months_are_added_over_years() {
    equal([addMonths('2026-01-31', -1), addMonths('2026-12-05', 1)], ['2025-12-01', '2027-01-01']);
  },
  offsets_are_those_of_the_moment() {
    equal(offset(at('2026-01-15T00:00:00Z'), 'America/Los_Angeles'), 'UTC−08:00');
    equal(offset(at('2026-07-15T00:00:00Z'), 'Asia/Kolkata'), 'UTC+05:30');
    equal(offset(at('2026-07-15T00:00:00Z'), 'UTC'), 'UTC');
  },
  zones_are_names_only() {
    equal([isZone('Europe/Berlin'), isZone('UTC'), isZone('+01:00'), isZone('Nowhere')], [true, true, false, false]);
  },
});
