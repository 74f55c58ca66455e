"""The door: by which name a request comes, who sends it, how many there may be.

A web page in a browser on the same machine can reach loopback, too: hence the token, and the checks
of Host (against DNS rebinding) and Origin.
"""

from collections.abc import Mapping

from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import TokenStore
from scheduler.apiserver.base.errors import ApiError, too_many_requests, unauthorized
from scheduler.runtime.clock import Clock

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def parse_host_name(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


class RateLimiter:
    """A token bucket: so many requests a second on the long run, twice as many at once."""

    def __init__(self, per_second: float, now: float) -> None:
        self._tokens_per_second = per_second
        self._tokens = self._max_tokens = 2 * per_second
        self._refilled_at = now

    def try_accept(self, now: float) -> bool:
        """Takes one; False when none is left."""
        self._tokens = min(
            self._max_tokens, self._tokens + (now - self._refilled_at) * self._tokens_per_second
        )
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class AuthMiddleware:
    """Checks each request before anything is read of it."""

    def __init__(
        self,
        *,
        tokens: TokenStore,
        host_names: frozenset[str],
        clock: Clock,
        requests_per_second: float,
    ) -> None:
        self._tokens = tokens
        self._host_names = host_names | _LOOPBACK_NAMES
        self._clock = clock
        self._requests_per_second = requests_per_second
        self._rate_limiters: dict[str, RateLimiter] = {}

    def check_host_and_origin(self, headers: Mapping[str, str]) -> None:
        """Refuses requests for another host, and those that a web page sends.

        Raises:
            ApiError: 403.
        """
        host = parse_host_name(headers.get("Host", ""))
        if host not in self._host_names:
            raise ApiError(403, "Forbidden", f"the host {host!r} is not served here")
        origin = headers.get("Origin")
        if (
            origin is not None
            and parse_host_name(origin.partition("://")[2]) not in self._host_names
        ):
            raise ApiError(403, "Forbidden", f"requests from the origin {origin!r} are not served")

    def authenticate(self, headers: Mapping[str, str]) -> Identity:
        """Who holds the bearer token.

        Raises:
            ApiError: 401, or 429 when this identity asks too often.
        """
        scheme, _space, token = headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme.lower() != "bearer" or not given:
            raise unauthorized()
        identity = self._tokens.identity_of(given)
        if identity is None:
            raise unauthorized()
        if not self._rate_limiter_of(identity.name).try_accept(self._clock.monotonic()):
            raise too_many_requests(
                f"{identity.name} sends more than {self._requests_per_second:.0f} requests a second; "
                "please try again later"
            )
        return identity

    def _rate_limiter_of(self, name: str) -> RateLimiter:
        found = self._rate_limiters.get(name)
        if found is None:
            found = self._rate_limiters[name] = RateLimiter(
                self._requests_per_second, self._clock.monotonic()
            )
        return found
