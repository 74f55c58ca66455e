// What waits; until its view is here, the command that lists it.

import {html} from "/page/lib/preact.js";
import {t} from "/page/lib/words.js";
import {Empty} from "/page/parts/banner.js";

export const Queue = () => html`<h1>${t("nav.queue")}</h1><${Empty}><code>kapok get workloads -A</code><//>`;
