"""`SiteVector`: one figure at every site, filled in where it is missing."""

from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class SiteVector(msgspec.Struct, frozen=True):
    """A figure of every site.

    Attributes:
        value: the figure; where it is unknown, the worst of what is known; [slot_capacity].
        known: whether it is computed from known figures only; an old figure is known, and counts
            at its worst; [slot_capacity].
        missing: how many of the figures that it is computed from are missing; [slot_capacity].
            They are counted one by one, so that losing one more still moves a site back.
    """

    value: Floats
    known: Bools
    missing: Ints


def known_everywhere(value: Floats) -> SiteVector:
    """Figures of which none is missing; `value` is [slot_capacity]."""
    return SiteVector(value, *_none_missing(len(value)))


@lru_cache(maxsize=4)
def _none_missing(capacity: int) -> tuple[Bools, Ints]:
    """Shared arrays of all True and all 0, which are read-only."""
    known, missing = np.ones(capacity, np.bool_), np.zeros(capacity, np.int64)
    known.flags.writeable = missing.flags.writeable = False
    return known, missing
