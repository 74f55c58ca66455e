// Starts the page: its words, its frame, and the view that the address names.

import {html, render, useEffect, useErrorBoundary} from "/page/lib/preact.js";
import {openLive, useLive} from "/page/lib/live.js";
import {plain} from "/page/lib/plain.js";
import {route} from "/page/lib/router.js";
import {useStore} from "/page/lib/store.js";
import {language, loadWords, t} from "/page/lib/words.js";
import {Shell} from "/page/parts/shell.js";
import {Banner, Empty} from "/page/parts/banner.js";
import {find} from "/page/views/index.js";

function Guarded({view: View, parts, query}) {         // a fault of one view leaves the frame
  const [error, reset] = useErrorBoundary((fault) => console.error(fault));
  useEffect(() => reset(), [parts.join("/")]);
  if (error) return html`<${Banner} kind="bad" title=${t("fault")}>${String(error.message || error)}<//>`;
  return html`<${View} parts=${parts} query=${query} />`;
}

function App() {
  const {parts, query} = useStore(route);
  useStore(language);
  const live = useLive();
  const found = find(parts);
  const title = found ? t(found.title) : t("not-found");
  useEffect(() => {
    document.documentElement.lang = language.get() === "zh" ? "zh-CN" : "en";
    document.title = `${plain([...parts.slice(1), title].join(" · "))} · Kapok`;
  });
  useEffect(() => { if (found) openLive(...found.live(parts, query)); });
  useEffect(() => {                                     // for those who wait for the page
    const isReady = live.status === "live" || live.status === "ended";
    document.documentElement.dataset.ready = String(isReady);
    document.documentElement.dataset.view = found ? found.name : "";
  });
  return html`<${Shell} current=${found}>
    ${found
      ? html`<${Guarded} key=${found.name} view=${found.view} parts=${parts} query=${query} />`
      : html`<h1>${title}</h1><${Empty}><a href="#/">${t("nav.overview")}</a><//>`}
  <//>`;
}

try {
  await loadWords(language.get());
  render(html`<${App} />`, document.getElementById("app"));
} catch (error) {
  document.getElementById("app").textContent = `Kapok: ${error.message}`;
  throw error;
}
