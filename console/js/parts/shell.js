// What is around every page: top bar with org, range and zone; navigation; who is signed in.
import { html, useEffect, useRef, useState } from '../view.js';
import { completeNow, get, ofOrg, post, notifyOtherTabs } from '../api.js';
import { isUuid, may, pageAddress, setOrg, setRange, setZone, watchCompleteness } from '../state.js';
import { addDays, dateIn, isZone, moment, now, offset, rangeLabel, RANGES, recent, zones } from '../time.js';
import { seconds, shortId } from '../format.js';
import { announce } from './panel.js';
import { t } from '../texts.js';

/** Pages that the range is for. */
const RANGED = ['', 'usage', 'reliability', 'trust'];

export function Shell({ me, state, page, pages, port, title, children }) {
  const shown = port === 'operations' ? pages : pages.filter(one => may(me, one));
  const nav = useRef();
  // Where the pages are a row, the current one is in view.
  useEffect(() => {
    const current = nav.current.querySelector('[aria-current]');
    if (current) nav.current.scrollLeft = current.offsetLeft - nav.current.clientWidth / 2 + current.offsetWidth / 2;
  }, [page]);
  return html`
    <a class="skip" href="#main" onClick=${event => {
      event.preventDefault();
      document.getElementById('main').focus();
    }}>${t.skip}</a>
    <header class="top">
      <a class="brand" href=${pageAddress(state, '')}><${Mark} />
      <span>${t.brand}</span>${port === 'operations' && html`<span class="port">${t.operations}</span>`}</a>
      ${
        port === 'api'
          ? html`
        <div class="controls no-print">
          <${OrgPicker} me=${me} state=${state} />
          ${RANGED.includes(page) && html`<${RangePicker} state=${state} />`}
          <${ZonePicker} state=${state} />
        </div>`
          : html`<div class="controls no-print"><${ZonePicker} state=${state} /></div>`
      }
      <${Account} me=${me} />
    </header>
    <div class="frame">
      <nav class="side no-print" ref=${nav} aria-label=${t.nav}>
        <ul>${shown.map(
          one => html`
          <li key=${one} class=${one === 'audit' ? 'apart' : null}>
          <a href=${pageAddress(state, one)} aria-current=${one === page ? 'page' : null}>${t.pages[port][one]}</a></li>`,
        )}
        </ul>
      </nav>
      <main id="main" tabindex="-1">
        <div class="page-head">
          <h1 id="title" tabindex="-1">${title}</h1>
          <p class="context">
            ${port === 'api' && state.org && html`<span class="print-only">${t.org} ${state.org} · </span>`}
            ${port === 'api' && RANGED.includes(page) && html`<span>${rangeLabel(state.range)}</span> · `}<span>${zoneLabel(state.zone)}</span>
            ${port === 'api' && RANGED.includes(page) && html` · <${Completeness} zone=${state.zone} />`}
          </p>
        </div>
        ${state.query.zone && !isZone(state.query.zone) && html`<p class="notice warn">${t.noZone(state.query.zone)} ${t.asUtc}</p>`}
        ${state.foreign && html`<p class="notice warn">${me.allOrgs ? t.foreignOrg : t.notYourOrg}</p>`}
        ${children}
      </main>
    </div>`;
}

const zoneLabel = zone => (zone === 'UTC' ? 'UTC' : `${zone.replaceAll('_', ' ')} (${offset(now(), zone)})`);

const Mark = () =>
  html`<svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true"><rect width="16" height="16" rx="3" fill="currentColor" />
    <path d="M4 12V8m4 4V4m4 8V6" class="mark-bars" stroke-width="2" /></svg>`;

function Completeness({ zone }) {
  const [found, setFound] = useState();
  useEffect(() => watchCompleteness(setFound), []);
  // It grows older also where no response says so.
  const [, setTurn] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTurn(n => n + 1), 5000);
    return () => clearInterval(timer);
  }, []);
  if (!found?.freshness) return html`<span class="quiet">${t.complete.loading}</span>`;
  const { status, lagSeconds } = completeNow(found, found.asOf).freshness;
  const text = found.asOf ? t.complete.to(recent(found.asOf, zone)) : t.complete.unknown;
  return html`<span class=${`fresh ${status}`} title=${lagSeconds == null ? '' : t.complete.lag(seconds(lagSeconds))}>
    <i aria-hidden="true"></i>${text} · ${t.complete.status[status] ?? status}</span>`;
}

/** How many orgs' names are looked up when somebody opens the list. */
const MOST_NAMES = 25;

/** What people call the org that is shown, where it has a name; and by `more`, what they call the others. */
function useOrgNames(org, me) {
  const [names, setNames] = useState({});
  const look = one => {
    if (!one || !me.orgs.includes(one) || !may(me, 'usage') || names[one] !== undefined) return;
    get(ofOrg(one, 'names'), { params: { dimension: 'orgId', limit: 1 } }).then(
      found => setNames(was => ({ ...was, [one]: found.names?.[0]?.name ?? null })),
      () => {},
    );
  };
  useEffect(() => look(org), [org]);
  return { names, more: () => me.orgs.slice(0, MOST_NAMES).forEach(look) };
}

