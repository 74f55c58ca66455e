// One workload; until its view is here, the command that explains it.

import {html} from "/page/lib/preact.js";
import {Empty} from "/page/parts/banner.js";

export const WorkloadView = ({parts}) => html`<h1>${`${parts[1]}/${parts[2]}`}</h1><${Empty}><code>kapok explain NAMESPACE/NAME</code><//>`;
