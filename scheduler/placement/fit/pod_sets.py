"""Sets of different pods at one site: a lower bound, exact where pods and nodes are few.

A replica may be a set of pods (two Deployments, say), and a site may need pods beside its replicas.
Pods are put on the nodes one after the other, largest first, on the first node that takes them
(first fit decreasing); equal pods all at once, which is the same. What so fits fits for sure; more
might fit. Where pods and nodes are few, all assignments are searched instead.

The work is bounded in steps, never by time: a bound that is reached only lowers the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.pod_set_nodes import SetNodes
from scheduler.placement.fit.pod_set_search import fits_somehow
from scheduler.placement.fleet.in_flight import lost_pods
from scheduler.placement.fleet.node_eligibility import may_stand, platform_fits
from scheduler.placement.fleet.node_table import CARD, COUNT, IN_FLIGHT, KIND

if TYPE_CHECKING:
    from scheduler.placement.fleet.fleet import Fleet

Bools = NDArray[np.bool_]
Group = tuple[int, int]
"""The number of a shape, and how many pods of it."""

MOST_NODES = 2000
"""Nodes of a site that are looked at; more are left out, which only lowers the bound."""
MOST_SETS = 256
MOST_SINGLE_STEPS = 600
"""Pods of one site that are put down one by one, because what they take depends on where the others
stand: GPU cards, topology limits. Afterwards none of these fits any more."""
_SMALL_PODS = 6
_SMALL_NODES = 5


@dataclass(slots=True)
class SetRoom:
    """Room of a site for sets of pods.

    Attributes:
        sets: how many sets fit.
        is_exact: whether all assignments were searched, so that not one more fits.
    """

    sets: int
    is_exact: bool


@dataclass(slots=True)
class _Try:
    """One site, and what is asked of it."""

    fleet: "Fleet"
    slot: int
    demand: Demand
    shapes: list[PodShape]
    may: list[Bools]
    is_new: bool
    is_exact: bool = True
    single: list[int] = field(default_factory=lambda: [MOST_SINGLE_STEPS])
    _fresh: SetNodes | None = field(default=None)

    def nodes(self) -> SetNodes:
        """The nodes, once pods that stand on every node have taken their share."""
        if self._fresh is None:
            self._fresh, is_whole = _nodes_of(self.fleet, self.slot, self.shapes, self.may)
            self.is_exact = self.is_exact and is_whole
            if self.is_new:
                for shape in self.demand.per_node:
                    self._fresh.put_on_each(self.shapes.index(shape))
        return self._fresh.copy()

    def fits(self, sets: int) -> bool:
        """Whether so many sets fit, with what comes beside them."""
        once = self.demand.beside if self.is_new else ()
        pods = _groups([(self.demand.unit, sets), (once, 1)], self.shapes)
        nodes = self.nodes()
        if nodes.lacks(pods):
            return False
        if nodes.take_all(pods, self.single):
            return True
        if sum(count for _, count in pods) > _SMALL_PODS or len(nodes.kinds) > _SMALL_NODES:
            self.is_exact = False
            return False
        found = fits_somehow(self.nodes(), pods)
        self.is_exact = self.is_exact and found is not None
        return bool(found)


def sets_at(
    fleet: "Fleet", slot: int, demand: Demand, *, permitted: Bools, is_new: bool
) -> SetRoom:
    """How many replicas of a demand that is a set of pods fit at a site.

    Args:
        fleet: the fleet.
        slot: the site.
        demand: with `unit`, `beside` and `per_node`.
        permitted: kinds of node whose CPU vendor the site's grant permits.
        is_new: whether the pods beside the replicas are not there yet.
    """
    shapes = _shapes(demand)
    kinds = [
        bool(permitted[index]) and platform_fits(kind, demand.architectures, demand.cpu_vendors)
        for index, kind in enumerate(fleet.nodes.kinds)
    ]
    may = [
        np.array(
            [
                fits and may_stand(shape, kind)
                for fits, kind in zip(kinds, fleet.nodes.kinds, strict=True)
            ],
            np.bool_,
        )
        for shape in shapes
    ]
    attempt = _Try(fleet, slot, demand, shapes, may, is_new)
    facts = fleet.facts[slot]
    lost = 0 if facts is None else lost_pods(facts.in_flight, _smallest(shapes))
    wanted = max(1, demand.replicas)
    most = min(MOST_SETS, wanted) + lost
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if attempt.fits(middle) else (low, middle - 1)
    lost += 0 if is_new else _kept_by_own(demand, facts)
    is_capped = low == most and wanted > MOST_SETS
    return SetRoom(max(0, low - lost), is_exact=attempt.is_exact and not lost and not is_capped)


def _kept_by_own(demand: Demand, facts: SiteFacts | None) -> int:
    """Sets that own running pods may keep out, as nobody reports on which nodes they stand."""
    pods = [
        each.count
        for each in demand.unit
        if each.shape.one_per_node or each.shape.one_per or each.shape.skews
    ]
    return max(pods, default=0) * demand.placed_replicas.get(facts.name if facts else "", 0)


def _shapes(demand: Demand) -> list[PodShape]:
    shapes: list[PodShape] = []
    for shape in (*(each.shape for each in (*demand.unit, *demand.beside)), *demand.per_node):
        if shape not in shapes:
            shapes.append(shape)
    return shapes


def _groups(sets: Sequence[tuple[Sequence[Pods], int]], shapes: list[PodShape]) -> list[Group]:
    total: dict[int, int] = {}
    for pods, times in sets:
        for each in pods:
            number = shapes.index(each.shape)
            total[number] = total.get(number, 0) + each.count * times
    return [(number, count) for number, count in total.items() if count > 0]


def _smallest(shapes: Sequence[PodShape]) -> dict[str, int]:
    least: dict[str, int] = {}
    for shape in shapes:
        for name, asked in shape.requests.items():
            least[name] = min(asked, least.get(name, asked))
    return least


def _nodes_of(
    fleet: "Fleet", slot: int, shapes: list[PodShape], may: list[Bools]
) -> tuple[SetNodes, bool]:
    """The nodes of a site, and whether these are all."""
    rows = fleet.nodes.rows
    index = rows.rows_of(np.array([slot]))
    index = index[rows.matrix[KIND].take(index) != IN_FLIGHT]
    limited = np.minimum(rows.matrix[COUNT].take(index), MOST_NODES + 1)
    ends = np.minimum(np.cumsum(limited), MOST_NODES)
    is_whole = not len(ends) or float(limited.sum()) <= MOST_NODES
    each = np.repeat(index, np.diff(ends, prepend=0.0).astype(np.int64))
    names = sorted({name for shape in shapes for name in shape.requests})
    numbers = [rows.number(name) for name in names]
    cards = [rows.number(f"{CARD}{card}") for card in range(fleet.nodes.most_cards)]
    kinds = rows.matrix[KIND].take(each).astype(np.int64)
    nodes = SetNodes(
        shapes=shapes,
        names=names,
        free=rows.matrix[np.array(numbers, np.int64)[:, None], each],
        cards=rows.matrix[np.array(cards, np.int64)[:, None], each],
        kinds=kinds,
        all_kinds=fleet.nodes.kinds,
        may=[fits[kinds] for fits in may],
    )
    return nodes, is_whole
