// The fleet: every site, by place.

import {html} from "/page/lib/preact.js";
import {useLive} from "/page/lib/live.js";
import {siteLink} from "/page/lib/router.js";
import {t} from "/page/lib/words.js";
import {State} from "/page/parts/banner.js";
import {Count, Table} from "/page/parts/table.js";

export function stateOf(site) {               // [slug, kind]
  if (!site.reporting) return [site.health === "Lost" ? "lost" : "silent", "bad"];
  if (site.health === "Late") return ["late", "wait"];
  return site.cordon ? ["cordoned", "wait"] : ["reporting", "good"];
}

export function SiteState({site}) {
  const [slug, kind] = stateOf(site);
  return html`<${State} kind=${kind}>${t(`site.${slug}`)}<//>`;
}

export function Fleet() {
  const {tables} = useLive();
  const rows = [...(tables.sites || new Map()).values()];
  const columns = [
    {key: "name", title: t("site.name"), value: (row) => row.name, cell: (row) => html`<a href=${siteLink(row.name)}>${row.name}</a>`},
    {key: "state", title: t("site.state"), value: (row) => stateOf(row)[0], cell: (row) => html`<${SiteState} site=${row} />`},
    {key: "place", title: t("site.place"), value: (row) => [row.province, row.city].filter(Boolean).join(" ")},
  ];
  return html`<div class="bar"><h1>${t("nav.fleet")}</h1><${Count} id="sites-count" shown=${rows.length} total=${rows.length} /></div>
    <${Table} id="sites" label=${t("nav.fleet")} columns=${columns} rows=${rows} rowKey=${(row) => row.name} start=${{key: "name", isDescending: false}} />`;
}
