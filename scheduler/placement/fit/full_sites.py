"""Sites that are known to be full for all shapes that are about as large.

Demands are all different, but the sites that are full are the same. So when a site turns out to
have no room, it is looked at once more for a whole cell of shapes at a time: what nodes take of the
smallest shape of the cell, less what is in flight counted for the largest. No shape of the cell
fits more; if that is nothing, later demands of the cell pass the site by until something changes
there.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.fleet import Fleet

Ints = NDArray[np.int64]

_SIGNIFICANT_BITS = 1
_MAX_CELLS = 256


def _floor(amount: int) -> int:
    shift = amount.bit_length() - _SIGNIFICANT_BITS
    return amount >> shift << shift if shift > 0 else amount


def _ceiling(amount: int) -> int:
    """The largest amount with the same floor."""
    shift = amount.bit_length() - _SIGNIFICANT_BITS
    return ((amount >> shift) + 1 << shift) - 1 if shift > 0 else amount


def _with_amounts(shape: PodShape, change: Callable[[int], int]) -> PodShape:
    requests = {name: change(amount) for name, amount in shape.requests.items()}
    return msgspec.structs.replace(shape, requests=requests, gpu_milli=change(shape.gpu_milli))


class FullSites:
    """What is known for one cell: amounts that begin with the same bits.

    Attributes:
        smallest: no shape of the cell asks less of anything.
        largest: no shape of the cell asks more of anything.
        full_at_versions: the version of a site's rows for which it is full; [capacity].
    """

    def __init__(self, shape: PodShape, capacity: int) -> None:
        self.smallest = _with_amounts(shape, _floor)
        self.largest = _with_amounts(shape, _ceiling)
        self.full_at_versions: Ints = np.zeros(capacity, np.int64)


class FullSitesCache:
    """The least recently used cells go first.

    Attributes:
        cells: by what all shapes of a cell have in common, see `full_sites_of`.
    """

    def __init__(self) -> None:
        self.cells: OrderedDict[Hashable, FullSites] = OrderedDict()


def full_sites_of(fleet: Fleet, shape: PodShape, other_inputs: Hashable) -> FullSites:
    """What is known for the cell of a shape.

    Args:
        fleet: the fleet; it remembers.
        shape: what is asked; its requests, cards and share vary within a cell.
        other_inputs: all else that the room of a site depends on.
    """
    amounts = tuple(map(_floor, shape.requests.values()))
    cache_key = (
        tuple(shape.requests),
        amounts,
        shape.gpu_cards,
        _floor(shape.gpu_milli),
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
