"""Authentication of the web server: tokens of the hub, one-time codes, and sessions.

A code is exchanged for a session once. Codes and sessions are random, limited in number, and kept
in memory only. A session gives read access to this server and nothing else.
"""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

from scheduler.runtime.clock import Clock

CODE_LIFETIME_SECONDS: Final = 120.0
SESSION_LIFETIME_SECONDS: Final = 12 * 3600.0
_TOKEN_CACHE_SECONDS: Final = 30.0
_MAX_CODES, _MAX_SESSIONS, _MAX_TOKENS = 16, 64, 256

TokenReviewer = Callable[[str, str], Awaitable[bool]]
"""Asks the hub whether the holder of a token may read the workloads of a namespace; "": of all."""


class _ExpiringSecrets:
    """Hashes of secrets, each for a time; the oldest are dropped when there are too many."""

    def __init__(self, clock: Clock, lifetime_seconds: float, max_count: int) -> None:
        self._clock, self._lifetime_seconds, self._max_count = clock, lifetime_seconds, max_count
        self._expires_at_seconds: OrderedDict[bytes, float] = OrderedDict()

    def add(self, secret: str) -> None:
        """Adds a secret; its lifetime starts now."""
        self._expires_at_seconds[_digest(secret)] = self._clock.monotonic() + self._lifetime_seconds
        while len(self._expires_at_seconds) > self._max_count:
            self._expires_at_seconds.popitem(last=False)

    def contains(self, secret: str) -> bool:
        """Whether it was added and has not expired; by hash, so timing reveals nothing of it."""
        until = self._expires_at_seconds.get(_digest(secret))
        return until is not None and self._clock.monotonic() < until

    def consume(self, secret: str) -> bool:
        """As `contains`, and removes it."""
        held = self.contains(secret)
        self._expires_at_seconds.pop(_digest(secret), None)
        return held


class Sessions:
    """Decides which requests are authenticated.

    Args:
        clock: the clock for lifetimes.
        review_token: asks the hub about a token.
    """

    def __init__(self, clock: Clock, review_token: TokenReviewer) -> None:
        self._review_token = review_token
        self._codes = _ExpiringSecrets(clock, CODE_LIFETIME_SECONDS, _MAX_CODES)
        self._sessions = _ExpiringSecrets(clock, SESSION_LIFETIME_SECONDS, _MAX_SESSIONS)
        self._tokens = _ExpiringSecrets(clock, _TOKEN_CACHE_SECONDS, _MAX_TOKENS)

    async def admits_token(self, token: str, namespace: str = "") -> bool:
        """Whether a bearer token gives access; a yes of the hub is cached for 30 seconds.

        Args:
            token: the token.
            namespace: whose workloads are to be read; "": of all.
        """
        secret = f"{namespace} {token}"  # neither of them has a space
        if self._tokens.contains(secret):
            return True
        if not await self._review_token(token, namespace):
            return False
        self._tokens.add(secret)
        return True

    def admits_session(self, session: str) -> bool:
        """Whether a cookie's session has not expired."""
        return self._sessions.contains(session)

    def create_code(self) -> str:
        """Makes a code that can be exchanged for one session within two minutes."""
        code = secrets.token_urlsafe(24)
        self._codes.add(code)
        return code

    def redeem_code(self, code: str) -> str | None:
        """Exchanges a code for a session; None when the code is used, expired or unknown."""
        if not self._codes.consume(code):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions.add(session)
        return session


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
