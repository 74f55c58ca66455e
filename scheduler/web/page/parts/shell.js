// The frame around each view: where one is, whether the figures are live, language and theme.

import {html, useEffect, useRef} from "/page/lib/preact.js";
import {instant} from "/page/lib/format.js";
import {useLive} from "/page/lib/live.js";
import {provinceName} from "/page/lib/places.js";
import {route} from "/page/lib/router.js";
import {useStore} from "/page/lib/store.js";
import {isWall, theme, THEMES} from "/page/lib/theme.js";
import {language, LANGUAGES, named, switchLanguage, t} from "/page/lib/words.js";
import {Banner} from "/page/parts/banner.js";
import {NAVIGATION} from "/page/views/index.js";

function Choice({label, value, options, onChoose}) {
  return html`<label class="choice"><span class="unseen">${label}</span>
    <select value=${value} onChange=${(event) => onChoose(event.target.value)} aria-label=${label}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value} lang=${key in LANGUAGES ? key : undefined}>${text}</option>`)}
    </select></label>`;
}

function connection(live) {                   // [words, kind]
  if (live.status === "ended") return [t("live.ended"), "bad"];
  if (live.status === "lost") return [t("live.lost"), "bad"];
  if (live.status === "connecting") return [t("live.connecting"), "wait"];
  return live.values.leading === false ? [t("live.standby"), "wait"] : [t("live.live"), "good"];
}

function Navigation({current}) {
  return html`<nav aria-label=${t("nav.label")}><ul>
    ${NAVIGATION.map((one) => html`<li key=${one.name}>
      <a href=${one.href} aria-current=${current && (current.name === one.name || current.under === one.name) ? "page" : undefined}>${t(one.title)}</a>
    </li>`)}
  </ul></nav>`;
}

function Controls() {
  const chosen = useStore(theme);
  const words = useStore(language);
  return html`<div class="controls">
    <${Choice} label=${t("choose.theme")} value=${chosen} onChoose=${theme.set} options=${THEMES.map((one) => [one, t(`theme.${one}`)])} />
    <${Choice} label=${t("choose.language")} value=${words} onChoose=${switchLanguage} options=${Object.entries(LANGUAGES)} />
  </div>`;
}

function Storm({values}) {                    // on each view: it explains why nothing moves
  const {evictions, held} = values;
  return html`${evictions && html`<${Banner} kind="bad" isNews title=${t("freeze.title")}>
      ${t("freeze.since", {since: instant(evictions.since), why: evictions.why || evictions.reason})} ${evictions.by && t("freeze.by", {by: evictions.by})}<//>`}
    ${held?.length > 0 && html`<${Banner} kind="wait" isNews title=${t("storm.title")}>
      ${held.map((one) => t("storm.held", {kind: named("domain", one.kind), name: one.kind === "province" ? provinceName(one.name) : one.name})).join(" ")}<//>`}`;
}

function Sight({sight}) {                     // what a tenant is not shown must not look like nothing
  if (!sight || sight.namespaces === null) return null;
  const isNothing = !sight.namespaces && !sight.sites;
  return html`<${Banner} kind=${isNothing ? "wait" : "info"}>${isNothing ? t("sight.none") : t("sight.limited", {n: sight.namespaces})}<//>`;
}

export function Shell({current, children}) {
  const live = useLive();
  const main = useRef(null);
  const {parts} = useStore(route);
  const isFirst = useRef(true);
  useEffect(() => {                           // a reader of the screen hears the new view's heading
    if (isFirst.current) { isFirst.current = false; return; }
    main.current?.focus({preventScroll: true});
    scrollTo(0, 0);
  }, [parts.join("/")]);
  const [words, kind] = connection(live);
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current?.focus(); }}>${t("skip")}</a>
    <header>
      <a class="brand" href="#/"><img src="/icon.svg" alt="" width="28" height="28" /><span>Kapok</span></a>
      ${!isWall && html`<${Navigation} current=${current} />`}
      <p id="state" class="state ${kind}" role="status" aria-live="polite">${words}</p>
      ${!isWall && html`<${Controls} />`}
    </header>
    <main id="main" ref=${main} tabindex="-1" data-view=${current?.name || ""}>
      ${live.status === "ended" && html`<${Banner} kind="bad" isNews title=${t("live.ended")}>${t("live.ended-way")}<//>`}
      <${Storm} values=${live.values} /><${Sight} sight=${live.values.sight} />
      ${children}
    </main>
    ${!isWall && html`<footer>${t("footer")} <a href="/metrics">/metrics</a></footer>`}`;
}
