// One workload: where it runs, why, what happened, what it asks. The part that is open is in the
// address.

import {html} from "/page/lib/preact.js";
import {useFetched} from "/page/lib/fetched.js";
import {instant, number} from "/page/lib/format.js";
import {useLive} from "/page/lib/live.js";
import {plain, plainJson} from "/page/lib/plain.js";
import {link, siteLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Banner, Empty, pending, Stale, State} from "/page/parts/banner.js";
import {Table} from "/page/parts/table.js";
import {Timeline} from "/page/views/timeline.js";
import {Why} from "/page/views/why.js";
import {Phase} from "/page/views/workloads.js";

const PARTS = ["where", "why", "history", "events", "asks", "manifests"];
const UNPLACED = ["Pending", "Waiting", "Refused"];

function Tabs({parts, current}) {
  return html`<nav class="tabs" aria-label=${t("workload.parts")}><ul>${PARTS.map((one) => html`<li key=${one}>
    <a href=${link(parts, {part: one})} aria-current=${one === current ? "true" : undefined}>${t(`workload.part.${one}`)}</a></li>`)}</ul></nav>`;
}

const readyText = (row) => `${row.ready ?? "?"}/${row.replicas}`;

function readyKind(row) {
  if (row.ready === undefined || row.ready === null) return "wait";
  return row.ready >= row.replicas ? "good" : "bad";
}

function Where({data}) {
  const columns = [
    {key: "name", title: t("site.name"), value: (row) => row.name, cell: (row) => html`<a href=${siteLink(row.name)}>${row.name}</a>`},
    {key: "place", title: t("site.place"), value: (row) => plain([row.province, row.city].filter(Boolean).join(" "))},
    {key: "ready", title: t("workload.ready"), value: (row) => row.ready, cell: (row) => html`<${State} kind=${readyKind(row)}>${readyText(row)}<//>`},
    {key: "phase", title: t("workload.phase"), value: (row) => row.phase || "", cell: (row) => (row.phase ? named("group", row.phase) : "–")},
    {key: "health", title: t("site.state"), value: (row) => row.health || "", cell: (row) => (row.health ? named("health", row.health) : t("unknown"))},
    {key: "message", title: t("workload.message"), value: (row) => plain(row.message)},
  ];
  return html`<section class="panel wide"><h2>${t("workload.part.where")}</h2>
      <${Table} id="workload-sites" label=${t("workload.part.where")} columns=${columns} rows=${data.sites} rowKey=${(row) => row.name} />
      ${data.sitesLeftOut > 0 && html`<p>${t("list.left-out", {n: data.sitesLeftOut})}</p>`}
      ${data.leaving.length > 0 && html`<h3>${t("workload.leaving")}</h3><ul>${data.leaving.map((one) => html`<li key=${one.name}>
        ${one.name} (${number(one.replicas)}) → ${one.replacedBy.join(", ") || "–"}</li>`)}</ul>`}</section>
    ${data.endpoints.length > 0 && html`<section class="panel"><h2>${t("workload.endpoints")}</h2><ul id="endpoints">${data.endpoints.map((one) => html`<li key=${`${one.site}${one.address}${one.port}`}>
        <${State} kind=${one.ready ? "good" : "wait"}>${one.site}<//> <code>${plain(one.host || one.address)}:${one.port}</code></li>`)}</ul>
      ${data.endpointsLeftOut > 0 && html`<p>${t("list.left-out", {n: data.endpointsLeftOut})}</p>`}</section>`}
    ${data.remains.length > 0 && html`<section class="panel"><h2>${t("workload.remains")}</h2><ul>${data.remains.map((one) => html`<li key=${one.site}>
        ${one.site}: ${plain([...(one.claims || []), one.message].filter(Boolean).join(", "))}</li>`)}</ul></section>`}
    <${Failovers} failover=${data.failover} />
    <${Conditions} conditions=${data.conditions} />`;
}

function Failovers({failover}) {
  const moves = [...(failover?.moved || []), ...(failover?.unready || [])];
  if (!moves.length) return null;
  return html`<section class="panel wide"><h2>${t("workload.failovers")}</h2><ul id="failovers">${moves.map((one) => html`<li key=${`${one.from}${one.at}`}>
    ${one.at && html`<time datetime=${one.at}>${instant(one.at)}</time> `}<b>${plain(one.from)} (${number(one.replicas)}) → ${plain(one.to.join(", ")) || "–"}</b>
    ${one.silentSince && ` ${t("workload.silent-since", {at: instant(one.silentSince)})}`}${one.reason && ` ${plain(one.reason)}`}
    ${one.by && ` ${t("workload.asked-by", {name: plain(one.by)})}`}${one.movedBack && ` ${t("workload.moved-back")}`}</li>`)}</ul></section>`;
}

const CONDITION_KINDS = {True: "good", False: "bad", Unknown: "wait"};
const BAD_WHEN_TRUE = ["NotEnforced", "Drifted", "Failover", "Stuck", "Violating"];

function conditionKind(one) {
  if (BAD_WHEN_TRUE.includes(one.type)) return one.status === "True" ? "wait" : "info";
  return CONDITION_KINDS[one.status] || "info";
}

