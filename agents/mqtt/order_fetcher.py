"""Fetches the contents that the index names, in batches, by subscribing to their topics.

A broker says neither how many messages it retains nor when it has sent them all, and some brokers
deliver only a hundred retained messages per subscription. So the index says which topics to
subscribe to, and the status lists as missing what does not arrive.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

import aiomqtt

from agents.mqtt.session import SUBSCRIBE_BATCH, AgentSession, BrokerConnection
from agents.orders.intake import Intake
from agents.protocol.index import IndexEntry
from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

_PART_TIMEOUT_SECONDS: Final = 3.0
_ROUND_INTERVAL_SECONDS: Final = 5.0


@dataclass(slots=True, kw_only=True)
class OrderFetcher:
    """Fetches missing contents, in rounds, until none is missing.

    Attributes:
        session: subscribes to the topics.
        intake: knows which contents are missing.
        clock: the clock.
        faults: the barrier around each round.
    """

    session: AgentSession
    intake: Intake
    clock: AgentClock
    faults: AgentFaults = field(default_factory=AgentFaults)
    _fetch_requested: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _part_received: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def request_fetch(self) -> None:
        """Starts a round now: the index or the session is new, or the hub has published again."""
        self._fetch_requested.set()

    def notify_part_received(self) -> None:
        """Reports that a part has arrived."""
        self._part_received.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            connection = await self.session.wait_for_connection()
            self._fetch_requested.clear()
            with self.faults.guard("fetch"):
                try:
                    await self._fetch_missing(connection)
                except aiomqtt.MqttError as error:
                    _log.info("fetching orders: %s", error)  # the session reconnects
            await self.clock.sleep(self.faults.quarantine_seconds("fetch"))
            await self._wait_for_next_round()

    async def _fetch_missing(self, connection: BrokerConnection) -> None:
        """Makes one round: subscribes once to the topics of every missing content."""
        waiting = list(self.intake.missing_entries())
        while waiting:
            batch, waiting = waiting[:SUBSCRIBE_BATCH], waiting[SUBSCRIBE_BATCH:]
            topics = [topic for entry in batch for topic in self.intake.missing_topics_of(entry)]
            if not topics:
                continue
            self._part_received.clear()
            await connection.subscribe(topics)
            await self._wait_for_batch(batch)
            await connection.unsubscribe(topics)

    async def _wait_for_batch(self, batch: list[IndexEntry]) -> None:
        """Waits until a batch is complete, or until no part has arrived for a while."""
        digests = {entry.digest for entry in batch}
        while any(entry.digest in digests for entry in self.intake.missing_entries()):
            try:
                async with asyncio.timeout(_PART_TIMEOUT_SECONDS):
                    await self._part_received.wait()
            except TimeoutError:
                return
            self._part_received.clear()

    async def _wait_for_next_round(self) -> None:
        if not self.intake.missing_entries():
            await self._fetch_requested.wait()
            return
        try:
            async with asyncio.timeout(_ROUND_INTERVAL_SECONDS):
                await self._fetch_requested.wait()
        except TimeoutError:
            return
