// What energy costs at a site by the hour, and how much carbon its grid is forecast to emit.

import {html} from "/page/lib/preact.js";
import {instant, rounded} from "/page/lib/format.js";
import {named, t} from "/page/lib/words.js";
import {Empty} from "/page/parts/banner.js";
import {Chart} from "/page/parts/chart.js";
import {Scroll} from "/page/parts/table.js";

const HOURS = 24;

const hour = (value) => `${String(value).padStart(2, "0")}:00`;

function Tariff({prices, p90}) {
  const money = (value) => (value === undefined || value === null ? t("unknown") : t("site.cny-per-kwh", {value: rounded(value)}));
  const rows = prices.tariff || [];
  return html`<h3>${t("site.tariff")}</h3><${Scroll} label=${t("site.tariff")}><table><caption class="unseen">${t("site.tariff")}</caption>
    <thead><tr><th scope="col">${t("site.hours")}</th><th scope="col" class="number">${t("site.energy-price")}</th></tr></thead>
    <tbody>${rows.map((one) => html`<tr key=${one.fromHour}><th scope="row">${hour(one.fromHour)} – ${hour(one.toHour % HOURS)}</th><td class="number">${money(one.energyCnyPerKwh)}</td></tr>`)}
      <tr><th scope="row">${rows.length ? t("site.other-hours") : t("site.all-hours")}</th><td class="number">${money(prices.energyCnyPerKwh)}</td></tr>
      ${p90.energyCnyPerKwh !== undefined && html`<tr><th scope="row">${t("site.p90")}</th><td class="number">${money(p90.energyCnyPerKwh)}</td></tr>`}
      <tr><th scope="row">${t("site.core-price")}</th><td class="number">${prices.coreCnyPerHour === undefined || prices.coreCnyPerHour === null ? t("unknown") : t("site.cny-per-hour", {value: rounded(prices.coreCnyPerHour)})}</td></tr>
    </tbody></table><//>`;
}

// The band reaches from the lowest figure to the worst hours of the site's own history: a decision
// counts a figure that is too old or missing as those.
function Forecast({forecast, now, p90}) {
  const steps = forecast?.steps || [];
  if (!steps.length) return html`<${Empty}>${t("site.no-forecast")}<//>`;
  const times = steps.map((one) => Date.parse(one.at));
  const values = steps.map((one) => one.gco2PerKwh);
  const series = [{key: "forecast", label: t("site.forecast"), values, format: rounded}];
  const worst = p90.gco2PerKwh;
  if (worst !== undefined) {
    Object.assign(series[0], {low: values.map((one) => Math.min(one, worst)), high: values.map((one) => Math.max(one, worst))});
  }
  if (now !== undefined && now !== null) series.push({key: "now", label: t("site.now"), values: values.map(() => now), format: rounded});
  return html`<${Chart} label=${t("site.forecast-title")} times=${times} series=${series} />
    <p class="faint">${t("site.issued", {at: instant(forecast.observedAt), origin: named("origin", forecast.origin || "unknown")})}
      ${" "}${worst === undefined ? t("site.no-band") : t("site.band", {worst: rounded(worst)})}</p>`;
}

export function Prices({detail, site}) {
  return html`<section class="panel" aria-labelledby="prices"><h2 id="prices">${t("site.prices")}</h2>
    <${Tariff} prices=${detail.prices} p90=${detail.p90} />
    <${Forecast} forecast=${detail.energy.forecast} now=${site.gco2PerKwh} p90=${detail.p90} /></section>`;
}
