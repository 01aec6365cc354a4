// Where the user is: the path and the query of the address bar, and nothing else.
import { useEffect, useState } from './view.js';

export const BASE = '/console/';
const listeners = new Set();

/** The page's path without the base; as it is where it has escapes of nothing. */
export function pathOf(pathname) {
  const path = pathname.slice(BASE.length).replace(/\/$/, '');
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** The page's path and its query. */
export function here() {
  return { path: pathOf(location.pathname), query: Object.fromEntries(new URLSearchParams(location.search)) };
}

/** An address of the console. Values that are empty are left out. */
export function address(path, query = {}) {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== '') params.set(key, value);
  const text = params.toString().replaceAll('%2C', ',').replaceAll('%2F', '/').replaceAll('%3A', ':');
  return BASE + path + (text && `?${text}`);
}

export function go(to, { replace = false } = {}) {
  if (to === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  announce();
}

function announce() {
  for (const listener of listeners) listener();
}

/** Sets values of the query and keeps the others. */
export function setQuery(values, options) {
  const { path, query } = here();
  go(address(path, { ...query, ...values }), options);
}

export function useLocation() {
  const [place, setPlace] = useState(here);
  useEffect(() => {
    const moved = () => setPlace(here());
    listeners.add(moved);
    addEventListener('popstate', moved);
    return () => {
      listeners.delete(moved);
      removeEventListener('popstate', moved);
    };
  }, []);
  return place;
}

/** Links within the console change the page without loading it. */
export function catchLinks(root) {
  root.addEventListener('click', event => {
    const link = event.target.closest?.('a[href]');
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute('download')) return;
    const to = new URL(link.href);
    if (to.origin !== location.origin || !to.pathname.startsWith(BASE) || to.hash) return;
    event.preventDefault();
    go(to.pathname + to.search);
    scrollTo(0, 0);
  });
}
