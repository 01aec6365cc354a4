// The address is the state: what is wrong in it is made good.
import { may, NEEDS, readState } from '../js/state.js';
import { pathOf } from '../js/router.js';
import { completeNow } from '../js/api.js';

const ME = { orgs: ['13c47d99-a3d9-5cc3-bc21-208aab76a67b'], roles: ['finance'] };

export default equal => ({
  the_first_org_and_utc_are_taken_where_the_address_names_none() {
    const state = readState({ query: {} }, ME);
    equal([state.org, state.zone, state.range.range, state.foreign], [ME.orgs[0], 'UTC', '28d', false]);
  },
  wrong_values_of_the_address_are_left_out() {
    const state = readState(
      { query: { org: '<img onerror>', zone: 'Mars/Olympus', range: 'eon', start: '2026-13-01', end: 'x' } },
      ME,
    );
    equal([state.org, state.zone, state.range.range], [ME.orgs[0], 'UTC', '28d']);
  },
  no_address_breaks_the_page() {
    for (const range of ['99999999999d', '0d', 'constructor', '__proto__', '1e9d']) {
      const state = readState({ path: '', query: { range } }, ME);
      equal([state.range.range, state.range.start < state.range.end], ['28d', true], range);
    }
    equal(['/console/usage/', '/console/%E0%A4%A', '/console/a%2Fb', '/console'].map(pathOf), ['usage', '%E0%A4%A', 'a/b', '']);
    equal(
      ['constructor', 'toString', '__proto__', 'hasOwnProperty'].map(page => [may(ME, page), NEEDS[page] === undefined]),
      Array(4).fill([false, true]),
    );
  },
  another_org_is_foreign_and_is_not_polled() {
    const state = readState({ query: { org: '00000000-0000-0000-0000-000000000001' } }, ME);
    equal([state.foreign, state.polls], [true, false]);
  },
  what_did_not_change_is_as_complete_as_it_is_now() {
    const body = { asOf: 'before', freshness: { status: 'fresh', lagSeconds: 1, lastEventAt: 'x' } };
    const ago = seconds => new Date(Date.now() - seconds * 1000).toISOString();
    equal(
      [10, 400, 700].map(seconds => completeNow(body, ago(seconds)).freshness.status),
      ['fresh', 'stale', 'delayed'],
    );
    equal([completeNow(body, null).asOf, completeNow(body, null).freshness.status], [null, 'delayed']);
  },
  pages_are_for_the_roles_of_the_contract() {
    equal(
      ['', 'usage', 'reliability', 'trust', 'exports', 'dead-letters', 'api-keys', 'audit'].filter(page => may(ME, page)),
      ['', 'usage', 'trust', 'exports'],
    );
  },
});
