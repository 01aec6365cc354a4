// Which bucket is named as the one where most was.
import { highest } from '../js/series.js';

export default equal => ({
  of_equal_buckets_the_latest_is_named() {
    equal([highest([3, 9, 4, 9, 1]), highest([null, 2, undefined, 2]), highest([7])], [3, 3, 0]);
  },
  where_nothing_was_no_bucket_is_named() {
    equal([highest([]), highest([0, null, undefined])], [-1, -1]);
  },
});
