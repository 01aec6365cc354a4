// What the Trust page says of how final the numbers are, and what it calls models.
import { finalTo } from '../js/pages/trust.js';
import { loadNames } from '../js/parts/names.js';

const report = finals => ({
  range: { end: 'end' },
  series: finals.map((final, n) => ({ bucketStart: `hour ${n}`, final })),
});

export default equal => ({
  async names_of_all_pages_are_loaded() {
    const pages = { first: { names: [{ id: 'a', name: 'Anna' }], nextCursor: 'next' }, next: { names: [{ id: 'b', name: 'Ben' }] } };
    const names = await loadNames(async ({ cursor = 'first' }) => pages[cursor]);
    equal([names.get('a'), names.get('b'), names.get('constructor') ?? null], ['Anna', 'Ben', null]);
  },
  numbers_are_final_up_to_the_first_open_hour() {
    equal([finalTo(report([true, true])), finalTo(report([true, false, false]))], ['end', 'hour 1']);
  },
  no_hour_is_called_final_where_the_first_is_open() {
    equal(finalTo(report([false, false])), undefined);
  },
});
