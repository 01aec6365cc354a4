// What pages make of addresses and of reports.
import { monthIsFinal } from '../js/pages/overview.js';
import { choices } from '../js/pages/usage.js';
import { beyondDays } from '../js/series.js';
import { byValue } from '../js/parts/causes.js';
import { gone } from '../js/parts/groups.js';
import { Decimal } from '../js/money.js';

export default equal => ({
  what_spent_before_and_does_no_more_is_listed_with_nothing() {
    const group = (id, invocations) => ({ key: { modelId: id }, totals: { invocations, costEstimateCents: Decimal.of('1.5') } });
    const earlier = { groups: [group('a', 1), group('b', 2)] };
    const found = others => gone({ groups: [group('a', 3)], other: { groups: others } }, earlier, 'modelId');
    equal(found(0).map(({ key, totals }) => [key.modelId, totals.invocations, totals.costEstimateCents.toString()]), [['b', 0, '0']]);
    equal(found(1), []);
  },
  last_month_is_final_an_hour_after_its_end_in_the_zone() {
    const final = (asOf, zone) => monthIsFinal({ asOf }, '2026-11-01', zone);
    // A pipeline that is behind: this month has begun, and the last day of the one before is still open.
    equal([final('2026-10-31T12:00:00Z', 'UTC'), final('2026-11-01T00:59:59Z', 'UTC'), final('2026-11-01T01:00:00Z', 'UTC')], [
      false,
      false,
      true,
    ]);
    equal([final('2026-10-31T11:00:00Z', 'Pacific/Apia'), final('2026-10-31T12:00:00Z', 'Pacific/Apia')], [false, true]);
    equal([final('2026-11-01T07:59:00Z', 'America/Los_Angeles'), final('2026-11-01T08:00:00Z', 'America/Los_Angeles')], [false, true]);
    // It ends at 18:30 UTC, within an hour.
    equal([final('2026-10-31T19:59:59Z', 'Asia/Kolkata'), final('2026-10-31T20:00:00Z', 'Asia/Kolkata')], [false, true]);
    equal(final(null, 'UTC'), false);
  },
  hours_beyond_the_days_of_a_zone_are_named() {
    const range = { start: '2026-11-29', end: '2026-11-30' };
    const of = (start, end, zone) => beyondDays({ range: { start, end } }, range, zone);
    equal(of('2026-11-29T00:00:00Z', '2026-11-30T00:00:00Z', 'UTC'), undefined);
    equal(of('2026-11-28T18:30:00Z', '2026-11-29T18:30:00Z', 'Asia/Kolkata'), undefined);
    const found = of('2026-11-28T18:00:00Z', '2026-11-29T19:00:00Z', 'Asia/Kolkata');
    equal([found.includes('23:30'), found.includes('00:30')], [true, true], found);
  },
  addresses_name_nothing_that_every_object_has() {
    const range = { start: '2026-11-01', end: '2026-11-08' };
    const found = choices({ query: { measure: 'constructor', by: 'toString', top: '__proto__', granularity: 'valueOf' }, range, zone: 'UTC' });
    equal([found.measure, found.by, found.top, found.granularity], ['costEstimateCents', 'toString', 10, 'day']);
  },
  a_value_is_called_what_people_call_it_and_nothing_else() {
    const point = clientId => ({ clientId, invocations: 1, errors: 0 });
    const report = { names: { clientId: { a: 'Anna' } }, series: ['a', 'constructor', '__proto__', null].map(point) };
    equal(byValue(report, 'clientId').map(row => row.name ?? null), ['Anna', null, null, null]);
  },
});
