"""Sets of different pods at one site: a lower bound, exact where pods and nodes are few.

A replica may be a set of pods (for example of two Deployments), and a site may need pods besides
its replicas. Pods are placed one after the other, largest first, on the first node that takes them
(first fit decreasing); equal pods are placed together, with the same result. What fits this way
surely fits; more may fit. Where pods and nodes are few, all assignments are searched instead.

The work is bounded in steps, never in time: a bound that is reached only lowers the answer.
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
from scheduler.placement.fit.pod_set_in_flight import Load, assignments_of, with_load
from scheduler.placement.fit.pod_set_nodes import PodSetNodes, ShapeCount
from scheduler.placement.fit.pod_set_search import is_assignable
from scheduler.placement.fleet.in_flight import pods_lost_to_in_flight
from scheduler.placement.fleet.node_eligibility import is_eligible, is_platform_permitted
from scheduler.placement.fleet.nodes.columns import COUNT_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE

if TYPE_CHECKING:
    from scheduler.placement.fleet.fleet import Fleet

Bools = NDArray[np.bool_]

MAX_NODES = 2000
"""The most nodes of a site that are considered; leaving some out only lowers the bound."""
MAX_SETS = 256
"""The most sets that are tried at one site."""
MAX_SINGLE_STEPS = 600
"""The most pods of one site that are placed one by one, because their node depends on where others
run: with GPU cards or topology limits. After that no such pod fits."""
_MAX_SEARCHED_PODS = 6
_MAX_SEARCHED_NODES = 5


@dataclass(slots=True)
class PodSetCapacity:
    """How many sets of pods a site takes.

    Attributes:
        sets: how many sets fit.
        is_exact: whether it is proven that not one more fits.
    """

    sets: int
    is_exact: bool


@dataclass(slots=True, kw_only=True)
class _SiteAttempt:
    """One site, and the demand that is tried there.

    Attributes:
        fleet: the fleet.
        slot: the site.
        demand: with `unit`, `beside` and `per_node`.
        shapes: the shapes of all its pods.
        permitted: which node profiles have a CPU vendor that the site's grant permits; [profiles].
        is_new: whether the pods that come once per site or per node are still missing.
        is_exact: whether all answers so far are exact.
        steps_left: its only entry is how many more pods may be placed one by one.
        load: what pods in flight take of the nodes.
    """

    fleet: "Fleet"
    slot: int
    demand: Demand
    shapes: list[PodShape]
    permitted: Bools
    is_new: bool
    is_exact: bool = True
    steps_left: list[int] = field(default_factory=lambda: [MAX_SINGLE_STEPS])
    load: Load = field(default_factory=dict)
    _initial_nodes: PodSetNodes | None = field(default=None)

    def fresh_nodes(self) -> PodSetNodes:
        """A copy of the nodes, with the pods that run on every node already placed."""
        if self._initial_nodes is None:
            self._initial_nodes, is_whole = _nodes_of(
                self.fleet, self.slot, self.demand, self.shapes, self.permitted
            )
            self.is_exact = self.is_exact and is_whole
            if self.is_new:
                for shape in self.demand.per_node:
                    self._initial_nodes.place_on_each(self.shapes.index(shape))
        return with_load(self._initial_nodes.copy(), self.load)

    def assignments(self, facts: SiteFacts) -> list[Load] | None:
        """Where what is in flight may run; None: there are too many assignments."""
        nodes, _ = _nodes_of(self.fleet, self.slot, self.demand, self.shapes, self.permitted)
        has_headroom = facts.spec.headroom.ratio > 0
        return assignments_of(facts.in_flight, nodes, has_headroom=has_headroom)

    def most_sets(self, upper_bound: int) -> int:
        """The most sets that fit, found by bisection; at most `upper_bound`."""
        low, high = 0, upper_bound
        while low < high:
            middle = (low + high + 1) // 2  # rounded up, so that `low = middle` always advances
            low, high = (middle, high) if self.fits(middle) else (low, middle - 1)
        return low

    def fits(self, sets: int) -> bool:
        """Whether `sets` sets fit, with the pods that come once per site."""
        pods_beside = self.demand.beside if self.is_new else ()
        pods = _count_by_shape([(self.demand.unit, sets), (pods_beside, 1)], self.shapes)
        nodes = self.fresh_nodes()
        if nodes.exceeds_free_sums(pods):
            return False
        if nodes.place_all(pods, self.steps_left):
            return True
        if (
            sum(count for _, count in pods) > _MAX_SEARCHED_PODS
            or len(nodes.profiles) > _MAX_SEARCHED_NODES
        ):
            self.is_exact = False
            return False
        found = is_assignable(self.fresh_nodes(), pods)
        self.is_exact = self.is_exact and found is not None
        return bool(found)


def pod_sets_at(
    fleet: "Fleet", slot: int, demand: Demand, *, permitted: Bools, is_new: bool
) -> PodSetCapacity:
    """How many replicas of a demand fit at a site, where a replica is a set of pods.

    Args:
        fleet: the fleet.
        slot: the site.
        demand: with `unit`, `beside` and `per_node`.
        permitted: which node profiles have a CPU vendor that the site's grant permits; [profiles].
        is_new: whether the pods that come once per site or per node are still missing there.
    """
    shapes = _distinct_shapes(demand)
    attempt = _SiteAttempt(
        fleet=fleet,
        slot=slot,
        demand=demand,
        shapes=shapes,
        permitted=permitted,
        is_new=is_new,
    )
    facts = fleet.facts[slot]
    lost_sets = (
        0 if facts is None else pods_lost_to_in_flight(facts.in_flight, _min_requests(shapes))
    )
    wanted = max(1, demand.replicas)
    loads = attempt.assignments(facts) if facts is not None and lost_sets else None
    if loads is not None:
        low = upper_bound = min(MAX_SETS, wanted)
        for attempt.load in loads:
            attempt.steps_left[0] = MAX_SINGLE_STEPS
            low = low if attempt.fits(low) else attempt.most_sets(low)
        lost_sets, is_exact = 0, False
    else:
        upper_bound = min(MAX_SETS, wanted) + lost_sets
        # In-flight pods may cost `lost_sets` of these.
        low, is_exact = attempt.most_sets(upper_bound), not lost_sets
    lost_sets += 0 if is_new else _sets_blocked_by_own(demand, facts)
    is_capped = low == upper_bound and wanted > MAX_SETS
    return PodSetCapacity(
        max(0, low - lost_sets),
        is_exact=attempt.is_exact and is_exact and not lost_sets and not is_capped,
    )


def _sets_blocked_by_own(demand: Demand, facts: SiteFacts | None) -> int:
    """The most sets that the workload's running pods may block at a site.

    Under limits per node or domain a running pod may occupy a node that a set needs. Reports do not
    say on which nodes pods run, so the worst case counts.
    """
    pods = [
        each.count
        for each in demand.unit
        if each.shape.one_per_node or each.shape.one_per or each.shape.skews
    ]
    return max(pods, default=0) * demand.placed_replicas.get(facts.name if facts else "", 0)


def _distinct_shapes(demand: Demand) -> list[PodShape]:
    shapes: list[PodShape] = []
    for shape in (*(each.shape for each in (*demand.unit, *demand.beside)), *demand.per_node):
        if shape not in shapes:
            shapes.append(shape)
    return shapes


def _count_by_shape(
    sets: Sequence[tuple[Sequence[Pods], int]], shapes: list[PodShape]
) -> list[ShapeCount]:
    total: dict[int, int] = {}
    for pods, times in sets:
        for each in pods:
            number = shapes.index(each.shape)
            total[number] = total.get(number, 0) + each.count * times
    return [(number, count) for number, count in total.items() if count > 0]


def _min_requests(shapes: Sequence[PodShape]) -> dict[str, int]:
    least: dict[str, int] = {}
    for shape in shapes:
        for name, asked in shape.requests.items():
            least[name] = min(asked, least.get(name, asked))
    return least


def _nodes_of(
    fleet: "Fleet", slot: int, demand: Demand, shapes: list[PodShape], permitted: Bools
) -> tuple[PodSetNodes, bool]:
    """The nodes of a site, at most `MAX_NODES`, and whether these are all."""
    rows = fleet.nodes.rows
    names = sorted({name for shape in shapes for name in shape.requests})
    numbers = fleet.nodes.column_numbers_of(names)  # first: these may replace the matrix
    fleet.nodes.name_cards()
    index = rows.row_indices(np.array([slot]))
    index = index[rows.matrix[PROFILE_COLUMN].take(index) != IN_FLIGHT_PROFILE]
    # One more than the maximum, so that the sum still shows whether nodes are left out.
    limited = np.minimum(rows.matrix[COUNT_COLUMN].take(index), MAX_NODES + 1)
    ends = np.minimum(np.cumsum(limited), MAX_NODES)
    is_whole = not len(ends) or float(limited.sum()) <= MAX_NODES
    # The row of each node: a row that stands for n nodes is repeated n times.
    each = np.repeat(index, np.diff(ends, prepend=0.0).astype(np.int64))
    # Only the profiles that the site has are looked at, numbered in their order.
    present, profiles = np.unique(
        rows.matrix[PROFILE_COLUMN].take(each).astype(np.int64), return_inverse=True
    )
    all_profiles = [fleet.nodes.profiles[number] for number in present.tolist()]
    usable = [
        bool(permitted[number])
        and is_platform_permitted(profile, demand.architectures, demand.cpu_vendors)
        for number, profile in zip(present.tolist(), all_profiles, strict=True)
    ]
    eligible = [
        np.array(
            [
                fits and is_eligible(shape, profile)
                for fits, profile in zip(usable, all_profiles, strict=True)
            ],
            np.bool_,
        )
        for shape in shapes
    ]
    nodes = PodSetNodes(
        shapes=shapes,
        names=names,
        free=rows.matrix[np.array(numbers, np.int64)[:, None], each],
        cards=rows.matrix[fleet.nodes.card_columns, each],
        profiles=profiles,
        all_profiles=all_profiles,
        eligible=[fits[profiles] for fits in eligible],
    )
    return nodes, is_whole
