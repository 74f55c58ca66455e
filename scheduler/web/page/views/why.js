// Why a workload runs where it does: sites x rules, costs with their origin and age, the smallest
// change that would help and who may make it, and any two sites side by side.

import {html, useEffect, useState} from "/page/lib/preact.js";
import {usePaced, useFetched} from "/page/lib/fetched.js";
import {duration, instant, number} from "/page/lib/format.js";
import {plain} from "/page/lib/plain.js";
import {link, setQuery, siteLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Banner, Empty, Failed, Loading, pending, Stale, State} from "/page/parts/banner.js";
import {BarRow, Legend} from "/page/parts/bars.js";
import {HeatTable} from "/page/parts/heat.js";

const PAGE = 25;
const SIGNS = {true: "✔", false: "✖", null: "–"};
const KINDS = {true: "good", false: "bad", null: "wait"};

const signOf = (verdict) => SIGNS[String(verdict.passed)] || SIGNS.null;
const money = (value) => (value === null || value === undefined ? t("unknown") : t("cny.per-hour", {n: number(value, 4)}));

// ---- the smallest change

const whatIfLink = (change, workload) => link(["whatif"], {
  workload, change: change.kind, target: change.target, from: change.from, to: change.to, site: change.site,
});

function Change({change, workload}) {
  return html`<li class="change"><${State} kind=${change.verified ? "good" : "wait"}>${named("who", change.who)}<//>
    <span>${plain(change.sentence) || t("why.change", {kind: plain(change.kind), target: plain(change.target), from: plain(change.from) || "–", to: plain(change.to) || "–"})}</span>
    ${change.site && html`<a href=${siteLink(change.site)}>${change.site}</a>`}
    <a href=${whatIfLink(change, workload)}>${t("why.show-me")}</a></li>`;
}

function Changes({path, workload}) {
  const {data, error} = useFetched(`${path}/changes`);
  if (error) return html`<${Failed} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  if (!data.smallestChange.length) return html`<${Empty}>${t("why.no-change")}<//>`;
  return html`<ol id="changes">${data.smallestChange.map((one) => html`<${Change} key=${`${one.kind}${one.target}`} change=${one} workload=${workload} />`)}</ol>`;
}

// ---- sites x rules

function rulesOf(sites, isWhole) {
  const rules = new Map();
  for (const site of sites) {
    for (const one of site.verdicts) {
      const known = rules.get(one.rule) || {key: one.rule, title: one.rule, refuses: 0};
      rules.set(one.rule, {...known, refuses: known.refuses + (one.passed === false ? 1 : 0)});
    }
  }
  return [...rules.values()].filter((one) => isWhole || one.refuses || one.key === "fit");
}

