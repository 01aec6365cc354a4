// Which bucket is named as the one where most was, how files are named, and what is beside groups.
import { fileName, highest, restOf } from '../js/series.js';

export default equal => ({
  what_is_beside_the_groups_has_one_name_each() {
    const [some, none] = [{ totals: { invocations: 1 } }, { totals: { invocations: 0 } }];
    const names = (other, unattributed, overflow) =>
      restOf({ other: { groups: other, ...some }, unattributed, overflow }, 'clientId').map(({ name }) => name);
    equal([names(0, some, none), names(0, none, none)], [['without client'], []]);
    equal(names(3, some, some).slice(0, 2), ['other (3)', 'without client']);
  },
  a_file_is_named_by_the_first_and_last_day_in_it() {
    const of = (start, end) => fileName('usage', { org: '13c47d99-a3d9-5cc3-bc21-208aab76a67b', range: { start, end } });
    equal(of('2026-11-01', '2026-12-01'), 'usage-13c47d99-2026-11-01-2026-11-30');
    equal(of('2026-11-29', '2026-11-30'), 'usage-13c47d99-2026-11-29');
  },
  of_equal_buckets_the_latest_is_named() {
    equal([highest([3, 9, 4, 9, 1]), highest([null, 2, undefined, 2]), highest([7])], [3, 3, 0]);
  },
  where_nothing_was_no_bucket_is_named() {
    equal([highest([]), highest([0, null, undefined])], [-1, -1]);
  },
});
