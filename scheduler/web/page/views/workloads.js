// All workloads, with a search over every one of them.

import {html} from "/page/lib/preact.js";
import {useDelayed, useFetched} from "/page/lib/fetched.js";
import {setQuery, workloadLink} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {pending, Stale, State} from "/page/parts/banner.js";
import {Count, Table} from "/page/parts/table.js";

export const PHASE_KINDS = {
  Running: "good", Completed: "good", Placed: "wait", Pending: "wait", Waiting: "wait", Deleting: "info", Degraded: "bad", Refused: "bad",
};

export const Phase = ({phase}) => html`<${State} kind=${PHASE_KINDS[phase] || "info"}>${named("phase", phase)}<//>`;

const keyOf = (row) => `${row.namespace}/${row.name}`;

function sitesOf(row) {
  const shares = row.sites.map((one) => `${one.name} (${one.ready === one.replicas ? one.replicas : `${one.ready ?? "?"}/${one.replicas}`})`);
  return shares.length > 6 ? t("list.more", {shown: shares.slice(0, 6).join(", "), more: shares.length - 6}) : shares.join(", ");
}

export function Workloads({query}) {
  const search = useDelayed([query.get("search"), query.get("phase")].filter(Boolean).join(" "));
  const state = useFetched(`/api/v1/workloads?limit=10000&search=${encodeURIComponent(search)}`, {everySeconds: 2});
  const columns = [
    {key: "name", title: t("workload.name"), value: keyOf, cell: (row) => html`<a href=${workloadLink(keyOf(row))}>${keyOf(row)}</a>`, text: keyOf},
    {key: "phase", title: t("workload.phase"), value: (row) => row.phase, cell: (row) => html`<${Phase} phase=${row.phase} />`},
    {key: "class", title: t("workload.class"), value: (row) => row.dataClass || ""},
    {key: "ready", title: t("workload.ready"), numeric: true, value: (row) => row.ready, cell: (row) => row.readiness || "–"},
    {key: "sites", title: t("workload.sites"), value: sitesOf},
    {key: "why", title: t("workload.why"), value: (row) => row.reason || row.line || ""},
  ];
  const rows = state.data?.workloads || [];
  return html`<div class="bar"><h1>${t("nav.workloads")}</h1>
      <label>${t("search")} <input id="workloads-filter" type="search" autocomplete="off" value=${query.get("search") || ""}
        onInput=${(event) => setQuery({search: event.target.value})} /></label>
      <${Count} id="workloads-count" shown=${rows.length} total=${state.data?.total ?? 0} /></div>
    <${Stale} error=${state.data && state.error} />
    ${pending(state) || html`<${Table} id="workloads" label=${t("nav.workloads")} columns=${columns} rows=${rows} rowKey=${keyOf} />`}`;
}
