"""Token buckets: how much one sender may use on average, and how much at once."""

from dataclasses import dataclass, field

from scheduler.runtime.clock import Clock

_MIN_WAIT_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate with its burst.

    Attributes:
        per_second: what is refilled each second.
        burst: what a full bucket holds.
    """

    per_second: float
    burst: float


@dataclass(slots=True)
class TokenBucket:
    """One bucket; full at the start.

    What something costs may be known only afterwards, so a bucket that is not empty allows it,
    whatever its cost, and the balance may become negative.

    Attributes:
        rate: refill and size.
        clock: for the refill.
    """

    rate: Rate
    clock: Clock
    _balance: float = field(init=False)
    _updated_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self._balance = self.rate.burst
        self._updated_seconds = self.clock.monotonic()

    def wait_seconds(self) -> float:
        """How long until the bucket is not empty; 0 if it is not."""
        self._refill()
        if self._balance > 0:
            return 0.0
        return max(_MIN_WAIT_SECONDS, -self._balance / self.rate.per_second)

    def is_empty(self) -> bool:
        """Whether nothing is allowed now."""
        return self.wait_seconds() > 0

    def charge(self, cost: float) -> None:
        """Takes the cost out of the bucket, also more than it holds."""
        self._refill()
        self._balance -= cost

    def _refill(self) -> None:
        now = self.clock.monotonic()
        earned = (now - self._updated_seconds) * self.rate.per_second
        self._updated_seconds = now
        self._balance = min(self.rate.burst, self._balance + earned)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRates:
    """What one sender may use.

    Attributes:
        messages: accepted messages.
        size: their bytes.
        work: seconds of this process that they take.
    """

    messages: Rate
    size: Rate
    work: Rate


class SenderBudget:
    """The buckets of one sender for messages, bytes and work."""

    def __init__(self, rates: BudgetRates, clock: Clock) -> None:
        self._messages = TokenBucket(rates.messages, clock)
        self._size = TokenBucket(rates.size, clock)
        self._work = TokenBucket(rates.work, clock)

    def wait_seconds(self) -> float:
        """How long until the next message is allowed; 0: now."""
        buckets = (self._messages, self._size, self._work)
        return max(each.wait_seconds() for each in buckets)

    def charge(self, *, size: int, work_seconds: float) -> None:
        """Charges one message."""
        self._messages.charge(1)
        self._size.charge(size)
        self._work.charge(work_seconds)
