"""How long to wait before the next attempt: exponential back-off with jitter, bounded.

A module of its own because `mqtt` and `orders` both use it and neither may import the other.
"""

import random
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Pauses whose mean doubles with every attempt.

    The jitter spreads the reconnects of a thousand agents that lost one broker at the same time.

    Attributes:
        initial_seconds: mean of the first pause.
        max_seconds: longest mean.
        jitter: chance as an input; each pause is 0.5 to 1.5 times its mean.
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
        return mean * (0.5 + self.jitter.random())

    def reset(self) -> None:
        """Starts again with the first pause, after a success."""
        self._attempts = 0