function Conditions({conditions}) {
  if (!conditions.length) return null;
  return html`<section class="panel wide"><h2>${t("workload.conditions")}</h2><dl class="facts">${conditions.map((one) => html`
    <dt key=${one.type}><${State} kind=${conditionKind(one)}>${plain(one.type)}<//></dt>
    <dd>${plain([one.reason, one.message].filter(Boolean).join(": ")) || one.status}</dd>`)}</dl></section>`;
}

function Events({path}) {
  const state = useFetched(`${path}/events`, {everySeconds: 10});
  const columns = [
    {key: "last", title: t("event.last"), value: (row) => row.lastSeen || "", cell: (row) => instant(row.lastSeen)},
    {key: "type", title: t("event.type"), value: (row) => row.type || "", cell: (row) => html`<${State} kind=${row.type === "Warning" ? "wait" : "info"}>${plain(row.type)}<//>`},
    {key: "reason", title: t("event.reason"), value: (row) => plain(row.reason)},
    {key: "message", title: t("workload.message"), value: (row) => plain(row.message)},
    {key: "count", title: t("event.count"), numeric: true, value: (row) => row.count},
  ];
  return html`<section class="panel wide"><h2>${t("workload.part.events")}</h2>${pending(state) || html`
    <${Table} id="workload-events" label=${t("workload.part.events")} columns=${columns} rows=${state.data.events}
      rowKey=${(row) => `${row.lastSeen}${row.reason}${row.message}`} />`}</section>`;
}

const Json = ({label, value}) => html`<pre tabindex="0" role="region" aria-label=${label}>${plainJson(value)}</pre>`;

function Asks({data}) {
  return html`<section class="panel wide"><h2>${t("workload.part.asks")}</h2>
    ${Object.keys(data.labels).length > 0 && html`<p>${Object.entries(data.labels).map(([name, value]) => html`<span class="slug" key=${name}>${plain(name)}=${plain(value)}</span>`)}</p>`}
    <dl class="facts">${Object.entries(data.spec).map(([name, value]) => html`<dt key=${name}><code>${name}</code></dt>
      <dd>${typeof value === "object" ? html`<${Json} label=${name} value=${value} />` : plain(value)}</dd>`)}</dl></section>`;
}

function Manifests({data}) {
  const title = (one) => plain(`${one.kind} ${one.metadata?.namespace ? `${one.metadata.namespace}/` : ""}${one.metadata?.name ?? ""}`);
  return html`<section class="panel wide"><h2>${t("workload.part.manifests")}</h2><p class="faint">${t("workload.no-secrets")}</p>
    ${data.manifests.length === 0 && html`<${Empty} />`}
    ${data.manifests.map((one, at) => html`<details key=${at}><summary>${title(one)}</summary><${Json} label=${title(one)} value=${one} /></details>`)}
    ${data.manifestsLeftOut.length > 0 && html`<p>${t("workload.too-long")} ${data.manifestsLeftOut.map(plain).join(", ")}</p>`}</section>`;
}

export function WorkloadView({parts, query}) {
  const path = `/api/v1/workloads/${parts.slice(1).map(encodeURIComponent).join("/")}`;
  const state = useFetched(path, {everySeconds: 5, version: useLive().values.workloadsVersion});
  const {error} = state;
  const data = state.path === path ? state.data : null;      // not that of another workload
  const key = parts.slice(1).join("/");
  if (error?.status === 404 && !data) return html`<h1>${plain(key)}</h1><${Empty}>${t("workload.missing")}<//>`;
  if (!data) return html`<h1>${plain(key)}</h1>${pending({data, error})}`;
  const part = PARTS.includes(query.get("part")) ? query.get("part") : UNPLACED.includes(data.phase) ? "why" : "where";
  const page = {
    where: () => html`<${Where} data=${data} />`,
    why: () => html`<${Why} key=${path} path=${path} parts=${parts} query=${query} phase=${data.phase} />`,
    history: () => html`<${Timeline} key=${path} path=${path} parts=${parts} query=${query} />`,
    events: () => html`<${Events} key=${path} path=${path} />`,
    asks: () => html`<${Asks} data=${data} />`,
    manifests: () => html`<${Manifests} data=${data} />`,
  }[part];
  return html`<div class="bar"><h1>${plain(key)}</h1><${Phase} phase=${data.phase} />
      <span>${t("workload.ready")} <b>${data.readiness || "–"}</b></span>
      ${data.tenant && html`<span>${t("workload.tenant")} <b>${plain(data.tenant)}</b></span>`}
      ${data.dataClass && html`<span>${t("workload.class")} <b>${named("class", data.dataClass)}</b></span>`}</div>
    <${Stale} error=${error} />
    ${(data.line || data.reason) && html`<p id="line">${plain(data.line || data.reason)}</p>`}
    ${data.plan && html`<${Banner} kind="wait">${t("workload.planned", {at: instant(data.plan.startAt)})}<//>`}
    ${data.failover?.message && html`<${Banner} kind="wait" title=${plain(data.failover.reason)}>${plain(data.failover.message)}<//>`}
    <${Tabs} parts=${parts} current=${part} />
    <div class="panels" data-part=${part}>${page()}</div>`;
}
