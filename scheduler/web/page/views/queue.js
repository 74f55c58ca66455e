// What waits, for what, since when and what would wake it; and what tenants use of their quotas.

import {html} from "/page/lib/preact.js";
import {useFetched} from "/page/lib/fetched.js";
import {amount, duration, number, percent, since} from "/page/lib/format.js";
import {schedulerNow, useLive} from "/page/lib/live.js";
import {plain} from "/page/lib/plain.js";
import {link, siteLink, workloadLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Empty, pending, Stale} from "/page/parts/banner.js";
import {BarRow, Legend} from "/page/parts/bars.js";
import {Count, Table} from "/page/parts/table.js";
import {keyOf, Phase} from "/page/views/workloads.js";

const firstOf = (reasons) => Object.entries(reasons || {}).sort(([, a], [, b]) => b - a)[0]?.[0];
const wakesText = (wakes) => wakes.map((one) => named("wake", one)).join(", ");
const reservedText = (reserved) => reserved.map((one) => `${one.site} (${one.replicas})`).join(", ");

function reasonText(row) {
  if (row.startAt) return t("queue.planned");
  const slug = firstOf(row.reasons);
  return slug ? named("reason", slug) : plain(row.line);
}

function Waiting({data}) {
  const now = schedulerNow();
  const columns = [
    {key: "name", title: t("workload.name"), value: keyOf, cell: (row) => html`<a href=${link(["workloads", row.namespace, row.name], {part: "why"})}>${keyOf(row)}</a>`, text: keyOf},
    {key: "phase", title: t("workload.phase"), value: (row) => row.phase, cell: (row) => html`<${Phase} phase=${row.phase} />`},
    {key: "for", title: t("queue.for"), value: reasonText, text: (row) => plain(row.line)},
    {key: "since", title: t("queue.since"), numeric: true, value: (row) => (row.since ? now - Date.parse(row.since) : null), cell: (row) => since(row.since, now)},
    {key: "wakes", title: t("queue.wakes"), value: (row) => wakesText(row.wakes)},
    {key: "priority", title: t("workload.priority"), numeric: true, value: (row) => row.priority, cell: (row) => number(row.priority)},
    {key: "tenant", title: t("workload.tenant"), value: (row) => row.tenant, cell: (row) => plain(row.tenant) || "–"},
    {key: "reserved", title: t("queue.reserved"), value: (row) => reservedText(row.reserved)},
  ];
  return html`<section class="panel wide"><div class="bar"><h2>${t("queue.waiting")}</h2>
      <${Count} id="queue-count" shown=${data.waiting.length} total=${data.total} /></div>
    ${data.total === 0 ? html`<${Empty}>${t("queue.empty")}<//>` : html`<${Table} id="queue" label=${t("queue.waiting")} columns=${columns}
      rows=${data.waiting} rowKey=${keyOf} />`}</section>`;
}

function ByReason({rows}) {
  if (!rows.length) return null;
  return html`<section class="panel"><h2>${t("queue.by-reason")}</h2><ul class="reasons" id="by-reason">${rows.map((one) => html`<li key=${one.reason}>
    <a href=${link(["workloads"], {reason: one.reason})}><b>${named("reason", one.reason)}</b></a> ${t("queue.workloads", {n: one.workloads})}
    <small class="faint">${t("queue.wakes")}: ${wakesText(one.wakes)}</small></li>`)}</ul></section>`;
}

function Reserved({rows}) {
  if (!rows.length) return null;
  return html`<section class="panel"><h2>${t("queue.reserved")}</h2><p class="faint">${t("queue.reserved-note")}</p><ul id="reserved">${rows.map((one) => html`<li key=${one.workload}>
    <a href=${workloadLink(one.workload)}>${one.workload}</a>: ${one.sites.map((site) => html`<a key=${site.site} href=${siteLink(site.site)}>${site.site}</a> (${number(site.replicas)}) `)}</li>`)}</ul></section>`;
}

// ---- tenants

const partsOf = () => ({used: {key: "used", label: t("share.used")}, borrowed: {key: "2", label: t("share.borrowed")}, lent: {key: "4", label: t("share.lent")}});

function ResourceBar({row}) {
  const {used, borrowed, lent} = partsOf();
  const show = (value) => amount(row.name, value);
  if (row.quota === null) return html`<li class="bar-row"><span class="bar-name">${row.name}</span><span class="faint">${t("share.no-quota")}</span><span class="bar-text">${show(row.used)}</span></li>`;
  const parts = [
    {...used, value: Math.min(row.used, row.quota), text: show(Math.min(row.used, row.quota))},
    {...borrowed, value: row.borrowed, text: show(row.borrowed)},
    {...lent, value: row.lent, text: show(row.lent)},
  ];
  const ratio = row.quota ? row.used / row.quota : null;
  return html`<${BarRow} name=${row.name} parts=${parts} whole=${Math.max(row.quota, row.used)}
    text=${t("share.of", {used: show(row.used), quota: show(row.quota), ratio: percent(ratio)})} />`;
}

function Tenant({tenant}) {
  return html`<article class="panel tenant"><h3>${plain(tenant.name)}
      <span class="faint"> ${tenant.share === null ? t("share.no-quota") : percent(tenant.share)}</span></h3>
    <p class="faint">${tenant.namespaces.join(", ")}${tenant.cohort ? ` · ${t("share.cohort", {name: plain(tenant.cohort)})}` : ""}</p>
    ${tenant.problem && html`<p class="bad">${plain(tenant.problem)}</p>`}
    <ul class="bars">${tenant.resources.map((one) => html`<${ResourceBar} key=${one.name} row=${one} />`)}</ul>
    <p class="phases">${Object.entries(tenant.phases).map(([phase, count]) => html`<a key=${phase} href=${link(["workloads"], {tenant: tenant.name, phase})}>
      <${Phase} phase=${phase} /> ${number(count)}</a> `)}</p></article>`;
}

function Tenants() {
  const state = useFetched("/api/v1/tenants", {everySeconds: 5});
  const {data} = state;
  const first = data?.tenants.find((one) => one.share !== null);
  return html`<section class="panel wide"><h2>${t("share.title")}</h2>${pending(state) || html`<div>
    <${Stale} error=${state.error} />
    ${first && html`<p id="largest-share">${t("share.largest", {name: plain(first.name), ratio: percent(first.share), resource: first.dominant})}</p>`}
    <${Legend} parts=${Object.values(partsOf())} />
    ${data.tenants.length === 0 && html`<${Empty}>${t("share.empty")}<//>`}
    <div class="panels">${data.tenants.map((one) => html`<${Tenant} key=${one.name} tenant=${one} />`)}</div></div>`}</section>`;
}

export function Queue() {
  const state = useFetched("/api/v1/queue", {everySeconds: 5, version: useLive().values.workloadsVersion});
  const {data} = state;
  const oldest = data?.waiting.map((one) => Date.parse(one.since)).filter((one) => !Number.isNaN(one)).sort((a, b) => a - b)[0];
  return html`<h1>${t("nav.queue")}</h1><${Stale} error=${data && state.error} />
    ${pending(state) || html`<p>${t("queue.summary", {n: data.total})}${oldest ? ` ${t("queue.oldest", {age: duration((schedulerNow() - oldest) / 1000)})}` : ""}
      ${data.depths && html` <span class="faint">${t("queue.depths", data.depths)}</span>`}</p>
    <div class="panels"><${Waiting} data=${data} /><${ByReason} rows=${data.byReason} /><${Reserved} rows=${data.reserved} /></div>`}
    <${Tenants} />`;
}
