// Carbon and money; until its view is here, the command that shows them.

import {html} from "/page/lib/preact.js";
import {t} from "/page/lib/words.js";
import {Empty} from "/page/parts/banner.js";

export const Carbon = () => html`<h1>${t("nav.carbon")}</h1><${Empty}><code>kapok get sites -o wide</code><//>`;
