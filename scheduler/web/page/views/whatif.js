// What if: a scenario in words, before and after side by side; and what still fits where.
//
// Both are questions that the server answers from a copy of the fleet. They are a part of the
// address, so a link from another view asks them at once: #/whatif?scenario=drain+NAME.

import {html, useEffect, useState} from "/page/lib/preact.js";
import {ask, useFetched} from "/page/lib/fetched.js";
import {amount, grams, number, percent, rounded} from "/page/lib/format.js";
import {plain} from "/page/lib/plain.js";
import {link, setQuery, siteLink, workloadLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Banner, Empty, Failed, pending} from "/page/parts/banner.js";
import {Scroll, Table} from "/page/parts/table.js";

const EXAMPLES = ["drain SITE", "lose SITE", "lose province=CN-GD", "lose broker", "add SITE*2", "load 1.5", "price carbonCnyPerKg=0.5", "intensity CN-GD=450"];
const BUSY_SECONDS = 2;
const BUSY_TIMES = 60;
const MOST_LISTED = 50;
const SHAPE = ["cpu", "memory", "gpu", "class", "namespace"];

const WorkloadName = ({name}) => html`<a href=${workloadLink(name)}>${name}</a>`;
const SiteName = ({name}) => (name ? html`<a href=${siteLink(name)}>${name}</a>` : t("unknown"));

// A form whose fields are asked when it is sent, and not while they are typed.
function Asked({id, names, query, label, button, children}) {
  const known = () => Object.fromEntries(names.map((name) => [name, query.get(name) || ""]));
  const [values, setValues] = useState(known());
  useEffect(() => setValues(known()), names.map((name) => query.get(name)));
  const send = (event) => { event.preventDefault(); setQuery(values); };
  const set = (name, value) => setValues((last) => ({...last, [name]: value}));
  return html`<form id=${id} class="bar" aria-label=${label} onSubmit=${send}>
    ${children(values, set)}<button type="submit" class="button">${button}</button></form>`;
}

function Field({name, title, values, set, wide, hint}) {
  return html`<label>${title} <input type="text" name=${name} autocomplete="off" spellcheck=${false} class=${wide ? "wide" : ""}
    placeholder=${hint} value=${values[name]} onInput=${(event) => set(name, event.target.value)} /></label>`;
}

// The server answers one question at a time: while it is busy, the page asks again.
function useAnswer(path) {
  const [state, setState] = useState({data: null, error: null});
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const once = async (times) => {
      try {
        const data = await ask(path, stop.signal);
        if (!stop.signal.aborted) setState({data, error: null});
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error.status === 429 && times > 0) timer = setTimeout(once, BUSY_SECONDS * 1000, times - 1);
        else setState({data: null, error});
      }
    };
    once(BUSY_TIMES);
    return () => { stop.abort(); clearTimeout(timer); };
  }, [path]);
  return state;
}

function Answer({path, children}) {
  const {data, error} = useAnswer(path);
  if (error) return html`<${Failed} error=${error} />`;
  return data ? children(data) : html`<p class="empty" aria-busy="true">${t("whatif.asking")}</p>`;
}

function sides(before, after) {
  const row = (key, title, a, b) => ({key, title, before: a, after: b, isOther: a !== b});
  const both = (key, title, show) => row(key, title, show(before), show(after));
  const hottest = ({hottestSite: one}) => (one.name ? `${one.name} ${one.ratio === null ? t("whatif.more-than-all") : percent(one.ratio)}` : t("nothing"));
  return [
    both("reporting", t("whatif.reporting"), (one) => number(one.sitesReporting)),
    both("placed", t("whatif.placed"), (one) => number(one.placed)),
    both("not-placed", t("whatif.not-placed"), (one) => number(one.notPlaced)),
    both("replicas", t("whatif.replicas"), (one) => number(one.replicas)),
    both("cny", t("whatif.cny"), (one) => rounded(one.cost.cnyPerHour, 4)),
    both("carbon", t("whatif.carbon"), (one) => grams(one.cost.gco2PerHour)),
    both("hottest", t("whatif.hottest"), hottest),
    ...Object.keys(after.headroom).map((name) => both(`free-${name}`, t("whatif.free", {name}), (one) => amount(name, one.headroom[name]))),
  ];
}

function SideBySide({answer}) {
  return html`<${Scroll} label=${t("whatif.sides")}><table id="whatif-sides"><caption class="unseen">${t("whatif.sides")}</caption>
    <thead><tr><th scope="col">${t("whatif.figure")}</th><th scope="col" class="number">${t("whatif.before")}</th><th scope="col" class="number">${t("whatif.after")}</th></tr></thead>
    <tbody>${sides(answer.before, answer.after).map((one) => html`<tr key=${one.key}>
      <th scope="row">${one.title}</th><td class="number">${one.before}</td>
      <td class="number">${one.isOther ? html`<strong>${one.after}</strong>` : one.after}</td></tr>`)}</tbody></table><//>`;
}