function Verdicts({sites}) {
  const [isWhole, setIsWhole] = useState(false);
  const [said, setSaid] = useState(null);
  const columns = rulesOf(sites, isWhole);
  const rows = sites.map((site) => ({key: site.name, title: site.replicas ? `${site.name} (${site.replicas})` : site.name, site}));
  const cell = ({site}, column) => {
    const verdict = site.verdicts.find((one) => one.rule === column.key);
    if (!verdict) return null;
    return {text: signOf(verdict), kind: KINDS[String(verdict.passed)], title: plain(verdict.sentence), verdict};
  };
  return html`<div class="bar"><h2>${t("why.rules")}</h2>
      <label><input type="checkbox" checked=${isWhole} onChange=${(event) => setIsWhole(event.target.checked)} /> ${t("why.all-rules")}</label></div>
    <${HeatTable} label=${t("why.rules")} corner=${t("site.name")} rows=${rows} columns=${columns} cell=${cell}
      onCell=${(row, column, one) => setSaid({site: row.key, rule: column.key, verdict: one.verdict})} />
    <p class="said" role="status" id="said">${said?.verdict
      ? html`<${State} kind=${KINDS[String(said.verdict.passed)]}>${said.site}, ${said.rule}<//> ${plain(said.verdict.sentence)}`
      : html`<span class="faint">${t("why.choose-cell")}</span>`}</p>
    <details id="in-words"><summary>${t("why.in-words")}</summary><ul>${sites.map((site) => html`<li key=${site.name}><a href=${siteLink(site.name)}>${site.name}</a>
      ${site.replicas ? html` <b>${t("why.chosen", {n: site.replicas})}</b>` : null}
      <ul>${site.verdicts.filter((one) => one.passed === false || one.rule === "fit").map((one) => html`<li key=${one.rule}>
        ${signOf(one)} ${named("reason", one.reason)}: ${plain(one.sentence)}</li>`)}</ul></li>`)}</ul></details>`;
}

// ---- costs

const partOf = (terms, term) => `${(terms.indexOf(term) % 6) + 1}`;

function Costs({sites}) {
  const terms = [...new Set(sites.flatMap((site) => site.costs.map((one) => one.term)))];
  if (!terms.length) return null;
  const whole = Math.max(...sites.map((site) => site.costs.reduce((sum, one) => sum + Math.max(0, one.cnyPerReplicaHour || 0), 0)));
  const bars = (site) => site.costs.map((one) => ({
    key: partOf(terms, one.term), label: named("term", one.term), value: one.cnyPerReplicaHour, text: money(one.cnyPerReplicaHour),
  }));
  return html`<h2>${t("why.costs")}</h2><p class="faint">${t("why.costs-note")}</p>
    <${Legend} parts=${terms.map((term) => ({key: partOf(terms, term), label: named("term", term)}))} />
    <ul class="bars" id="costs">${sites.map((site) => html`<${BarRow} key=${site.name} name=${site.name} parts=${bars(site)} whole=${whole}
      text=${money(site.totalCnyPerReplicaHour)} />`)}</ul>
    <details><summary>${t("chart.as-table")}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("why.costs")}><table>
      <thead><tr><th scope="col">${t("site.name")}</th>${terms.map((term) => html`<th scope="col" key=${term}>${named("term", term)}</th>`)}<th scope="col" class="number">${t("why.total")}</th></tr></thead>
      <tbody>${sites.map((site) => html`<tr key=${site.name}><th scope="row">${site.name}</th>
        ${terms.map((term) => html`<td key=${term}>${costText(site.costs.find((one) => one.term === term))}</td>`)}
        <td class="number">${money(site.totalCnyPerReplicaHour)}</td></tr>`)}</tbody></table></div></details>`;
}

function costText(cost) {
  if (!cost) return "–";
  const age = cost.ageSeconds === null || cost.ageSeconds === undefined ? "" : `, ${t("why.age", {age: duration(cost.ageSeconds)})}`;
  return `${money(cost.cnyPerReplicaHour)} (${named("origin", cost.origin)}${age})`;
}

// ---- two sites

function Versus({names, found, error}) {
  const [one, setOne] = useState(names[0] || "");
  const [other, setOther] = useState(names[1] || "");
  useEffect(() => { setOne(names[0] || ""); setOther(names[1] || ""); }, [names.join()]);
  const compare = (event) => {
    event.preventDefault();
    setQuery({versus: [one.trim(), other.trim()].filter(Boolean).join(",")});
  };
  return html`<h2>${t("why.versus")}</h2>
    <form class="bar" onSubmit=${compare}>
      <label>${t("why.site-one")} <input type="text" id="versus-one" list="versus-sites" value=${one} onInput=${(event) => setOne(event.target.value)} /></label>
      <label>${t("why.site-other")} <input type="text" id="versus-other" list="versus-sites" value=${other} onInput=${(event) => setOther(event.target.value)} /></label>
      <button type="submit" class="plain">${t("why.compare")}</button></form>
    ${error && names.length > 0 && html`<${Banner} kind="bad">${plain(error.message)}<//>`}
    ${found && html`<p id="versus">${plain(found.sentence)}</p>`}
    ${found?.sites && html`<${Sides} found=${found} />`}`;
}

function Sides({found}) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("why.versus")}><table class="wrapped">
    <thead><tr><th scope="col">${t("why.rule-or-cost")}</th>${found.sites.map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${found.rules.map((row) => html`<tr key=${row.rule}><th scope="row">${row.rule}</th>
        ${row.verdicts.map((one, at) => html`<td key=${at}>${signOf(one)} ${plain(one.sentence)}</td>`)}</tr>`)}
      ${found.terms.map((row) => html`<tr key=${row.term}><th scope="row">${named("term", row.term)}</th>
        ${row.costs.map((one, at) => html`<td key=${at}>${costText(one)}</td>`)}</tr>`)}</tbody></table></div>`;
}

