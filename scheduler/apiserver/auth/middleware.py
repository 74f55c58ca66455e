"""The checks before a request is handled: Host and Origin headers, bearer token, request rate.

A web page in a browser on the same machine can reach loopback addresses. Therefore each request
needs a token, and Host (against DNS rebinding) and Origin must name this server.
"""

from collections.abc import Mapping

from scheduler.apiserver.auth.limits import UsageByIdentity
from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import TokenStore
from scheduler.apiserver.base.errors import ApiError, unauthorized

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def parse_host_name(header: str) -> str:
    """The host of a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


class AuthMiddleware:
    """Checks the headers of each request before its body is read."""

    def __init__(
        self,
        *,
        tokens: TokenStore,
        host_names: frozenset[str],
        usage: UsageByIdentity,
    ) -> None:
        self._tokens = tokens
        self._host_names = host_names | _LOOPBACK_NAMES
        self._usage = usage

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
            ApiError: 401, or 429 if this identity exceeds its limits.
        """
        scheme, _space, token = headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme.lower() != "bearer" or not given:
            raise unauthorized()
        identity = self._tokens.identity_of(given)
        if identity is None:
            raise unauthorized()
        self._usage.of(identity).admit_request()
        return identity
