// Requests of the service, as the console sends them: by the session's cookie, never with a token.
import { readJson } from './money.js';
import { noteServerTime, now } from './time.js';
import { useCallback, useEffect, useRef, useState } from './view.js';

/** What the service refused, or that it could not be reached (status 0). */
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail ?? body.title ?? `HTTP ${status}`);
    Object.assign(this, {
      status,
      errors: Array.isArray(body.errors) ? body.errors : [],
      requestId: body.requestId,
      retryAfter: body.retryAfter,
    });
  }

  /** Whether waiting may help. */
  get isAway() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** What went wrong. What is no `Problem` is a response of another form than the service's, or a fault of ours. */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem(0);
}

let signedOut = () => {};
/** What is done when the service accepts the session no longer. */
export const onSignedOut = then => (signedOut = then);

/** Longest that what is read may take, its body included. The service's own deadlines end sooner. */
const LONGEST_MS = 60_000;
const MAX_KEPT = 60;
/** Responses by address with their ETag: sent back when the service says that nothing changed. */
const kept = new Map();

export async function get(path, { params = {}, poll = false } = {}) {
  const address = path + search(params);
  const known = kept.get(address);
  const headers = { 'X-Console': poll ? 'poll' : '1' };
  if (known) headers['If-None-Match'] = known.etag;
  const response = await send(address, { headers, signal: AbortSignal.timeout(LONGEST_MS) });
  if (response.status === 304 && known) {
    return completeNow(known.body, response.headers.get('Analytics-As-Of'));
  }
  const body = await read(response);
  // Every response of the service is an object: this is something else's, on the way.
  if (body === null || typeof body !== 'object') throw new Problem(0);
  const etag = response.headers.get('ETag');
  if (etag) {
    if (kept.size >= MAX_KEPT) kept.delete(kept.keys().next().value);
    kept.set(address, { etag, body });
  }
  return body;
}

/** From when on numbers are stale and delayed, as docs/api.md has it. */
const [STALE_SECONDS, DELAYED_SECONDS] = [300, 600];

/** What is the same as before is as complete as it is now: how far behind is no part of an ETag. */
export function completeNow(body, asOf) {
  if (!body.freshness) return { ...body, asOf };
  const lagSeconds = asOf ? Math.max(0, (now() - Date.parse(asOf)) / 1000) : null;
  const status = lagSeconds === null || lagSeconds > DELAYED_SECONDS ? 'delayed' : lagSeconds > STALE_SECONDS ? 'stale' : 'fresh';
  return { ...body, asOf, freshness: { ...body.freshness, lagSeconds, status } };
}

export function post(path, body, { headers = {}, method = 'POST' } = {}) {
  // What is text already is sent as it is, so that its numbers stay as they were written.
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const type = text === undefined ? {} : { 'Content-Type': 'application/json' };
  return send(path, { method, body: text, headers: { 'X-Console': '1', ...type, ...headers } }).then(read);
}

export function forget() {
  kept.clear();
}

const TABS = 'who is signed in';
/** Notifies the browser's other tabs that somebody has signed in or out. */
export function notifyOtherTabs() {
  const tabs = new BroadcastChannel(TABS);
  tabs.postMessage(null);
  tabs.close();
}

export function onOtherTabs(then) {
  new BroadcastChannel(TABS).onmessage = then;
}

/** A query string. Of a list each value is one parameter. */
function search(params) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== '') query.append(key, one);
  }
  const text = query.toString();
  return text && `?${text}`;
}

async function send(address, options) {
  let response;
  try {
    response = await fetch(address, { cache: 'no-store', credentials: 'same-origin', redirect: 'error', ...options });
  } catch {
    throw new Problem(0);
  }
  noteServerTime(response.headers.get('Date'));
  return response;
}

async function read(response) {
  const text =
    response.status === 204
      ? ''
      : await response.text().catch(() => {
          throw new Problem(0);
        });
  let body;
  try {
    body = response.ok ? readJson(text || 'null') : JSON.parse(text);
  } catch {
    // Not from the service, but from something on the way.
    if (response.ok) throw new Problem(0);
  }
  if (response.ok) return body ?? undefined;
  const problem = new Problem(response.status, { ...body, retryAfter: Number(response.headers.get('Retry-After')) || undefined });
  if (response.status === 401 && !new URL(response.url).pathname.startsWith('/console/')) signedOut();
  throw problem;
}

const org = id => `/analytics/v1/orgs/${encodeURIComponent(id)}`;
/** The address of something of an org. */
export const ofOrg = (id, ...parts) => [org(id), ...parts.map(encodeURIComponent)].join('/');

/** After how long a request is repeated, where the service does not say. */
const RETRY_SECONDS = 5;

/** Does it again after a problem that may pass, in a visible tab. */
export function useRetry(problem, again) {
  useEffect(() => {
    if (!problem?.isAway) return undefined;
    const retry = () => document.visibilityState === 'visible' && again();
    const timer = setTimeout(retry, (problem.retryAfter ?? RETRY_SECONDS) * 1000);
    document.addEventListener('visibilitychange', retry);
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', retry);
    };
  }, [problem]);
}

/**
 * Loads what a page shows, again when `key` changes, and by itself every `every` seconds while the tab is visible.
 * What was loaded last stays when a later request fails: then `problem` is there beside `data`, and `at` says of when it is.
 */
export function useData(key, load, { every = 0 } = {}) {
  const [held, setHeld] = useState({ key, data: undefined, problem: undefined, at: undefined, busy: true });
  // The request whose response is waited for.
  const current = useRef();
  const loader = useRef(load);
  loader.current = load;

  const run = useCallback(
    async poll => {
      // In the place of a slow one it would keep that one's response from ever being shown.
      if (poll && current.current) return;
      const request = {};
      current.current = request;
      if (!poll) setHeld(was => ({ ...was, busy: true }));
      try {
        const data = await loader.current({ poll });
        if (request === current.current) setHeld({ key, data, problem: undefined, at: now(), busy: false });
      } catch (error) {
        const problem = asProblem(error);
        if (request === current.current) {
          setHeld(was => ({
            key,
            data: was.key === key ? was.data : undefined,
            at: was.key === key ? was.at : undefined,
            problem,
            busy: false,
          }));
        }
      }
      if (request === current.current) current.current = undefined;
    },
    [key],
  );

  useEffect(() => {
    run(false);
    return () => {
      current.current = undefined;
    };
  }, [run]);

  useEffect(() => {
    if (!every) return undefined;
    const tick = () => {
      if (document.visibilityState === 'visible') run(true);
    };
    const timer = setInterval(tick, every * 1000);
    document.addEventListener('visibilitychange', tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', tick);
    };
  }, [run, every]);

  const same = held.key === key;
  // What was shown last stays until the next refresh; where there is nothing, that is too long.
  useRetry(every && same && held.data === undefined ? held.problem : undefined, () => run(true));
  return {
    data: same ? held.data : undefined,
    problem: same ? held.problem : undefined,
    at: held.at,
    busy: held.busy || !same,
    reload: useCallback(() => run(false), [run]),
  };
}
