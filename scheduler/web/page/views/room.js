// Room and losses: where a shape of pods fits now, and what becomes of the work at a site that is lost.

import {html, useEffect, useState} from "/page/lib/preact.js";
import {useFetched} from "/page/lib/fetched.js";
import {number} from "/page/lib/format.js";
import {plain} from "/page/lib/plain.js";
import {link, setQuery, siteLink, workloadLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Banner, Empty, Loading, State} from "/page/parts/banner.js";
import {Table} from "/page/parts/table.js";

const CLASSES = ["", "general-1", "general-2", "general-3", "general-4", "important"];
const OUTCOME_KINDS = {replaced: "good", partly: "wait", lost: "bad"};

function Field({id, label, value, onInput}) {
  return html`<label>${label} <input type="text" id=${id} size="8" autocomplete="off" value=${value} onInput=${(event) => onInput(event.target.value)} /></label>`;
}

function fitPath(query) {
  if (!query.get("cpu") && !query.get("memory") && !query.get("gpu")) return null;
  const asked = new URLSearchParams({replicas: query.get("replicas") || 1, class: query.get("class") || "", limit: 200});
  for (const [name, resource] of [["cpu", "cpu"], ["memory", "memory"], ["gpu", "nvidia.com/gpu"]]) {
    if (query.get(name)) asked.append("request", `${resource}=${query.get(name)}`);
  }
  return `/api/v1/fits?${asked}`;
}

function askedIn(query) {
  const get = (name, otherwise) => query.get(name) ?? (fitPath(query) ? "" : otherwise);
  return {cpu: get("cpu", "8"), memory: get("memory", ""), gpu: get("gpu", "1"), replicas: query.get("replicas") || "1", class: query.get("class") || ""};
}

function Question({query}) {
  const [asked, setAsked] = useState(askedIn(query));
  useEffect(() => setAsked(askedIn(query)), [fitPath(query)]);
  const set = (name) => (value) => setAsked((known) => ({...known, [name]: value.trim()}));
  const submit = (event) => { event.preventDefault(); setQuery(asked); };
  return html`<form class="bar" id="fit-form" onSubmit=${submit}>
    <${Field} id="fit-cpu" label=${t("fit.cpu")} value=${asked.cpu} onInput=${set("cpu")} />
    <${Field} id="fit-memory" label=${t("fit.memory")} value=${asked.memory} onInput=${set("memory")} />
    <${Field} id="fit-gpu" label=${t("fit.gpu")} value=${asked.gpu} onInput=${set("gpu")} />
    <${Field} id="fit-replicas" label=${t("fit.replicas")} value=${asked.replicas} onInput=${set("replicas")} />
    <label>${t("workload.class")} <select id="fit-class" value=${asked.class} onChange=${(event) => set("class")(event.target.value)}>
      ${CLASSES.map((one) => html`<option key=${one} value=${one} selected=${one === asked.class}>${one ? named("class", one) : t("fit.any-class")}</option>`)}</select></label>
    <button type="submit" class="plain">${t("fit.ask")}</button></form>`;
}

