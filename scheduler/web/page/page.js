// The page: two tables that follow /api/v1/live. Everything is set as text, never as HTML.
"use strict";

const tables = {sites: new Map(), workloads: new Map()};   // key -> {row, element}
const observedAt = new Map();                              // site -> ms of its last observation
let summary = {};

const $ = (id) => document.getElementById(id);
const unknown = () => cell("td", "unknown", "number unknown");

function cell(tag, text, className) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function number(value, digits = 0) {
  if (value === undefined || value === null) return unknown();
  return cell("td", value.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits}), "number");
}

function memory(bytes) {
  if (bytes === undefined) return unknown();
  return cell("td", `${(bytes / 2 ** 30).toLocaleString("en", {maximumFractionDigits: 0})} GiB`, "number");
}

function power(watts) {
  if (watts === undefined || watts === null) return "unknown";
  return watts >= 10000 ? `${(watts / 1000).toFixed(1)} kW` : `${Math.round(watts)} W`;
}

function duration(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

function stateOf(site) {
  if (!site.reporting) return [site.health === "Lost" ? "lost" : "silent", "bad"];
  if (site.health === "Late") return ["late", "wait"];
  return site.cordon ? ["cordoned", "wait"] : ["reporting", "good"];
}

function siteCells(site) {
  const [word, colour] = stateOf(site);
  const free = site.free || {};
  const watts = cell("td", power(site.watts), site.watts === undefined ? "number unknown" : "number");
  if (site.wattsOrigin) watts.title = site.wattsOrigin;
  const intensity = number(site.gco2PerKwh, 1);
  if (site.gco2PerKwhOrigin) intensity.title = site.gco2PerKwhOrigin;
  const grams = site.gco2PerHour;
  return [
    cell("td", site.name, "name"), cell("td", word, colour),
    cell("td", [site.province, site.city].filter(Boolean).join(" "), "faint"),
    cell("td", "", "number age"), number(site.workloads), site.freeCpu ? cell("td", site.freeCpu, "number") : unknown(),
    memory(free.memory), "nvidia.com/gpu" in free ? number(free["nvidia.com/gpu"]) : site.reporting ? cell("td", "–", "number faint") : unknown(),
    number(site.inFlightReplicas), watts, intensity,
    number(grams === undefined ? undefined : grams / 1000, 2),
  ];
}

const colours = {
  Running: "good", Completed: "good", Placed: "wait", Pending: "wait", Waiting: "wait",
  Deleting: "faint", Degraded: "bad", Refused: "bad",
};

function workloadCells(work) {
  const sites = work.sites.map((one) => {
    const share = one.ready === one.replicas ? `${one.replicas}` : `${one.ready ?? "?"}/${one.replicas}`;
    return `${one.name} (${share})`;
  });
  const shown = sites.length > 6 ? [...sites.slice(0, 6), `and ${sites.length - 6} more`] : sites;
  const name = cell("td", work.name, "name");
  name.prepend(cell("span", `${work.namespace}/`, "faint"));
  const why = document.createElement("td");
  why.className = "why";
  for (const [slug, count] of Object.entries(work.reasons)) {
    why.append(cell("span", `${count} ${slug}`, "slug"));
  }
  const settled = work.phase === "Running" || work.phase === "Completed";
  why.append(cell("span", work.reason || (settled ? "" : work.line) || "", "faint"));
  const decision = document.createElement("td");
  if (work.decision) {
    const link = cell("a", work.decision);
    link.href = `/api/v1/decisions/${encodeURIComponent(work.decision)}`;
    decision.append(link);
  }
  return [
    name, cell("td", work.phase, colours[work.phase] || ""), cell("td", work.dataClass || "none", "faint"),
    cell("td", work.readiness || "–", "number"),
    cell("td", shown.join(", ")), why, decision,
  ];
}

const cellsOf = {sites: siteCells, workloads: workloadCells};

function update(kind, changes, first) {
  const table = tables[kind];
  const body = document.querySelector(`#${kind} tbody`);
  let grown = false;
  for (const [key, row] of Object.entries(changes)) {
    const known = table.get(key);
    if (row === null) {
      if (known) known.element.remove();
      table.delete(key);
      observedAt.delete(key);
      continue;
    }
    const element = known ? known.element : document.createElement("tr");
    element.replaceChildren(...cellsOf[kind](row));
    element.classList.toggle("fresh", kind === "workloads" && !first);
    table.set(key, {row, element});
    if (kind === "sites" && row.observedAt) observedAt.set(key, Date.parse(row.observedAt));
    grown = grown || !known;
  }
  if (grown) {
    const sorted = [...table.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
    body.append(...sorted.map(([, one]) => one.element));
  }
  showCount(kind);
}

function showCount(kind) {                // all that match, though the page holds the first 1,000 of them
  const all = summary[kind] || 0, matching = summary.matching[kind], held = tables[kind].size;
  const count = matching === all ? `${all}` : `${matching} of ${all}`;
  $(`${kind}-count`).textContent = held < matching ? `${count}, the first ${held} are shown` : count;
}

function total(value, label) {
  const box = document.createElement("div");
  box.append(cell("b", value), cell("span", label));
  return box;
}

function splitTotal(text) {              // "28.1 kW of 11 of 12 sites": the figure, and what it is of
  const at = text.indexOf(" of ");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at)];
}

function showTotals() {
  const [watts, powered] = splitTotal(summary.power);
  const [carbon, measured] = splitTotal(summary.carbon);
  $("totals").replaceChildren(
    total(`${summary.reporting}/${summary.sites}`, "sites report"),
    ...Object.entries(summary.phases).map(([phase, count]) => total(`${count}`, phase.toLowerCase())),
    total(watts, `drawn by equipment${powered}`),
    total(carbon, `CO₂${measured}`),
    ...(summary.pendingSites ? [total(`${summary.pendingSites}`, "sites to admit, see kapok admit")] : []),
  );
}

function showAges() {
  const now = summary.now ? Date.parse(summary.now) + (performance.now() - summary.at) : 0;
  for (const [name, one] of tables.sites) {
    const age = one.element.querySelector(".age");
    if (age) age.textContent = observedAt.has(name) ? duration((now - observedAt.get(name)) / 1000) : "never";
  }
}

function say(text, lost) {
  $("state").textContent = text;
  $("state").classList.toggle("lost", lost);
}

let stream = null;

function listen() {                       // the server searches: it knows every row
  if (stream) stream.close();
  const wanted = new URLSearchParams();
  for (const kind of ["sites", "workloads"]) wanted.set(kind, $(`${kind}-filter`).value);
  const mine = stream = new EventSource(`/api/v1/live?${wanted}`);
  let first = true;
  mine.onmessage = (event) => {
    const changes = JSON.parse(event.data);
    if (first) for (const kind of ["sites", "workloads"]) {          // a new stream sends all rows again
      for (const one of tables[kind].values()) one.element.remove();
      tables[kind].clear();
    }
    summary = {...changes.summary, at: performance.now()};
    update("sites", changes.sites, first);
    update("workloads", changes.workloads, first);
    showTotals();
    showAges();
    first = false;
    say(summary.leading ? "live" : "standby: another replica leads", !summary.leading);
  };
  mine.onerror = () => {
    first = true;
    const ended = mine.readyState === EventSource.CLOSED;
    say(ended ? "session expired; run kapok open" : "connection lost, reconnecting", true);
  };
}

let typed = 0;
for (const kind of ["sites", "workloads"]) {
  $(`${kind}-filter`).addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(listen, 200);      // ms; a search starts when nothing is typed for so long
  });
}
listen();
