"""How what is in flight at a site has changed, so that only that is written again."""

from collections.abc import Sequence
from typing import NamedTuple

from scheduler.model.demand.facts import InFlight


class InFlightChange(NamedTuple):
    """How what is in flight at a site differs from what was: one stretch is another one.

    Attributes:
        count_before: number of entries before.
        at: where the stretch begins.
        dropped: the entries of the stretch before.
        added: the entries of the stretch now.
        now: all entries now.
    """

    count_before: int
    at: int
    dropped: Sequence[InFlight]
    added: Sequence[InFlight]
    now: Sequence[InFlight]


def in_flight_change(before: Sequence[InFlight], now: Sequence[InFlight]) -> InFlightChange:
    """The shortest stretch outside of which both are equal.

    A decision adds one entry to what may be a thousand, so that all else is left as it is.
    """
    shorter = min(len(before), len(now))
    at = 0
    while at < shorter and (before[at] is now[at] or before[at] == now[at]):
        at += 1
    behind = 0
    while behind < shorter - at and before[-1 - behind] == now[-1 - behind]:
        behind += 1
    return InFlightChange(
        count_before=len(before),
        at=at,
        dropped=before[at : len(before) - behind],
        added=now[at : len(now) - behind],
        now=now,
    )
