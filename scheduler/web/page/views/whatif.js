// What if; until its view is here, the command that computes it.

import {html} from "/page/lib/preact.js";
import {t} from "/page/lib/words.js";
import {Empty} from "/page/parts/banner.js";

export const WhatIf = () => html`<h1>${t("nav.whatif")}</h1><${Empty}><code>kapok whatif SCENARIO</code><//>`;
