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

CODE_SECONDS: Final = 120.0
SESSION_SECONDS: Final = 12 * 3600.0
_TOKEN_SECONDS: Final = 30.0
_MOST_CODES, _MOST_SESSIONS, _MOST_TOKENS = 16, 64, 256

Review = Callable[[str], Awaitable[bool]]
"""Whether the hub lets the holder of this token read all workloads."""


class _Expiring:
    """Secrets by their hash until a time; the oldest go first when there are too many."""

    def __init__(self, clock: Clock, seconds: float, most: int) -> None:
        self._clock, self._seconds, self._most = clock, seconds, most
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, secret: str) -> None:
        """Holds from now on."""
        self._until[_digest(secret)] = self._clock.monotonic() + self._seconds
        while len(self._until) > self._most:
            self._until.popitem(last=False)

    def holds(self, secret: str) -> bool:
        """Whether it was added and is not over. Looked up by hash, so no comparison leaks it."""
        until = self._until.get(_digest(secret))
        return until is not None and self._clock.monotonic() < until

    def take(self, secret: str) -> bool:
        """As `holds`, once."""
        held = self.holds(secret)
        self._until.pop(_digest(secret), None)
        return held


class Sessions:
    """Decides who may look.

    Args:
        clock: for what ends.
        review: asks the hub about a token.
    """

    def __init__(self, clock: Clock, review: Review) -> None:
        self._review = review
        self._codes = _Expiring(clock, CODE_SECONDS, _MOST_CODES)
        self._sessions = _Expiring(clock, SESSION_SECONDS, _MOST_SESSIONS)
        self._tokens = _Expiring(clock, _TOKEN_SECONDS, _MOST_TOKENS)

    async def admits_token(self, token: str) -> bool:
        """Whether the holder of a bearer token may look; the hub's answer counts for a while."""
        if self._tokens.holds(token):
            return True
        if not await self._review(token):
            return False
        self._tokens.add(token)
        return True

    def admits_session(self, session: str) -> bool:
        """Whether a cookie's session lasts."""
        return self._sessions.holds(session)

    def new_code(self) -> str:
        """A code that opens one session within two minutes."""
        code = secrets.token_urlsafe(24)
        self._codes.add(code)
        return code

    def session_for(self, code: str) -> str | None:
        """The session that a code opens; None: it was used, is over, or never was."""
        if not self._codes.take(code):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions.add(session)
        return session


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
