// A chart over time, drawn by uPlot, with the same figures as a table.
//
// times: instants in ms. series: [{key, label, values, format, low, high}]; low and high are the
// band of a forecast. A line has a dash of its own beside its colour.

import {html, Plot, useEffect, useRef} from "/page/lib/preact.js";
import {instant} from "/page/lib/format.js";
import {language, locale, t} from "/page/lib/words.js";
import {theme} from "/page/lib/theme.js";
import {useStore} from "/page/lib/store.js";
import {Empty} from "/page/parts/banner.js";
import {Scroll} from "/page/parts/table.js";

const DASHES = [[], [6, 4], [2, 3], [10, 4, 2, 4], [14, 4], [1, 5]];
const BASE_PIXELS = 14;                       // as in page.css; a wall has larger letters
const MOST_TABLE_ROWS = 60;

function colour(name, alpha = 1) {            // a canvas knows no custom property and no light-dark()
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
  probe.remove();
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

function lines(series) {
  const paths = [];
  const bands = [];
  series.forEach((one, at) => {
    const name = `--line-${(at % 6) + 1}`;
    if (one.low && one.high) {
      bands.push({series: [paths.length + 2, paths.length + 1], fill: colour(name, 0.22)});
      paths.push({label: "", stroke: "transparent", points: {show: false}}, {label: "", stroke: "transparent", points: {show: false}});
    }
    paths.push({label: one.label, stroke: colour(name), width: 2, dash: DASHES[at % DASHES.length], points: {show: false}});
  });
  return {paths, bands};
}

const columnsOf = (series) => series.flatMap((one) => (one.low && one.high ? [one.low, one.high, one.values] : [one.values]));

function options({width, height, series}) {
  const {paths, bands} = lines(series);
  const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / BASE_PIXELS;
  const axis = {font: `${Math.round(12 * scale)}px system-ui`, stroke: colour("--faint"), grid: {stroke: colour("--line"), width: 1}, ticks: {stroke: colour("--line")}};
  const format = series[0]?.format || String;
  const clock = new Intl.DateTimeFormat(locale(), {hour: "2-digit", minute: "2-digit"});
  return {
    width, height, legend: {show: false}, cursor: {show: false}, series: [{}, ...paths], bands,
    scales: {x: {time: true}, y: {range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 1) * 1.05 || 1]}},
    axes: [
      {...axis, size: 50 * scale, values: (_, ticks) => ticks.map((one) => clock.format(one * 1000))},
      {...axis, size: 72 * scale, values: (_, ticks) => ticks.map((one) => format(one))},
    ],
  };
}

function Drawing({times, series, height, label}) {
  const box = useRef(null);
  const drawn = useRef(null);
  const data = [times.map((one) => one / 1000), ...columnsOf(series)];
  const shape = `${series.map((one) => `${one.label}${Boolean(one.low)}`).join()} ${useStore(theme)} ${useStore(language)}`;
  useEffect(() => {
    const element = box.current;
    const plot = new Plot(options({width: element.clientWidth || 300, height, series}), data, element);
    drawn.current = plot;
    const size = new ResizeObserver(() => plot.setSize({width: element.clientWidth, height}));
    size.observe(element);
    return () => { size.disconnect(); plot.destroy(); drawn.current = null; };
  }, [shape, height]);
  useEffect(() => { drawn.current?.setData(data); }, [times, series]);
  return html`<div class="chart" ref=${box} role="img" aria-label=${label}></div>`;
}

function Figures({times, series, label}) {
  const step = Math.max(1, Math.ceil(times.length / MOST_TABLE_ROWS));
  const picked = times.map((_, at) => at).filter((at) => at % step === 0 || at === times.length - 1);
  const text = (one, at) => {
    const value = one.values[at];
    if (value === null || value === undefined) return t("unknown");
    const format = one.format || String;
    return one.low && one.high ? t("chart.band", {value: format(value), low: format(one.low[at]), high: format(one.high[at])}) : format(value);
  };
  return html`<${Scroll} label=${label}><table><caption class="unseen">${label}</caption>
    <thead><tr><th scope="col">${t("chart.time")}</th>${series.map((one) => html`<th scope="col" class="number" key=${one.key}>${one.label}</th>`)}</tr></thead>
    <tbody>${picked.map((at) => html`<tr key=${times[at]}><th scope="row">${instant(new Date(times[at]).toISOString())}</th>
      ${series.map((one) => html`<td class="number" key=${one.key}>${text(one, at)}</td>`)}</tr>`)}</tbody></table><//>`;
}

export function Chart({label, times, series, height: base = 180}) {
  const height = Math.round((base * parseFloat(getComputedStyle(document.documentElement).fontSize)) / BASE_PIXELS);
  if (times.length < 2) return html`<${Empty}>${t("chart.empty")}<//>`;
  return html`<figure class="figure"><figcaption>${label}
      <ul class="legend">${series.map((one, at) => html`<li key=${one.key}><span class="dash dash-${(at % 6) + 1}" aria-hidden="true"></span> ${one.label}</li>`)}</ul>
    </figcaption>
    <${Drawing} times=${times} series=${series} height=${height} label=${label} />
    <details><summary>${t("chart.as-table")}</summary><${Figures} times=${times} series=${series} label=${label} /></details>
  </figure>`;
}
