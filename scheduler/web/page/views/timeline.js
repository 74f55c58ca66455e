// What was decided about a workload, the newest first: where it ran at any time, and why it moved.

import {html, useEffect, useState} from "/page/lib/preact.js";
import {ask} from "/page/lib/fetched.js";
import {instant} from "/page/lib/format.js";
import {plain} from "/page/lib/plain.js";
import {link, setQuery, siteLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Empty, Failed, Loading, State} from "/page/parts/banner.js";
import {Phase} from "/page/views/workloads.js";

const MOST_PAGES = 20;

const sitesOf = (sites) => sites.map((one) => `${one.name} (${one.replicas})`).join(", ");

function useHistory(path, until) {
  const [pages, setPages] = useState([]);
  const [error, setError] = useState(null);
  const [isLoading, setIsLoading] = useState(false);
  const last = pages.at(-1);
  const load = async () => {
    if (isLoading) return;
    setIsLoading(true);
    try {
      const page = await ask(`${path}/history?limit=50&before=${last?.next || 0}`);
      setPages((known) => [...known, page]);
      setError(null);
    } catch (fault) { setError(fault); }
    setIsLoading(false);
  };
  const entries = pages.flatMap((one) => one.entries);
  const isReached = !until || entries.some((one) => Date.parse(one.at) <= until) || (last && !last.next);
  useEffect(() => {
    if (!error && (pages.length === 0 || (!isReached && pages.length < MOST_PAGES))) load();
  }, [pages.length, isReached, error]);
  return {entries, error, isLoading, more: last?.next ? load : null, isKnown: pages.length > 0};
}

function whatKind(entry) {                    // [slug, kind]
  if (!entry.carriedOut) return ["not-carried-out", "info"];
  if (entry.kind === "deletion") return ["deleted", "info"];
  if (entry.moved) return ["moved", "wait"];
  if (entry.gained?.length) return ["placed", "good"];
  if (entry.left?.length) return ["left", "wait"];
  return ["decided", "info"];
}

function Entry({entry, parts, isInForce}) {
  const [slug, kind] = whatKind(entry);
  const why = Object.entries(entry.why || {});
  return html`<li class=${isInForce ? "in-force" : ""}>
    <p><time datetime=${entry.at}>${instant(entry.at)}</time> <${State} kind=${kind}>${t(`timeline.${slug}`)}<//>
      ${entry.phase && html` <${Phase} phase=${entry.phase === "Placed" ? "Placed" : entry.phase} />`}
      ${entry.times > 1 && html` <span class="faint">${t("timeline.times", {n: entry.times, at: instant(entry.lastAt)})}</span>`}</p>
    <p>${plain(entry.line)}</p>
    ${entry.moved && html`<p><b>${sitesOf(entry.left)} → ${sitesOf(entry.gained)}</b></p>`}
    ${why.map(([site, text]) => html`<p key=${site}><a href=${siteLink(site)}>${site}</a>: ${plain(text)}</p>`)}
    ${entry.sites.length > 0 && html`<p class="faint">${sitesOf(entry.sites)}${entry.sitesLeftOut ? ` ${t("list.left-out", {n: entry.sitesLeftOut})}` : ""}</p>`}
    ${entry.phase && html`<p><a href=${link(parts, {part: "why", decision: entry.id})}>${t("timeline.why")}</a></p>`}</li>`;
}

function asInput(milliseconds) {              // in the zone of the reader, as datetime-local has it
  const at = new Date(milliseconds - new Date().getTimezoneOffset() * 60000);
  return at.toISOString().slice(0, 16);
}

function At({at, entry}) {
  if (!at) return null;
  if (!entry) return html`<p id="at" role="status">${t("timeline.not-yet", {at: instant(new Date(at).toISOString())})}</p>`;
  const where = entry.sites?.length ? sitesOf(entry.sites) : t("timeline.nowhere");
  return html`<p id="at" role="status"><b>${t("timeline.ran", {at: instant(new Date(at).toISOString()), where})}</b> ${plain(entry.line)}</p>`;
}

export function Timeline({path, parts, query}) {
  const at = Date.parse(query.get("at") || "") || 0;
  const {entries, error, isLoading, more, isKnown} = useHistory(path, at);
  const inForce = at ? entries.find((one) => one.carriedOut && Date.parse(one.at) <= at) : null;
  const yesterday = () => setQuery({at: new Date(Date.now() - 86400000).toISOString()});
  const choose = (event) => {
    const chosen = new Date(event.target.value);
    setQuery({at: Number.isNaN(chosen.getTime()) ? "" : chosen.toISOString()});
  };
  return html`<section class="panel wide"><div class="bar"><h2>${t("workload.part.history")}</h2>
      <label>${t("timeline.at")} <input type="datetime-local" id="at-time" value=${at ? asInput(at) : ""} onChange=${choose} /></label>
      <button type="button" class="plain" onClick=${yesterday}>${t("timeline.yesterday")}</button></div>
    <${At} at=${at} entry=${inForce} />
    ${error && html`<${Failed} error=${error} />`}
    ${isKnown && entries.length === 0 && html`<${Empty}>${t("timeline.empty")}<//>`}
    <ol class="timeline" id="timeline">${entries.map((one) => html`<${Entry} key=${one.id} entry=${one} parts=${parts} isInForce=${one === inForce} />`)}</ol>
    ${isLoading && html`<${Loading} />`}
    ${more && !isLoading && html`<button type="button" class="plain" onClick=${more}>${t("timeline.more")}</button>`}</section>`;
}
