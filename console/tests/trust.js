// What the Trust page says of how final the numbers are.
import { finalTo } from '../js/pages/trust.js';

const report = finals => ({
  range: { end: 'end' },
  series: finals.map((final, n) => ({ bucketStart: `hour ${n}`, final })),
});

export default equal => ({
  numbers_are_final_up_to_the_first_open_hour() {
    equal([finalTo(report([true, true])), finalTo(report([true, false, false]))], ['end', 'hour 1']);
  },
  no_hour_is_called_final_where_the_first_is_open() {
    equal(finalTo(report([false, false])), undefined);
  },
});
