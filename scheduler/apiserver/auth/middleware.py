"""The door: by which name a request comes, who sends it, how many there may be.

A web page in a browser on the same machine can reach loopback, too: hence the token, and the checks
of Host (against DNS rebinding) and Origin.
"""

from collections.abc import Mapping

from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import Tokens
from scheduler.apiserver.base.errors import ApiError, too_many_requests, unauthorized
from scheduler.runtime.clock import Clock

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def host_name(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


class Budget:
    """A token bucket: so many requests a second on the long run, twice as many at once."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._left = self._most = 2 * per_second
        self._at = now

    def take(self, now: float) -> bool:
        """Takes one; False when none is left."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Door:
    """Checks each request before anything is read of it."""

    def __init__(
        self,
        tokens: Tokens,
        names: frozenset[str],
        clock: Clock,
        *,
        requests_per_second: float,
    ) -> None:
        self._tokens = tokens
        self._names = names | _LOOPBACK
        self._clock = clock
        self._per_second = requests_per_second
        self._budgets: dict[str, Budget] = {}

    def check_names(self, headers: Mapping[str, str]) -> None:
        """Refuses requests for another host, and those that a web page sends.

        Raises:
            ApiError: 403.
        """
        host = host_name(headers.get("Host", ""))
        if host not in self._names:
            raise ApiError(403, "Forbidden", f"the host {host!r} is not served here")
        origin = headers.get("Origin")
        if origin is not None and host_name(origin.partition("://")[2]) not in self._names:
            raise ApiError(403, "Forbidden", f"requests from the origin {origin!r} are not served")

    def identify(self, headers: Mapping[str, str]) -> Identity:
        """Who holds the bearer token.

        Raises:
            ApiError: 401, or 429 when this identity asks too often.
        """
        scheme, _space, token = headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme.lower() != "bearer" or not given:
            raise unauthorized()
        identity = self._tokens.holder(given)
        if identity is None:
            raise unauthorized()
        if not self._budget(identity.name).take(self._clock.monotonic()):
            raise too_many_requests(
                f"{identity.name} sends more than {self._per_second:.0f} requests a second; "
                "please try again later"
            )
        return identity

    def _budget(self, name: str) -> Budget:
        found = self._budgets.get(name)
        if found is None:
            found = self._budgets[name] = Budget(self._per_second, self._clock.monotonic())
        return found
