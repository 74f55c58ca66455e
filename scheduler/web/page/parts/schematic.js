// Sites as tiles, by province and city. A tile's size is the site's capacity; its fill and its words
// say what the chosen lens shows. Only a tile whose site or lens changed is drawn again.

import {Component, html, useEffect, useRef, useState} from "/page/lib/preact.js";
import {amount, duration, rounded, watts} from "/page/lib/format.js";
import {schedulerNow} from "/page/lib/live.js";
import {byPlace} from "/page/lib/places.js";
import {siteLink} from "/page/lib/router.js";
import {barParts, partsOf, stateOf, wholeOf} from "/page/lib/sites.js";
import {language, t} from "/page/lib/words.js";
import {Empty} from "/page/parts/banner.js";
import {Legend, StackedBar} from "/page/parts/bars.js";

const SIGNS = {bad: "✖", wait: "▲", good: ""};
const [LEAST_REM, MOST_REM] = [6.5, 15];
const [CHUNK, TILE_REM, GUESSED_COLUMNS, NEAR] = [36, 5.2, 6, "200px"];
const STALE_SECONDS = 60;                     // an age at which a tile is full

const ageOf = (row) => (row.observedAt ? (schedulerNow() - Date.parse(row.observedAt)) / 1000 : null);

// A lens: of a resource the parts, else one figure. most: the figure at which the fill is full.
export const LENSES = {
  cpu: {resource: "cpu"},
  memory: {resource: "memory"},
  gpu: {resource: "nvidia.com/gpu"},
  power: {value: (row) => row.watts, format: watts},
  intensity: {value: (row) => row.gco2PerKwh, format: (value) => t("fleet.intensity", {value: rounded(value)})},
  age: {value: ageOf, format: duration, most: STALE_SECONDS},
  rtt: {value: (row, links) => links.get(row.name)?.milliseconds, format: (value) => t("fleet.milliseconds", {value: rounded(value)})},
};

function figureOf(row, lens, links) {         // {text, parts}: what a tile shows
  if (lens.resource) {
    const parts = partsOf(row, lens.resource);
    if (!parts) return {text: t("unknown"), parts: null};
    const format = (value) => amount(lens.resource, value);
    return {text: parts.free === null ? t("unknown") : t("fleet.free", {value: format(parts.free)}), parts: barParts(parts, format)};
  }
  const value = lens.value(row, links);
  if (value === undefined || value === null) return {text: t("unknown"), parts: null};
  return {text: lens.format(value), value, parts: [{key: "1", label: "", value, text: lens.format(value)}]};
}

class Tile extends Component {
  shouldComponentUpdate(next) {
    return ["row", "by", "size", "most", "second", "links", "language"].some((name) => next[name] !== this.props[name]);
  }

  render({row, by, size, most, links}) {
    const figure = figureOf(row, LENSES[by], links);
    const [slug, kind] = stateOf(row);
    const label = t(`fleet.by-${by}`);
    return html`<li class="tile ${kind}" style=${{width: `${size}rem`}} data-site=${row.name}>
      <a href=${siteLink(row.name)} title=${row.name}>${row.name}</a>
      <span class="tile-figure">${figure.text}</span>
      ${figure.parts ? html`<${StackedBar} parts=${figure.parts} whole=${LENSES[by].resource ? undefined : most} label=${label} />` : html`<div class="bar-of-parts unknown-bar" aria-hidden="true"></div>`}
      ${kind !== "good" && html`<span class="state ${kind}"><span class="sign" aria-hidden="true">${SIGNS[kind]}</span> ${t(`site.${slug}`)}</span>`}
    </li>`;
  }
}

// Tiles that are drawn only near the window: of 1,000 sites a screen shows a tenth. The first ones
// are drawn at once (isFirst); where the window is, the others hear from the browser a frame later.
function Near({count, isFirst, children}) {
  const box = useRef(null);
  const height = useRef(`${TILE_REM * Math.ceil(count / GUESSED_COLUMNS)}rem`);
  const [isNear, setNear] = useState(isFirst);
  useEffect(() => {
    const watcher = new IntersectionObserver((entries) => {
      const near = entries[entries.length - 1].isIntersecting;
      if (!near && box.current.childElementCount) height.current = `${box.current.offsetHeight}px`;
      setNear(near);
    }, {rootMargin: NEAR});
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  return html`<ul class="tiles" ref=${box} style=${{minHeight: isNear ? "" : height.current}}>${isNear && children()}</ul>`;
}

function chunks(sites) {
  const parts = [];
  for (let at = 0; at < sites.length; at += CHUNK) parts.push(sites.slice(at, at + CHUNK));
  return parts;
}

function sizes(rows, by) {                    // an area as large as the capacity; CPU where the lens has none
  const resource = LENSES[by].resource || "cpu";
  const whole = new Map(rows.map((row) => [row.name, wholeOf(partsOf(row, resource))]));
  const most = Math.max(1e-9, ...whole.values());
  return (row) => Math.round(10 * (LEAST_REM + (MOST_REM - LEAST_REM) * Math.sqrt(whole.get(row.name) / most))) / 10;
}

function mostOf(rows, by, links) {
  const lens = LENSES[by];
  if (lens.resource) return undefined;
  const most = lens.most || Math.max(1e-9, ...rows.map((row) => lens.value(row, links) || 0));
  return Number(most.toPrecision(2));         // else each report of the largest would draw all tiles
}

export function Schematic({rows, by, second, links}) {
  if (!rows.length) return html`<${Empty}>${t("table.empty")}<//>`;
  const size = sizes(rows, by);
  const most = mostOf(rows, by, links);
  const legend = LENSES[by].resource && barParts({used: 0, inFlight: 0, reserved: 0, free: 0, isUsedKnown: rows.some((row) => row.used)}, () => undefined);
  let drawn = 0;
  const isFirst = () => (drawn += 1) <= 1;
  return html`<p class="faint">${t("fleet.size", {by: t(`fleet.by-${LENSES[by].resource ? by : "cpu"}`)})}</p>
    ${legend && html`<${Legend} parts=${legend} />`}
    ${byPlace(rows).map((province) => html`<section class="province" key=${province.key} aria-label=${province.title}>
      <h2>${province.title} <span class="faint">${province.sites}</span></h2>
      ${province.cities.map((city) => html`<div class="city" key=${city.key}><h3>${city.title}</h3>
        ${chunks(city.sites).map((part, at) => html`<${Near} key=${at} count=${part.length} isFirst=${isFirst()}>${() => part.map((row) => html`<${Tile} key=${row.name}
          row=${row} by=${by} size=${size(row)} most=${most} second=${second} links=${links} language=${language.get()} />`)}<//>`)}</div>`)}
    </section>`)}`;
}