function Unplaced({rows}) {
  const reasons = (row) => Object.entries(row.reasons).map(([slug, count]) => `${named("reason", slug)} ${number(count)}`).join(", ");
  const columns = [
    {key: "priority", title: t("whatif.priority"), numeric: true, value: (row) => row.priority, cell: (row) => number(row.priority)},
    {key: "name", title: t("workload.name"), value: (row) => row.workload, cell: (row) => html`<${WorkloadName} name=${row.workload} />`, text: (row) => row.workload},
    {key: "missing", title: t("whatif.missing"), numeric: true, value: (row) => row.missing, cell: (row) => `${number(row.missing)}/${number(row.replicas)}`},
    {key: "reasons", title: t("whatif.reasons"), value: reasons},
    {key: "line", title: t("workload.why"), value: (row) => row.line},
  ];
  return html`<h2>${t("whatif.unplaced")}</h2>
    <${Table} id="whatif-unplaced" label=${t("whatif.unplaced")} columns=${columns} rows=${rows} rowKey=${(row) => row.workload} />`;
}

function Moves({answer}) {
  const rows = [...answer.moves, ...answer.starts, ...answer.ends];
  const at = (key) => ({key, title: t(`whatif.${key}`), value: (row) => row[key] || "", cell: (row) => (row[key] ? html`<${SiteName} name=${row[key]} />` : "–"), text: (row) => row[key] || ""});
  const columns = [
    {key: "name", title: t("workload.name"), value: (row) => row.workload, cell: (row) => html`<${WorkloadName} name=${row.workload} />`, text: (row) => row.workload},
    {key: "replicas", title: t("whatif.replicas"), numeric: true, value: (row) => row.replicas, cell: (row) => number(row.replicas)},
    at("from"),
    at("to"),
  ];
  return html`<h2>${t("whatif.moves")}</h2>
    <${Table} id="whatif-moves" label=${t("whatif.moves")} columns=${columns} rows=${rows} rowKey=${(row) => `${row.workload} ${row.from} ${row.to}`} />`;
}

function Changes({changes}) {
  const step = (one) => (one.from ? `${one.from} → ${one.to || t("nothing")}` : one.to);
  return html`<h2>${t("whatif.changes")}</h2><ul id="whatif-changes">${changes.map((one, at) => html`<li key=${at}>
    <strong>${one.target}</strong> <code>${one.kind}</code> ${step(one)}
    <small> ${t("whatif.places", {n: one.workloads.length})}, ${t(`whatif.who.${one.who}`)}${one.verified ? "" : `, ${t("whatif.not-tried")}`}</small></li>`)}</ul>`;
}

