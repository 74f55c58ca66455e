"""How many replicas a site surely takes when certain replicas of others have ended there.

Reports do not say on which nodes pods run, so what ends may free the least helpful nodes: the
answer is the least over every assignment of what ends to the nodes where it may run. For pods of
one shape it is found exactly, node by node: a node that got j freed pods takes
`min over resources of floor((free + j * freed) / asked)`, and the least sum over all nodes is a
shortest path over the number of pods that are assigned already. Where that would take too long, or
victims have pods of many shapes, a bound counts that is never too high: freed capacity alone takes
`floor(freed / asked)` on whatever node it is, because floors are superadditive.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.demand.preemption import PossibleVictim
from scheduler.model.manifests.pods import PodShape
from scheduler.model.quantities import CPU, MEMORY
from scheduler.placement.fit.node_fit import NodeFit
from scheduler.placement.fit.summed_capacity import UNLIMITED, permitted_rows
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.columns import COUNT_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MAX_STEPS = 600
"""Nodes times states of one exact answer, each a few array operations; the bound counts beyond."""
MAX_STEPS_IN_ALL = 2_500
"""So many for all answers of one decision, so that none holds the loop."""
_KEPT_FREE = (CPU, MEMORY)
"""The resources of which a site's headroom keeps a share free."""


class FreedPods(NamedTuple):
    """Equal pods of one victim that end at a site."""

    shape: PodShape
    victim: PossibleVictim
    pods: int


class _Kind(NamedTuple):
    """Freed pods that give the same and may be on the same nodes.

    Attributes:
        amounts: what each gives of the resources that are asked.
        rows: on which rows of nodes they may be.
        pods: how many there are.
    """

    amounts: Floats
    rows: Bools
    pods: int


def is_plain_shape(demand: Demand) -> bool:
    """Whether nodes take pods of a demand independently of each other, so that sums are exact."""
    if len(demand.unit) != 1 or demand.unit[0].count != 1 or demand.beside or demand.per_node:
        return False
    shape = demand.unit[0].shape
    return not (shape.skews or shape.one_per or shape.gpu_cards)


class SuitableNodes:
    """On which node profiles the pods of a demand and of its victims may run; found once each.

    Args:
        demand: the workload that is to fit; `is_plain_shape` holds.
        fleet: the sites.
        vendor_sets: the number of the set of permitted CPU vendors of each site; None: any.

    Attributes:
        steps_left: for exact answers, of those of one decision.
    """

    def __init__(self, demand: Demand, fleet: Fleet, vendor_sets: Ints | None) -> None:
        self.demand, self.fleet, self.vendor_sets = demand, fleet, vendor_sets
        self.shape = demand.unit[0].shape
        self.columns = fleet.nodes.column_numbers_of(self.shape.requests)
        self.asked = np.array(list(self.shape.requests.values()), np.float64)
        self.profiles = NodeFit(fleet, demand, None).suitable_profiles(self.shape)[0]
        self.steps_left = MAX_STEPS_IN_ALL
        self._of_victims: dict[tuple[object, ...], Bools] = {}

    def profiles_of(self, one: FreedPods) -> Bools:
        """The profiles of nodes on which pods of a victim may run; [profiles]."""
        victim = one.victim
        key = (one.shape.node_selection_key, victim.architectures, victim.cpu_vendors)
        known = self._of_victims.get(key)
        if known is None:
            owner = Demand(
                key=victim.workload,
                architectures=victim.architectures,
                cpu_vendors=victim.cpu_vendors,
            )
            known = NodeFit(self.fleet, owner, None).suitable_profiles(one.shape)[0]
            self._of_victims[key] = known
        return known


