"""Fetches the contents that the index names, few at a time, by subscribing to their very topics.

Brokers say neither how much is retained nor "that was all", and some deliver only a hundred
retained messages per subscription; so the index says what to ask for, and what does not come is
named as missing.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

import aiomqtt

from agents.mqtt.session import SUBSCRIBE_BATCH, Link, Session
from agents.orders.intake import Intake
from agents.protocol.index import IndexEntry
from agents.runtime.clock import Clock

_log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 3.0
_ROUND_SECONDS: Final = 5.0


@dataclass(slots=True)
class Fetcher:
    """Keeps asking until everything that the index names is here.

    Attributes:
        session: to ask by.
        intake: knows what is missing.
        clock: for pauses between rounds.
    """

    session: Session
    intake: Intake
    clock: Clock
    _wanted: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def want(self) -> None:
        """There is a new index, a new session, or the hub has published again."""
        self._wanted.set()

    def arrived(self) -> None:
        """Something came."""
        self._arrived.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            link = await self.session.opened()
            self._wanted.clear()
            try:
                await self._round(link)
            except aiomqtt.MqttError as error:
                _log.info("fetching orders: %s", error)  # the session says so too, and comes back
            await self._pause()

    async def _round(self, link: Link) -> None:
        """Asks once for everything that is missing."""
        waiting = list(self.intake.missing())
        while waiting:
            batch, waiting = waiting[:SUBSCRIBE_BATCH], waiting[SUBSCRIBE_BATCH:]
            topics = [topic for entry in batch for topic in self.intake.topics_of(entry)]
            if not topics:
                continue
            self._arrived.clear()
            await link.subscribe(topics)
            await self._wait_for(batch)
            await link.unsubscribe(topics)

    async def _wait_for(self, batch: list[IndexEntry]) -> None:
        """Until all of a batch is here, or nothing has come for a while."""
        digests = {entry.digest for entry in batch}
        while any(entry.digest in digests for entry in self.intake.missing()):
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                return
            self._arrived.clear()

    async def _pause(self) -> None:
        if not self.intake.missing():
            await self._wanted.wait()
            return
        try:
            async with asyncio.timeout(_ROUND_SECONDS):
                await self._wanted.wait()
        except TimeoutError:
            return
