"""What one identity may take of the server: requests, bytes and open watches.

The owner, which is the scheduler itself and who runs it, has high limits; the other roles share the
event loop with it and get what people and their tools need.
"""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scheduler.apiserver.auth.rbac import OWNER_ROLE, Identity
from scheduler.apiserver.base.errors import too_many_requests
from scheduler.runtime.clock import Clock


class RateLimiter:
    """A token bucket: `per_second` units in the long run, twice as many in a burst."""

    def __init__(self, per_second: float, now: float) -> None:
        self._tokens_per_second = per_second
        self._tokens = self._max_tokens = 2 * per_second
        self._refilled_at = now

    def try_accept(self, now: float) -> bool:
        """Takes one unit; returns False if none is left."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def charge(self, units: float, now: float) -> None:
        """Takes units that were used already, even if they are more than are left."""
        self._refill(now)
        self._tokens -= units

    def seconds_until_free(self, now: float) -> float:
        """The time until what was charged is paid; 0 if nothing is owed."""
        self._refill(now)
        return max(0.0, -self._tokens / self._tokens_per_second)

    def _refill(self, now: float) -> None:
        self._tokens = min(
            self._max_tokens, self._tokens + (now - self._refilled_at) * self._tokens_per_second
        )
        self._refilled_at = now


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityLimits:
    """The limits of one identity."""

    requests_per_second: float
    bytes_per_second: float
    """Bodies of requests and responses, and the events of watches."""
    max_watches: int


OWNER_LIMITS = IdentityLimits(
    requests_per_second=20_000.0, bytes_per_second=math.inf, max_watches=1_000
)
LIMITS_OF_OTHERS = IdentityLimits(
    requests_per_second=200.0, bytes_per_second=32 * 1024 * 1024, max_watches=100
)


class IdentityUsage:
    """What one identity uses now."""

    def __init__(self, name: str, limits: IdentityLimits, clock: Clock) -> None:
        self._name = name
        self._limits = limits
        self._clock = clock
        self._requests = RateLimiter(limits.requests_per_second, clock.monotonic())
        self._bytes = RateLimiter(limits.bytes_per_second, clock.monotonic())
        self._watch_count = 0

    def admit_request(self) -> None:
        """Counts a request.

        Raises:
            ApiError: 429, the identity exceeds its rate of requests or bytes.
        """
        now = self._clock.monotonic()
        if not self._requests.try_accept(now):
            raise too_many_requests(
                f"{self._name} sends more than {self._limits.requests_per_second:.0f} requests a"
                " second; please try again later"
            )
        seconds = self._seconds_until_free(now)
        if seconds > 0:
            raise too_many_requests(
                f"{self._name} transfers more than {self._limits.bytes_per_second:.0f} bytes a"
                " second; please try again later",
                retry_after_seconds=math.ceil(seconds),
            )

    def _seconds_until_free(self, now: float) -> float:
        return self._bytes.seconds_until_free(now) if self._is_metered else 0.0

    @property
    def _is_metered(self) -> bool:
        return math.isfinite(self._limits.bytes_per_second)

    def charge_bytes(self, count: int) -> None:
        """Counts transferred bytes; later requests wait until they are paid."""
        if self._is_metered:
            self._bytes.charge(count, self._clock.monotonic())

    async def meter(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The lines of a watch, no faster than the limit of bytes."""
        async for line in lines:
            self.charge_bytes(len(line))
            yield line
            seconds = self._seconds_until_free(self._clock.monotonic())
            if seconds > 0:
                await self._clock.sleep(seconds)

    @contextmanager
    def open_watch(self) -> Iterator[None]:
        """Counts a watch for as long as it is open.

        Raises:
            ApiError: 429, the identity has too many open watches.
        """
        if self._watch_count >= self._limits.max_watches:
            raise too_many_requests(
                f"{self._name} has {self._watch_count} open watches, the limit of one identity"
            )
        self._watch_count += 1
        try:
            yield
        finally:
            self._watch_count -= 1


class UsageByIdentity:
    """The usage of each identity; identities come from the file of tokens, so they are few.

    Args:
        clock: measures the rates.
        owner: the limits of the hub's owner.
        others: the limits of all other identities.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        owner: IdentityLimits = OWNER_LIMITS,
        others: IdentityLimits = LIMITS_OF_OTHERS,
    ) -> None:
        self._clock = clock
        self._owner = owner
        self._others = others
        self._usage: dict[str, IdentityUsage] = {}

    def of(self, identity: Identity) -> IdentityUsage:
        """The usage of an identity."""
        found = self._usage.get(identity.name)
        if found is None:
            limits = self._owner if identity.role == OWNER_ROLE else self._others
            found = self._usage[identity.name] = IdentityUsage(identity.name, limits, self._clock)
        return found
