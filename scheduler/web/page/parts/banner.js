// What a view says when it has nothing, is old, or failed. A sign and words, never a colour alone.

import {html} from "/page/lib/preact.js";
import {t} from "/page/lib/words.js";

const SIGNS = {bad: "✖", wait: "▲", good: "✔", info: "ℹ"};

// isNews: it appears while one reads, so a screen reader says it at once.
export function Banner({kind = "info", title, isNews, children}) {
  const role = isNews ? (kind === "bad" ? "alert" : "status") : undefined;
  return html`<div class="banner ${kind}" role=${role}>
    <span class="sign" aria-hidden="true">${SIGNS[kind]}</span>
    <div>${title && html`<strong>${title}</strong> `}${children}</div>
  </div>`;
}

export const Empty = ({children}) => html`<p class="empty">${children || t("nothing")}</p>`;

export const Loading = () => html`<p class="empty" aria-busy="true">${t("loading")}</p>`;

export function Failed({error}) {
  return html`<${Banner} kind="bad" isNews title=${t("failed")}>${error.message}<//>`;
}

// What to show in place of a view until it has data; null: it has.
export function pending({data, error}) {
  if (data) return null;
  return error ? html`<${Failed} error=${error} />` : html`<${Loading} />`;
}

export function Stale({error}) {              // beside old data: a question failed since
  return error ? html`<${Banner} kind="wait" isNews title=${t("stale")}>${error.message}<//>` : null;
}

// A state as a sign and words. kind: good, wait, bad, info.
export function State({kind = "info", children}) {
  return html`<span class="state ${kind}"><span class="sign" aria-hidden="true">${SIGNS[kind]}</span> ${children}</span>`;
}
