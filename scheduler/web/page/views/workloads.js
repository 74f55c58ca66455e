// All workloads: search, facets with counts, an order; the server finds, sorts and pages.

import {html, useMemo, useState} from "/page/lib/preact.js";
import {ask, useAgain, usePaced} from "/page/lib/fetched.js";
import {instant, number} from "/page/lib/format.js";
import {useLive} from "/page/lib/live.js";
import {plain} from "/page/lib/plain.js";
import {route, setQuery, workloadLink} from "/page/lib/router.js";
import {language, named, t} from "/page/lib/words.js";
import {pending, Stale, State} from "/page/parts/banner.js";
import {Count, Table} from "/page/parts/table.js";

export const PHASE_KINDS = {
  Running: "good", Completed: "good", Placed: "wait", Pending: "wait", Waiting: "wait", Deleting: "info", Degraded: "bad", Refused: "bad",
};

export const Phase = ({phase}) => html`<${State} kind=${PHASE_KINDS[phase] || "info"}>${named("phase", phase)}<//>`;

const FACETS = ["phase", "reason", "tenant", "namespace", "site", "class"];
const WORDS_OF = {phase: "phase", reason: "reason", class: "class"};
const SHOWN_VALUES = 8;
const FIRST = 60;                              // rows of the first answer: more than fit on a screen
const PAGE = 400;
const EVERY_SECONDS = 4;

export const keyOf = (row) => `${row.namespace}/${row.name}`;

const chosenOf = (query, facet) => (query.get(facet) || "").split(",").filter(Boolean);

export function valueText(facet, value) {
  if (value === "-") return t(facet === "reason" ? "facet.no-reason" : "facet.none");
  return WORDS_OF[facet] ? named(WORDS_OF[facet], value) : plain(value);
}

function questionOf(query, search) {
  const asked = new URLSearchParams({search, sort: query.get("sort") || "namespace"});
  for (const facet of FACETS) for (const value of chosenOf(query, facet)) asked.append(facet, value);
  return asked.toString();
}

// The rows of a question, page by page as far as they are looked at, asked for again and again. The
// first answer is short, so that it is there at once; the rest of the page follows.
function useRows(question) {
  const [extent, setExtent] = useState({question, rows: FIRST});
  const wanted = extent.question === question ? extent.rows : FIRST;
  const extend = (rows) => setExtent({question, rows});
  const [state, setState] = useState({data: null, error: null, question: null});
  const load = async (signal) => {
    try {
      const pages = [];
      for (let offset = 0; offset < wanted; offset += PAGE) {
        pages.push(await ask(`/api/v1/workloads/table?${question}&offset=${offset}&limit=${Math.min(PAGE, wanted)}`, signal));
        if (offset + PAGE >= pages[0].matching) break;
      }
      if (signal.aborted) return 0;
      setState({data: {...pages[0], workloads: pages.flatMap((one) => one.workloads)}, error: null, question});
      if (wanted < PAGE && pages[0].matching > wanted) extend(PAGE);
    } catch (error) {
      if (signal.aborted) return 0;
      setState((last) => ({...last, error}));
    }
    return EVERY_SECONDS * Math.ceil(wanted / 2000);
  };
  useAgain(load, [question, wanted, language.get()], {version: useLive().values.workloadsVersion});
  return [state, () => extend(wanted < PAGE ? PAGE : wanted + PAGE)];
}

function Facet({facet, found, query}) {
  const [isWhole, setIsWhole] = useState(false);
  const chosen = chosenOf(query, facet);
  const known = found?.values || [];
  const gone = chosen.filter((value) => !known.some((one) => one.value === value)).map((value) => ({value, count: 0}));
  const all = [...gone, ...known];
  const shown = isWhole ? all : all.filter((one, at) => at < SHOWN_VALUES || chosen.includes(one.value));
  const toggle = (value) => {
    const next = chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value];
    setQuery({[facet]: next.join(",")});
  };
  if (all.length === 0) return null;
  return html`<fieldset class="facet" data-facet=${facet}><legend>${t(`facet.${facet}`)}</legend>
    ${shown.map((one) => html`<label key=${one.value}>
      <input type="checkbox" checked=${chosen.includes(one.value)} onChange=${() => toggle(one.value)} />
      <span class="facet-value">${valueText(facet, one.value)}</span> <span class="faint">${number(one.count)}</span></label>`)}
    ${all.length > shown.length && html`<button type="button" class="link" onClick=${() => setIsWhole(true)}>
      ${t("facet.more", {more: all.length - shown.length + (found.leftOut || 0)})}</button>`}
  </fieldset>`;
}