class SiteRoom:
    """What one site takes of a plain demand, by what ends there.

    Args:
        nodes: the demand, and which nodes are suitable.
        slot: the site.
    """

    def __init__(self, nodes: SuitableNodes, slot: int) -> None:
        fleet, self._nodes, self._shape = nodes.fleet, nodes, nodes.shape
        facts = fleet.facts[slot]
        assert facts is not None  # noqa: S101 - only sites with facts are admitted
        self._facts: SiteFacts = facts
        slots = np.array([slot])
        index = fleet.nodes.rows.row_indices(slots)
        matrix = fleet.nodes.rows.matrix
        profiles = matrix[PROFILE_COLUMN].take(index).astype(np.int64)
        suits = nodes.profiles.take(profiles).astype(np.bool_)
        if nodes.vendor_sets is not None:
            suits &= permitted_rows(fleet, nodes.vendor_sets, slots, profiles)
        rows = (profiles != IN_FLIGHT_PROFILE).nonzero()[0]
        self._profiles, self._suits = profiles[rows], suits[rows]
        self._asked: Floats = nodes.asked[:, None]
        self._free: Floats = matrix[:, index[rows]][nodes.columns]
        self._counts: Ints = matrix[COUNT_COLUMN].take(index[rows]).astype(np.int64)
        self._own = nodes.demand.placed_replicas.get(facts.name, 0)
        self._own *= int(self._shape.one_per_node)
        self._alone = self._taken(None)
        self._base = int(self._alone @ self._counts)

    def replicas_when(self, freed: Sequence[FreedPods], gone: frozenset[str] = frozenset()) -> int:
        """How many replicas of the demand fit beside what stays.

        Args:
            freed: the pods that end on nodes.
            gone: victims all of whose pods in flight end, too.
        """
        least = self._least_on_nodes(self._merged(freed))
        lost = sum(self._lost_to(one) for one in self._facts.in_flight if one.workload not in gone)
        return int(min(max(0, least - lost - self._own), UNLIMITED))

    def _merged(self, freed: Sequence[FreedPods]) -> list[_Kind]:
        """The freed pods by kind: equal amounts that may be on equal nodes."""
        merged: dict[tuple[bytes, bytes], _Kind] = {}
        for one in freed:
            amounts = self._amounts_of(one.shape)
            rows = self._nodes.profiles_of(one).take(self._profiles).astype(np.bool_)
            key = (amounts.tobytes(), rows.tobytes())
            before = merged[key].pods if key in merged else 0
            merged[key] = _Kind(amounts, rows, before + one.pods)
        return [one for one in merged.values() if one.amounts.any() and one.rows.any()]

    def _amounts_of(self, shape: PodShape) -> Floats:
        """What a freed pod gives of the resources that are asked; headroom keeps its share."""
        ratio = 1.0 - self._facts.spec.headroom.ratio
        return np.array(
            [
                np.floor(shape.requests.get(name, 0) * (ratio if name in _KEPT_FREE else 1.0))
                for name in self._shape.requests
            ],
            np.float64,
        )

    def _least_on_nodes(self, kinds: list[_Kind]) -> int:
        if not kinds or self._can_all_be_wasted(kinds):
            return self._base
        pods = sum(one.pods for one in kinds)
        states = prod(one.pods + 1 for one in kinds)
        nodes = int(np.minimum(self._counts, pods).sum())
        steps = states * nodes
        if steps <= min(_MAX_STEPS, self._nodes.steps_left):
            self._nodes.steps_left -= steps
            return self._least_exactly(kinds, pods)
        return self._base + sum(self._surely_added(one) for one in kinds)

    def _taken(self, added: Floats | None) -> Floats:
        """Replicas that one node of each row takes, with more free; [rows]."""
        if not len(self._asked):
            return np.where(self._suits, float(UNLIMITED), 0.0)
        free = self._free if added is None else self._free + added[:, None]
        fits = np.floor(free / self._asked).min(axis=0)
        np.maximum(fits, 0.0, out=fits)
        if self._shape.one_per_node:
            np.minimum(fits, 1.0, out=fits)
        taken: Floats = fits * self._suits
        return taken

    def _can_all_be_wasted(self, kinds: list[_Kind]) -> bool:
        """Whether all freed pods may be where none of them lets a node take one replica more.

        It is so if each kind has nodes of its own that absorb it; a "no" proves nothing.
        """
        free_nodes = self._counts.copy()
        for one in sorted(kinds, key=lambda each: int(each.rows.sum())):
            absorbs = self._wasted_on_node(one) * one.rows
            left = one.pods
            for row in np.argsort(-absorbs, kind="stable").tolist():
                each = int(absorbs[row])
                if left <= 0 or not each:
                    break
                used = min(int(free_nodes[row]), -(-left // each))
                free_nodes[row] -= used
                left -= used * each
            if left > 0:
                return False
        return True

    def _wasted_on_node(self, kind: _Kind) -> Floats:
        """How many freed pods one node of each row may get and take no replica more; [rows]."""
        if not len(self._asked):
            return np.full(len(self._counts), float(kind.pods))
        with np.errstate(divide="ignore", invalid="ignore"):
            lacking = (self._alone + 1.0) * self._asked - self._free
            needed = np.where(lacking > 0, np.ceil(lacking / kind.amounts[:, None]), 0.0)
        wasted = needed.max(axis=0) - 1.0
        if self._shape.one_per_node:
            wasted[self._alone >= 1] = np.inf
        wasted[~self._suits] = np.inf
        found: Floats = np.clip(wasted, 0.0, float(kind.pods))
        return found

    def _surely_added(self, kind: _Kind) -> int:
        """Replicas that freed pods add on whatever nodes they run; never too many."""
        if self._shape.one_per_node or not self._suits[kind.rows].all() or not len(self._asked):
            return 0
        return int(np.floor(kind.amounts / self._nodes.asked).min()) * kind.pods

    def _least_exactly(self, kinds: list[_Kind], pods: int) -> int:
        """The least sum over all nodes, over every assignment of the freed pods to nodes."""
        counts = [one.pods for one in kinds]
        amounts = np.array([one.amounts for one in kinds])
        shares = list(product(*(range(count + 1) for count in counts)))
        taken = {share: self._taken(np.array(share, np.float64) @ amounts) for share in shares}
        least = np.full([count + 1 for count in counts], np.inf)
        least[(0,) * len(counts)] = 0.0
        total = 0.0
        for row, count in enumerate(self._counts.tolist()):
            may_get = [bool(one.rows[row]) for one in kinds]
            nodes = min(count, pods) if any(may_get) else 0
            total += float(self._alone[row]) * (count - nodes)  # no pod reaches the others
            if not nodes:
                continue
            possible = [
                (share, float(taken[share][row]))
                for share in shares
                if all(may or not got for may, got in zip(may_get, share, strict=True))
            ]
            for _ in range(nodes):
                least = _with_one_node(least, possible)
        return int(total + least[tuple(counts)])

    def _lost_to(self, one: InFlight) -> int:
        """The most replicas that pods in flight may cost: see `placement/fleet/in_flight.py`."""
        each = max(
            (
                -(-one.requests.get(name, 0) // asked)
                for name, asked in self._shape.requests.items()
                if asked
            ),
            default=0,
        )
        return each * one.replicas


def _with_one_node(least: Floats, possible: Sequence[tuple[tuple[int, ...], float]]) -> Floats:
    """The least sums with one node more, by how many pods of each kind are assigned.

    Args:
        least: without the node.
        possible: pods of each kind that the node may get, and what it takes then.
    """
    after = np.full_like(least, np.inf)
    for share, taken in possible:
        # least[s - share] + taken, for every state s that has at least as many pods as the share.
        target = tuple(slice(got, None) for got in share)
        source = tuple(
            slice(None, size - got) for got, size in zip(share, least.shape, strict=True)
        )
        np.minimum(after[target], least[source] + taken, out=after[target])
    return after


def freed_pods(victim: PossibleVictim, replicas: int) -> list[FreedPods]:
    """The pods that end on nodes with so many replicas of a victim."""
    return [
        FreedPods(shape=each.shape, victim=victim, pods=each.count * replicas)
        for each in victim.unit
        if replicas
    ]
