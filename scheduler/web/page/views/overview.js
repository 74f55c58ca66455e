// The overview: what a duty officer needs in five seconds.

import {html} from "/page/lib/preact.js";
import {number} from "/page/lib/format.js";
import {useLive} from "/page/lib/live.js";
import {link} from "/page/lib/router.js";
import {named, t} from "/page/lib/words.js";
import {Loading} from "/page/parts/banner.js";

export function Total({value, label, note, href}) {
  const body = html`<b>${value}</b>${label}${note && html`<small>${note}</small>`}`;
  return html`<li>${href ? html`<a href=${href}>${body}</a>` : body}</li>`;
}

export function Overview() {
  const {values} = useLive();
  if (!values.phases) return html`<h1>${t("nav.overview")}</h1><${Loading} />`;
  return html`<h1>${t("nav.overview")}</h1>
    <ul class="totals">
      <${Total} value=${`${number(values.reporting)}/${number(values.sites)}`} label=${t("overview.reporting")} href=${link(["fleet"])} />
      ${Object.entries(values.phases).map(([phase, count]) => html`<${Total} key=${phase} value=${number(count)}
        label=${named("phase", phase)} href=${link(["workloads"], {phase})} />`)}
    </ul>`;
}
