"""What was ordered and has no node yet: the worst assignment counts.

A replica in flight may land on any node. Taking a request q from a node lowers `min over r of
floor(free_r / asked_r)` by at most `max over r of ceil(q_r / asked_r)`, wherever it lands. The sum
of these over all that is in flight is therefore never too small, and exact for equal pods.

`- max over r of ceil(q_r / asked_r)` is `min over r of floor(-q_r / asked_r)`: so what is in flight
stands among the node rows as rows with less than nothing free (`node_table.py`), and is counted by
the same formula in the same step.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import InFlight
from scheduler.placement.fleet.node_table import CARDS, NodeRows

Floats = NDArray[np.float64]


class Flying:
    """Sums of what is in flight, by column of the node rows and site.

    Attributes:
        total: [columns, capacity].
    """

    def __init__(self, nodes: NodeRows) -> None:
        self._number_of = nodes.rows.number_of
        self.total: Floats = np.zeros((0, 0))

    def grow_sites(self, sites: int) -> None:
        """Makes room for more sites."""
        more = np.zeros((len(self.total), max(0, sites - self.total.shape[1])))
        self.total = np.concatenate([self.total, more], axis=1)

    def replace(self, slot: int, in_flight: Sequence[InFlight]) -> None:
        """Counts anew what is in flight at a site."""
        self.total[:, slot] = 0.0
        for each in in_flight:
            self.add(slot, each)

    def add(self, slot: int, flight: InFlight) -> None:
        """Adds something in flight at a site."""
        total, number_of, replicas = self.total, self._number_of, flight.replicas
        for name, amount in flight.requests.items():
            column = number_of[name]
            if column >= len(total):
                self.widen(column + 8)
                total = self.total
            total[column, slot] += replicas * amount
        if flight.gpu_cards:
            self.widen(CARDS + 1)
            self.total[CARDS, slot] += replicas * flight.gpu_cards * flight.gpu_milli

    def widen(self, columns: int) -> None:
        """Makes room for so many columns."""
        if columns > len(self.total):
            more = np.zeros((columns - len(self.total), self.total.shape[1]))
            self.total = np.concatenate([self.total, more])


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
