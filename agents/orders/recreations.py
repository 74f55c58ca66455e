"""Counts how often objects are made again because something at the site deletes them. Pure.

Making an object again once or twice repairs a mistake. Again and again means that something else
wants it gone: a garbage collector, another tool, a person. That is reported, and not called
running.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from agents.orders.inventory import ObjectIdentity

REPORTED_FROM: Final = 3
"""So many times within the window are reported."""

_WINDOW_SECONDS: Final = 600.0
_MAX_TIMES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Recreated:
    """What is reported of an order whose objects are deleted again and again.

    Attributes:
        count: how often within the window.
        message: the object that was made again last, and what to do.
    """

    count: int
    message: str


@dataclass(slots=True)
class _Times:
    at: deque[float] = field(default_factory=lambda: deque(maxlen=_MAX_TIMES))
    last: ObjectIdentity = ("", "", "", "")


@dataclass(slots=True)
class Recreations:
    """The recreations of all listed orders."""

    _by_token: dict[str, _Times] = field(default_factory=dict)

    def record(self, token: str, names: Iterable[ObjectIdentity], now: float) -> None:
        """Records that these objects of an order are gone and are made again now."""
        for name in names:
            times = self._by_token.setdefault(token, _Times())
            times.at.append(now)
            times.last = name

    def find(self, token: str, now: float) -> Recreated | None:
        """What is reported of an order; None while it is no more than a repair."""
        times = self._by_token.get(token)
        if times is None:
            return None
        count = sum(1 for at in times.at if now - at <= _WINDOW_SECONDS)
        if count < REPORTED_FROM:
            return None
        _, kind, namespace, name = times.last
        what = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
        return Recreated(
            count,
            f"{what} was deleted at the site and made again, {count} times in the last "
            f"{_WINDOW_SECONDS / 60:g} minutes: find there what deletes it and stop that",
        )

    def forget_except(self, tokens: frozenset[str]) -> None:
        """Forgets orders that are no longer listed."""
        for token in self._by_token.keys() - tokens:
            del self._by_token[token]
