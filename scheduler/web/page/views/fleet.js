// The fleet: every site by province and city, as tiles of its capacity or as a table.

import {html, useEffect, useMemo, useState} from "/page/lib/preact.js";
import {amount, duration, number, rounded, watts} from "/page/lib/format.js";
import {usePaced, useFetched} from "/page/lib/fetched.js";
import {schedulerNow, useLive} from "/page/lib/live.js";
import {provinceName} from "/page/lib/places.js";
import {setQuery, siteLink} from "/page/lib/router.js";
import {partsOf, stateOf} from "/page/lib/sites.js";
import {has, t} from "/page/lib/words.js";
import {Banner, Empty, Loading, State} from "/page/parts/banner.js";
import {Count, Table} from "/page/parts/table.js";
import {LENSES, Schematic} from "/page/parts/schematic.js";

const SHOWN = ["", "silent", "late", "cordoned"];
const AGE_MILLISECONDS = 1000;

export function SiteState({site}) {
  const [slug, kind] = stateOf(site);
  return html`<${State} kind=${kind}>${t(`site.${slug}`)}<//>`;
}

const placeOf = (row) => [row.province && (has(`province.${row.province}`) ? provinceName(row.province) : row.province), row.city].filter(Boolean).join(" · ");

const isShown = {
  "": () => true,
  silent: (row) => !row.reporting,
  late: (row) => row.reporting && row.health === "Late",
  cordoned: (row) => row.cordon,
};

function matching(rows, show, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length && !show) return rows;
  return rows.filter((row) => {
    if (!(isShown[show] || isShown[""])(row)) return false;
    const text = [row.name, row.city, row.province, placeOf(row), row.tier, row.provider].join(" ").toLowerCase();
    return wanted.every((one) => text.includes(one));
  });
}

const freeOf = (row, resource) => partsOf(row, resource)?.free;

function columns() {
  const free = (key, resource) => ({
    key, numeric: true, title: t(`fleet.free-${key}`), value: (row) => freeOf(row, resource), cell: (row) => amount(resource, freeOf(row, resource)),
  });
  const age = (row) => (row.observedAt ? (schedulerNow() - Date.parse(row.observedAt)) / 1000 : null);
  return [
    {key: "name", title: t("site.name"), value: (row) => row.name, cell: (row) => html`<a href=${siteLink(row.name)}>${row.name}</a>`, text: (row) => row.name},
    {key: "state", title: t("site.state"), value: (row) => stateOf(row)[0], cell: (row) => html`<${SiteState} site=${row} />`},
    {key: "place", title: t("site.place"), value: placeOf},
    {key: "tier", title: t("site.tier"), value: (row) => row.tier, cell: (row) => t(`tier.${row.tier}`)},
    {key: "age", title: t("fleet.by-age"), numeric: true, value: age, cell: (row) => duration(age(row))},
    {key: "workloads", title: t("nav.workloads"), numeric: true, value: (row) => row.workloads, cell: (row) => number(row.workloads)},
    free("cpu", "cpu"), free("memory", "memory"), free("gpu", "nvidia.com/gpu"),
    {key: "power", title: t("fleet.by-power"), numeric: true, value: (row) => row.watts, cell: (row) => watts(row.watts)},
    {key: "intensity", title: t("fleet.by-intensity"), numeric: true, value: (row) => row.gco2PerKwh, cell: (row) => rounded(row.gco2PerKwh)},
  ];
}

function Choice({id, label, value, options, onChoose}) {
  return html`<label>${label} <select id=${id} value=${value} onChange=${(event) => onChoose(event.target.value)}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}</select></label>`;
}

function useSeconds(isWanted) {               // so that ages grow; other figures change by events only
  const [count, setCount] = useState(0);
  useEffect(() => {
    if (!isWanted) return undefined;
    const timer = setInterval(() => setCount((one) => one + 1), AGE_MILLISECONDS);
    return () => clearInterval(timer);
  }, [isWanted]);
  return count;
}

function useLinks(from) {                     // round-trip times are asked for when they are looked at
  const {data, error} = useFetched(from ? `/api/v1/links?site=${encodeURIComponent(from)}` : null);
  const times = useMemo(() => new Map((data?.links || []).map((one) => [one.to, one])), [data]);
  return {times, error};
}

function Controls({by, show, as, from, query, rows}) {
  const lenses = Object.keys(LENSES).map((key) => [key, t(`fleet.by-${key}`)]);
  const names = () => rows.map((row) => [row.name, row.name]);
  return html`
    <${Choice} id="fleet-by" label=${t("fleet.by")} value=${by} options=${lenses} onChoose=${(value) => setQuery({by: value})} />
    ${by === "rtt" && html`<${Choice} id="fleet-from" label=${t("fleet.from")} value=${from} options=${[["", "–"], ...names()]} onChoose=${(value) => setQuery({from: value})} />`}
    <${Choice} id="fleet-show" label=${t("fleet.show")} value=${show} options=${SHOWN.map((one) => [one, t(`fleet.show-${one || "all"}`)])} onChoose=${(value) => setQuery({show: value})} />
    <${Choice} id="fleet-as" label=${t("fleet.as")} value=${as} options=${["tiles", "table"].map((one) => [one, t(`fleet.as-${one}`)])} onChoose=${(value) => setQuery({as: value})} />
    <label>${t("search")} <input id="sites-filter" type="search" autocomplete="off" value=${query.get("search") || ""}
      onInput=${(event) => setQuery({search: event.target.value})} /></label>`;
}

export function Fleet({query}) {
  const {tables, values} = useLive();
  const by = query.get("by") in LENSES ? query.get("by") : "cpu";
  const [show, as, from] = ["show", "as", "from"].map((name) => query.get(name) || "");
  const words = usePaced(query.get("search") || "");
  const rows = useMemo(() => [...(tables.sites || new Map()).values()].sort((a, b) => (a.name < b.name ? -1 : 1)), [tables.sites]);
  const found = useMemo(() => matching(rows, show, words), [rows, show, words]);
  const second = useSeconds(by === "age" || as === "table");
  const links = useLinks(by === "rtt" ? from : "");
  if (!tables.sites) return html`<h1>${t("nav.fleet")}</h1><${Loading} />`;
  if (values.sight && !values.sight.sites) return html`<h1>${t("nav.fleet")}</h1><${Empty}>${t("fleet.no-right")}<//>`;
  return html`<div class="bar"><h1>${t("nav.fleet")}</h1>
      <${Controls} by=${by} show=${show} as=${as || "tiles"} from=${from} query=${query} rows=${rows} />
      <${Count} id="sites-count" shown=${found.length} total=${rows.length} /></div>
    ${links.error && html`<${Banner} kind="wait">${links.error.message}<//>`}
    ${as === "table"
      ? html`<${Table} id="sites" label=${t("nav.fleet")} columns=${columns()} rows=${found} rowKey=${(row) => row.name} start=${{key: "name", isDescending: false}} />`
      : html`<${Schematic} rows=${found} by=${by} second=${by === "age" ? second : 0} links=${links.times} />`}`;
}
