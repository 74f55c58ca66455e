"""The price of waiting at which work waits, in the mean, as long as is aimed at.

A limit for each piece of work falls on the long ones, which gain most by waiting. A price lets each
wait where it gains more than others do. It follows from the choices of the last works: what each
would have chosen at another price is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HALVINGS = 20


@dataclass(slots=True)
class WaitingPrice:
    """Follows the mean wait.

    Attributes:
        aim: the mean wait that is aimed at; None: waiting is free.
        works: how many of the last works are looked at.
        every: after so many works the price is set again.
        settled_over: a mean that is off is to be made up for within so many works.
        price: of a unit of waiting.
    """

    aim: float | None
    works: int = 300
    every: int = 25
    settled_over: int = 100
    price: float = 0.0
    _seen: list[tuple[Floats, Floats]] = field(default_factory=list)
    _waited: float = 0.0
    _count: int = 0

    def see(self, costs: Floats, waits: Floats) -> None:
        """What the next work can choose from, and how long it would wait; [choices]."""
        self._seen = [*self._seen[1 - self.works :], (costs, waits)]
        if self.aim is None or self._count % self.every:
            return
        left = self.aim * self._count - self._waited
        self.price = _price(self._seen, max(0.0, self.aim + left / self.settled_over))

    def waited(self, wait: float) -> None:
        """How long a work has waited, once that is known."""
        self._waited += wait
        self._count += 1


def _price(seen: Sequence[tuple[Floats, Floats]], aim: float) -> float:
    """The lowest price with which these works wait no more than is aimed at, in the mean."""

    def mean_wait(price: float) -> float:
        return float(np.mean([waits[np.argmin(costs + price * waits)] for costs, waits in seen]))

    if mean_wait(0.0) <= aim:
        return 0.0
    low, high = 0.0, 1.0
    while mean_wait(high) > aim and high < _HIGHEST:
        low, high = high, 4 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_wait(middle) > aim else (low, middle)
    return high


_HIGHEST = 1e12
