"""Exact fit by the compiled kernel, for pods of one shape without topology spread."""

from operator import is_not
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.kernel import loader as compiled

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Fit, Rows

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def can_fit(fleet: Fleet, shape: PodShape) -> bool:
    """Whether the kernel is there, and can do this shape."""
    return (
        fleet.is_compiled
        and not shape.skews
        and not shape.one_per
        and len(shape.requests) <= compiled.kernel.MOST_COLUMNS
    )


def compiled_fit(
    fleet: Fleet, shape: PodShape, chosen: Bools | None, vendor_sets: Ints | None
) -> "Fit":
    """The kernel for one shape.

    Args:
        fleet: the fleet.
        shape: what one pod asks; `can_fit` says that it can be done.
        chosen: which kinds of node will do, [kinds]; None: all.
        vendor_sets: the set of permitted CPU vendors of each site, [capacity]; None: any.
    """
    fleet.room_misses += 1
    columns = fleet.nodes.rows.numbers(shape.requests)  # may replace the arrays, so it comes first
    return compiled.kernel.Fit(
        _rows(fleet),
        columns,
        shape.requests.values(),
        shape.gpu_cards,
        shape.gpu_milli,
        shape.one_per_node,
        None if chosen is None else chosen.view(np.uint8),
        vendor_sets,
        None if vendor_sets is None else fleet.permitted_kinds().view(np.uint8),
    )


def _rows(fleet: Fleet) -> "Rows":
    """The node rows as the kernel reads them; made anew when their arrays are."""
    rows = fleet.nodes.rows
    arrays = (rows.matrix, rows.start, rows.length, fleet.nodes.card_columns)
    kept: Rows | None = fleet.kernel_rows
    if kept is None or any(map(is_not, kept.arrays, arrays)):
        kept = fleet.kernel_rows = compiled.kernel.Rows(*arrays)
    return kept
