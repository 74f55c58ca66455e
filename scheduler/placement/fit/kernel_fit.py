"""Exact fit by the compiled kernel, for pods of one shape without topology spread limits."""

from collections.abc import Callable
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


def kernel_supports(fleet: Fleet, shape: PodShape) -> bool:
    """Whether the kernel is used, and supports a shape."""
    return (
        fleet.is_compiled
        and not shape.skews
        and not shape.one_per
        and len(shape.requests) <= compiled.kernel.MAX_COLUMNS
    )


def make_kernel_fit(
    fleet: Fleet,
    shape: PodShape,
    suitable_profiles: Bools | None,
    vendor_sets: Ints | None,
    *,
    worst_case: Callable[[int], int] | None = None,
    wanted: int = 0,
) -> "Fit":
    """The compiled fit of one shape.

    Args:
        fleet: the fleet.
        shape: what one pod asks; `kernel_supports` must be true of it.
        suitable_profiles: which node profiles are suitable, [profiles]; None: all.
        vendor_sets: the number of the set of permitted CPU vendors of each site, [slot_capacity];
            None: any vendor.
        worst_case: what a slot takes in the worst case of what is in flight; asked only where the
            quick answer is less than `wanted`. None: never asked.
        wanted: how many replicas are asked.
    """
    # These may replace the arrays that `_kernel_rows` passes on, so they come first.
    columns = fleet.nodes.column_numbers_of(shape.requests)
    if shape.gpu_cards:
        fleet.nodes.name_cards()
    return compiled.kernel.Fit(
        _kernel_rows(fleet),
        columns,
        shape.requests.values(),
        shape.gpu_cards,
        shape.gpu_milli,
        shape.one_per_node,
        None if suitable_profiles is None else suitable_profiles.view(np.uint8),
        vendor_sets,
        None if vendor_sets is None else fleet.permitted_profiles().view(np.uint8),
        worst_case,
        wanted,
    )


class KernelRowsCache:
    """The node rows as the kernel reads them.

    Attributes:
        rows: valid as long as the fleet uses the same arrays.
    """

    def __init__(self) -> None:
        self.rows: Rows | None = None


def _kernel_rows(fleet: Fleet) -> "Rows":
    """The node rows as the kernel reads them, created again when an array was replaced."""
    rows = fleet.nodes.rows
    arrays = (rows.matrix, rows.start, rows.length, fleet.nodes.card_columns)
    cache = fleet.cache(KernelRowsCache)
    cached = cache.rows
    if cached is None or any(map(is_not, cached.arrays, arrays)):
        cached = cache.rows = compiled.kernel.Rows(*arrays)
    return cached
