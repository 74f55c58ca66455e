// One site.

import {html} from "/page/lib/preact.js";
import {useLive} from "/page/lib/live.js";
import {t} from "/page/lib/words.js";
import {Empty, Loading} from "/page/parts/banner.js";
import {SiteState} from "/page/views/fleet.js";

export function SiteView({parts: [, name]}) {
  const {tables} = useLive();
  if (!tables.sites) return html`<h1>${name}</h1><${Loading} />`;
  const site = tables.sites.get(name);
  return html`<h1>${name}</h1>${site ? html`<${SiteState} site=${site} />` : html`<${Empty}>${t("site.missing")}<//>`}`;
}
