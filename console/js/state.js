// What the address says, made good: org, range and zone of the top bar, which every page shares.
import { setQuery, address } from './router.js';
import { isZone, resolveRange } from './time.js';
import { useEffect } from './view.js';

/** What stays when the page changes. */
const SHARED = ['org', 'range', 'start', 'end', 'zone'];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export const isUuid = text => UUID.test(text ?? '');

/** The state of a page: from its address and from who is signed in. */
export function readState({ query }, me) {
  const zone = isZone(query.zone ?? '') ? query.zone : 'UTC';
  const org = isUuid(query.org) ? query.org.toLowerCase() : me?.orgs[0];
  const foreign = !!org && !!me && !me.orgs.includes(org);
  const range = resolveRange({ range: query.range ?? '28d', start: query.start, end: query.end }, zone);
  // What is read outside one's own orgs is recorded: such pages do not poll.
  return { query, org, foreign, zone, range, polls: !foreign };
}

/** An address of another page that keeps org, range and zone. */
export function pageAddress(state, path, query = {}) {
  const shared = Object.fromEntries(SHARED.map(key => [key, state.query[key]]));
  return address(path, { ...shared, ...query });
}

export const setOrg = org => setQuery({ org, cursor: undefined });
export const setZone = zone => setQuery({ zone: zone === 'UTC' ? undefined : zone });
export const setRange = ({ range, start, end }) =>
  setQuery(range === 'custom' ? { range: undefined, start, end } : { range, start: undefined, end: undefined });

/** Which page needs which role: one of them. */
export const NEEDS = {
  __proto__: null,
  '': ['org_viewer', 'org_admin', 'finance', 'system_admin'],
  usage: ['org_viewer', 'org_admin', 'finance', 'system_admin'],
  reliability: ['org_viewer', 'org_admin', 'system_admin'],
  trust: ['org_viewer', 'org_admin', 'finance', 'system_admin'],
  exports: ['org_admin', 'finance', 'system_admin'],
  'dead-letters': ['org_admin', 'system_admin'],
  'api-keys': ['org_admin', 'system_admin'],
  audit: ['system_admin'],
  unreadable: ['system_admin'],
};

export const may = (me, page) => (NEEDS[page] ?? []).some(role => me.roles.includes(role));
export const hasRole = (me, ...roles) => roles.some(role => me.roles.includes(role));

let completeness;
const watchers = new Set();
/** How complete the page's numbers are, for the top bar: of the response that the page shows, and of none that comes too late for it. */
export function useCompleteness(response) {
  useEffect(() => {
    note(response);
    return () => note(undefined);
  }, [response]);
}

function note(response) {
  completeness = response;
  for (const watcher of watchers) watcher(completeness);
}

export function watchCompleteness(watcher) {
  watchers.add(watcher);
  watcher(completeness);
  return () => watchers.delete(watcher);
}
