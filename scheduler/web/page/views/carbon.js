// Carbon and money: what placed work draws, emits and costs now and today, and what of it is measured.

import {html} from "/page/lib/preact.js";
import {useFetched} from "/page/lib/fetched.js";
import {grams, instant, number, percent, rounded, since, watts} from "/page/lib/format.js";
import {schedulerNow} from "/page/lib/live.js";
import {plain} from "/page/lib/plain.js";
import {siteLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Banner, pending, Stale, State} from "/page/parts/banner.js";
import {BarRow} from "/page/parts/bars.js";
import {Table} from "/page/parts/table.js";
import {Total} from "/page/views/overview.js";

const MOST_BARS = 12;
const ORIGIN_KINDS = {measured: "good", estimated: "info", modelled: "info", yearly: "wait", assumed: "wait", unknown: "bad"};

const isKnown = (value) => value !== null && value !== undefined;
const cny = (value) => (isKnown(value) ? t("cny.amount", {n: number(value, 2)}) : t("unknown"));
const cnyPerHour = (value) => (isKnown(value) ? t("cny.per-hour", {n: number(value, 2)}) : t("unknown"));
const perHour = (value) => (isKnown(value) ? t("carbon.per-hour", {mass: grams(value)}) : t("unknown"));

export const Origin = ({origin}) => html`<${State} kind=${ORIGIN_KINDS[origin] || "info"}>${named("origin", origin)}<//>`;

// What a sum is of, where it is not of all: a part of the power is at sites of unknown figures.
const partNote = (ratio) => (isKnown(ratio) && ratio < 0.9995 ? t("carbon.of-part", {ratio: percent(ratio)}) : null);

function Totals({data}) {
  const {total} = data;
  const price = (mass) => (isKnown(mass) ? (mass / 1000) * data.carbonCnyPerKg : null);
  return html`<ul class="totals" id="spend-now">
      <${Total} value=${watts(total.watts)} label=${t("carbon.power")} note=${t("carbon.power-note")} />
      <${Total} value=${perHour(total.gco2PerHour)} label=${t("carbon.now")} note=${partNote(total.knownCarbonRatio)} />
      <${Total} value=${cnyPerHour(total.cnyPerHour)} label=${t("carbon.cost")} note=${partNote(total.knownCostRatio)} />
      <${Total} value=${cnyPerHour(price(total.gco2PerHour))} label=${t("carbon.price")} note=${t("carbon.price-note", {n: number(data.carbonCnyPerKg, 3)})} />
    </ul>
    <h2>${t("carbon.today")}</h2>
    <p class="faint" id="today-since">${t("carbon.today-since", {at: instant(data.todaySince)})}</p>
    <ul class="totals" id="spend-today">
      <${Total} value=${t("energy.kwh", {n: rounded(total.today.wattHours / 1000)})} label=${t("carbon.energy")} />
      <${Total} value=${grams(total.today.gco2)} label=${t("carbon.emitted")} note=${partNote(total.today.knownCarbonRatio)} />
      <${Total} value=${cny(total.today.cny)} label=${t("carbon.spent")} note=${partNote(total.today.knownCostRatio)} />
      <${Total} value=${cny(price(total.today.gco2))} label=${t("carbon.carbon-cost")} />
    </ul>`;
}

function Inputs({rows}) {
  return html`<section class="panel"><h2>${t("carbon.inputs")}</h2><p class="faint">${t("carbon.inputs-note")}</p>
    <table id="inputs" class="wrapped"><thead><tr><th scope="col">${t("carbon.input")}</th><th scope="col" class="number">${t("carbon.measured")}</th><th scope="col">${t("carbon.origins")}</th></tr></thead>
    <tbody>${rows.map((one) => html`<tr key=${one.input}><th scope="row">${named("input", one.input)}</th><td class="number">${percent(one.measuredRatio)}</td>
      <td>${Object.entries(one.origins).map(([origin, count]) => html`<span key=${origin}><${Origin} origin=${origin} /> ${number(count)} </span>`)}</td></tr>`)}</tbody></table></section>`;
}

function Shares({tenants}) {
  const most = Math.max(...tenants.map((one) => one.watts), 0);
  if (!tenants.length) return null;
  return html`<section class="panel"><h2>${t("carbon.shares")}</h2><ul class="bars">${tenants.slice(0, MOST_BARS).map((one) => html`<${BarRow} key=${one.name}
    name=${tenantName(one)} parts=${[{key: "1", label: t("carbon.power"), value: one.watts, text: watts(one.watts)}]} whole=${most} text=${watts(one.watts)} />`)}</ul></section>`;
}

