"""The scheduler's session with the broker: connects, subscribes, receives, publishes, reconnects.

Each session starts clean: the broker keeps nothing for the scheduler, because every message carries
state that the next one replaces. Reconnection backs off with jitter, so that clients of a restarted
broker do not return all at once.
"""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiomqtt

from agents.protocol.topics import hub_subscriptions
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.outbox import Outbox, OutgoingMessage
from scheduler.runtime.cancellation import run_cancellable
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_MAX_QUEUED_MESSAGES = 100_000
_KEEPALIVE_SECONDS = 20
_INITIAL_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 15.0
_PUBLISHER_COUNT = 32  # publications in flight; each waits for the broker's acknowledgement


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """The broker's address and credentials.

    Attributes:
        host: host name or address.
        port: MQTT 5 port.
        username: None for none.
        password: None for none; left out of `repr`.
        tls: None for plain TCP, for loopback only.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class BrokerSession:
    """Keeps a session with the broker while `run` runs.

    Attributes:
        address: the broker's address.
        ingest: handles the messages received.
        outbox: the messages to publish.
        clock: for waiting.
        jitter: random numbers for the backoff.
        on_connected: called at the start of each session, before any message is handled.
        faults: handles what fails besides the connection.
        is_connected: whether a session is up; for readiness.
    """

    address: BrokerAddress
    ingest: Ingest
    outbox: Outbox
    clock: Clock
    jitter: random.Random
    on_connected: Callable[[], None]
    faults: Faults
    is_connected: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Runs until cancelled."""
        backoff_seconds = _INITIAL_BACKOFF_SECONDS
        while True:
            reason: object = "the session ended by a fault"
            with self.faults.barrier("session"):
                try:
                    # A session that fails while it is cancelled loses that, and we would go on.
                    await run_cancellable(self._run_session(), name="mqtt session")
                except* (aiomqtt.MqttError, OSError) as group:
                    reason = group.exceptions[0]
            was_connected, self.is_connected = self.is_connected, False
            if was_connected:
                backoff_seconds = _INITIAL_BACKOFF_SECONDS
            _log.warning(
                "broker %s:%s: %s; reconnecting in about %.1f s",
                self.address.host,
                self.address.port,
                reason,
                backoff_seconds,
            )
            await self.clock.sleep(backoff_seconds * (0.5 + self.jitter.random()))
            backoff_seconds = min(backoff_seconds * 2, _MAX_BACKOFF_SECONDS)

    async def _run_session(self) -> None:
        cancellations_before = _cancellation_count()
        async with _client_context(self._make_client()) as client:
            for one in hub_subscriptions():
                await client.subscribe(one, qos=1)
            if _cancellation_count() > cancellations_before:
                raise asyncio.CancelledError
            self.is_connected = True
            self.on_connected()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(client), name="mqtt receive")
                for number in range(_PUBLISHER_COUNT):
                    group.create_task(self._publish(client), name=f"mqtt publish {number}")

    def _make_client(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self.address.host,
            self.address.port,
            username=self.address.username,
            password=self.address.password,
            tls_context=self.address.tls,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=_KEEPALIVE_SECONDS,
            max_queued_incoming_messages=_MAX_QUEUED_MESSAGES,
            max_concurrent_outgoing_calls=_PUBLISHER_COUNT,
            # Nagle's algorithm with delayed acknowledgements holds small packets back for 44 ms.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self.ingest.handle(str(message.topic), message.payload, retained=bool(message.retain))

    async def _publish(self, client: aiomqtt.Client) -> None:
        while True:
            one = await self.outbox.take()
            # A message that cannot be sent in any session is dropped; sites ask for what they lack.
            with self.faults.barrier("publish", passing=(aiomqtt.MqttError, OSError)):
                await self._send(client, one)
            if _cancellation_count():
                raise asyncio.CancelledError

    async def _send(self, client: aiomqtt.Client, one: OutgoingMessage) -> None:
        try:
            await client.publish(one.topic, one.payload, qos=1, retain=one.retain)
        except (aiomqtt.MqttError, OSError, asyncio.CancelledError):
            self.outbox.put_back(one)  # the next session sends it
            raise


def _cancellation_count() -> int:
    """How often the current task was cancelled.

    `asyncio.wait_for` of Python 3.11, which aiomqtt uses, swallows a cancellation that arrives
    together with the result. A cancellation is not repeated, so a loop around such a call compares
    this count and raises `CancelledError` itself. The count only helps within one task and around
    no TaskGroup: a group that ends by an error leaves its own cancellation counted. Later Pythons
    have fixed both.
    """
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


@asynccontextmanager
async def _client_context(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Client]:
    """The client's context; an error on leaving it never replaces the error that ended the body."""
    await client.__aenter__()
    try:
        yield client
    except BaseException as error:
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(type(error), error, error.__traceback__)
        raise
    await client.__aexit__(None, None, None)
