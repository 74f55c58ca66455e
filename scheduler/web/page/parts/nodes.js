// Free vectors of a site's nodes as a heat table: equal nodes are one row with their number.

import {html, useState} from "/page/lib/preact.js";
import {amount, number} from "/page/lib/format.js";
import {named, t} from "/page/lib/words.js";
import {Empty} from "/page/parts/banner.js";
import {HeatTable} from "/page/parts/heat.js";

const FIRST = ["cpu", "memory", "nvidia.com/gpu", "pods"];
const UNITS = {n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60};

export function quantity(written) {           // a Kubernetes quantity as a number; null: it is none
  if (typeof written === "number") return written;
  const found = /^([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([A-Za-z]{1,2}))?$/.exec(String(written));
  if (!found || (found[3] && !(found[3] in UNITS))) return null;
  const value = Number(found[1] + (found[2] || "")) * (found[3] ? UNITS[found[3]] : 1);
  return Number.isNaN(value) ? null : value;
}

function title(node) {
  return [node.platform, node.cpuVendor, node.gpuModel].filter(Boolean).join(" · ") || t("nodes.unnamed");
}

function Details({node}) {
  const labels = Object.entries(node.labels).map(([key, value]) => `${key}=${value}`).sort();
  const taints = node.taints.map((one) => `${one.key}${one.value ? `=${one.value}` : ""}:${one.effect}`);
  return html`<dl class="facts"><dt>${t("nodes.labels")}</dt><dd>${labels.join(", ") || "–"}</dd>
    <dt>${t("site.taints")}</dt><dd>${taints.join(", ") || "–"}</dd></dl>`;
}

export function Nodes({nodes, isTruncated}) {
  const [chosen, setChosen] = useState(0);
  const resources = [...new Set(nodes.flatMap((one) => Object.keys(one.free)))].filter((one) => one !== "count");
  const ordered = [...FIRST.filter((one) => resources.includes(one)), ...resources.filter((one) => !FIRST.includes(one)).sort()];
  const most = Object.fromEntries(ordered.map((one) => [one, Math.max(1e-9, ...nodes.map((node) => quantity(node.free[one] ?? 0) || 0))]));
  const rows = nodes.map((node, at) => ({key: at, title: title(node), node}));
  const columns = [{key: "count", title: t("nodes.count")}, ...ordered.map((one) => ({key: one, title: named("resource", one)}))];
  const cell = ({node}, {key}) => {
    if (key === "count") return {text: number(quantity(node.free.count ?? 1))};
    if (!(key in node.free)) return {text: "–", title: t("nodes.not-named")};
    const value = quantity(node.free[key]);
    const text = value === null ? String(node.free[key]) : amount(key, value);
    return {text, level: value === null ? null : value / most[key], title: t("nodes.cell", {n: quantity(node.free.count ?? 1), free: text, resource: named("resource", key)})};
  };
  return html`<section class="panel wide" aria-labelledby="nodes"><h2 id="nodes">${t("nodes.title")}</h2>
    ${isTruncated && html`<p>${t("nodes.truncated")}</p>`}
    ${rows.length ? html`<${HeatTable} label=${t("nodes.title")} corner=${t("nodes.class")} rows=${rows} columns=${columns} cell=${cell} onCell=${(row) => setChosen(row.key)} />
      ${nodes[chosen] && html`<${Details} node=${nodes[chosen]} />`}` : html`<${Empty}>${t("site.no-figures")}<//>`}</section>`;
}
