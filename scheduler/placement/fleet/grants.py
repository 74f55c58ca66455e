"""The dates of all sites' grants as arrays, and which grants are valid at a time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import Grant
from scheduler.placement.fleet.site_figures import epoch_seconds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_GRANTS = 63
"""The most grants of a site that count, in the order of their names: each is one bit of an int64
that must stay positive."""


class GrantTable:
    """The dates of the grants of all sites.

    Attributes:
        have_mixed_vendors: whether the grants of any one site have ever named different CPU
            vendors.
        valid_bits_version: grows whenever the valid grants are computed again.
    """

    def __init__(self) -> None:
        self.have_mixed_vendors = False
        self.valid_bits_version = 0
        self._slot_capacity = 0
        # One array for the first grant of every site, one for the second and so on; in seconds
        # since 1970, NaN where there is no such grant; [slot_capacity] each.
        self._valid_from: list[Floats] = []
        self._valid_until: list[Floats] = []
        self._cached: tuple[Ints, float, float] | None = None

    def grow_sites(self, slot_capacity: int) -> None:
        """Extends the arrays to `slot_capacity` slots, without grants."""
        more = slot_capacity - self._slot_capacity
        self._slot_capacity = slot_capacity
        for arrays in (self._valid_from, self._valid_until):
            arrays[:] = [np.concatenate([array, np.full(more, np.nan)]) for array in arrays]

    def write(self, slot: int, all_grants: Sequence[Grant]) -> None:
        """Replaces the grants of a site, of which the first `MAX_GRANTS` count."""
        grants = all_grants[:MAX_GRANTS]
        if len({each.spec.cpu_vendors for each in grants}) > 1:
            self.have_mixed_vendors = True
        while len(self._valid_from) < len(grants):
            self._valid_from.append(np.full(self._slot_capacity, np.nan))
            self._valid_until.append(np.full(self._slot_capacity, np.nan))
        for index, (begins, ends) in enumerate(
            zip(self._valid_from, self._valid_until, strict=True)
        ):
            known = index < len(grants)
            begins[slot] = (
                epoch_seconds(grants[index].spec.valid_from, -np.inf) if known else np.nan
            )
            ends[slot] = epoch_seconds(grants[index].spec.valid_until, np.inf) if known else np.nan
        self.expire()

    def expire(self) -> None:
        """Makes the next `valid_bits` compute them again: a site was changed or removed."""
        self._cached = None

    def valid_bits(self, now_seconds: float) -> Ints:
        """Which grants of each site are valid at a time, as bits; [slot_capacity].

        Bit i stands for the grant at index i. The answer is cached from the last to the next time
        at which any grant begins or ends.
        """
        if self._cached is not None and self._cached[1] <= now_seconds < self._cached[2]:
            return self._cached[0]
        bits = np.zeros(self._slot_capacity, np.int64)
        since, until = -np.inf, np.inf
        for index, (begins, ends) in enumerate(
            zip(self._valid_from, self._valid_until, strict=True)
        ):
            # Comparisons with NaN are false: where there is no grant, none is valid.
            bits |= ((begins <= now_seconds) & (now_seconds < ends)).astype(np.int64) << index
            for edge in (begins, ends):
                since = max(since, float(np.max(edge[edge <= now_seconds], initial=-np.inf)))
                until = min(until, float(np.min(edge[edge > now_seconds], initial=np.inf)))
        self._cached = (bits, since, until)
        self.valid_bits_version += 1
        return bits
