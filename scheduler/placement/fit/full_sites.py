"""Sites that are known to be full for all pod shapes of about the same size.

Demands differ, but the full sites are mostly the same. So when a site turns out to be full for one
shape, it is checked once for a whole cell of similar shapes: what it takes of the smallest shape of
the cell in the worst case of what is in flight. No shape of the cell fits more often. If that is
surely nothing, later demands of the cell skip the site until something changes there.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.fleet import Fleet

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Fit

Ints = NDArray[np.int64]

_MAX_CELLS = 256


def _floor(amount: int) -> int:
    """An amount with all but its first bit set to 0: amounts of a cell differ by less than 2."""
    shift = amount.bit_length() - 1
    return amount >> shift << shift if shift > 0 else amount


def _with_amounts(shape: PodShape, change: Callable[[int], int]) -> PodShape:
    requests = {name: change(amount) for name, amount in shape.requests.items()}
    return msgspec.structs.replace(shape, requests=requests, gpu_milli=change(shape.gpu_milli))


class FullSites:
    """The full sites of one cell: the shapes whose amounts begin with the same bits.

    Args:
        shape: any shape of the cell.
        slot_capacity: the number of slots.

    Attributes:
        smallest: a shape that asks no more of anything than any shape of the cell.
        smallest_fit: the compiled fit of `smallest`, with the arrays that it reads; None: not made.
        full_at_versions: the `Fleet.row_version` at which a site was found full, 0 if it was not;
            negative: the version at which the kernel found that it is not full; [slot_capacity].
    """

    def __init__(self, shape: PodShape, slot_capacity: int) -> None:
        self.smallest = _with_amounts(shape, _floor)
        self.smallest_fit: tuple[tuple[object, ...], Fit] | None = None
        self.full_at_versions: Ints = np.zeros(slot_capacity, np.int64)


class FullSitesCache:
    """The cells of a fleet; the least recently used are dropped first.

    Attributes:
        cells: by what all shapes of a cell have in common, see `full_sites_of`.
    """

    def __init__(self) -> None:
        self.cells: OrderedDict[Hashable, FullSites] = OrderedDict()


def full_sites_of(fleet: Fleet, shape: PodShape, other_inputs: Hashable) -> FullSites:
    """The full sites of the cell of a shape.

    Args:
        fleet: the fleet.
        shape: what one pod asks; amounts and the share of a card vary within a cell.
        other_inputs: all else that the capacity of a site depends on; the same within a cell.
    """
    requests = shape.requests
    cache_key = (
        *requests,
        *map(int.bit_length, requests.values()),  # as `_floor` distinguishes them, in fewer steps
        shape.gpu_cards,
        shape.gpu_milli.bit_length(),
        other_inputs,
    )
    cells = fleet.cache(FullSitesCache).cells
    cell = cells.get(cache_key)
    if cell is None or len(cell.full_at_versions) != fleet.slot_capacity:
        cell = cells[cache_key] = FullSites(shape, fleet.slot_capacity)
        if len(cells) > _MAX_CELLS:
            cells.popitem(last=False)
    else:
        cells.move_to_end(cache_key)
    return cell
