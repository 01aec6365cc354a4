// Starts the console: who is signed in, which page the address names, and what the page is drawn in.
import { Component, Fragment, html, render, useEffect, useState } from './view.js';
import { catchLinks, setQuery, useLocation } from './router.js';
import { forget, get, onOtherTabs, onSignedOut, useRetry } from './api.js';
import { may, NEEDS, readState } from './state.js';
import { dateIn, now } from './time.js';
import { Announcer, Failure, Forbidden, Skeleton } from './parts/panel.js';
import { Shell } from './parts/shell.js';
import { t } from './texts.js';

const port = document.documentElement.dataset.port === 'operations' ? 'operations' : 'api';

/** The pages of a port: the first part of their path, where nothing is inherited, and where their code is. */
const PAGES = {
  api: {
    __proto__: null,
    '': () => import('./pages/overview.js'),
    usage: () => import('./pages/usage.js'),
    reliability: () => import('./pages/reliability.js'),
    trust: () => import('./pages/trust.js'),
    exports: () => import('./pages/exports.js'),
    'dead-letters': () => import('./pages/dead-letters.js'),
    'api-keys': () => import('./pages/api-keys.js'),
    audit: () => import('./pages/audit.js'),
    unreadable: () => import('./pages/unreadable.js'),
  },
  operations: {
    __proto__: null,
    '': () => import('./pages/actors.js'),
    partitions: () => import('./pages/partitions.js'),
    supervision: () => import('./pages/supervision.js'),
    'data-life': () => import('./pages/data-life.js'),
  },
}[port];

/** Milliseconds between checks whether a new day has begun. */
const DAY_CHECK_MS = 15_000;

const ME = port === 'api' ? '/analytics/v1/me' : '/ops/me';

function App() {
  const place = useLocation();
  const [me, setMe] = useState();
  const [problem, setProblem] = useState();
  const load = () => {
    const know = found => {
      setProblem(undefined);
      setMe(found);
    };
    // 401 is a session that is not there: the page of signing in takes the place of this one, and the address stays.
    get(ME).then(know, found => (found.status === 401 ? know(null) : setProblem(found)));
  };
  useEffect(() => {
    onOtherTabs(load);
    onSignedOut(() => {
      forget();
      setMe(null);
    });
    load();
  }, []);
  // Until then nothing can be shown.
  useRetry(problem, load);

  if (problem) return html`<main class="alone"><h1>${t.brand}</h1><${Failure} problem=${problem} reload=${load} /></main>`;
  if (me === undefined) return html`<main class="alone"><${Skeleton} /></main>`;
  if (me === null || place.path === 'sign-in')
    return html`<${Lazy} load=${() => import('./pages/sign-in.js')} key="sign-in" of=${{ port, onDone: load, signedIn: !!me }} />`;
  // What was loaded for somebody else goes with them.
  return html`<${Signed} key=${JSON.stringify([me.subject, me.orgs, me.roles])} me=${me} place=${place} />`;
}

/** Re-renders a page that polls when a new day begins in its zone: its range may depend on the day. */
function useNextDay({ zone, polls }) {
  const [, setDay] = useState(() => dateIn(now(), zone));
  useEffect(() => {
    if (!polls) return undefined;
    const checkDay = () => setDay(dateIn(now(), zone));
    const timer = setInterval(checkDay, DAY_CHECK_MS);
    document.addEventListener('visibilitychange', checkDay);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', checkDay);
    };
  }, [zone, polls]);
}

function Signed({ me, place }) {
  const page = place.path.split('/')[0];
  const load = PAGES[page];
  const title = load ? t.pages[port][page] : t.notFound.title;
  const state = readState(place, me);
  useNextDay(state);
  const allowed = port === 'operations' || !NEEDS[page] || may(me, page);
  useEffect(() => {
    document.title = `${title} · ${t.brand}`;
  }, [title]);
  // What is shown to somebody with other organisations too, by this address.
  useEffect(() => {
    if (state.org && !place.query.org) setQuery({ org: state.org }, { replace: true });
  }, [state.org, place]);
  // Another page begins at its heading, for keys and screen readers too.
  const [first, setFirst] = useState(true);
  useEffect(() => {
    if (!first) document.getElementById('title')?.focus();
    setFirst(false);
  }, [place.path]);

  return html`
    <${Shell} me=${me} state=${state} page=${page} pages=${Object.keys(PAGES)} port=${port} title=${title}>
      ${
        !load
          ? html`<p>${t.notFound.text}</p>`
          : !allowed
            ? html`<${Forbidden} needs=${NEEDS[page]} />`
            : port === 'api' && !state.org && !['audit', 'unreadable'].includes(page)
              ? html`<p class="notice">${t.noOrg}</p>`
              : html`<${Lazy} load=${load} key=${page} of=${{ me, state, place }} />`
      }
    <//>`;
}

/** A page whose code is loaded when it is opened. Each has a key: what loads late is drawn in no other's place. */
function Lazy({ load, of }) {
  const [{ View, failed }, setPage] = useState({});
  const start = () =>
    load().then(
      module => setPage({ View: module.default }),
      () => setPage({ failed: true }),
    );
  useEffect(() => {
    start();
  }, []);
  // A browser does not request again what it could not load of a page.
  if (failed) return html`<div class="notice bad" role="alert"><b>${t.state.notLoaded}</b><span>${t.state.notLoadedHint}</span>
    <button type="button" class="small" onClick=${() => location.reload()}>${t.state.reload}</button></div>`;
  if (!View) return html`<${Skeleton} />`;
  return html`<${Guard}><${View} ...${of} /><//>`;
}

/** A fault of a page leaves the rest of the console as it is. */
class Guard extends Component {
  static getDerivedStateFromError() {
    return { broken: true };
  }

  componentDidCatch(error) {
    console.error(error);
  }

  render({ children }, { broken }) {
    return broken
      ? html`<div class="notice bad" role="alert"><b>${t.state.broken}</b><span>${t.state.brokenHint}</span></div>`
      : children;
  }
}

const root = document.getElementById('app');
root.replaceChildren();
catchLinks(document);
render(html`<${Fragment}><${Guard}><${App} /><//><${Announcer} /><//>`, root);
