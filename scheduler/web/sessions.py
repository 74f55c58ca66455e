"""Who may look: bearer tokens of the hub, one-time codes, and the sessions that codes become.

Codes and sessions are random, live in memory only, and are few. A session gives no more than
reading this page.
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

TokenReviewer = Callable[[str], Awaitable[bool]]
"""Whether the hub lets the holder of this token read all workloads."""


class _ExpiringSecrets:
    """Secrets by their hash until a time; the oldest go first when there are too many."""

    def __init__(self, clock: Clock, lifetime_seconds: float, max_count: int) -> None:
        self._clock, self._lifetime_seconds, self._max_count = clock, lifetime_seconds, max_count
        self._expires_at_seconds: OrderedDict[bytes, float] = OrderedDict()

    def add(self, secret: str) -> None:
        """Holds from now on."""
        self._expires_at_seconds[_digest(secret)] = self._clock.monotonic() + self._lifetime_seconds
        while len(self._expires_at_seconds) > self._max_count:
            self._expires_at_seconds.popitem(last=False)

    def contains(self, secret: str) -> bool:
        """Whether it was added and is not over. Looked up by hash, so no comparison leaks it."""
        until = self._expires_at_seconds.get(_digest(secret))
        return until is not None and self._clock.monotonic() < until

    def consume(self, secret: str) -> bool:
        """As `contains`, once."""
        held = self.contains(secret)
        self._expires_at_seconds.pop(_digest(secret), None)
        return held


class Sessions:
    """Decides who may look.

    Args:
        clock: for what ends.
        review: asks the hub about a token.
    """

    def __init__(self, clock: Clock, review_token: TokenReviewer) -> None:
        self._review_token = review_token
        self._codes = _ExpiringSecrets(clock, CODE_LIFETIME_SECONDS, _MAX_CODES)
        self._sessions = _ExpiringSecrets(clock, SESSION_LIFETIME_SECONDS, _MAX_SESSIONS)
        self._tokens = _ExpiringSecrets(clock, _TOKEN_CACHE_SECONDS, _MAX_TOKENS)

    async def admits_token(self, token: str) -> bool:
        """Whether the holder of a bearer token may look; the hub's answer counts for a while."""
        if self._tokens.contains(token):
            return True
        if not await self._review_token(token):
            return False
        self._tokens.add(token)
        return True

    def admits_session(self, session: str) -> bool:
        """Whether a cookie's session lasts."""
        return self._sessions.contains(session)

    def create_code(self) -> str:
        """A code that opens one session within two minutes."""
        code = secrets.token_urlsafe(24)
        self._codes.add(code)
        return code

    def redeem_code(self, code: str) -> str | None:
        """The session that a code opens; None: it was used, is over, or never was."""
        if not self._codes.consume(code):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions.add(session)
        return session


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
