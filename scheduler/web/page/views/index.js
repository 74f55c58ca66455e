// Which view an address shows, and which live stream feeds it.

import {link} from "/page/lib/router.js";
import {Overview} from "/page/views/overview.js";
import {Fleet} from "/page/views/fleet.js";
import {SiteView} from "/page/views/site.js";
import {Workloads} from "/page/views/workloads.js";
import {WorkloadView} from "/page/views/workload.js";
import {Queue} from "/page/views/queue.js";
import {Carbon} from "/page/views/carbon.js";
import {WhatIf} from "/page/views/whatif.js";

const overview = () => ["overview"];

// path: pieces of the address, "*" is any one. live: arguments of openLive. under: the entry of
// the navigation that is marked while the view shows.
const VIEWS = [
  {name: "overview", path: [], view: Overview, title: "nav.overview", live: overview},
  {name: "fleet", path: ["fleet"], view: Fleet, title: "nav.fleet", live: () => ["fleet"]},
  {name: "site", path: ["sites", "*"], view: SiteView, title: "nav.site", under: "fleet", live: ([, name]) => ["site", {name}]},
  {name: "workloads", path: ["workloads"], view: Workloads, title: "nav.workloads", live: overview},
  {name: "workload", path: ["workloads", "*", "*"], view: WorkloadView, title: "nav.workload", under: "workloads", live: overview},
  {name: "queue", path: ["queue"], view: Queue, title: "nav.queue", live: overview},
  {name: "carbon", path: ["carbon"], view: Carbon, title: "nav.carbon", live: overview},
  {name: "whatif", path: ["whatif"], view: WhatIf, title: "nav.whatif", live: overview},
];

export const NAVIGATION = VIEWS.filter((one) => !one.path.includes("*")).map((one) => ({...one, href: link(one.path)}));

export function find(parts) {
  return VIEWS.find((one) => one.path.length === parts.length && one.path.every((piece, at) => piece === "*" || piece === parts[at]));
}