// ---- the whole

function Pager({offset, total}) {
  if (total <= PAGE) return null;
  const go = (next) => () => setQuery({offset: next || ""});
  return html`<div class="bar"><button type="button" class="plain" disabled=${offset === 0} onClick=${go(Math.max(0, offset - PAGE))}>${t("page.before")}</button>
    <span>${t("page.range", {from: offset + 1, to: Math.min(total, offset + PAGE), total})}</span>
    <button type="button" class="plain" disabled=${offset + PAGE >= total} onClick=${go(offset + PAGE)}>${t("page.after")}</button></div>`;
}

function meaning(data, slug) {                // for a reader who knows neither Kapok nor Kubernetes
  const found = data.plain.find((one) => one.reason === slug);
  return found ? html`<small>${plain(found.sentence)} ${plain(found.ask)}</small>` : null;
}

function questionOf(query, search, versus) {
  const asked = new URLSearchParams({limit: PAGE, offset: Number(query.get("offset")) || 0, search});
  if (query.get("decision")) asked.set("decision", query.get("decision"));
  for (const name of versus) asked.append("versus", name);
  return asked.toString();
}

export function Why({path, parts, query, phase}) {
  const search = usePaced(query.get("site") || "", 250);
  const versus = (query.get("versus") || "").split(",").filter(Boolean).slice(0, 2);
  const state = useFetched(`${path}/why?${questionOf(query, search, [])}`, {everySeconds: 15});
  const sides = useFetched(versus.length ? `${path}/why?${questionOf(query, "", versus)}` : null);
  const {data} = state;
  if (!data) return html`<section class="panel wide">${pending(state)}</section>`;
  const isStuck = data.phase !== "Placed" && !query.get("decision");
  const reasons = Object.entries(data.reasons || {}).sort(([, a], [, b]) => b - a);
  return html`<section class="panel wide"><p><b id="why-line">${plain(data.line)}</b></p>
      <p class="faint">${t("why.decided", {at: instant(data.decidedAt)})} <code>${data.decision}</code>
        ${query.get("decision") && html` <a href=${link(parts, {part: "why"})}>${t("why.newest")}</a>`}</p>
      <${Stale} error=${state.error} />
      ${reasons.length > 0 && html`<ul class="reasons" id="reasons">${reasons.map(([slug, count]) => html`<li key=${slug}>
        <b>${named("reason", slug)}</b> ${t("why.sites", {n: count})}${meaning(data, slug)}</li>`)}</ul>`}
      ${data.notes.map((one) => html`<p key=${one} class="faint">${plain(one)}</p>`)}</section>
    ${isStuck && ["Waiting", "Refused", "Pending"].includes(phase) && html`<section class="panel wide"><h2>${t("why.smallest")}</h2>
      <p class="faint">${t("why.verified")}</p><${Changes} path=${path} workload=${data.workload} /></section>`}
    ${data.total > 0 || search ? html`<section class="panel wide">
      <label>${t("why.find-site")} <input type="search" id="why-site" value=${query.get("site") || ""} onInput=${(event) => setQuery({site: event.target.value, offset: ""})} /></label>
      <${Verdicts} sites=${data.sites} /><${Pager} offset=${data.offset} total=${data.total} /></section>
    <section class="panel wide"><${Costs} sites=${data.sites} /></section>
    <section class="panel wide"><datalist id="versus-sites">${data.sites.map((one) => html`<option key=${one.name} value=${one.name} />`)}</datalist>
      <${Versus} names=${versus} found=${sides.data?.versus} error=${sides.error} /></section>` : null}`;
}
