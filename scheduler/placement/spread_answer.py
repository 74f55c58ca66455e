"""What a division comes to: the shares, and how good they are."""

from dataclasses import dataclass

from scheduler.placement.divide import Shares


@dataclass(frozen=True, slots=True)
class Division:
    """The outcome of step 4.

    Attributes:
        shares: replicas by slot; None: there is no division that holds.
        group: the site group that was used last.
        is_optimal: whether nothing cheaper exists.
        gap: how much dearer than the best possible it may be, as a ratio.
        spread_failed: whether there would be room, but not spread as asked.
        notes: what the answer does not promise.
    """

    shares: Shares | None
    group: str = ""
    is_optimal: bool = True
    gap: float = 0.0
    spread_failed: bool = False
    notes: tuple[str, ...] = ()
