"""What answers to questions about the future and the past say: what-if, capacity, history."""

from scheduler.model.words.sentence import Message

WHATIF = (
    Message(
        "whatif.one-left",
        "1 workload is left without a place ({reasons:counts}); {moved:n} replicas move, "
        "{started:n} start, {ended:n} end",
    ),
    Message(
        "whatif.some-left",
        "{count:n} workloads are left without a place ({reasons:counts}); "
        "{moved:n} replicas move, {started:n} start, {ended:n} end",
    ),
    Message(
        "whatif.all-placed",
        "all is placed as before; {moved:n} replicas move, {started:n} start, {ended:n} end",
    ),
    Message("whatif.frozen", "frozen: {why:said}"),
    Message("whatif.waiting-anyway", "waiting without the scenario too: {count:n}"),
    Message("whatif.more", "and {count:n} more; -o json lists all"),
    Message(
        "whatif.gives-way",
        "{count:n} replicas of {workload} at {site} end, so that {other} finds room",
    ),
    Message("whatif.note", "note: {what:said}"),
    Message(
        "whatif.grid",
        "grid {place:raw}: {promised:.4g} of {asked:.4g} kW can be promised for {hours:g} h "
        "({energy:.4g} kWh), from when the replacements run",
    ),
    Message("whatif.grid-stays", "grid {place:raw} keeps {names:raw}: {why:said}"),
    Message("whatif.grid-no-room", "no other site that its rules admit has room for it"),
    Message("whatif.grid-decided", "it is decided again for another reason"),
    Message("whatif.grid-silent", "its site does not report"),
    Message("whatif.grid-empty", "grid {place:raw}: no work of Kapok runs there"),
)
CAPACITY = (
    Message("capacity.fits", "{count:n} replicas fit ({shape:raw}; class {name})"),
    Message("capacity.more-sites", "and {count:n} more sites; -o json lists all"),
    Message("capacity.none-for-capacity", "{count:n} workloads wait, none of them for capacity"),
    Message(
        "capacity.buy",
        "buy next: {what} at {site}: places {places:n} of {waiting:n} waiting workloads",
    ),
    Message(
        "capacity.buy-worth",
        "buy next: {what} at {site} ({cny:.4g} CNY/h for each {unit}): "
        "places {places:n} of {waiting:n} waiting workloads",
    ),
    Message(
        "capacity.none-places",
        "none of the {tried:n} purchases that were tried places {workloads:raw} "
        "({waiting:n} waiting workloads); kapok explain says what each of them lacks",
    ),
)
HISTORY = (
    Message(
        "history.left-out", "{count:n} decisions that changed nothing are left out; --all has them"
    ),
    Message("history.older", "{count:n} older entries are left out; --limit 0 has them"),
    Message(
        "history.first", "only the first {count:n} records were read; --since does not go further"
    ),
    Message("carbon.power-unknown", "the power of {count:n} {what:said} is not known"),
)
PREEMPTION = (
    Message("preemption.ends", "; for it end {replicas:sayings}{more:more}"),
    Message(
        "preemption.by-priority",
        "{count:n} of {total:n} of {workload} at {site} (priority {priority:n})",
    ),
    Message(
        "preemption.borrowed", "{count:n} of {total:n} of {workload} at {site} (borrowed quota)"
    ),
    Message("preemption.beyond", "; more than PodDisruptionBudgets allow: {budgets:raw}"),
    Message("preemption.ended", "replicas ended: {for_:raw}"),
    Message("preemption.fits-after", "fits after {at:at}, when {workload} ends"),
    Message("preemption.fits-if", "fits if {what:sayings}{more:more}"),
    Message(
        "preemption.gives-way",
        "{workload} (priority {priority:n}) gives way at {site} ({count:n} of {total:n})",
    ),
)
