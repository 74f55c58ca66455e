"""What was ordered and has no node yet: the worst assignment counts.

A replica in flight may land on any node. Taking a request q from a node lowers `min over r of
floor(free_r / asked_r)` by at most `max over r of ceil(q_r / asked_r)`, wherever it lands. The sum
of these over all that is in flight is therefore never too small, and exact for equal pods.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.facts import InFlight
from scheduler.model.pods import PodShape
from scheduler.placement.ragged import Ragged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_REPLICAS = "\0replicas"
_CARDS = "\0cards"
_MILLI = "\0milli"


class FlightRows:
    """One row per order in flight, for all sites."""

    def __init__(self) -> None:
        self.rows = Ragged()

    def grow_sites(self, sites: int) -> None:
        """Makes room for more sites."""
        self.rows.grow_sites(sites)

    def write(self, slot: int, in_flight: Sequence[InFlight]) -> None:
        """Replaces what is in flight at a site."""
        if not in_flight and not self.rows.length[slot]:
            return
        self.rows.write(slot, len(in_flight), _columns(in_flight))

    def append(self, slot: int, in_flight: Sequence[InFlight]) -> None:
        """Adds to what is in flight at a site."""
        if in_flight:
            self.rows.append(slot, len(in_flight), _columns(in_flight))

    def lost_room(self, slots: Ints, shape: PodShape) -> Floats:
        """How many replicas of a shape may lose their room to what is in flight; [len(slots)]."""
        rows = self.rows
        if not rows.length[slots].any():
            return np.zeros(len(slots))
        index = rows.rows_of(slots)
        lost = np.zeros(len(index))
        known = [name for name in shape.requests if name in rows.number_of]
        if known:
            numbers = np.array([rows.number_of[name] for name in known])[:, None]
            asked = np.array([shape.requests[name] for name in known], np.float64)[:, None]
            lost = np.ceil((rows.matrix[numbers, index] / asked).max(axis=0))
        if shape.gpu_cards:
            per_card = np.ceil(rows.column(_MILLI)[index] / shape.gpu_milli)
            np.maximum(lost, rows.column(_CARDS)[index] * per_card, out=lost)
        if shape.one_per_node:  # a node has one place to lose
            np.minimum(lost, 1.0, out=lost)
        return rows.sums(slots, lost * rows.column(_REPLICAS)[index])


def _columns(in_flight: Sequence[InFlight]) -> dict[str, list[float]]:
    if not in_flight:
        return {}
    names = sorted({name for each in in_flight for name in each.requests})
    values = {name: [float(each.requests.get(name, 0)) for each in in_flight] for name in names}
    values[_REPLICAS] = [float(each.replicas) for each in in_flight]
    values[_CARDS] = [float(each.gpu_cards) for each in in_flight]
    values[_MILLI] = [float(each.gpu_milli) for each in in_flight]
    return values


def lost_pods(in_flight: Sequence[InFlight], smallest: dict[str, int]) -> int:
    """How many pods of a set may lose their room to what is in flight at one site.

    Args:
        in_flight: what is in flight there.
        smallest: the least that any pod of the set asks of each resource, above 0.
    """
    return sum(
        each.replicas
        * sum(
            -(-amount // smallest[name])
            for name, amount in each.requests.items()
            if name in smallest
        )
        for each in in_flight
    )
