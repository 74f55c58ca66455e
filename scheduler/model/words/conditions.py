"""What conditions of workloads and sites say.

The hub holds conditions in English; `kapok get`, `site` and the page recognise them by these
messages.
"""

from scheduler.model.words.sentence import Message

AVAILABLE = (
    Message("available.failed", "failed at {sites:list}{more:more}"),
    Message("available.failed-because", "failed at {sites:list}{more:more}: {why:said}"),
    Message("available.not-ready", "not all ready at {sites:list}{more:more}"),
    Message("available.not-ready-because", "not all ready at {sites:list}{more:more}: {why:said}"),
    Message("available.not-yet", "not yet at {sites:list}{more:more}: {why:said}"),
    Message("available.not-run", "not run at {sites:list}{more:more}: {why:said}"),
    Message("available.recreated", "made again and again at {sites:list}{more:more}: {why:said}"),
    Message("available.silent", "SiteSilent: unknown at {sites:list}{more:more}: {why:said}"),
    Message(
        "available.unreachable",
        "ClusterUnreachable: unknown at {sites:list}{more:more}: {why:said}",
    ),
    Message("available.unknown", "unknown at {sites:list}{more:more}: {why:said}"),
    Message("available.site-unknown", "unknown: {why:said}"),
    Message("available.not-reported", "ordered; the site has not reported on the order yet"),
    Message("ready.drift-left", "changed at its sites and left so: {what:raw}"),
    Message("available.silence", "the site does not report"),
    Message("available.withdrawn", "being withdrawn from {sites:list}{more:more}"),
    Message(
        "available.withdrawn-because", "being withdrawn from {sites:list}{more:more}: {why:said}"
    ),
    Message("accepted.former-runs", "not accepted, the former spec still runs: {why:said}"),
    Message(
        "accepted.no-tenant",
        "no Tenant lists namespace {namespace}; an administrator adds it to spec.namespaces of "
        "a Tenant, or applies {example:raw}",
    ),
    Message(
        "accepted.several-tenants",
        "{count:n} Tenants list namespace {namespace}: {tenants:list}; an administrator removes "
        "it from spec.namespaces of all but one",
    ),
    Message(
        "accepted.owned", "{kind} {name} already belongs to workload {owner}; choose another name"
    ),
    Message("accepted.not-readable", "the spec cannot be read; the scheduler's log has the fault"),
)
KEPT = (
    Message(
        "accepted.not-adopted",
        "{site}: orders of {workload} run there, or may run there, and the ledger does not say "
        "whether they are this workload's; nothing is changed there. Restore the ledger, or "
        "accept its loss: after `kapok hub adopt --lost ledger` the workload takes these orders "
        "over",
    ),
    Message(
        "orders-kept.damaged",
        "what was accepted last is not usable: {why:raw}; {sites:list}{more:more} keep what they "
        "run. Nothing else is sent there before the spec is accepted again: correct it, or "
        "restore the ledger",
    ),
    Message(
        "orders-kept.missing",
        "nothing says any more what was accepted last; {sites:list}{more:more} keep what they "
        "run. Nothing else is sent there before the spec is accepted again: correct it, or "
        "restore the ledger",
    ),
    Message(
        "references.not-sent",
        "not sent, so each site must have it: {objects:list}{more:more}: ask the administrator "
        "for that right, or name what the sites have in annotation kapok.dev/from-site",
    ),
    Message(
        "not-enforced.agents",
        "{path}: the agents of {sites:list}{more:more} are of a version that does not act on it",
    ),
)
MOVES = (
    Message(
        "moving.waits",
        "waiting for {runs:sites}{more:more} to run before withdrawing "
        "{leaving:sites}{others:more}",
    ),
    Message(
        "moving.ordinals",
        "ordinals start when no other site can run them: {ranges:noted}{more:more}",
    ),
    Message("moving.withdrawal", "withdrawn and not yet seen gone at {sites:noted}{more:more}"),
    Message("withdrawn.waits", "waiting to be seen gone at {sites:noted}{more:more}"),
    Message(
        "withdrawn.never-back",
        ". If {site} never comes back, delete its Site, or take the finalizer "
        "kapok.dev/withdraw off: it still withdraws the order if it returns, and keeps the claims",
    ),
    Message("withdrawn.silent", "the site does not report; it withdraws the order when it returns"),
    Message("withdrawn.not-confirmed", "not yet confirmed as gone"),
    Message("evicted.ended", "ended at {sites:noted}{more:more}"),
    Message(
        "evicted.given-up",
        "given up at {sites:list}{more:more} (site not found): what runs there goes on until its "
        "Site is created again, or its agent and pods are removed",
    ),
    Message(
        "violation.leaves",
        "what runs at {sites:noted}{more:more} breaks a right there, and runs on only until its "
        "replacement runs",
    ),
    Message(
        "violation.stays", "what runs at {sites:noted}{more:more} breaks a right there, and stays"
    ),
    Message(
        "stuck.reserved",
        "ordered more than {seconds:g} s ago and not running at {sites:list}{more:more}; its "
        "capacity there stays reserved",
    ),
    Message(
        "stuck.released",
        "ordered more than {seconds:g} s ago and not running at {sites:list}{more:more}; no "
        "room is kept for the pods that the cluster there cannot schedule: {released:sites}; "
        "they start when it finds a node",
    ),
    Message(
        "not-pinned",
        "nodes of {sites:list}{more:more} carry none of {labels:list}, so pods there may run on "
        "any {what:said}",
    ),
    Message("fields.left", "not as ordered: {fields:list}{more:more}"),
    Message("fields.removed", "not applied: {fields:list}{more:more}"),
    Message(
        "overrides.not-ordered", "nothing new is ordered at {sites:list}{more:more}: {why:said}"
    ),
    Message("references.go-along", "these go along: {objects:list}{more:more}"),
    Message("references.waits", "not sent yet to {sites:list}{more:more}: {why:said}"),
    Message(
        "references.sealing-key",
        "waiting for the sealing key of {site}: its agent reports none, or is of a version "
        "before sealed Secrets",
    ),
)
FAILOVER = (
    Message("failover.stuck", "nothing replaces {sites:noted}{more:more}: {why:said}"),
    Message("failover.nothing", "nothing replaces {sites:list}{more:more}: {why:said}"),
    Message("failover.held", "replicas at {sites:list}{more:more} are not replaced: {why:said}"),
    Message("failover.moved", "moved {moves:sayings}{more:more}"),
    Message("failover.move", "{replicas:n} from {site} to {sites:list}{more:more}"),
    Message(
        "failover.move-silent",
        "{replicas:n} from {site} (silent since {since:at}) to {sites:list}{more:more}",
    ),
    Message(
        "failover.moved-unready",
        "moved {replicas:n} from {site} to {sites:list}{more:more}: not ready ({why:said})",
    ),
    Message(
        "failover.moving",
        "{replicas:n} replicas at {site} not ready ({why:said}): moving to {sites:list}{more:more}",
    ),
    Message(
        "failover.moved-back",
        "{replicas:n} replicas at {site} not ready ({why:said}): they stay, as their "
        "replacement at {sites:list}{more:more} was not ready either",
    ),
    Message(
        "failover.not-moved",
        "{replicas:n} of {total:n} replicas at {site} not ready ({why:said}): not moved: "
        "{because:said}",
    ),
    Message("hold.manual", "spec.failover.mode is Manual: an operator decides, by kapok failover"),
    Message(
        "hold.cannot-fence",
        "nothing keeps its pods from running at two sites: an operator decides, by kapok failover",
    ),
    Message("hold.disabled", "failover.enabled is false in the scheduler's settings"),
    Message("hold.mode-manual", "spec.failover.mode is Manual"),
    Message("hold.no-fence", "nothing keeps its pods from running at two sites"),
    Message("hold.no-site-runs-it", "no site runs this generation"),
    Message("hold.moved-lately", "a workload moves from a site at most once an hour"),
    Message("hold.replacements-failed", "three replacements were not ready either"),
    Message("hold.many-sites", "workloads at many sites are not ready for the same reason"),
    Message("hold.job", "a job that has begun stays where it is"),
    Message("hold.paused", "the workload is paused"),
    Message("hold.no-room", "no other site may run it and has room"),
    Message("hold.frozen", "evictions are frozen"),
    Message("drained.stuck", "replicas stay at {site}: {why:said}"),
    Message("drain.pdb-none", "PodDisruptionBudget {budget} ({rule}) lets no replica be away"),
    Message(
        "drain.pdb-away",
        "PodDisruptionBudget {budget} ({rule}): {away:n} of {total:n} replicas are not ready at "
        "its other sites",
    ),
    Message(
        "drain.whole-copy",
        "each of its sites runs a whole copy, so none is moved; take the site out of its "
        "siteSelector, or accept that with kapok site drain {site} --force",
    ),
    Message("drain.job", "it is a job, which would begin again elsewhere; it ends by itself"),
    Message("drain.numbers", "its pods have numbers, and no number may run at two sites at once"),
    Message("drain.force", "; kapok site drain {site} --force moves it all the same"),
)
SITES = (
    Message(
        "site.unreachable",
        "the agent reports, and the API server of its cluster does not answer it",
    ),
    Message(
        "site.unreachable-because",
        "the agent reports, and the API server of its cluster does not answer it: {why:raw}",
    ),
    Message("site.never-reported", "the site has not reported since the scheduler started"),
    Message("site.silent", "the site does not report; what runs there is unknown"),
    Message("site.late", "its reports are missing or came late since {since:at}"),
    Message("site.silent-since", "Silent since {since:at}: {why:said}"),
    Message("site.lost-since", "Lost since {since:at}: {why:said}"),
    Message(
        "site.held",
        "it reports again, and counts as there from {at:at} on if it does so in time until "
        "then, because it fell silent {times:n} times in a short time",
    ),
    Message("site.frozen", "evictions are frozen since {since:at}: {why:said}"),
    Message(
        "site.domain-until",
        "the {kind:said} {name} fell silent as a whole, and its sites are held until {until:at}",
    ),
    Message(
        "site.domain-ratio",
        "the {kind:said} {name} fell silent as a whole, and its sites are held until {ratio} of "
        "the other sites report",
    ),
    Message(
        "storm.fleet",
        "{fallen:n} sites fell silent together, and {witnesses:n} were received since",
    ),
    Message("storm.quiet", "no site at all was received for {seconds:.0f} s"),
    Message("storm.operator", "an operator has frozen them"),
    Message(
        "site.facts-missing",
        "the agent has no facts of {facts:list}{more:more}; its log says why, and what is "
        "unknown counts as the worst",
    ),
    Message(
        "site.no-nonce",
        "agents that know no nonces: {agents:list}{more:more}; what they report counts as fresh "
        "when it arrives; bring them to this version, then set freshness.require_nonce",
    ),
    Message(
        "site.unknown-orders",
        "the site runs {count:n} orders that the hub does not know: {orders:list}{more:more}; "
        "it gets no new orders until their workloads are applied again, or an operator runs "
        "kapok hub adopt --unknown-orders withdraw",
    ),
    Message(
        "site.foreign-index",
        "the site works by index {index}, which this hub did not publish; ours are at {ours}, "
        "and the site refuses them. Another hub has the same key, or this one was restored: "
        "stop the other, or see `kapok hub adopt`",
    ),
    Message("site.forgotten", "{id}: recorded in the ledger; the Site may be deleted"),
    Message("site.drain", "drain asked: {left:said}"),
    Message("site.drain-due", "drain asked, due {due:at}: {left:said}"),
    Message("site.drain-by", "drain asked by {who}: {left:said}"),
    Message("site.drain-by-due", "drain asked by {who}, due {due:at}: {left:said}"),
    Message("site.maintenance", "maintenance from {begins:at} until {ends:at}: {left:said}"),
    Message(
        "site.maintenance-because",
        "maintenance from {begins:at} until {ends:at} ({why:raw}): {left:said}",
    ),
    Message("site.nothing-left", "nothing is left there"),
    Message("site.one-left", "1 workload is left there"),
    Message("site.some-left", "{count:n} workloads are left there"),
    Message(
        "site.left-absent",
        "; the site does not report, so failover replaces what its rules allow (spec.failover, "
        "freezes), and kapok failover the rest",
    ),
    Message("site.left-stuck", ", {count:n} stuck; the condition Drained of each says why"),
)