const tenantName = (row) => (row.name === "-" ? t("carbon.no-tenant") : plain(row.name));

function Tenants({rows}) {
  const columns = [
    {key: "name", title: t("workload.tenant"), value: tenantName},
    {key: "watts", title: t("carbon.power"), numeric: true, value: (row) => row.watts, cell: (row) => watts(row.watts)},
    {key: "carbon", title: t("carbon.now"), numeric: true, value: (row) => row.gco2PerHour, cell: (row) => perHour(row.gco2PerHour)},
    {key: "cost", title: t("carbon.cost"), numeric: true, value: (row) => row.cnyPerHour, cell: (row) => cnyPerHour(row.cnyPerHour)},
    {key: "carbon-today", title: t("carbon.emitted-today"), numeric: true, value: (row) => row.today.gco2, cell: (row) => grams(row.today.gco2)},
    {key: "cost-today", title: t("carbon.spent-today"), numeric: true, value: (row) => row.today.cny, cell: (row) => cny(row.today.cny)},
    {key: "known", title: t("carbon.known"), numeric: true, value: (row) => row.knownCarbonRatio, cell: (row) => percent(row.knownCarbonRatio)},
  ];
  return html`<section class="panel wide"><h2>${t("carbon.by-tenant")}</h2>
    <${Table} id="carbon-tenants" label=${t("carbon.by-tenant")} columns=${columns} rows=${rows} rowKey=${(row) => row.name} start=${{key: "watts", isDescending: true}} /></section>`;
}

function Sites({rows}) {
  const now = schedulerNow();
  const figure = (text, origin) => html`${text} <${Origin} origin=${origin} />`;
  const columns = [
    {key: "name", title: t("site.name"), value: (row) => row.name, cell: (row) => html`<a href=${siteLink(row.name)}>${row.name}</a>`},
    {key: "equipment", title: t("carbon.equipment"), numeric: true, value: (row) => row.equipmentWatts, cell: (row) => figure(watts(row.equipmentWatts), row.equipmentWattsOrigin)},
    {key: "work", title: t("carbon.work"), numeric: true, value: (row) => row.work.watts, cell: (row) => watts(row.work.watts)},
    {key: "intensity", title: t("carbon.intensity"), numeric: true, value: (row) => row.gco2PerKwh, cell: (row) => figure(rounded(row.gco2PerKwh), row.gco2PerKwhOrigin)},
    {key: "pue", title: t("carbon.pue"), numeric: true, value: (row) => row.pue, cell: (row) => figure(rounded(row.pue), row.pueOrigin)},
    {key: "emission", title: t("carbon.emission"), numeric: true, value: (row) => row.equipmentGco2PerHour, cell: (row) => perHour(row.equipmentGco2PerHour)},
    {key: "price", title: t("carbon.energy-price"), numeric: true, value: (row) => row.energyCnyPerKwh, cell: (row) => (isKnown(row.energyCnyPerKwh) ? number(row.energyCnyPerKwh, 3) : t("unknown"))},
    {key: "cost", title: t("carbon.cost"), numeric: true, value: (row) => row.work.cnyPerHour, cell: (row) => cnyPerHour(row.work.cnyPerHour)},
    {key: "spent", title: t("carbon.spent-today"), numeric: true, value: (row) => row.today.cny, cell: (row) => cny(row.today.cny)},
    {key: "age", title: t("carbon.age"), numeric: true, value: (row) => (row.observedAt ? now - Date.parse(row.observedAt) : null), cell: (row) => since(row.observedAt, now)},
  ];
  return html`<section class="panel wide"><h2>${t("carbon.by-site")}</h2>
    <${Table} id="carbon-sites" label=${t("carbon.by-site")} columns=${columns} rows=${rows} rowKey=${(row) => row.name} start=${{key: "equipment", isDescending: true}} /></section>`;
}

export function Carbon() {
  const state = useFetched("/api/v1/spend", {everySeconds: 5});
  const {data, error} = state;
  if (error?.status === 403) return html`<h1>${t("nav.carbon")}</h1><${Banner} kind="info">${t("rights.all-tenants")}<//>`;
  return html`<h1>${t("nav.carbon")}</h1><${Stale} error=${data && error} />
    ${pending(state) || html`<${Totals} data=${data} />
      <p class="faint">${t("carbon.method")}</p>
      <div class="panels"><${Inputs} rows=${data.inputs} /><${Shares} tenants=${data.tenants} />
        <${Tenants} rows=${data.tenants} /><${Sites} rows=${data.sites} /></div>`}`;
}