export function Outcome({answer}) {
  const left = answer.unplaced.length;
  return html`<${Banner} kind=${left ? "bad" : "good"} title=${left ? t("whatif.left", {n: left}) : t("whatif.all")}>
      ${answer.waiting.length > 0 && t("whatif.waiting", {n: answer.waiting.length})}<//>
    ${answer.freeze.frozen && html`<${Banner} kind="wait" title=${t("whatif.frozen")}>${answer.freeze.why}<//>`}
    <${SideBySide} answer=${answer} />
    ${left > 0 && html`<${Unplaced} rows=${answer.unplaced} />`}
    ${answer.smallestChange.length > 0 && html`<${Changes} changes=${answer.smallestChange} />`}
    ${answer.moves.length + answer.starts.length + answer.ends.length > 0 && html`<${Moves} answer=${answer} />`}
    ${answer.givesWay.length > 0 && html`<h2>${t("whatif.gives-way")}</h2><ul id="whatif-gives-way">${answer.givesWay.slice(0, MOST_LISTED).map((one) => html`<li key=${`${one.workload} ${one.site}`}>
      ${t("whatif.gives-way-row", {replicas: one.replicas, workload: one.workload, site: one.site, other: one.for})}</li>`)}</ul>`}
    ${answer.grid.flatMap((one) => one.lines).map((line) => html`<p key=${line}>${line}</p>`)}
    ${answer.notes.map((note) => html`<p class="empty" key=${note}>${note}</p>`)}`;
}

function Capacity({answer}) {
  const columns = [
    {key: "name", title: t("site.name"), value: (row) => row.name, cell: (row) => html`<${SiteName} name=${row.name} />`, text: (row) => row.name},
    {key: "fits", title: t("whatif.fits"), numeric: true, value: (row) => row.replicas, cell: (row) => number(row.replicas)},
    {key: "why", title: t("whatif.why-none"), value: (row) => (row.firstRefusal ? `${named("reason", row.firstRefusal.reason)}: ${row.firstRefusal.sentence}` : "")},
  ];
  return html`<p id="capacity-total">${t("whatif.fit", {n: answer.replicas})}</p>
    <${Table} id="capacity-sites" label=${t("whatif.capacity")} columns=${columns} rows=${answer.sites} rowKey=${(row) => row.name} />
    ${answer.buyNext.length > 0 && html`<h2>${t("whatif.buy")}</h2><ul>${answer.buyNext.map((one) => html`<li key=${`${one.site} ${one.resource}`}>
      <${SiteName} name=${one.site} />: ${t("whatif.buy-row", {amount: rounded(one.amount), unit: one.unit, resource: one.resource, places: one.places, waiting: one.waiting})}
      ${one.cnyPerUnitHour !== null && html`<small> ${t("whatif.worth", {cny: rounded(one.cnyPerUnitHour), unit: one.unit})}</small>`}</li>`)}</ul>`}
    ${answer.noPurchase && html`<p id="no-purchase">${t("whatif.buy-none", {tried: answer.noPurchase.tried, n: answer.noPurchase.waiting, names: answer.noPurchase.workloads.join(", ")})}</p>`}`;
}

// A change that Why suggests. The words of a scenario do not have it, and the address may be of
// anyone: what is shown is what the engine finds now.
function Suggested({query}) {
  const workload = (query.get("workload") || "").split("/", 2);
  const state = useFetched(`/api/v1/workloads/${workload.map(encodeURIComponent).join("/")}/changes`);
  const found = state.data?.smallestChange.find((one) => one.kind === query.get("change") && one.target === query.get("target"));
  const asked = new URLSearchParams({change: query.get("change"), target: query.get("target") || "", to: query.get("to") || ""});
  const why = html`<a href=${link(["workloads", ...workload], {part: "why"})}>${plain(workload.join("/"))}</a>`;
  return html`<section class="panel" id="suggested"><h2>${t("whatif.suggested")}</h2>${pending(state) || (found
    ? html`<p>${plain(found.sentence)}</p><dl class="facts">
        <dt>${t("nav.workload")}</dt><dd>${why}</dd>
        <dt>${t("whatif.before")}</dt><dd>${plain(found.from) || t("nothing")}</dd>
        <dt>${t("whatif.after")}</dt><dd>${plain(found.to) || t("nothing")}</dd>
        ${found.site && html`<dt>${t("site.name")}</dt><dd><${SiteName} name=${found.site} /></dd>`}
        <dt>${t("whatif.who")}</dt><dd>${named("who", found.who)}</dd></dl>
      <p class="faint">${t(found.verified ? "whatif.suggested-tried" : "whatif.not-tried")}</p>
      ${found.kind !== "time" && html`<div id="suggested-outcome" aria-live="polite"><${Answer} key=${asked.toString()} path=${`/api/v1/workloads/${workload.map(encodeURIComponent).join("/")}/whatif?${asked}`}>
        ${(answer) => html`<${Outcome} answer=${answer} />`}<//></div>`}`
    : html`<${Empty}>${t("whatif.suggested-gone")} ${why}<//>`)}</section>`;
}

export function WhatIf({query}) {
  const scenario = (query.get("scenario") || "").trim();
  const shape = SHAPE.filter((name) => query.get(name));
  const asked = new URLSearchParams(shape.map((name) => [name, query.get(name)]));
  return html`<h1>${t("nav.whatif")}</h1><p>${t("whatif.intro")}</p>
    ${query.get("change") && html`<${Suggested} query=${query} />`}
    <${Asked} id="whatif-form" names=${["scenario"]} query=${query} label=${t("nav.whatif")} button=${t("whatif.ask")}>
      ${(values, set) => html`<${Field} name="scenario" title=${t("whatif.scenario")} values=${values} set=${set} wide hint="drain SITE load 1.2" />`}<//>
    <p class="hints">${t("whatif.examples")} ${EXAMPLES.map((one) => html`<code key=${one} class="slug">${one}</code>`)}</p>
    ${scenario && html`<section aria-live="polite"><${Answer} key=${scenario} path=${`/api/v1/whatif?scenario=${encodeURIComponent(scenario)}`}>
      ${(answer) => html`<${Outcome} answer=${answer} />`}<//></section>`}
    <h2>${t("whatif.capacity")}</h2>
    <${Asked} id="capacity-form" names=${SHAPE} query=${query} label=${t("whatif.capacity")} button=${t("whatif.ask")}>
      ${(values, set) => SHAPE.map((name) => html`<${Field} key=${name} name=${name} title=${t(`whatif.shape.${name}`)} values=${values} set=${set} />`)}<//>
    ${shape.length > 0 && html`<section aria-live="polite"><${Answer} key=${asked.toString()} path=${`/api/v1/capacity?${asked}`}>
      ${(answer) => html`<${Capacity} answer=${answer} />`}<//></section>`}`;
}
