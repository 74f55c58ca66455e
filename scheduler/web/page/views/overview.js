// The overview: what a duty officer needs in five seconds.

import {html} from "/page/lib/preact.js";
import {grams, number, rounded, since, watts} from "/page/lib/format.js";
import {schedulerNow, useLive} from "/page/lib/live.js";
import {link} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Empty, Loading} from "/page/parts/banner.js";
import {Chart} from "/page/parts/chart.js";

const SHOWN_PHASES = ["Running", "Degraded", "Waiting", "Refused"];
const SIGNS = {bad: "✖", wait: "▲"};

export function Total({value, label, note, href, kind}) {
  const body = html`<b class=${kind || ""}>${value}</b>${label}${note && html`<small>${note}</small>`}`;
  return html`<li>${href ? html`<a href=${href}>${body}</a>` : html`<div>${body}</div>`}</li>`;
}

function change(trend, phase) {               // against the oldest sample of the last hour
  const values = trend?.[phase];
  if (!values || values.length < 2) return null;
  const difference = values[values.length - 1] - values[0];
  const age = since(trend.times[0], schedulerNow());
  if (!difference) return t("overview.as-before", {age});
  return t(difference > 0 ? "overview.more" : "overview.fewer", {n: Math.abs(difference), age});
}

function phaseKind(phase, count) {
  if (!count || phase === "Running") return "";
  return phase === "Waiting" ? "wait" : "bad";
}

function Work({values}) {
  const counts = values.phases;
  const others = Object.entries(counts).filter(([phase]) => !SHOWN_PHASES.includes(phase));
  return html`${SHOWN_PHASES.map((phase) => html`<${Total} key=${phase} value=${number(counts[phase] || 0)}
      kind=${phaseKind(phase, counts[phase])} label=${named("phase", phase)} note=${change(values.trend, phase)}
      href=${link(["workloads"], {phase})} />`)}
    ${others.map(([phase, count]) => html`<${Total} key=${phase} value=${number(count)} label=${named("phase", phase)}
      href=${link(["workloads"], {phase})} />`)}`;
}

function Sites({values}) {
  if (values.sites === undefined || values.sites === null) return null;
  const silent = values.sites - values.reporting;
  const measured = (unknown) => (unknown ? t("overview.of-sites", {known: values.sites - unknown, sites: values.sites}) : null);
  const age = values.oldestReport ? t("overview.oldest", {age: since(values.oldestReport, schedulerNow())}) : null;
  const intensity = values.intensity === null ? t("unknown") : t("overview.intensity", {value: rounded(values.intensity)});
  return html`
    <${Total} value=${`${number(values.reporting)}/${number(values.sites)}`} kind=${silent ? "bad" : ""}
      label=${t("overview.reporting")} note=${age} href=${link(["fleet"], silent ? {show: "silent"} : {})} />
    <${Total} value=${watts(values.watts)} label=${t("overview.power")} note=${measured(values.sitesOfUnknownPower)}
      href=${link(["fleet"], {by: "power"})} />
    <${Total} value=${t("overview.per-hour", {grams: grams(values.gco2PerHour)})} label=${t("overview.carbon")}
      note=${measured(values.sitesOfUnknownEmission) || intensity} href=${link(["carbon"])} />`;
}

function Item({item}) {
  const words = {...item.values};
  if (words.since) words.since = since(words.since, schedulerNow());
  if (words.until) words.until = words.until.slice(0, 10);
  if (words.reason === "") words.reason = t("attention.no-reason");
  return html`<li class="attention ${item.kind}"><span class="sign" aria-hidden="true">${SIGNS[item.kind]}</span>
    <a href=${link(item.path, item.query)}>${t(`attention.${item.slug}`, words)}</a></li>`;
}

function Attention({items}) {
  return html`<section class="panel wide" aria-labelledby="attention"><h2 id="attention">${t("overview.attention")}</h2>
    ${items.length ? html`<ol class="plain-list">${items.map((one) => html`<${Item} key=${one.slug + one.path} item=${one} />`)}</ol>`
      : html`<${Empty}>${t("overview.all-well")}<//>`}</section>`;
}

function Trends({trend}) {
  if (!trend) return null;
  const times = trend.times.map(Date.parse);
  const phases = SHOWN_PHASES.map((phase) => ({key: phase, label: named("phase", phase), values: trend[phase], format: number}));
  const waiting = phases.filter((one) => one.key !== "Running");
  const running = phases.filter((one) => one.key === "Running");
  const power = [{key: "watts", label: t("overview.power"), values: trend.watts, format: watts}];
  const carbon = [{key: "carbon", label: t("overview.carbon"), values: trend.gco2PerHour, format: grams}];
  return html`
    <section class="panel"><${Chart} label=${t("overview.trend-running")} times=${times} series=${running} /></section>
    <section class="panel"><${Chart} label=${t("overview.trend-waiting")} times=${times} series=${waiting} /></section>
    <section class="panel"><${Chart} label=${t("overview.trend-power")} times=${times} series=${power} /></section>
    <section class="panel"><${Chart} label=${t("overview.trend-carbon")} times=${times} series=${carbon} /></section>`;
}

export function Overview() {
  const {values} = useLive();
  if (!values.phases) return html`<h1>${t("nav.overview")}</h1><${Loading} />`;
  return html`<h1>${t("nav.overview")}</h1>
    <ul class="totals"><${Sites} values=${values} /><${Work} values=${values} /></ul>
    <div class="panels"><${Attention} items=${values.attention} /><${Trends} trend=${values.trend} /></div>`;
}