function Facets({facets, query}) {
  const isAny = FACETS.some((facet) => query.get(facet)) || query.get("search");
  const clear = () => setQuery(Object.fromEntries([...FACETS, "search"].map((name) => [name, ""])));
  return html`<details class="facets" open=${innerWidth > 900}><summary>${t("facet.title")}</summary>
    ${isAny && html`<button type="button" class="plain" onClick=${clear}>${t("facet.clear")}</button>`}
    ${FACETS.map((facet) => html`<${Facet} key=${facet} facet=${facet} found=${facets[facet]} query=${query} />`)}
  </details>`;
}

export function sitesText(row) {
  const shares = row.sites.map((one) => `${one.name} (${one.ready === one.replicas ? one.replicas : `${one.ready ?? "?"}/${one.replicas}`})`);
  const count = row.siteCount ?? shares.length;
  return count > 6 ? t("list.more", {shown: shares.slice(0, 6).join(", "), more: count - 6}) : shares.join(", ");
}

export function whyText(row) {
  const slug = Object.entries(row.reasons || {}).sort(([, a], [, b]) => b - a)[0]?.[0];
  return [slug && named("reason", slug), plain(row.reason || row.line)].filter(Boolean).join(": ");
}

const columnsOf = () => [
  {key: "name", title: t("workload.name"), value: keyOf, cell: (row) => html`<a href=${workloadLink(keyOf(row))}>${keyOf(row)}</a>`, text: keyOf},
  {key: "phase", title: t("workload.phase"), value: (row) => row.phase, cell: (row) => html`<${Phase} phase=${row.phase} />`},
  {key: "reason", title: t("workload.why"), value: whyText},
  {key: "sites", title: t("workload.sites"), value: sitesText},
  {key: "ready", title: t("workload.ready"), numeric: true, value: (row) => row.ready, cell: (row) => row.readiness || "–"},
  {key: "tenant", title: t("workload.tenant"), value: (row) => row.tenant, cell: (row) => plain(row.tenant) || "–"},
  {key: "class", title: t("workload.class"), value: (row) => row.dataClass || "", cell: (row) => (row.dataClass ? named("class", row.dataClass) : "–")},
  {key: "priority", title: t("workload.priority"), numeric: true, value: (row) => row.priority, cell: (row) => number(row.priority)},
  {key: "decided", title: t("workload.decided"), value: (row) => row.decidedAt, cell: (row) => (row.decidedAt ? instant(row.decidedAt) : "–")},
];

export function Workloads({query}) {
  const search = usePaced(query.get("search") || "");
  const question = useMemo(() => questionOf(query, search), [query.toString(), search]);
  const [state, more] = useRows(question);
  const written = query.get("sort") || "namespace";
  const sort = {key: written.replace("-", "").replace("namespace", "name"), isDescending: written.startsWith("-")};
  const onSort = (one) => setQuery({sort: `${one.isDescending ? "-" : ""}${one.key === "name" ? "namespace" : one.key}`});
  const {data} = state;
  return html`<div class="bar"><h1>${t("nav.workloads")}</h1>
      <label>${t("search")} <input id="workloads-filter" type="search" autocomplete="off" value=${query.get("search") || ""}
        onInput=${(event) => setQuery({search: event.target.value})} /></label>
      <${Count} id="workloads-count" shown=${data?.matching ?? 0} total=${data?.total ?? 0} /></div>
    <${Stale} error=${data && state.error} />
    ${pending(state) || html`<div class="beside" aria-busy=${state.question !== question}>
      <${Facets} facets=${data.facets} query=${route.get().query} />
      <${Table} id="workloads" label=${t("nav.workloads")} columns=${columnsOf()} rows=${data.workloads} rowKey=${keyOf}
        total=${data.matching} sort=${sort} onSort=${onSort} onEnd=${more} />
    </div>`}`;
}
