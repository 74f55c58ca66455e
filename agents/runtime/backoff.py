"""How long to wait before trying again: doubled each time, with jitter, and never for ever."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Pauses that grow; a thousand agents that lost one broker must not come back in one second.

    Attributes:
        initial_seconds: the mean of the first pause.
        max_seconds: no mean is longer.
        jitter: chance, as an input; each pause is 0.5 to 1.5 times its mean.
    """

    initial_seconds: float
    max_seconds: float
    jitter: random.Random
    _attempts: int = field(default=0, init=False)

    def next_seconds(self) -> float:
        """The pause before the next attempt."""
        # The exponent is bounded: after months without a broker 2 ** attempts is no float any more.
        mean: float = min(self.initial_seconds * 2 ** min(self._attempts, 32), self.max_seconds)
        self._attempts += 1
        return mean * (0.5 + self.jitter.random())

    def reset(self) -> None:
        """It worked: begin anew."""
        self._attempts = 0
