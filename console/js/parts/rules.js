// The rules of an event, field by field: those that were broken are marked.
import { html } from '../view.js';
import { t } from '../texts.js';

/** The fields that reasons are about. */
export const fieldsOf = reasons => reasons.map(reason => reason.split(': ')[0]);

export function Rules({ marked }) {
  const is = field => marked.some(one => one === field || one.startsWith(`${field}.`));
  return html`<aside class="rules" aria-label=${t.rules.title}><h3>${t.rules.title}</h3>
    <dl>${Object.entries(t.rules.fields).map(([field, rule]) => html`<div class=${is(field) ? 'marked' : null}><dt>
    <code>${field}</code>${is(field) && html`<span class="badge bad">${t.rules.broken}</span>`}</dt><dd>${rule}</dd></div>`)}</dl>
    </aside>`;
}
