// What people call ids, for parts whose responses have ids alone.
import { get, ofOrg, useData } from '../api.js';

/** A page of the API has at most so many. */
const LIMIT = 1000;

/** @returns (id) → its name, where it has one. Ids stay ids where names cannot be read. */
export function useNames(org, dimension) {
  const of = useData(`names ${org} ${dimension}`, () => loadNames(params => get(ofOrg(org, 'names'), { params: { dimension, ...params } })));
  return id => of.data?.get(id);
}

/** All names of a dimension by id. `load` gets a page. */
export async function loadNames(load) {
  const names = new Map();
  let cursor;
  do {
    const page = await load({ limit: LIMIT, cursor });
    for (const { id, name } of page.names) names.set(id, name);
    cursor = page.nextCursor;
  } while (cursor);
  return names;
}
