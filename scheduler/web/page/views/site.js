// One site: what it has free, who may use it until when, what it runs, and its last hour.

import {html} from "/page/lib/preact.js";
import {amount, cores, day, duration, instant, number, percent, rounded, since, watts} from "/page/lib/format.js";
import {schedulerNow, useLive} from "/page/lib/live.js";
import {provinceName} from "/page/lib/places.js";
import {link, siteLink, workloadLink} from "/page/lib/router.js";
import {barParts, partsOf} from "/page/lib/sites.js";
import {has, named, t} from "/page/lib/words.js";
import {Banner, Empty, Loading, State} from "/page/parts/banner.js";
import {BarRow, Legend} from "/page/parts/bars.js";
import {Chart} from "/page/parts/chart.js";
import {Scroll, Table} from "/page/parts/table.js";
import {Nodes} from "/page/parts/nodes.js";
import {SiteState} from "/page/views/fleet.js";
import {Prices} from "/page/views/site_prices.js";

const RESOURCES = ["cpu", "memory", "nvidia.com/gpu"];
const NOTICE_MILLISECONDS = 30 * 86400 * 1000;
const HEALTH_KINDS = {Reporting: "good", Late: "wait", Silent: "bad", Lost: "bad", Unknown: "info"};

const Section = ({id, title, children, wide}) => html`<section class="panel ${wide ? "wide" : ""}" aria-labelledby=${id}>
  <h2 id=${id}>${title}</h2>${children}</section>`;

function Facts({rows}) {
  return html`<dl class="facts">${rows.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false)
    .map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

const withOrigin = (text, origin) => (origin ? t("origin.with", {value: text, origin: named("origin", origin)}) : text);

function About({site, detail}) {
  const {location, energy, power, intensity} = detail;
  const place = [location.province && (has(`province.${location.province}`) ? provinceName(location.province) : location.province), location.city, location.metro];
  return html`<${Section} id="about" title=${t("site.about")}><${Facts} rows=${[
    [t("site.state"), html`<${SiteState} site=${site} />`],
    [t("site.since"), site.healthSince && instant(site.healthSince)],
    [t("fleet.by-age"), site.observedAt ? since(site.observedAt, schedulerNow()) : t("site.never")],
    [t("site.place"), [...new Set(place.filter(Boolean))].join(" · ")],
    [t("site.tier"), t(`tier.${site.tier}`)],
    [t("site.provider"), site.provider],
    [t("site.delivery"), t(`delivery.${detail.delivery}`)],
    [t("site.agent"), detail.agentVersion],
    [t("fleet.by-power"), withOrigin(watts(site.watts), power?.origin)],
    [t("fleet.by-intensity"), withOrigin(t("fleet.intensity", {value: rounded(site.gco2PerKwh)}), intensity?.origin)],
    [t("site.pue"), energy.pue && withOrigin(rounded(energy.pue), energy.pueOrigin)],
    [t("site.green"), energy.greenShare !== undefined && [percent(energy.greenShare), energy.greenEvidence].filter(Boolean).join(", ")],
    [t("site.headroom"), detail.headroom ? percent(detail.headroom) : null],
    [t("site.taints"), detail.taints.map((one) => `${one.key}${one.value ? `=${one.value}` : ""}:${one.effect}`).join(", ")],
    [t("site.drain"), site.drain && t("site.drain-by", {by: site.drain.by ? instant(site.drain.by) : t("site.no-date"), who: site.drain.requestedBy || t("unknown")})],
  ]} />${detail.maintenance.length > 0 && html`<h3>${t("site.maintenance")}</h3>
    <ul>${detail.maintenance.map((one) => html`<li key=${one.from}>${instant(one.from)} – ${instant(one.until)} ${one.reason}</li>`)}</ul>`}<//>`;
}

