"""Replicas by site, and what a division comes to."""

import msgspec
import numpy as np
from numpy.typing import NDArray

ReplicasBySlot = dict[int, int]
"""Replicas by the slot of their site."""


class Division(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of step 4.

    Attributes:
        replicas_by_slot: replicas by slot, kept ones included; None: no division meets what is
            asked.
        group: the site group that was used last.
        is_optimal: whether nothing cheaper exists.
        gap: how much more expensive than the best possible one it may be, as a ratio.
        spread_failed: whether there would be capacity, but not spread as asked.
        lacks_capacity: whether there is too little capacity however it is spread.
        notes: what the answer does not promise.
    """

    replicas_by_slot: ReplicasBySlot | None
    group: str = ""
    is_optimal: bool = True
    gap: float = 0.0
    spread_failed: bool = False
    lacks_capacity: bool = False
    notes: tuple[str, ...] = ()


def add_replicas(
    kept: ReplicasBySlot, slots: NDArray[np.int64], added: NDArray[np.int64]
) -> ReplicasBySlot:
    """What is kept and, slot by slot, what is added to it, without sites that hold none."""
    shares = dict(kept)
    some = added.nonzero()[0]  # few of many candidates
    for slot, more in zip(slots[some].tolist(), added[some].tolist(), strict=True):
        shares[slot] = shares.get(slot, 0) + more
    return drop_zeros(shares)


def drop_zeros(shares: ReplicasBySlot) -> ReplicasBySlot:
    """The same without sites that hold no replica."""
    return {slot: count for slot, count in shares.items() if count > 0}
