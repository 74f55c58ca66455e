"""Pods in flight, ordered and not yet bound to a node; they count as if on the worst node.

A pod in flight may be bound to any node. Taking a request q from a node lowers `min over r of
floor(free_r / asked_r)` by at most `max over r of ceil(q_r / asked_r)`, whichever node it is. The
sum of these over all pods in flight is therefore never too small, and exact for equal pods.

`- max over r of ceil(q_r / asked_r)` equals `min over r of floor(-q_r / asked_r)`. So pods in
flight are kept among the node rows, as rows with negative free capacity (`node_table.py`), and the
same formula counts them in the same step.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import InFlight
from scheduler.placement.fleet.node_table import CARDS_COLUMN, NodeTable

Floats = NDArray[np.float64]


class InFlightTotals:
    """Sums of the requests in flight, by column of the node rows and site.

    Args:
        nodes: the node rows, which number the columns.

    Attributes:
        totals: in the units of the node rows; [columns, slot_capacity].
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._number_of = nodes.rows.column_numbers
        self.totals: Floats = np.zeros((0, 0))

    def grow_sites(self, sites: int) -> None:
        """Extends the arrays to `sites` slots."""
        more = np.zeros((len(self.totals), max(0, sites - self.totals.shape[1])))
        self.totals = np.concatenate([self.totals, more], axis=1)

    def replace(self, slot: int, in_flight: Sequence[InFlight]) -> None:
        """Replaces what is in flight at a site."""
        self.totals[:, slot] = 0.0
        for each in in_flight:
            self.add(slot, each)

    def add(self, slot: int, entry: InFlight) -> None:
        """Adds pods in flight at a site."""
        totals, number_of, replicas = self.totals, self._number_of, entry.replicas
        for name, amount in entry.requests.items():
            column = number_of[name]
            if column >= len(totals):
                self.widen(column + 8)  # some spare, so that not every new column copies the array
                totals = self.totals
            totals[column, slot] += replicas * amount
        if entry.gpu_cards:
            self.widen(CARDS_COLUMN + 1)
            self.totals[CARDS_COLUMN, slot] += replicas * entry.gpu_cards * entry.gpu_milli

    def widen(self, columns: int) -> None:
        """Extends the arrays to at least `columns` columns."""
        if columns > len(self.totals):
            more = np.zeros((columns - len(self.totals), self.totals.shape[1]))
            self.totals = np.concatenate([self.totals, more])


def pods_lost_to_in_flight(in_flight: Sequence[InFlight], min_requests: dict[str, int]) -> int:
    """How many pods of a set may lose their place to what is in flight at one site.

    Args:
        in_flight: the pods in flight there.
        min_requests: by resource the smallest request of any pod of the set; above 0.
    """
    return sum(
        each.replicas
        * sum(
            -(-amount // min_requests[name])  # rounds up
            for name, amount in each.requests.items()
            if name in min_requests
        )
        for each in in_flight
    )