function OrgPicker({ me, state }) {
  const { names, more } = useOrgNames(state.org, me);
  const [other, setOther] = useState(false);
  const name = org => names[org] ?? shortId(org);
  const known = state.foreign ? [...me.orgs, state.org] : me.orgs;
  const pick = event => (event.target.value === 'other' ? setOther(true) : setOrg(event.target.value));
  if (other || (me.allOrgs && known.length === 0)) return html`<${OtherOrg} onDone=${() => setOther(false)} />`;
  if (known.length === 1 && !me.allOrgs) {
    return html`<div class="control"><span class="control-label">${t.org}</span><span class="control-value" title=${state.org}>
      <bdi>${name(state.org)}</bdi></span></div>`;
  }
  return html`<label class="control"><span class="control-label">${t.org}</span>
    <select value=${state.org} title=${state.org} onChange=${pick} onFocus=${more}>
      ${known.map(org => html`<option value=${org}>${name(org)}</option>`)}
      ${me.allOrgs && html`<option value="other">${t.otherOrg}</option>`}
    </select></label>`;
}

function OtherOrg({ onDone }) {
  const [text, setText] = useState('');
  const done = event => {
    event.preventDefault();
    if (!isUuid(text.trim())) return;
    setOrg(text.trim().toLowerCase());
    onDone();
  };
  return html`<form class="control" onSubmit=${done}><label><span class="control-label">${t.org}</span>
    <input type="text" value=${text} placeholder=${t.orgId} pattern="[0-9a-fA-F\\-]{36}" size="20"
      onInput=${event => setText(event.target.value)} /></label>
    <button class="small">${t.show}</button></form>`;
}

function RangePicker({ state }) {
  const { range, start, end } = state.range;
  const [open, setOpen] = useState(false);
  const custom = open || range === 'custom';
  const pick = event => {
    setOpen(event.target.value === 'custom');
    if (event.target.value !== 'custom') setRange({ range: event.target.value });
  };
  const [from, setFrom] = useState(start);
  const [to, setTo] = useState(addDays(end, -1));
  // What is being typed stays, also when another day begins.
  useEffect(() => {
    if (open) return;
    setFrom(start);
    setTo(addDays(end, -1));
  }, [start, end, open]);
  const apply = event => {
    event.preventDefault();
    if (from && to && from <= to) setRange({ range: 'custom', start: from, end: addDays(to, 1) });
    setOpen(false);
  };
  const today = dateIn(now(), state.zone);
  return html`
    <label class="control"><span class="control-label">${t.range.label}</span>
      <select value=${custom ? 'custom' : range} onChange=${pick}>${RANGES.map(one => html`<option
        value=${one}>${t.range[one]}</option>`)}</select>
    </label>
    ${
      custom &&
      html`<form class="dates" onSubmit=${apply}>
      <label><span class="control-label">${t.range.from}</span>
      <input type="date" required max=${today} value=${from} onInput=${event => setFrom(event.target.value)} /></label>
      <label><span class="control-label">${t.range.to}</span>
      <input type="date" required min=${from} max=${today} value=${to} onInput=${event => setTo(event.target.value)} /></label>
      <button class="small primary">${t.range.apply}</button>
    </form>`
    }`;
}

function ZonePicker({ state }) {
  const [text, setText] = useState(state.zone);
  useEffect(() => setText(state.zone), [state.zone]);
  const take = event => {
    const wanted = event.target.value.trim().replaceAll(' ', '_');
    if (isZone(wanted)) return setZone(wanted);
    announce(t.noZone(wanted));
    return setText(state.zone);
  };
  return html`<label class="control"><span class="control-label">${t.zone}</span>
    <input type="text" class="zone" list="zones" value=${text} autocomplete="off" spellcheck=${false} size="14"
      onFocus=${event => event.target.select()} onChange=${take} />
    <datalist id="zones">${zones().map(zone => html`<option value=${zone}></option>`)}</datalist></label>`;
}

function Account({ me }) {
  const leave = async () => {
    try {
      await post('/console/sign-out', {});
    } catch {
      return announce(t.signIn.notOut);
    }
    notifyOtherTabs();
    announce(t.signIn.left);
    return location.assign('/console/');
  };
  const menu = useRef();
  useEffect(() => {
    const close = event => {
      if (menu.current?.open && (event.key === 'Escape' || (event.type === 'pointerdown' && !menu.current.contains(event.target))))
        menu.current.open = false;
    };
    for (const type of ['keydown', 'pointerdown']) addEventListener(type, close);
    return () => {
      for (const type of ['keydown', 'pointerdown']) removeEventListener(type, close);
    };
  }, []);
  return html`<details class="account no-print" ref=${menu}><summary><bdi class="clip">${me.subject}</bdi></summary>
    <div class="menu">
      <p><b><bdi>${me.subject}</bdi></b><br /><span class="quiet">${me.roles.map(role => t.roles[role] ?? role).join(', ')}</span>
      </p>
      ${me.expiresAt && html`<p class="quiet">${t.signIn.until(moment(me.expiresAt, 'UTC'))}</p>`}
      <p class="quiet">${t.version} ${document.documentElement.dataset.version}</p>
      <button type="button" onClick=${leave}>${t.signIn.out}</button>
    </div></details>`;
}