function Capacity({site}) {
  const rows = RESOURCES.map((resource) => [resource, partsOf(site, resource)]).filter(([, parts]) => parts);
  if (!rows.length) return html`<${Section} id="capacity" title=${t("site.capacity")}><${Empty}>${t("site.no-figures")}<//><//>`;
  const bars = rows.map(([resource, parts]) => [resource, barParts(parts, (value) => amount(resource, value))]);
  return html`<${Section} id="capacity" title=${t("site.capacity")}>
    <ul class="bars">${bars.map(([resource, parts]) => html`<${BarRow} key=${resource} name=${named("resource", resource)} parts=${parts}
      text=${t("fleet.free", {value: parts.find((one) => one.key === "free").text})} />`)}</ul>
    <${Scroll} label=${t("site.capacity")}><table><caption class="unseen">${t("site.capacity")}</caption><thead><tr><th scope="col">${t("site.resource")}</th>
      ${bars[0][1].map((one) => html`<th scope="col" class="number" key=${one.key}>${one.label}</th>`)}</tr></thead>
      <tbody>${bars.map(([resource, parts]) => html`<tr key=${resource}><th scope="row">${named("resource", resource)}</th>
        ${parts.map((one) => html`<td class="number" key=${one.key}>${one.text}</td>`)}</tr>`)}</tbody></table><//>
    <${Legend} parts=${bars[0][1].map(({key, label}) => ({key, label}))} />
    <p class="faint">${t("site.capacity-note")}</p><//>`;
}

function grantState(grant, now) {             // [slug, kind]
  if (grant.validFrom && Date.parse(grant.validFrom) > now) return ["not-yet", "wait"];
  if (!grant.validUntil) return ["endless", "good"];
  const left = Date.parse(grant.validUntil) - now;
  if (left <= 0) return ["ended", "bad"];
  return left < NOTICE_MILLISECONDS ? ["ends-soon", "wait"] : ["valid", "good"];
}

function Grants({grants}) {
  const now = schedulerNow();
  const headings = ["name", "state", "from", "until", "class", "level", "zones", "jurisdiction", "authority"];
  if (!grants) return html`<${Section} id="grants" title=${t("grants.title")}><${Empty}>${t("grants.no-right")}<//><//>`;
  if (!grants.length) return html`<${Section} id="grants" title=${t("grants.title")}><${Banner} kind="bad">${t("grants.none")}<//><//>`;
  return html`<${Section} id="grants" title=${t("grants.title")} wide><${Scroll} label=${t("grants.title")}><table>
    <caption class="unseen">${t("grants.title")}</caption>
    <thead><tr>${headings.map((one) => html`<th scope="col" key=${one}>${t(`grants.${one}`)}</th>`)}</tr></thead>
    <tbody>${grants.map((one) => {
      const [slug, kind] = grantState(one, now);
      return html`<tr key=${one.name}><th scope="row">${one.name}</th><td><${State} kind=${kind}>${t(`grants.${slug}`)}<//></td>
        <td>${one.validFrom ? day(one.validFrom) : "–"}</td><td>${one.validUntil ? day(one.validUntil) : "–"}</td>
        <td>${named("class", one.dataClass || "general-1")}</td><td>${one.protectionLevel || 1}</td>
        <td>${(one.networkZones || []).join(", ") || "–"}</td><td>${one.jurisdiction || "–"}</td>
        <td>${[one.authority, one.document].filter(Boolean).join(", ") || "–"}</td></tr>`;
    })}</tbody></table><//><//>`;
}

function Works({tables, total, name}) {
  const rows = [...(tables.workloads || new Map()).values()];
  const here = (row) => row.here.reduce((sum, one) => sum + one.replicas, 0);
  const ready = (row) => t("site.ready-of", {ready: row.here.every((one) => one.ready !== undefined) ? row.here.reduce((sum, one) => sum + one.ready, 0) : "?", replicas: here(row)});
  const columns = [
    {key: "name", title: t("workload.name"), value: (row) => `${row.namespace}/${row.name}`, text: (row) => `${row.namespace}/${row.name}`,
      cell: (row) => html`<a href=${workloadLink(`${row.namespace}/${row.name}`)}>${row.namespace}/${row.name}</a>`},
    {key: "phase", title: t("workload.phase"), value: (row) => row.phase, cell: (row) => named("phase", row.phase)},
    {key: "class", title: t("workload.class"), value: (row) => row.dataClass || "", cell: (row) => (row.dataClass ? named("class", row.dataClass) : "–")},
    {key: "here", title: t("site.ready-here"), numeric: true, value: here, cell: ready},
    {key: "elsewhere", title: t("site.elsewhere"), numeric: true, value: (row) => row.elsewhere, cell: (row) => number(row.elsewhere)},
  ];
  return html`<${Section} id="works" title=${t("site.workloads", {n: total})} wide>
    <${Table} id="site-workloads" label=${t("nav.workloads")} columns=${columns} rows=${rows} rowKey=${(row) => `${row.namespace}/${row.name}`} start=${{key: "name", isDescending: false}} />
    ${total > rows.length && html`<p><a href=${link(["workloads"], {site: name})}>${t("site.all-workloads", {n: total})}</a></p>`}<//>`;
}

