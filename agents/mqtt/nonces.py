"""The nonces of the hub: which the agent carries, and when it answers.

Every message carries the newest nonce of each scheduler, so that a scheduler knows that it was made
after that nonce. An answer waits for a random part of the spread that the hub states: the hub asks
all sites at once, and their answers must not arrive at once.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agents.protocol.bounds import MAX_ANSWER_SPREAD_SECONDS, MAX_ASKERS
from agents.protocol.hub_requests import HubNonce
from agents.runtime.clock import AgentClock

_ASKER_SECONDS: Final = 1_800.0
"""A scheduler that asked within this time may still be there: it asks every few minutes."""


@dataclass(slots=True)
class CarriedNonces:
    """The newest nonce of each scheduler that has asked; the one that asked longest ago goes first.

    Only the hub's key makes nonces. A broker that plays old ones again can at most bring the agent
    to carry older ones, which make its messages look older than they are.
    """

    _newest: "OrderedDict[str, HubNonce]" = field(default_factory=OrderedDict, init=False)
    _taken_at: dict[str, float] = field(default_factory=dict, init=False)

    def take(self, nonce: HubNonce, now: float = 0.0) -> bool:
        """Keeps a nonce that arrives now; False if a newer one of its scheduler was received."""
        known = self._newest.get(nonce.asker)
        if known is not None and nonce.number < known.number:
            return False
        self._newest[nonce.asker], self._taken_at[nonce.asker] = nonce, now
        if known is None or nonce.number > known.number:  # a repeated one keeps no place
            self._newest.move_to_end(nonce.asker)
        while len(self._newest) > MAX_ASKERS:
            gone, _ = self._newest.popitem(last=False)
            del self._taken_at[gone]
        return True

    def by_asker(self) -> dict[str, str]:
        """Nonces by the identity of their scheduler, for a message."""
        return {asker: nonce.value for asker, nonce in self._newest.items()}

    def take_heartbeats(self, now: float) -> bool:
        """Whether every scheduler that has asked lately takes heartbeats, and one has asked."""
        oldest = now - _ASKER_SECONDS
        takes = [
            bool(nonce.takes_heartbeats)
            for asker, nonce in self._newest.items()
            if self._taken_at[asker] >= oldest
        ]
        return bool(takes) and all(takes)


@dataclass(slots=True, kw_only=True)
class NonceAnswerer:
    """Answers nonces after a random pause; one answer serves all that arrive until then.

    Attributes:
        nonces: what messages carry.
        answer: sends a report and a status; the argument says whether it is a full report.
        clock: for the pause.
        jitter: chance as an input.
    """

    nonces: CarriedNonces
    answer: Callable[[bool], None]
    clock: AgentClock
    jitter: random.Random
    _asked: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _spread_seconds: float = field(default=0.0, init=False)
    _wants_full_report: bool = field(default=False, init=False)

    def ask(self, nonce: HubNonce, wants_full_report: bool) -> bool:  # noqa: FBT001 - a callback
        """Takes a nonce to answer; False: it is an old one, and nothing is answered."""
        if not self.nonces.take(nonce, self.clock.monotonic()):
            return False
        spread = nonce.spread_seconds
        self._spread_seconds = MAX_ANSWER_SPREAD_SECONDS if spread is None else spread
        self._wants_full_report = self._wants_full_report or wants_full_report
        self._asked.set()
        return True

    async def run(self) -> None:
        """Answers until cancelled."""
        while True:
            await self._asked.wait()
            await self.clock.sleep(self.jitter.random() * self._spread_seconds)
            wants_full_report, self._wants_full_report = self._wants_full_report, False
            self._asked.clear()
            self.answer(wants_full_report)
