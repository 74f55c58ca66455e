"""One assignment of what is in flight at a site to its nodes, which leaves little on each of them.

What fits beside no such node does not fit for every assignment, and `fit/in_flight_loss.py` counts
nothing for it. So a cheap check may say "no" by this one assignment, and never says so wrongly.
"""

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.columns import COUNT_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_NODES = 1_000
"""At a site with more nodes what is in flight is left out, which only lets more pass."""
_MAX_PODS = 256
"""More pods in flight are left out: an assignment may be of some of them."""


def free_beside_in_flight(fleet: Fleet, slot: int, columns: Ints) -> Floats:
    """What the nodes of a site have free in one assignment of what is in flight.

    Each pod goes to the node that has most free for it.

    Args:
        fleet: the fleet.
        slot: the site.
        columns: which columns of the node rows to return.

    Returns:
        Free amounts; [columns, nodes or rows of equal nodes].
    """
    rows = fleet.nodes.rows
    index = rows.row_indices(np.array([slot]))
    matrix = rows.matrix[:, index]
    is_node = matrix[PROFILE_COLUMN] != IN_FLIGHT_PROFILE
    counts = matrix[COUNT_COLUMN, is_node]
    if is_node.all() or counts.sum() > _MAX_NODES:
        found: Floats = matrix[np.ix_(columns, is_node)]
        return found
    free = np.repeat(matrix[:, is_node], counts.astype(np.int64), axis=1)
    taken = -matrix[:, ~is_node]
    taken[[COUNT_COLUMN, PROFILE_COLUMN]] = 0.0
    taken[fleet.nodes.card_columns[:, 0]] = 0.0  # which cards a pod takes is not known
    pods = np.repeat(taken, matrix[COUNT_COLUMN, ~is_node].astype(np.int64), axis=1)
    for number in range(min(pods.shape[1], _MAX_PODS)):
        asked = pods[:, number]
        asks = asked > 0
        if not asks.any() or not free.shape[1]:
            continue
        share = (free[asks] / asked[asks, None]).min(axis=0)
        node = int(share.argmax())
        if share[node] >= 1.0:
            free[:, node] -= asked
    return free[columns]
