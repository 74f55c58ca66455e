"""How long to wait before the next attempt: exponential back-off with jitter, bounded.

A module of its own because `mqtt` and `orders` both use it and neither may import the other.
"""

import random
from dataclasses import dataclass, field
from typing import Final

_LEAST_RATIO: Final = 0.02


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Pauses whose mean doubles with every attempt, with full jitter.

    The jitter spreads the reconnects of a thousand agents that lost one broker at the same time:
    each pause is anything from almost 0 to twice its mean. With half of that range as a floor, half
    of all would return within a quarter of the time (M. Brooker, "Exponential Backoff And Jitter").

    Attributes:
        initial_seconds: mean of the first pause.
        max_seconds: longest mean.
        jitter: chance as an input.
    """

    initial_seconds: float
    max_seconds: float
    jitter: random.Random
    _attempts: int = field(default=0, init=False)

    def next_seconds(self) -> float:
        """The pause before the next attempt."""
        # The exponent is bounded: after months without a broker `2 ** attempts` overflows a float.
        mean: float = min(self.initial_seconds * 2 ** min(self._attempts, 32), self.max_seconds)
        self._attempts += 1
        # A little is left of it, so that not even chance makes a loop without a rest.
        return max(_LEAST_RATIO * mean, 2 * mean * self.jitter.random())

    def reset(self) -> None:
        """Starts again with the first pause, after a success."""
        self._attempts = 0
