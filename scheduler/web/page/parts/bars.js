// A bar of parts. Each kind of part has a pattern of its own beside its colour, and the words say
// all of it.

import {html} from "/page/lib/preact.js";

// parts: [{key, label, value, text}] from left to right; whole: what the full width is.
export function StackedBar({parts, whole, label}) {
  const sum = parts.reduce((total, one) => total + (one.value || 0), 0);
  const full = Math.max(whole ?? sum, sum) || 1;
  const words = `${label}: ${parts.map((one) => `${one.label} ${one.text ?? one.value}`).join(", ")}`;
  return html`<div class="bar-of-parts" role="img" aria-label=${words} title=${words}>
    ${parts.filter((one) => one.value > 0).map((one) => html`<span key=${one.key} class="part part-${one.key}"
      style=${{width: `${(100 * one.value) / full}%`}}></span>`)}
  </div>`;
}

export function Legend({parts}) {
  return html`<ul class="legend">${parts.map((one) => html`<li key=${one.key}>
    <span class="part part-${one.key}" aria-hidden="true"></span> ${one.label}${one.text !== undefined && html` <b>${one.text}</b>`}
  </li>`)}</ul>`;
}

// A label, its bar and its figures, as a row of a list of bars.
export function BarRow({name, parts, whole, text}) {
  return html`<li class="bar-row"><span class="bar-name">${name}</span>
    <${StackedBar} parts=${parts} whole=${whole} label=${typeof name === "string" ? name : text} />
    <span class="bar-text">${text}</span></li>`;
}