function Fits({query}) {
  const path = fitPath(query);
  const found = useFetched(path, {everySeconds: 10});
  const {error} = found;
  const data = found.path === path ? found.data : null;      // not of another shape
  const columns = [
    {key: "name", title: t("site.name"), value: (row) => row.name, cell: (row) => html`<a href=${siteLink(row.name)}>${row.name}</a>`},
    {key: "replicas", title: t("fit.fits"), numeric: true, value: (row) => row.replicas, cell: (row) => number(row.replicas)},
    {key: "room", title: t("fit.room"), numeric: true, value: (row) => row.room, cell: (row) => number(row.room)},
    {key: "refusal", title: t("fit.refusal"), value: (row) => row.firstRefusal || "", cell: (row) => (row.firstRefusal
      ? html`<${State} kind="bad">${named("reason", row.firstRefusal)}<//>` : html`<${State} kind="good">${t("fit.yes")}<//>`)},
    {key: "cost", title: t("fit.cost"), numeric: true, value: (row) => row.cnyPerReplicaHour, cell: (row) => number(row.cnyPerReplicaHour, 4)},
  ];
  return html`<section class="panel wide"><h2>${t("fit.title")}</h2><${Question} query=${query} />
    ${path && error && html`<${Banner} kind="bad">${plain(error.message)}<//>`}
    ${path && !data && !error && html`<${Loading} />`}
    ${path && data && html`<p id="fit-answer"><b>${t("fit.answer", {sites: data.fitting, total: data.total, replicas: data.replicas})}</b>
        <span class="faint"> ${data.rightsChecked ? t("fit.with-rights") : t("fit.without-rights")} ${t("fit.platform", {list: data.architectures.join(", ")})}</span></p>
      <${Table} id="fit-sites" label=${t("fit.title")} columns=${columns} rows=${data.sites} rowKey=${(row) => row.name} total=${data.total} />`}</section>`;
}

// ---- a lost site

const whyNot = (row) => Object.entries(row.reasons).map(([slug, count]) => `${named("reason", slug)} (${number(count)})`).join(", ");

function Loss({site}) {
  const path = site ? `/api/v1/losses/${encodeURIComponent(site)}` : null;
  const {data, error, path: answered} = useFetched(path);
  if (!site) return null;
  if (error) return html`<${Banner} kind="bad">${plain(error.message)}<//>`;
  if (!data || answered !== path) return html`<${Loading} />`;
  const columns = [
    {key: "name", title: t("workload.name"), value: (row) => row.workload, cell: (row) => html`<a href=${workloadLink(row.workload)}>${row.workload}</a>`},
    {key: "outcome", title: t("loss.outcome"), value: (row) => row.outcome, cell: (row) => html`<${State} kind=${OUTCOME_KINDS[row.outcome]}>${t(`loss.${row.outcome}`)}<//>`},
    {key: "replicas", title: t("loss.replicas"), numeric: true, value: (row) => row.replicas, cell: (row) => number(row.replicas)},
    {key: "after", title: t("loss.after"), numeric: true, value: (row) => row.after, cell: (row) => number(row.after)},
    {key: "to", title: t("loss.to"), value: (row) => row.to.map((one) => `${one.name} (${one.replicas})`).join(", ")},
    {key: "lawful", title: t("loss.lawful"), numeric: true, value: (row) => row.lawfulSites, cell: (row) => number(row.lawfulSites)},
    {key: "why", title: t("workload.why"), value: whyNot, text: (row) => plain(row.line)},
    {key: "mode", title: t("loss.mode"), value: (row) => row.failoverMode, cell: (row) => named("failover", row.failoverMode)},
  ];
  return html`<p id="loss-answer"><b>${t("loss.answer", {site, n: data.workloads, ...data.outcomes})}</b>
      ${data.leftOut > 0 && ` ${t("list.left-out", {n: data.leftOut})}`}</p>
    ${data.workloads === 0 ? html`<${Empty}>${t("loss.empty")}<//>` : html`<${Table} id="loss" label=${t("loss.title")} columns=${columns} rows=${data.rows} rowKey=${(row) => row.workload} />`}
    <p><a href=${link(["whatif"], {scenario: `lose ${site}`})}>${t("loss.whatif")}</a></p>`;
}

function Losses({query}) {
  const lost = query.get("lost") || "";
  const [written, setWritten] = useState(lost);
  useEffect(() => setWritten(lost), [lost]);
  const sites = useFetched("/api/v1/sites").data?.sites || [];
  const submit = (event) => { event.preventDefault(); setQuery({lost: written.trim()}); };
  return html`<section class="panel wide"><h2>${t("loss.title")}</h2>
    <form class="bar" id="loss-form" onSubmit=${submit}><label>${t("site.name")} <input type="text" id="loss-site" list="loss-sites" value=${written} onInput=${(event) => setWritten(event.target.value)} /></label>
      <datalist id="loss-sites">${sites.map((one) => html`<option key=${one.name} value=${one.name} />`)}</datalist>
      <button type="submit" class="plain">${t("loss.ask")}</button></form>
    <${Loss} site=${lost} /></section>`;
}

export const Room = ({query}) => html`<h1>${t("nav.room")}</h1><div class="panels"><${Fits} query=${query} /><${Losses} query=${query} /></div>`;
