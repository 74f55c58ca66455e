"""The checks before a request is handled: Host and Origin headers, bearer token, request rate.

A web page in a browser on the same machine can reach loopback addresses. Therefore each request
needs a token, and Host (against DNS rebinding) and Origin must name this server.
"""

from collections.abc import Mapping

from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import TokenStore
from scheduler.apiserver.base.errors import ApiError, too_many_requests, unauthorized
from scheduler.runtime.clock import Clock

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def parse_host_name(header: str) -> str:
    """The host of a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


class RateLimiter:
    """A token bucket: `per_second` requests in the long run, twice as many in a burst."""

    def __init__(self, per_second: float, now: float) -> None:
        self._tokens_per_second = per_second
        self._tokens = self._max_tokens = 2 * per_second
        self._refilled_at = now

    def try_accept(self, now: float) -> bool:
        """Takes a token for one request; returns False if none is left."""
        self._tokens = min(
            self._max_tokens, self._tokens + (now - self._refilled_at) * self._tokens_per_second
        )
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class AuthMiddleware:
    """Checks the headers of each request before its body is read."""

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
        """Checks that Host, and Origin where a web page sends it, name this server.

        Raises:
            ApiError: 403, they do not.
        """
        host = parse_host_name(headers.get("Host", ""))
        if host not in self._host_names:
            raise ApiError(403, "Forbidden", f"the host {host!r} is not a name of this server")
        origin = headers.get("Origin")
        if (
            origin is not None
            and parse_host_name(origin.partition("://")[2]) not in self._host_names
        ):
            raise ApiError(403, "Forbidden", f"the origin {origin!r} is not a name of this server")

    def authenticate(self, headers: Mapping[str, str]) -> Identity:
        """The identity of the bearer token.

        Raises:
            ApiError: 401, or 429 if this identity exceeds its request rate.
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
                f"{identity.name} sends more than {self._requests_per_second:.0f} requests a"
                " second; please try again later"
            )
        return identity

    def _rate_limiter_of(self, name: str) -> RateLimiter:
        found = self._rate_limiters.get(name)
        if found is None:
            found = self._rate_limiters[name] = RateLimiter(
                self._requests_per_second, self._clock.monotonic()
            )
        return found
