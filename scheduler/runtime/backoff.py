"""Pauses between attempts: exponential with full jitter, never shorter than the server asks for.

Full jitter spreads the clients of a server that comes back over the whole pause (AWS Architecture
Blog, "Exponential Backoff And Jitter"). A floor keeps a small draw from becoming a busy loop.
"""

import random
from dataclasses import dataclass, field

_MAX_DOUBLINGS = 16
_MAX_RETRY_AFTER_SECONDS = 300.0


@dataclass(slots=True, kw_only=True)
class JitteredBackoff:
    """The pauses of one client that tries the same again and again.

    Attributes:
        first_seconds: upper bound of the first pause; doubled with each further one.
        max_seconds: upper bound of all pauses but those that the server asks for.
        min_seconds: lower bound of all pauses.
        jitter: draws the pauses.
    """

    first_seconds: float
    max_seconds: float
    min_seconds: float
    jitter: random.Random
    _attempts: int = field(default=0, init=False)

    def next_seconds(self, retry_after_seconds: float = 0.0) -> float:
        """The next pause.

        Args:
            retry_after_seconds: what the server asks for; more than five minutes is not believed.
        """
        bound = min(self.max_seconds, self.first_seconds * 2 ** min(self._attempts, _MAX_DOUBLINGS))
        self._attempts += 1
        pause = max(self.min_seconds, self.jitter.uniform(0.0, bound))
        # Above what was asked for, so that not all clients come back at the same instant.
        asked = min(retry_after_seconds, _MAX_RETRY_AFTER_SECONDS)
        return asked + pause if asked > 0 else pause

    def reset(self) -> None:
        """Begins with the shortest pause again: an attempt succeeded."""
        self._attempts = 0
