"""Why something is so, as other sentences name it: limits, drains, freezes, fields."""

from scheduler.model.words.sentence import Message

NAMED_REASONS = (
    Message(
        "limits.none-least", "{what:said} asks for nothing of {resource}; the least is {least}"
    ),
    Message("limits.below", "{what:said} asks for {asked} of {resource}; the least is {least}"),
    Message("limits.above", "{what:said} may take {asked} of {resource}; the most is {most}"),
    Message("limits.none-most", "{what:said} has no limit of {resource}; the most is {most}"),
    Message("limits.must-name", "{what:said} must name {field}, as a quota counts it"),
    Message("limits.container", "container {name}"),
    Message("limits.pod", "the pod"),
    Message(
        "place.not-supported",
        "{code} is not supported; write {instead} (CN and CN-… are the mainland)",
    ),
    Message("place.no-province", "{code} is no province; write CN, or one of {provinces:list}"),
    Message(
        "drain.data", "its data stays at the site (a claim, a StatefulSet, or a folder of a node)"
    ),
    Message(
        "drain.not-accepted", "its last edit is not accepted, so nothing new is placed: {why:said}"
    ),
    Message(
        "drain.pdb-together",
        "its {replicas:n} replicas move together, and PodDisruptionBudget {budget} ({rule}) "
        "lets {allowed:n} be away",
    ),
    Message("site.cordoned", "cordoned: no new replicas, running ones stay"),
    Message(
        "site.index-full",
        "the site's index is full; place the workload elsewhere, or withdraw others there",
    ),
    Message(
        "storm.unread", "the hub has not been read yet, where an operator may have frozen them"
    ),
    Message("storm.operator-named", "an operator has frozen them ({who:raw})"),
    Message("storm.no-session", "there is no session with the broker"),
    Message("storm.began", "the hub began to listen, and has not received all sites since"),
    Message(
        "storm.again", "the hub connected to the broker again, and has not received all sites since"
    ),
    Message(
        "storm.stalled", "this process stood still, and what was sent meanwhile is still to come"
    ),
    Message(
        "not-enforced.interruptible",
        "running work is never paused yet; it acts only before a start, "
        "where a budget of the month holds it",
    ),
    Message(
        "not-enforced.not-common",
        "a ClusterPlacementPolicy does not set it; write it to a PlacementPolicy",
    ),
    Message("not-enforced.describes", "describes the site; nothing is decided by it yet"),
    Message(
        "not-enforced.no-evidence",
        "without greenEvidence it counts in no ledger and for no limit",
    ),
    Message(
        "not-enforced.domains",
        "only evictions know them: sites that share one and fell silent together are held "
        "together. No rule spreads over them yet; label the site, and spread by label:KEY",
    ),
    Message(
        "not-enforced.not-numbered",
        "none of its manifests has pods with numbers (StatefulSet, Indexed Job), so replicas "
        "are divided by their count",
    ),
    Message("fields.left-one", "{field:raw} is left to {owner}"),
    Message("fields.left-more", "{count:n} more fields are left to {owner}"),
    Message("fields.foreign", "a cluster wrote it, and it means nothing at another; leave it out"),
    Message(
        "note.quota-of-sets", "quota of DaemonSets, and requests that a LimitRange adds to sets"
    ),
    Message(
        "said.reports", "{site} reports: empty it with kapok site drain {site}, or use --force"
    ),
    Message(
        "said.not-recorded",
        "no scheduler has recorded it within {seconds:g} s, so the Site stands, cordoned; run "
        "the command again when one leads (kapok get sites)",
    ),
    Message(
        "violation.event", "breaks a right at {sites:sayings}; onViolation {treatment}: {what:said}"
    ),
    Message("violation.report", "what runs there stays"),
    Message(
        "violation.move", "it is replaced elsewhere first, and stays until the replacement runs"
    ),
    Message("violation.stop", "it ends there at once"),
)
