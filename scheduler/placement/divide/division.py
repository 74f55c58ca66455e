"""What a division comes to: the shares, and how good they are."""

import msgspec

from scheduler.placement.divide.divide import ReplicasBySlot


class Division(msgspec.Struct, frozen=True):
    """The outcome of step 4.

    Attributes:
        replicas_by_slot: replicas by slot; None: there is no division that holds.
        group: the site group that was used last.
        is_optimal: whether nothing cheaper exists.
        gap: how much dearer than the best possible it may be, as a ratio.
        spread_failed: whether there would be room, but not spread as asked.
        lacks_capacity: whether there is too little room however it is spread.
        notes: what the answer does not promise.
    """

    replicas_by_slot: ReplicasBySlot | None
    group: str = ""
    is_optimal: bool = True
    gap: float = 0.0
    spread_failed: bool = False
    lacks_capacity: bool = False
    notes: tuple[str, ...] = ()
