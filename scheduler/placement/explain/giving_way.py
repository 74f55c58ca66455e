"""What of other work would have to give way, or to end by itself, so that a workload fits.

Both are answers of the engine: it is asked with the other work as possible victims, so what is
offered does the least harm and is enough on the nodes. Nothing of it happens by being shown.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from scheduler.model.decision import Preemption, SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import PossibleVictim, RunningWork
from scheduler.model.formatters import format_list, format_rfc3339
from scheduler.placement.choose import choose
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_MAX_NAMED = 8
_MAX_ENDS_TRIED = 64
"""Of work that ends by itself, so much is tried: that which ends first."""


_GIVING_WAY = frozenset(
    {"workload.preemption", "workload.priority", "workload.priority + workload.preemption"}
)
_MAX_DIGITS = 12


def suggest_giving_way(
    demand: Demand, fleet: Fleet, context: DecisionContext, others: Sequence[RunningWork]
) -> Iterator[SuggestedChange]:
    """What would have to give way, then what is to be waited for; neither if nothing is enough.

    Args:
        demand: a demand that waits for room.
        fleet: the sites.
        context: the time and terms of the decision.
        others: what runs.
    """
    mine = [one for one in others if one.victim.workload != demand.key]
    lower = [one.victim for one in mine if one.victim.priority < demand.priority]
    found = _victims(demand, fleet, context, lower)
    if found is not None and demand.preemption == "Never":
        yield _give_way(found, demand, "workload.preemption", "Never", "LowerPriority")
    if found is None:
        everything = [one.victim for one in mine]
        above = _victims(demand, fleet, context, everything, is_any_priority=True)
        if above is not None:
            yield _outrank(above, demand)
    waited = _first_enough(demand, fleet, context, mine)
    if waited is not None:
        yield waited


def _victims(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    victims: Sequence[PossibleVictim],
    *,
    is_any_priority: bool = False,
) -> Preemption | None:
    """The least harm with which the demand fits; None: nothing is enough."""
    if not victims:
        return None
    priority = max(one.priority for one in victims) + 1 if is_any_priority else demand.priority
    asked = replace(
        demand, preemption="LowerPriority", victims=tuple(victims), priority=priority, reclaim={}
    )
    return choose(asked, fleet, now=context.now, terms=context.terms).preemption


def _give_way(
    found: Preemption, demand: Demand, kind: str, was: str, becomes: str
) -> SuggestedChange:
    sites = sorted({one.site for one in found.victims})
    names = format_list(
        [
            f"{one.workload} (priority {one.priority}) gives way at {one.site}"
            f" ({one.replicas} of {one.replicas + one.keep})"
            for one in found.victims
        ],
        _MAX_NAMED,
    )
    broken = format_list(found.broken_budgets, _MAX_NAMED)
    beyond = f", which PodDisruptionBudgets do not allow: {broken}" if broken else ""
    return SuggestedChange(
        kind=kind,
        target=demand.key,
        from_=was,
        to=becomes,
        verified=True,
        site=sites[0] if len(sites) == 1 else "",
        sentence=f"fits if {names}{beyond}",
    )


def _outrank(found: Preemption, demand: Demand) -> SuggestedChange:
    highest = max(one.priority for one in found.victims)
    if demand.preemption == "LowerPriority":
        was, becomes, kind = str(demand.priority), str(highest + 1), "workload.priority"
    else:
        kind = "workload.priority + workload.preemption"
        was, becomes = f"{demand.priority} + Never", f"{highest + 1} + LowerPriority"
    return _give_way(found, demand, kind, was, becomes)


def outranking(demand: Demand, kind: str, becomes: str) -> Demand | None:
    """The demand after a change of these kinds (see `suggest_giving_way`); None: it is none.

    Args:
        demand: as it is.
        kind: of the change.
        becomes: the new values, as the change says them.
    """
    if kind not in _GIVING_WAY:
        return None
    number = becomes.partition(" ")[0]
    is_number = number.isascii() and number.isdecimal() and len(number) < _MAX_DIGITS
    priority = int(number) if is_number else demand.priority
    return replace(demand, preemption="LowerPriority", priority=priority)


def _first_enough(
    demand: Demand, fleet: Fleet, context: DecisionContext, others: Sequence[RunningWork]
) -> SuggestedChange | None:
    """The first end of other work after which the demand fits; found by halving."""
    ending = sorted(
        ((one.ends_at, one.victim) for one in others if one.ends_at is not None),
        key=lambda each: (each[0], each[1].workload),
    )[:_MAX_ENDS_TRIED]
    if not ending or not _fits_after(demand, fleet, context, ending):
        return None
    low, high = 1, len(ending)
    while low < high:
        middle = (low + high) // 2
        if _fits_after(demand, fleet, context, ending[:middle]):
            high = middle
        else:
            low = middle + 1
    ends_at, last = ending[low - 1]
    at = format_rfc3339(ends_at)
    return SuggestedChange(
        kind="time",
        target=last.workload,
        to=at,
        verified=True,
        sentence=f"fits after {at}, when {last.workload} ends",
    )


def _fits_after(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    ended: Sequence[tuple[datetime, PossibleVictim]],
) -> bool:
    victims = [replace(one, budget_left=None, gang=False) for _, one in ended]
    return _victims(demand, fleet, context, victims, is_any_priority=True) is not None
