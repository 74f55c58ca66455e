"""What sites take of one shape in the worst case of what is in flight there, cached by site.

The quick answer of `node_fit.py` and of the kernel lets every pod in flight cost what it can cost
at most. Where that leaves fewer replicas than are wanted, the worst assignment is computed here, or
by the kernel, which needs no cache.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, InFlight, SiteFacts
from scheduler.model.lazy import lazy
from scheduler.model.manifests.pods import PodShape
from scheduler.model.quantities import CPU, PODS
from scheduler.placement.fit.in_flight_loss import FlightRow, NodeRow, ReplicaLoss, worst_loss
from scheduler.placement.fit.node_fit import NodeFit
from scheduler.placement.fit.summed_capacity import UNLIMITED
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.columns import CARDS_COLUMN, COUNT_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAX_CACHED_SHAPES = 128
_HEADROOM_RESOURCES = (CPU, "memory")


class WorstCase(NamedTuple):
    """What one site takes.

    Attributes:
        replicas: how many replicas fit for every assignment of what is in flight.
        is_exact: whether one more does not fit for some assignment.
    """

    replicas: int
    is_exact: bool


class WorstCaseCache:
    """Worst cases by shape; the least recently used shapes are dropped first.

    Attributes:
        by_shape: the worst case of each slot and the `Fleet.row_version` that it holds for, by
            shape and all else that it depends on.
    """

    def __init__(self) -> None:
        self.by_shape: OrderedDict[Hashable, dict[int, tuple[int, WorstCase]]] = OrderedDict()


class InFlightFit:
    """The worst cases of one shape.

    Args:
        fleet: the fleet.
        shape: what one pod asks; without limits on its spread.
        node_fit: what single nodes take of it.
        key_of: gives all that the answer depends on besides the rows of a site.
    """

    def __init__(
        self, fleet: Fleet, shape: PodShape, node_fit: NodeFit, key_of: Callable[[], Hashable]
    ) -> None:
        self._fleet = fleet
        self._shape = shape
        self._node_fit = node_fit
        self._key_of = key_of

    @lazy
    def _by_slot(self) -> dict[int, tuple[int, WorstCase]]:
        cache_key, by_shape = self._key_of(), self._fleet.cache(WorstCaseCache).by_shape
        found = by_shape.setdefault(cache_key, {})
        by_shape.move_to_end(cache_key)
        if len(by_shape) > _MAX_CACHED_SHAPES:
            by_shape.popitem(last=False)
        return found

    def at(self, slot: int) -> WorstCase:
        """What a site takes in the worst case."""
        version = int(self._fleet.row_version[slot])
        cached = self._by_slot.get(slot)
        if cached is None or cached[0] != version:
            cached = self._by_slot[slot] = (version, self._compute(slot))
        return cached[1]

    def replicas_at(self, slot: int) -> int:
        """The replicas of `at`."""
        return self.at(slot).replicas

    def is_surely_full(self, slot: int) -> bool:
        """Whether it is proven that a site takes nothing in the worst case."""
        return self.at(slot) == (0, True)

    def _compute(self, slot: int) -> WorstCase:
        slots = np.array([slot], np.int64)
        index = self._fleet.nodes.rows.row_indices(slots)
        per_row = self._node_fit.replicas_per_node(index, slots, self._shape)
        counts = self._fleet.nodes.node_counts(index)
        total = int(min((np.minimum(per_row, UNLIMITED) * counts).sum(), 2.0**53))
        facts = self._fleet.facts[slot]
        if total <= 0 or facts is None:
            return WorstCase(0, is_exact=True)
        lost = most_lost(self._fleet, facts, index, per_row, self._shape)
        return WorstCase(min(max(0, total - lost.replicas), UNLIMITED), lost.is_exact)


def has_in_flight(fleet: Fleet, slots: Ints) -> Bools:
    """Which sites have rows in flight, which follow the rows of nodes; [len(slots)]."""
    rows = fleet.nodes.rows
    lengths = rows.length.take(slots)
    last = rows.start.take(slots) + np.maximum(lengths, 1) - 1
    is_flight = rows.matrix[PROFILE_COLUMN].take(last, mode="clip") == IN_FLIGHT_PROFILE
    found: Bools = (lengths > 0) & is_flight
    return found


def most_lost(
    fleet: Fleet,
    facts: SiteFacts,
    index: Ints,
    per_row: Floats,
    shape: PodShape,
    *,
    except_workload: str = "",
) -> ReplicaLoss:
    """The most replicas of a shape that what is in flight at a site may cost.

    Args:
        fleet: the fleet.
        facts: the site.
        index: the numbers of its rows.
        per_row: the replicas that one node of each row takes; [len(index)].
        shape: what one pod asks.
        except_workload: what is in flight of this workload does not count.
    """
    in_flight = [each for each in facts.in_flight if each.workload != except_workload]
    if not in_flight:
        return ReplicaLoss(0, is_exact=True)
    names = list(
        dict.fromkeys(
            [*shape.requests, PODS, *(name for each in in_flight for name in each.requests)]
        )
    )
    columns = [*fleet.nodes.column_numbers_of(names), CARDS_COLUMN]
    rows = fleet.nodes.rows  # only now: a resource that is named first may replace the matrix
    is_node = rows.matrix[PROFILE_COLUMN].take(index) != IN_FLIGHT_PROFILE
    node_index = index[is_node]
    free = rows.matrix[np.array(columns, np.int64)[:, None], node_index].T
    bindable = _bindable(free, names, facts.spec.headroom.ratio)
    counts = rows.matrix[COUNT_COLUMN].take(node_index).tolist()
    caps = np.minimum(per_row[is_node], UNLIMITED).tolist()
    nodes = [
        NodeRow(int(counts[row]), int(caps[row]), free[row], bindable[row])
        for row in range(len(counts))
    ]
    asked = np.array([float(shape.requests.get(name, 0)) for name in names] + [0.0])
    return worst_loss(nodes, list(_flight_rows(in_flight, names, shape, bindable)), asked)


def most_lost_at(
    fleet: Fleet,
    slots: Ints,
    index: Ints,
    per_row: Floats,
    shape: PodShape,
    *,
    except_workload: str = "",
) -> Floats:
    """The replicas of `most_lost` at several sites; [len(slots)].

    Args:
        fleet: the fleet.
        slots: the sites.
        index: the numbers of their rows, site by site.
        per_row: the replicas that one node of each row takes; [len(index)].
        shape: what one pod asks.
        except_workload: what is in flight of this workload does not count.
    """
    lost = np.zeros(len(slots))
    ends = np.cumsum(fleet.nodes.rows.length.take(slots)).tolist()
    begin = 0
    for position, (slot, end) in enumerate(zip(slots.tolist(), ends, strict=True)):
        facts, here = fleet.facts[slot], slice(begin, end)
        if facts is not None and facts.in_flight:
            lost[position] = most_lost(
                fleet, facts, index[here], per_row[here], shape, except_workload=except_workload
            ).replicas
        begin = end
    return lost


def _bindable(free: Floats, names: list[str], headroom: float) -> Floats:
    """The amounts that the cluster's scheduler sees free, with the headroom that is kept free."""
    if not headroom:
        return free
    found = free.copy()
    for number, name in enumerate(names):
        if name in _HEADROOM_RESOURCES:
            # One more than was written: amounts without headroom are rounded down.
            found[:, number] = (free[:, number] + 1) / (1 - headroom) if headroom < 1 else np.inf
    return found


def _flight_rows(
    in_flight: Iterable[InFlight], names: list[str], shape: PodShape, bindable: Floats
) -> Iterable[FlightRow]:
    """What is in flight, entry by entry."""
    for each in in_flight:
        cards = each.gpu_cards * each.gpu_milli
        requests = {PODS: 1, **each.requests}
        asked = (*(float(requests.get(name, 0)) for name in names), float(cards))
        # What a pod does not ask may be overcommitted.
        fits_now = bool(((bindable >= asked) | (np.array(asked) == 0)).all(axis=1).any())
        is_reserved = each.workload.startswith(RESERVED_FOR_PREFIX)
        lost = 0
        if shape.gpu_cards and each.gpu_cards:
            lost = each.gpu_cards * -(-each.gpu_milli // shape.gpu_milli)  # rounds up
        yield FlightRow(each.replicas, np.array(asked), is_reserved or not fits_now, lost)
