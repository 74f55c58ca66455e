"""What to buy next for the work that waits: what one more unit of a resource is worth, and where.

The batch of all that waits has a dual price for each resource of each site (`placement/batch`):
what the last unit is worth to the waiting workloads, in CNY an hour. Sites with the highest price
of a core, a GiB or a card come first, with what the waiting workloads that their rules admit lack
there. Where sums suffice and no node is large enough nothing has a price: then nodes are missing.
Each row is tried: with so much more, on nodes that are large enough, the engine decides again. The
nodes are like those that the site has, one kind after the other, until something is placed. What
places nothing is no advice: then it is said that none of what was tried helps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import NodeClass
from scheduler.model.quantities import CPU, MEMORY, MILLI_PER_UNIT, PODS, format_amount
from scheduler.placement.choose import prepare_cycle
from scheduler.whatif.demands import Progress, no_progress
from scheduler.whatif.settling.backlog import MAX_BATCH_PAIRS, solve_waiting, waiting_for_capacity
from scheduler.whatif.settling.scratch import ScratchFleet
from scheduler.whatif.settling.settled_fleet import SettledFleet

Row = dict[str, Any]

_MAX_ROWS = 5
_MAX_NODE_WORKLOADS = 200
_MAX_NODE_SITES = 5
_MAX_MODELS = 4
"""So many kinds of nodes of a site are tried."""
_GIBIBYTE = 2**30
_MAX_POD_NODES = 110
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class _Price:
    """The price of a resource at a site, for one core, GiB or card."""

    site: str
    resource: str
    cny_per_unit_hour: float


@dataclass(frozen=True, slots=True)
class Purchases:
    """What to buy next.

    Attributes:
        rows: what places something, most worth first.
        left: the workloads that wait for capacity and that none of it places.
        tried: how many purchases were tried.
    """

    rows: tuple[Row, ...] = ()
    left: tuple[str, ...] = ()
    tried: int = 0


def next_purchases(settled: SettledFleet, progress: Progress = no_progress) -> Purchases:
    """What to buy next; of nothing that waits for capacity, nothing.

    Args:
        settled: the fleet after all that waits was decided.
        progress: shows how far it is.
    """
    waiting = waiting_for_capacity(settled)[: MAX_BATCH_PAIRS // max(1, len(settled.fleet))]
    if not waiting:
        return Purchases()
    progress("solved", 0, 1)
    prices = _prices(settled, waiting)
    rows, trials = list[Row | None](), _Trials(ScratchFleet(settled))
    for place, price in enumerate(prices[:_MAX_ROWS]):
        progress("suggested", place, _MAX_ROWS)
        rows.append(_row(settled, price, waiting, trials))
    left = [key for key in waiting if key not in trials.placed]
    rows.append(_node_row(settled, left, trials))
    return Purchases(
        rows=tuple(row for row in rows if row is not None),
        left=tuple(key for key in waiting if key not in trials.placed),
        tried=trials.count,
    )


@dataclass(slots=True)
class _Trials:
    """Tries purchases, one after the other.

    Attributes:
        scratch: where they are tried.
        placed: the workloads that one of them placed.
        count: how many were tried.
    """

    scratch: ScratchFleet
    placed: set[str] = field(default_factory=set)
    count: int = 0

    def place(self, site: str, demands: Sequence[Demand], missing: Sequence[int]) -> set[str]:
        """The workloads that the engine places once the site has what they lack."""
        for model in _models_of(self.scratch.facts[site]):
            self.count += 1
            larger = _with_nodes(self.scratch.facts[site], model, demands, sum(missing))
            trial = self.scratch.decide_with([larger], [one.key for one in demands])
            found = {one.key for one in demands if trial.is_placed(one.key)}
            if found:
                self.placed |= found
                return found
        return set()


def _prices(settled: SettledFleet, keys: Sequence[str]) -> list[_Price]:
    """All prices above 0, the highest of a core, GiB or card first."""
    prices = [
        _Price(one.site, one.resource, one.cny_per_unit_hour * _unit_of(one.resource)[1])
        for one in solve_waiting(settled, keys).terms.scarcity
        if one.resource != PODS
    ]
    return sorted(prices, key=lambda one: (-one.cny_per_unit_hour, one.site, one.resource))


def _unit_of(resource: str) -> tuple[str, int]:
    """The unit that is bought, and how many of the smallest ones it is."""
    if resource == CPU:
        return "core", MILLI_PER_UNIT
    if resource == MEMORY:
        return "GiB", _GIBIBYTE
    return "unit", 1


def _row(
    settled: SettledFleet,
    price: _Price,
    waiting: Sequence[str],
    trials: _Trials,
) -> Row | None:
    """The row of a price; None: it places nothing."""
    admitted = [key for key in waiting if _admits(settled, key, price.site)]
    demands = [settled.decided_demands[key] for key in admitted]
    missing = [_missing(settled, one) for one in demands]
    unit, size = _unit_of(price.resource)
    amount = sum(
        count * one.requests.get(price.resource, 0)
        for one, count in zip(demands, missing, strict=True)
    )
    found = trials.place(price.site, demands, missing)
    if not found:
        return None
    return {
        "site": price.site,
        "resource": price.resource,
        "unit": unit,
        "cnyPerUnitHour": round(price.cny_per_unit_hour, _DIGITS),
        "amount": round(amount / size, _DIGITS),
        "waiting": len(admitted),
        "places": len(found),
        "workloads": list(islice(admitted, _MAX_ROWS)),
        "verified": True,
    }


def _node_row(settled: SettledFleet, waiting: Sequence[str], trials: _Trials) -> Row | None:
    """The nodes that the workloads lack for which no price says where; at one site.

    None: at none of the sites that admit most of them they place anything.
    """
    admitted: dict[str, list[str]] = {}
    for key in waiting[:_MAX_NODE_WORKLOADS]:
        state = prepare_cycle(settled.decided_demands[key], settled.fleet, settled.context)
        for slot in state.filter_result.admitted_slots.tolist():
            admitted.setdefault(settled.fleet.name_at(slot), []).append(key)
    best = sorted(admitted, key=lambda name: (-len(admitted[name]), name))
    for site in best[:_MAX_NODE_SITES]:
        demands = [settled.decided_demands[key] for key in admitted[site]]
        missing = [_missing(settled, one) for one in demands]
        found = trials.place(site, demands, missing)
        if found:
            return {
                "site": site,
                "resource": "node",
                "unit": "node",
                "cnyPerUnitHour": None,
                "amount": sum(missing),
                "node": {
                    name: format_amount(name, amount)
                    for name, amount in _largest(demands).items()
                    if name != PODS
                },
                "waiting": len(demands),
                "places": len(found),
                "workloads": admitted[site][:_MAX_ROWS],
                "verified": True,
            }
    return None


def _admits(settled: SettledFleet, key: str, site: str) -> bool:
    state = prepare_cycle(settled.decided_demands[key], settled.fleet, settled.context)
    return bool(state.filter_result.admitted[settled.fleet.slot_of[site]])


def _missing(settled: SettledFleet, demand: Demand) -> int:
    return max(0, demand.replicas - sum(settled.replicas_of(demand.key).values()))


def _models_of(facts: SiteFacts) -> list[NodeClass]:
    """The kinds of nodes of a site without what is free on them: the first ones, each once."""
    kinds = [msgspec.structs.replace(one, free=()) for one in facts.status.node_classes]
    found = list[NodeClass]()
    for one in kinds or [NodeClass(architecture="amd64")]:
        if one not in found:
            found.append(one)
    return found[:_MAX_MODELS]


def _with_nodes(
    facts: SiteFacts, model: NodeClass, demands: Sequence[Demand], count: int
) -> SiteFacts:
    """The site with so many more nodes of a kind; each holds the largest of these replicas."""
    row: dict[str, int | float | str] = {
        name: f"{amount}m" if name == CPU else amount for name, amount in _largest(demands).items()
    }
    row |= {"count": max(1, count), PODS: _MAX_POD_NODES}
    new = msgspec.structs.replace(model, free=(row,))
    classes = (*facts.status.node_classes, new)
    status = msgspec.structs.replace(facts.status, node_classes=classes)
    return msgspec.structs.replace(facts, status=status)


def _largest(demands: Sequence[Demand]) -> dict[str, int]:
    """The largest request of each resource."""
    largest: dict[str, int] = {}
    for one in demands:
        for name, amount in one.requests.items():
            largest[name] = max(largest.get(name, 0), amount)
    return largest
