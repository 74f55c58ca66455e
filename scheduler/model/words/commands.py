"""What the commands say about sites, moves and lists, beside the tables."""

from scheduler.model.words.sentence import Message

SITES = (
    Message("said.cordoned", "cordoned"),
    Message("said.open", "open for new replicas"),
    Message("said.empty", "empty"),
    Message("said.not-empty", "not empty"),
    Message("said.revoked", "revoked; it joins again with kapok site join"),
    Message("said.forgotten", "forgotten"),
    Message("said.not-forgotten", "not forgotten"),
    Message("said.dry-run", "not changed (dry run)"),
    Message("said.on-its-way", "it is on its way"),
    Message(
        "said.drain-goes-on", "the drain of {site} goes on; kapok site uncordon {site} ends it"
    ),
    Message("said.drain-joined", "{site} is being drained already, since {since} by {who}; joined"),
    Message("said.no-new-work", "{site} takes no new work yet: {why:said}"),
    Message("said.past", "--by {at:at} is past: what is still there is overdue from now on"),
    Message(
        "said.failover-replaces",
        "{site} does not report: failover replaces what its rules allow (spec.failover, freezes); "
        "kapok failover NS/NAME --site {site} replaces at once",
    ),
    Message("said.more-closed", "{count:n} more sites take no new work: -o wide shows them"),
    Message(
        "said.grants-stay", "grants that name {site} stay, the authority's to change: {grants:list}"
    ),
)
MOVES = (
    Message("said.move", "{workload}: {replicas:n} from {site} to {other}"),
    Message("said.not-moved", "{workload}: not moved: {why:said}"),
    Message("said.leaves", "{workload}: leaves {replicas:n} replicas"),
    Message("said.leaves-pods", ", pods {pods:list}{more:more}"),
    Message("said.leaves-claims", ", claims {claims:list}{more:more}"),
    Message(
        "said.word-on", "the word stands on {sites:list}, and a scheduler follows it all the same"
    ),
)
FREEZES = (
    Message("said.frozen-by", "evictions are frozen since {since:at} by {who}: {why:raw}"),
    Message("said.allowed", "evictions are allowed"),
    Message("said.allowed-rate", "evictions are allowed, at most {rate:g} a second"),
    Message(
        "said.held-until",
        "the {kind:said} {name} is silent since {since:at}, held until {until:at}",
    ),
    Message(
        "said.held-until-more",
        "the {kind:said} {name} is silent since {since:at}, held until more other sites report",
    ),
    Message("said.no-reason", "no reason"),
    Message(
        "said.freeze-stands", "the word stands all the same; kapok freeze --status says what holds"
    ),
    Message("said.not-confirmed", "no leader has confirmed it yet; it holds as soon as one leads"),
    Message("said.said-since", "{who} has said {what} since, and that holds"),
)
LISTS = (
    Message("said.none-found", "no {kinds:list} found"),
    Message("said.none-found-in", "no {kinds:list} found in namespace {namespace}"),
    Message("said.more-endpoints", "{count:n} more endpoints are not listed; a workload lists 64"),
    Message("said.more-records", "there may be more; continue with --after {seq:n}"),
    Message("said.left-out", "{count:n} sites are left out; name one with --site"),
    Message(
        "said.nowhere",
        "{workload} has no replicas at any site (phase {phase:said}); "
        "`kapok explain {workload}` says why",
    ),
    Message("said.pods-ready", "{site}: {ready:n}/{pods:n} ready"),
    Message("said.pods-unknown", "{site}: unknown"),
    Message("said.pod-reasons", " ({reasons:counts})"),
    Message("said.goes-along", "goes along: {what:raw}"),
)
