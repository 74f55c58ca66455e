"""The door: who may come in, and by which name they ask.

A web page in a browser on the same machine can reach loopback, too: hence the token, and the checks
of Host (against DNS rebinding) and Origin.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scheduler.hub.embedded.errors import ApiError, unauthorized

_TOKEN_BYTES = 32
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    name: str
    groups: tuple[str, ...]


ADMINISTRATOR = Identity("kapok-admin", ("system:masters", "system:authenticated"))


def token_in(path: Path) -> str:
    """The token of a file, readable by its owner only; made on first use."""
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    path.touch(mode=0o600)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    path.write_text(token + "\n", encoding="ascii")
    return token


def host_name(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


class Door:
    """Checks each request before anything is read of it."""

    def __init__(self, tokens: Mapping[str, Identity], names: frozenset[str] = _LOOPBACK) -> None:
        self._tokens = {token.encode(): identity for token, identity in tokens.items()}
        self._names = names | _LOOPBACK

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
            ApiError: 401.
        """
        scheme, _space, token = headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme.lower() == "bearer" and given:
            for known, identity in self._tokens.items():
                if hmac.compare_digest(known, given):
                    return identity
        raise unauthorized()
