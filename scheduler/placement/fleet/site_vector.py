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
        value: what it is; where unknown, the worst of what is known; [capacity].
        known: whether it rests on known figures; an old one is known, and counted at its worst;
            [capacity].
        missing: how many of the figures behind it are missing; [capacity]. Counted one by one, so
            that losing a further one still moves a site back.
    """

    value: Floats
    known: Bools
    missing: Ints


def known_everywhere(value: Floats) -> SiteVector:
    """Figures of which none is missing; `value` is [capacity]."""
    return SiteVector(value, *_none_missing(len(value)))


@lru_cache(maxsize=4)
def _none_missing(capacity: int) -> tuple[Bools, Ints]:
    """Always the same arrays, which nobody may write to."""
    known, missing = np.ones(capacity, np.bool_), np.zeros(capacity, np.int64)
    known.flags.writeable = missing.flags.writeable = False
    return known, missing
