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

_MAX_STEPS = 4_000
"""Nodes times states of one exact answer, each a few array operations; the bound counts beyond."""
_KEPT_FREE = (CPU, MEMORY)
"""The resources of which a site's headroom keeps a share free."""


class FreedPods(NamedTuple):
    """Equal pods of one victim that end at a site."""

    shape: PodShape
    victim: PossibleVictim
    pods: int


def is_plain_shape(demand: Demand) -> bool:
    """Whether nodes take pods of a demand independently of each other, so that sums are exact."""
    if len(demand.unit) != 1 or demand.unit[0].count != 1 or demand.beside or demand.per_node:
        return False
    shape = demand.unit[0].shape
    return not (shape.skews or shape.one_per or shape.gpu_cards)


class SiteRoom:
    """What one site takes of a plain demand, by what ends there.

    Args:
        demand: the workload that is to fit; `is_plain_shape` holds.
        fleet: the sites.
        slot: the site.
        vendor_sets: the number of the set of permitted CPU vendors of each site; None: any.
    """

    def __init__(self, demand: Demand, fleet: Fleet, slot: int, vendor_sets: Ints | None) -> None:
        self._fleet, self._demand = fleet, demand
        self._shape = demand.unit[0].shape
        facts = fleet.facts[slot]
        assert facts is not None  # noqa: S101 - only sites with facts are admitted
        self._facts: SiteFacts = facts
        columns = fleet.nodes.column_numbers_of(self._shape.requests)
        self._asked = np.array(list(self._shape.requests.values()), np.float64)
        slots = np.array([slot])
        index = fleet.nodes.rows.row_indices(slots)
        matrix = fleet.nodes.rows.matrix
        profiles = matrix[PROFILE_COLUMN].take(index).astype(np.int64)
        suits = NodeFit(fleet, demand, None).suitable_profiles(self._shape)[0].take(profiles)
        if vendor_sets is not None:
            suits = suits & permitted_rows(fleet, vendor_sets, slots, profiles)
        nodes = (profiles != IN_FLIGHT_PROFILE).nonzero()[0]
        self._profiles, self._suits = profiles[nodes], suits[nodes].astype(np.bool_)
        self._free: Floats = matrix[:, index[nodes]][columns]
        self._counts: Ints = matrix[COUNT_COLUMN].take(index[nodes]).astype(np.int64)
        self._own = demand.placed_replicas.get(facts.name, 0) if self._shape.one_per_node else 0

    def replicas_when(self, freed: Sequence[FreedPods], gone: frozenset[str] = frozenset()) -> int:
        """How many replicas of the demand fit beside what stays.

        Args:
            freed: the pods that end on nodes.
            gone: victims all of whose pods in flight end, too.
        """
        least = self._least_on_nodes(self._merged(freed))
        lost = sum(self._lost_to(one) for one in self._facts.in_flight if one.workload not in gone)
        return int(min(max(0, least - lost - self._own), UNLIMITED))

    def _merged(self, freed: Sequence[FreedPods]) -> list[tuple[Floats, Bools, int]]:
        """Freed amounts, on which rows they may be, and how many; equal ones together."""
        merged: dict[tuple[bytes, bytes], tuple[Floats, Bools, int]] = {}
        for one in freed:
            amounts, rows = self._amounts_of(one.shape), self._rows_of(one)
            key = (amounts.tobytes(), rows.tobytes())
            known = merged.get(key, (amounts, rows, 0))
            merged[key] = (amounts, rows, known[2] + one.pods)
        return [one for one in merged.values() if one[0].any() and one[1].any()]

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

    def _rows_of(self, one: FreedPods) -> Bools:
        """On which rows the pods of a victim may run."""
        owner = Demand(
            key=one.victim.workload,
            architectures=one.victim.architectures,
            cpu_vendors=one.victim.cpu_vendors,
        )
        chosen, _ = NodeFit(self._fleet, owner, None).suitable_profiles(one.shape)
        found: Bools = chosen.take(self._profiles).astype(np.bool_)
        return found

    def _least_on_nodes(self, freed: list[tuple[Floats, Bools, int]]) -> int:
        base = int((self._taken(np.zeros(len(self._asked))) * self._counts).sum())
        pods = sum(count for _, _, count in freed)
        if not pods:
            return base
        states = int(np.prod([count + 1 for _, _, count in freed]))
        nodes = int(np.minimum(self._counts, pods).sum())
        if states * nodes <= _MAX_STEPS:
            return self._least_exactly(freed, pods)
        return base + sum(self._surely_added(*one) for one in freed)

    def _taken(self, added: Floats) -> Floats:
        """Replicas that one node of each row takes with more free; [rows]."""
        if not len(self._asked):
            return np.where(self._suits, float(UNLIMITED), 0.0)
        fits = np.floor((self._free + added[:, None]) / self._asked[:, None]).min(axis=0)
        fits = np.maximum(fits, 0.0)
        if self._shape.one_per_node:
            fits = np.minimum(fits, 1.0)
        taken: Floats = fits * self._suits
        return taken

    def _surely_added(self, amounts: Floats, rows: Bools, count: int) -> int:
        """Replicas that freed pods add on whatever nodes they run; never too many."""
        if self._shape.one_per_node or not self._suits[rows].all() or not len(self._asked):
            return 0
        return int(np.floor(amounts / self._asked).min()) * count

    def _least_exactly(self, freed: list[tuple[Floats, Bools, int]], pods: int) -> int:
        """The least sum over all nodes, over every assignment of the freed pods to nodes."""
        counts = [count for _, _, count in freed]
        amounts = np.array([one[0] for one in freed])
        shares = list(product(*(range(count + 1) for count in counts)))
        taken = {share: self._taken(np.array(share, np.float64) @ amounts) for share in shares}
        least = np.full([count + 1 for count in counts], np.inf)
        least[(0,) * len(counts)] = 0.0
        total = 0.0
        for row in range(len(self._counts)):
            may_get = [bool(one[1][row]) for one in freed]
            alone = float(taken[shares[0]][row])
            nodes = min(int(self._counts[row]), pods) if any(may_get) else 0
            total += alone * (int(self._counts[row]) - nodes)  # nodes that nothing more can reach
            possible = [
                (share, float(taken[share][row]))
                for share in shares
                if all(may or not got for may, got in zip(may_get, share, strict=True))
            ]
            if not nodes:
                continue
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
