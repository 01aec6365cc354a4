// A part of a page, in each of its states: loading, empty, error, stale, forbidden.
import { html, useEffect, useId, useRef, useState } from '../view.js';
import { recent } from '../time.js';
import { shortId } from '../format.js';
import { setQuery } from '../router.js';
import { pageAddress } from '../state.js';
import { t } from '../texts.js';

/**
 * @param of what useData gave: its state decides what is shown
 * @param empty (data) → a text where there is nothing to show, else nothing
 * @param children (data) → the content
 */
export function Panel({ title, note, actions, of, empty, zone = 'UTC', children, className, lines = 4 }) {
  const id = useId();
  // Tiles above another panel of the same request: that one says what is wrong.
  const tiles = className === 'bare';
  if (tiles && of.problem && of.data === undefined) return null;
  const nothing = of?.data !== undefined && empty?.(of.data);
  return html`
    <section class=${`panel ${className ?? ''}`} aria-labelledby=${title && id} aria-busy=${of ? of.busy : undefined}>
      ${
        (title || actions) &&
        html`<header>
        <div><h2 id=${id}>${title}</h2>${note && html`<p class="quiet">${note}</p>`}</div>
        ${actions && html`<div class="actions no-print">${actions}</div>`}
      </header>`
      }
      ${!tiles && of?.problem && of.data !== undefined && html`<${Stale} of=${of} zone=${zone} />`}
      ${
        !of
          ? children
          : of.data !== undefined
            ? nothing
              ? html`<${Empty} text=${nothing} />`
              : children(of.data)
            : of.problem
              ? html`<${Failure} problem=${of.problem} reload=${of.reload} />`
              : html`<${Skeleton} lines=${lines} />`
      }
    </section>`;
}

export function Skeleton({ lines = 4 }) {
  return html`<div class="skeleton" role="status"><span class="off-screen">${t.state.loading}</span>
    ${Array.from({ length: lines }, () => html`<i></i>`)}</div>`;
}

function Empty({ text }) {
  const { title, hint } = typeof text === 'string' ? { title: text } : text;
  return html`<div class="empty"><p>${title}</p>${hint && html`<p class="quiet">${hint}</p>`}</div>`;
}

/** Of a range without events. */
export const noUsage = state => ({
  title: t.usage.empty,
  hint: html`${t.usage.emptyHint} <a href=${pageAddress(state, 'trust')}>${t.usage.toTrust}</a>`,
});

/** What was shown last stays, dated. */
function Stale({ of, zone }) {
  return html`<div class="notice warn" role="status"><b>${of.problem.isAway ? t.state.staleAway : t.state.stale}</b>
    <span>${t.state.shownAsOf(recent(of.at, zone), zone)} ${!of.problem.isAway && of.problem.message}</span>
    <button type="button" class="small" onClick=${of.reload}>${t.state.again}</button></div>`;
}

export function Failure({ problem, reload }) {
  if (problem.status === 403) return html`<${Forbidden} detail=${problem.message} />`;
  const [title, hint] = t.state.failure(problem);
  return html`
    <div class="notice bad" role="alert">
      <b>${title}</b><span>${hint}</span>
      ${problem.errors?.length > 0 && html`<ul>${problem.errors.map(({ field, message }) => html`<li>
        <code>${field}</code> ${message}</li>`)}</ul>`}
      ${problem.requestId && html`<span class="quiet">${t.state.request} <code>${problem.requestId}</code></span>`}
      ${reload && html`<button type="button" class="small" onClick=${reload}>${t.state.again}</button>`}
    </div>`;
}

export function Forbidden({ detail, needs }) {
  return html`<div class="notice" role="alert"><b>${t.state.forbidden}</b><span>${needs ? t.state.needs(needs) : detail}</span>
    </div>`;
}

/** One of a few, as buttons. */
export function Choice({ label, value, options, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([key, text, off]) => html`<button type="button" aria-pressed=${String(key) === String(value)} disabled=${!!off}
      title=${off || null} onClick=${() => onChange(key)}>${text}</button>`)}
  </div>`;
}

/** A figure with its name and what there is to say of it. */
export function Tile({ label, value, hint, tone, title, href }) {
  return html`<div class=${`tile ${tone ?? ''}`}>
    <div class="tile-label">${label}</div>
    <div class="tile-value" title=${title}>${href ? html`<a href=${href}>${value}</a>` : value}</div>
    ${hint && html`<div class="tile-hint">${hint}</div>`}
  </div>`;
}

export const Badge = ({ tone = '', children }) => html`<span class=${`badge ${tone}`}>${children}</span>`;

/** Whether a ledger balances. */
export const BalanceBadge = ({ holds }) =>
  html`<${Badge} tone=${holds ? 'ok' : 'bad'}>${holds ? t.ledger.balanced : t.ledger.unbalanced}<//>`;

/** A value that is somebody's: its direction is its own, and it is not longer than its place. */
export function Value({ id, name, none }) {
  if (name == null && id == null) return html`<span class="quiet">${none}</span>`;
  return html`<bdi class=${name ? 'clip' : shortId(id) === id ? 'clip' : 'clip id'}
    title=${name ? `${name} (${id})` : id}>${name ?? shortId(id)}</bdi>`;
}

export function CopyButton({ text, label = t.table.copy, className = 'small' }) {
  const [said, setSaid] = useState('');
  const run = async () => {
    const { copy } = await import('../save.js');
    setSaid((await copy(text)) ? t.table.copied : t.table.notCopied);
    setTimeout(() => setSaid(''), 3000);
  };
  return html`<button type="button" class=${className} onClick=${run}>${said || label}</button>
    <span class="off-screen" role="status">${said}</span>`;
}

/**
 * A dialog of the browser: the rest of the page is inert while it is open. Escape and a click beside it close it.
 * @param stays only its buttons close it: what it shows is shown once
 */
export function Dialog({ title, onClose, children, wide, stays }) {
  const element = useRef();
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    element.current.querySelector('input:not([type="checkbox"]), select, textarea, button.primary')?.focus();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${element} class=${wide ? 'wide' : ''} aria-labelledby=${id} closedby=${stays ? 'none' : null}
      onClose=${onClose}
      onCancel=${event => {
        // Browsers that do not know closedby.
        if (stays) event.preventDefault();
      }}
      onClick=${event => {
        if (event.target === element.current && !stays) onClose();
      }}>
    <div class="dialog-body">
      <header><h2 id=${id}>${title}</h2><button type="button" class="icon" aria-label=${t.close} onClick=${onClose}>×</button>
      </header>
      ${children}
    </div>
  </dialog>`;
}

/** Further pages are in the address, so that back goes to the one before. */
export function Pager({ query, next }) {
  if (!next && !query.cursor) return null;
  return html`<p class="pager no-print">
    ${query.cursor && html`<button type="button" onClick=${() => setQuery({ cursor: undefined })}>${t.newest}</button>`}
    ${next && html`<button type="button" onClick=${() => setQuery({ cursor: next })}>${t.older}</button>`}</p>`;
}

/** Facts by name. */
export const Facts = ({ of }) =>
  html`<dl class="facts">${of.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** Says to a screen reader what changed, and to everybody for a moment. */
let say = () => {};
export const announce = text => say(text);
export function Announcer() {
  const [text, setText] = useState('');
  useEffect(() => {
    let timer;
    say = next => {
      setText(next);
      clearTimeout(timer);
      timer = setTimeout(() => setText(''), 5000);
    };
    return () => clearTimeout(timer);
  }, []);
  return html`<div class=${`toast ${text ? 'shown' : ''}`} role="status" aria-live="polite">${text}</div>`;
}
