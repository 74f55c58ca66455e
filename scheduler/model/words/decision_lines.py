"""What lines, notes and unmet rules of decisions say.

Decisions are made ten thousand times a minute, so the code that writes a line writes plain text;
readers recognise it by these messages. `tests/unit/words/test_recorded.py` decides and compares.
"""

from scheduler.model.words.sentence import Message

LINES = (
    Message("line.placed", "placed on {sites:sites}"),
    Message("line.more-sites", " and {count:n} more sites"),
    Message("line.nothing", "no replicas requested, nothing to place"),
    Message("line.no-sites", "there are no sites"),
    Message("line.none-feasible", "0/{total:n} sites are feasible"),
    Message("line.feasible", "0/{total:n} sites are feasible: {reasons:counts}"),
    Message("line.stay", "; running replicas stay on {sites:sites}"),
    Message("line.unreachable", "; ClusterUnreachable at {sites:list}{more:more}"),
    Message(
        "line.site-to-report",
        "; waiting for the site to report what was just sent: {sites:list}{more:more}",
    ),
    Message(
        "line.sites-to-report",
        "; waiting for the sites to report what was just sent: {sites:list}{more:more}",
    ),
    Message("line.ended", "; ended at {sites:noted}{more:more}"),
    Message("line.moved", "; moved from {sites:sayings}{more:more}"),
    Message("line.not-moved", "; not moved from {sites:sayings}{more:more}"),
    Message("line.moved-back", "; moved back to {sites:sayings}{more:more}"),
    Message("line.unmet", "; does not meet {rule}: {problem:said}{more:more}"),
    Message("line.rollout-at", "; rollout at {group} ({number:n} of {total:n})"),
    Message("line.rollout-new", ": new content for {sites:list}{more:more}"),
    Message("line.rollout-waits", "; waits for ready replicas at {sites:list}{more:more}"),
    Message("line.rollout-soaks", " for {seconds:n} s"),
    Message(
        "line.rollout-room",
        "; {group} waits for room to change its pods at {sites:list}{more:more}",
    ),
    Message(
        "line.rollout-paused", "; rollout paused at {group} ({number:n} of {total:n}): {why:said}"
    ),
    Message("line.rollout-held", "; rollout paused: {why:said}"),
    Message("line.rolled-back", "; rolled back to the former content: {why:said}"),
    Message("line.rollout-complete", "; rollout complete: {why:said}"),
    Message(
        "line.rebalanced",
        "; rebalanced ({replicas:n} moved): saves {cny:.4g} CNY and {gco2:.4g} gCO2e in a day",
    ),
    Message("line.not-accepted", "not accepted: {problem:said}"),
    Message("start.planned", "start planned at {at:at} on {sites:sites}{saves:parts}"),
    Message(
        "start.saves",
        ": saves {cny:.2g} CNY and {kilograms:.2g} kgCO2e compared with now on {sites:sites}",
    ),
    Message(
        "start.saves-and-emits",
        ": saves {cny:.2g} CNY and emits {kilograms:.2g} kgCO2e more compared with now on "
        "{sites:sites}",
    ),
    Message("start.no-room-before", ": there is no room for it before"),
    Message("start.latest", "; latest start {at:at}"),
)
MOVED_BECAUSE = (
    Message("moved.silent-since", "{site}: silent since {at:at}"),
    Message("moved.silent", "{site}: silent"),
    Message("moved.drained", "{site}: being drained"),
    Message("moved.maintenance", "{site}: maintenance from {at:at}"),
    Message("moved.asked", "{site}: asked by an operator"),
    Message("moved.no-site", "site not found"),
    Message("moved.part", " ({gone:n} of {total:n})"),
    Message(
        "moved.unready",
        "{site}: {replicas:n} of {total:n} replicas not ready for {seconds:n} s ({why:said})",
    ),
    Message(
        "moved.back", "{site}: {replicas:n} at {other} not ready for {seconds:n} s ({why:said})"
    ),
)
ROLLOUT_BECAUSE = (
    Message("rollout.failed", "{group} failed: {what:raw}"),
    Message("rollout.late", "{group} was not ready after {seconds:n} s: {what:raw}"),
    Message("rollout.undone", "undone by kapok rollout undo"),
    Message("rollout.held", "paused by kapok rollout pause"),
    Message("rollout.ready", "all sites have it and are ready"),
    Message("rollout.back", "the content is the former one again"),
    Message(
        "rollout.not-kept",
        "the former content cannot be given back, as it is not kept in full: apply the former "
        "manifests",
    ),
)
UNREADY = (
    Message("unready.crash-loop", "crash loop"),
    Message("unready.image", "image cannot be pulled"),
    Message("unready.no-node", "no node for its pods"),
    Message("unready.node-lost", "node lost"),
    Message("unready.probe", "readiness probe fails"),
    Message("unready.stuck", "stuck in flight"),
    Message("unready.unknown", "unknown reason"),
)
NOTES = (
    Message("note.exact", "capacity for the set of pods is exact (all assignments searched)"),
    Message("note.first-fit", "capacity for a set of pods is a lower bound (first fit decreasing)"),
    Message("note.topology", "capacity under several topology limits at once is a lower bound"),
    Message(
        "note.in-flight",
        "room beside pods in flight is a lower bound (too many assignments to search)",
    ),
    Message(
        "note.own-replicas",
        "the nodes of running replicas are not reported; topology spread assumes the worst case",
    ),
    Message("note.not-modelled", "not modelled: {what:said}"),
    Message("note.not-modelled-limit", "not modelled: {what} of the namespace's limits"),
    Message(
        "note.scope-unknown",
        "not every site reports the scope of {kind}; one where it is cluster-scoped "
        "refuses the object until the Tenant's clusterKinds lists {kind}",
    ),
    Message(
        "note.implausible", "implausible {figure:said} at {sites:noted}{more:more}: check the unit"
    ),
    Message("note.ordinals", "ordinals: {ranges:list}{more:more}"),
    Message(
        "note.over-budget",
        "{strategy} would exceed the tenant's budget; divided by cost instead",
    ),
    Message(
        "note.over-carbon",
        "the cheapest division would exceed the tenant's budget of carbon; a cleaner one is used",
    ),
    Message("note.standby", "standby at {site} ({replicas:n})"),
    Message("note.spread-dropped", "preferred spread constraints not met: {count:n}"),
    Message("note.affinity-dropped", "preferred affinity terms not met: {count:n}"),
    Message(
        "note.batch-unknown",
        "assigned by batch {batch} to {sites:sites}{more:more}: "
        "the cost above the cheapest sites is unknown",
    ),
    Message(
        "note.batch-above",
        "assigned by batch {batch} to {sites:sites}{more:more}: "
        "{above:.4g} CNY/h above the cheapest sites",
    ),
    Message(
        "note.batch-cheapest",
        "assigned by batch {batch} to {sites:sites}{more:more}: no site is cheaper",
    ),
    Message(
        "note.plan-unknown",
        "by the plan {batch} for the loss of {loss} to {sites:sites}{more:more}: "
        "the cost above the cheapest sites is unknown",
    ),
    Message(
        "note.plan-above",
        "by the plan {batch} for the loss of {loss} to {sites:sites}{more:more}: "
        "{above:.4g} CNY/h above the cheapest sites",
    ),
    Message(
        "note.plan-cheapest",
        "by the plan {batch} for the loss of {loss} to {sites:sites}{more:more}: "
        "no site is cheaper",
    ),
    Message(
        "note.started-at-once",
        "the start planned at {planned:at} is no longer better; "
        "started at once after {hours:.2g} h of waiting",
    ),
    Message("note.cost-not-known", ", at a cost that is not known"),
    Message("note.cost", ", which cost {cny:.2g} CNY"),
    Message("note.saved", ", which saved {cny:.2g} CNY"),
    Message("note.whole", "{what} stays at one site (placement.identity: Whole)"),
    Message("note.no-change-helps", "none of the changes that were tried would make it fit"),
    Message(
        "note.no-tenant",
        "note: no-tenant: there is no Tenant in the input, so no quota, budget, priority or class "
        "limit of a tenant was checked; a hub refuses a namespace that no Tenant lists",
    ),
    Message("note.evictions-held", "evictions are held at {sites:list}: {why:said}"),
    Message(
        "note.references",
        "its pod templates refer to {objects:list}{more:more}; these go along from the hub, and "
        "condition References of the workload names what does not",
    ),
)
LIMITS = (
    Message("gate.too-early", "the workload may not start before {at:at}"),
    Message(
        "gate.too-late",
        "too late for the deadline: with a duration of {seconds:n} s the latest start was "
        "{latest:at}",
    ),
    Message(
        "gate.quota",
        "tenant {tenant} has {left} of {resource} left (its quota is {quota}); "
        "the workload requests {requested}",
    ),
    Message(
        "gate.budget",
        "tenant {tenant} has {left:.4g} {unit} left of its budget of {budget:.4g} {unit}; "
        "the placement would take {asked:.4g} {unit}",
    ),
)
UNMET = (
    Message("unmet.site", "{replicas:n} replicas run at {site}: {why:said}"),
    Message("unmet.spread", "spread by {by}: {problem:said}"),
    Message(
        "unmet.no-place", "{sites:list}{more:more} names no {by}, and holds {replicas:n} replicas"
    ),
    Message(
        "unmet.few",
        "minGroups is {least:n}, the replicas are in {count:n} ({places:list}{more:more})",
    ),
    Message(
        "unmet.many",
        "maxGroups is {most:n}, the replicas are in {count:n} ({places:list}{more:more})",
    ),
    Message("unmet.full", "maxPerGroup is {most:n}, more are in {places:sites}{more:more}"),
    Message(
        "unmet.duplicated",
        "Duplicated places {replicas:n} replicas at each site; a partial copy is at "
        "{sites:sites}{more:more}",
    ),
    Message("unmet.no-pair", "the replicas are at one site, without a pair"),
    Message(
        "unmet.pair-metro",
        "no two sites of one metro hold the active pair; {first} and {second} do not",
    ),
    Message(
        "unmet.pair-trip-unknown",
        "the round trip between {first} and {second} is unknown; the pair needs {limit:g} ms",
    ),
    Message(
        "unmet.pair-trip",
        "the round trip between {first} and {second} is {trip:g} ms; the pair needs {limit:g} ms",
    ),
    Message(
        "unmet.pair-replicas",
        "the pair {first} and {second} holds {held:n} of {replicas:n} replicas",
    ),
    Message(
        "unmet.standby",
        "one site in another province is to hold {wanted:n} on standby; {others:n} other sites "
        "hold {away:n} outside {province:said}",
    ),
)
