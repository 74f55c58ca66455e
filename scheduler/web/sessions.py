"""Authentication of the web server: tokens of the hub, one-time codes, and sessions.

A code is exchanged for a session once. A session stands for the token that its code was made with,
for reading: it has the rights that the token has now, and ends when the hub does not know the token
any more. Codes and sessions are random, limited in number, and kept in memory only, by hash.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from scheduler.control.ports.access import (
    ALL_GRANTS,
    ALL_SITES,
    ALL_WORKLOADS,
    AccessAnswer,
    AccessQuestion,
    AccessReviewer,
)
from scheduler.runtime.clock import Clock

CODE_LIFETIME_SECONDS: Final = 120.0
SESSION_LIFETIME_SECONDS: Final = 12 * 3600.0
_KEPT_SECONDS: Final[dict[AccessAnswer, float]] = {
    "allowed": 30.0,
    "denied": 10.0,
    "unauthenticated": 10.0,
    "unanswered": 2.0,
}
"""How long an answer of the hub counts before it is asked again."""

_OUTAGE_SECONDS: Final = 600.0
"""How long the last answer counts while the hub gives none: an outage is when the page is read."""

_MAX_CODES, _MAX_SESSIONS, _MAX_ANSWERS = 512, 512, 8192
_MAX_OF_ONE_TOKEN: Final = 16
MAX_NAMESPACES: Final = 256
"""Of so many namespaces the right is asked for one token, by name; the others are not shown."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the holder of a token may see.

    Attributes:
        namespaces: those whose workloads are seen; None: all, and the figures of the whole fleet.
        has_sites: whether sites are seen.
        has_grants: whether it is seen what the authority grants them.
    """

    namespaces: frozenset[str] | None = None
    has_sites: bool = True
    has_grants: bool = True

    @property
    def is_all(self) -> bool:
        """Whether everything is seen."""
        return self.namespaces is None and self.has_sites

    def sees(self, namespace: str) -> bool:
        """Whether the workloads of a namespace are seen."""
        return self.namespaces is None or namespace in self.namespaces


class _ExpiringSecrets:
    """Values under hashes of secrets, each for a time; the oldest are dropped if they are many."""

    def __init__(self, clock: Clock, lifetime_seconds: float, max_count: int) -> None:
        self._clock, self._lifetime_seconds, self._max_count = clock, lifetime_seconds, max_count
        self._held: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def add(self, secret: str, value: str) -> None:
        """Adds a secret; its lifetime starts now."""
        until = self._clock.monotonic() + self._lifetime_seconds
        self._held[_digest(secret)] = (until, value)
        mine = [key for key, (_, one) in self._held.items() if one == value]
        for key in mine[:-_MAX_OF_ONE_TOKEN]:  # so that one user drops none of another
            del self._held[key]
        while len(self._held) > self._max_count:
            self._held.popitem(last=False)

    def get(self, secret: str) -> str:
        """Its value; "": it was not added, or has expired. By hash: timing reveals nothing."""
        until, value = self._held.get(_digest(secret), (float("-inf"), ""))
        return value if self._clock.monotonic() < until else ""

    def consume(self, secret: str) -> str:
        """As `get`, and removes it."""
        value = self.get(secret)
        self._held.pop(_digest(secret), None)
        return value


@dataclass(slots=True)
class _Answers:
    """Answers of the hub, each for a short time, by token and question."""

    clock: Clock
    review: AccessReviewer
    _held: OrderedDict[tuple[bytes, AccessQuestion], tuple[float, float, AccessAnswer]] = field(
        default_factory=OrderedDict
    )
    """Until when it counts, when the hub gave it, and the answer."""

    async def get(self, token: str, question: AccessQuestion) -> AccessAnswer:
        key, now = (_digest(token), question), self.clock.monotonic()
        until, given, last = self._held.get(key, (float("-inf"), float("-inf"), "unanswered"))
        if now < until:
            return last
        answer = await self.review(token, question)
        now = self.clock.monotonic()
        kept = _KEPT_SECONDS[answer]
        if answer != "unanswered":
            given = now
        elif now - given < _OUTAGE_SECONDS:
            answer = last
        self._held[key] = (now + kept, given, answer)
        self._held.move_to_end(key)
        while len(self._held) > _MAX_ANSWERS:
            self._held.popitem(last=False)
        return answer


class Sessions:
    """Decides which requests are authenticated, and what each may see.

    Args:
        clock: the clock for lifetimes.
        review_token: asks the hub about a token.
    """

    def __init__(self, clock: Clock, review_token: AccessReviewer) -> None:
        self._answers = _Answers(clock, review_token)
        self._codes = _ExpiringSecrets(clock, CODE_LIFETIME_SECONDS, _MAX_CODES)
        self._sessions = _ExpiringSecrets(clock, SESSION_LIFETIME_SECONDS, _MAX_SESSIONS)

    async def admits_token(self, token: str, namespace: str = "") -> bool:
        """Whether a token gives access; the hub's answer counts for 30 seconds at most.

        Args:
            token: the token.
            namespace: whose workloads are to be read; "": of all.
        """
        return await self._allows(token, AccessQuestion(namespace=namespace))

    async def knows_token(self, token: str) -> bool:
        """Whether the hub knows the token, whatever its holder may see."""
        return await self._answers.get(token, ALL_WORKLOADS) in ("allowed", "denied")

    async def sight_of(self, token: str, namespaces: Iterable[str]) -> Sight:
        """What the holder of a token may see.

        Args:
            token: the token.
            namespaces: those that hold workloads.
        """
        has_sites = await self._allows(token, ALL_SITES)
        has_grants = await self._allows(token, ALL_GRANTS)
        if await self._allows(token, ALL_WORKLOADS):
            return Sight(None, has_sites, has_grants)
        asked = sorted(set(namespaces))[:MAX_NAMESPACES]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.admits_token(token, name)) for name in asked]
        seen = (name for name, task in zip(asked, tasks, strict=True) if task.result())
        return Sight(frozenset(seen), has_sites, has_grants)

    async def _allows(self, token: str, question: AccessQuestion) -> bool:
        return await self._answers.get(token, question) == "allowed"

    def token_of_session(self, session: str) -> str:
        """The token that a cookie's session stands for; "": there is none, or it has expired."""
        return self._sessions.get(session)

    def create_code(self, token: str) -> str:
        """Makes a code that can be exchanged for one session of a token within two minutes."""
        code = secrets.token_urlsafe(24)
        self._codes.add(code, token)
        return code

    def redeem_code(self, code: str) -> str | None:
        """Exchanges a code for a session; None when the code is used, expired or unknown."""
        token = self._codes.consume(code)
        if not token:
            return None
        session = secrets.token_urlsafe(32)
        self._sessions.add(session, token)
        return session


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