function Conditions({conditions, health}) {
  return html`<${Section} id="history" title=${t("site.history")}>
    <h3>${t("site.health")}</h3>
    <ol class="plain-list" reversed>${health.map((one) => html`<li key=${one.at + one.health}><${State} kind=${HEALTH_KINDS[one.health] || "info"}>${named("health", one.health)}<//> <span class="faint">${one.at ? instant(one.at) : ""}</span></li>`)}</ol>
    <h3>${t("site.conditions")}</h3>
    ${conditions.length ? html`<dl class="facts">${conditions.map((one) => html`<dt key=${one.type}>${one.type}</dt>
      <dd>${one.status} ${one.reason} ${one.message && html`<span class="faint">${one.message}</span>`} ${one.lastTransitionTime && html`<span class="faint">${instant(one.lastTransitionTime)}</span>`}</dd>`)}</dl>` : html`<${Empty} />`}<//>`;
}

function LastHour({history}) {
  const times = history.times.map(Date.parse);
  const of = (key, label, format) => html`<${Chart} label=${label} times=${times} height=${130} series=${[{key, label, values: history[key], format}]} />`;
  return html`<${Section} id="last-hour" title=${t("site.last-hour")}>
    ${of("watts", t("fleet.by-power"), watts)}${of("freeCores", t("fleet.free-cpu"), cores)}${of("gco2PerKwh", t("fleet.by-intensity"), rounded)}<//>`;
}

function Links({rtt}) {
  if (!rtt.length) return null;
  const sorted = [...rtt].sort((a, b) => a.milliseconds - b.milliseconds);
  return html`<${Section} id="links" title=${t("site.links")}><${Scroll} label=${t("site.links")}><table><caption class="unseen">${t("site.links")}</caption>
    <thead><tr><th scope="col">${t("site.to")}</th><th scope="col" class="number">${t("fleet.by-rtt")}</th><th scope="col">${t("origin.title")}</th><th scope="col" class="number">${t("fleet.by-age")}</th></tr></thead>
    <tbody>${sorted.map((one) => html`<tr key=${one.to}><th scope="row"><a href=${siteLink(one.to)}>${one.to}</a></th>
      <td class="number">${t("fleet.milliseconds", {value: rounded(one.milliseconds)})}</td><td>${named("origin", one.origin || "unknown")}</td>
      <td class="number">${one.observedAt ? duration((schedulerNow() - Date.parse(one.observedAt)) / 1000) : t("unknown")}</td></tr>`)}</tbody></table><//><//>`;
}

export function SiteView({parts: [, name]}) {
  const {values, tables} = useLive();
  if (values.site === undefined) return html`<h1>${name}</h1><${Loading} />`;
  if (values.site === null) return html`<h1>${name}</h1><${Empty}>${t("site.missing")} <a href=${link(["fleet"])}>${t("nav.fleet")}</a><//>`;
  const {site, detail} = values;
  return html`<div class="bar"><h1>${name}</h1><${SiteState} site=${site} />
      <a class="button" href=${link(["whatif"], {scenario: `lose ${name}`})}>${t("site.whatif-lose")}</a></div>
    <div class="panels">
      <${About} site=${site} detail=${detail} /><${Capacity} site=${site} />
      <${Nodes} nodes=${detail.nodes} isTruncated=${detail.truncated} />
      <${Grants} grants=${detail.grants} /><${Works} tables=${tables} total=${values.workloads} name=${name} />
      <${Prices} detail=${detail} site=${site} /><${LastHour} history=${values.history} />
      <${Links} rtt=${detail.rtt} /><${Conditions} conditions=${detail.conditions} health=${values.health} />
    </div>`;
}
