"""The session with the broker: connects, speaks, hears what is for this site, and comes back.

Every message is state, so nothing is kept for a session that is gone: after a reconnect all topics
are subscribed anew, a full report and a status are sent, and retained state arrives again.
"""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agents.config.settings import AgentBrokerSettings
from agents.metrics.counters import Counters
from agents.runtime.backoff import Backoff
from agents.runtime.clock import AgentClock

_log = logging.getLogger(__name__)

_KEEPALIVE_SECONDS: Final = 20
_MAX_QUEUED_MESSAGES: Final = 2_000
_INITIAL_BACKOFF_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 20.0
_STABLE_SECONDS: Final = 10.0

# Some brokers deliver only so many retained messages per subscription (the packaged one: 100).
SUBSCRIBE_BATCH: Final = 50

MessageHandler = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker says for us when the session ends without a good-bye."""

    topic: str
    payload: bytes
    delay_seconds: float


class BrokerConnection:
    """An open session: publish and subscribe; any of them may raise `aiomqtt.MqttError`."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def publish(self, topic: str, payload: bytes, *, expiry_seconds: float) -> None:
        """Publishes a report or status: at least once, never retained, gone when it is too old."""
        properties = _properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = max(1, round(expiry_seconds))
        await self._client.publish(topic, payload, qos=1, retain=False, properties=properties)
        raise_if_cancelled()

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribes in batches; what is retained there is delivered, again if it was before."""
        for batch in _batches(topics):
            await self._client.subscribe([(topic, 1) for topic in batch])
            raise_if_cancelled()

    async def unsubscribe(self, topics: Sequence[str]) -> None:
        """Ends subscriptions."""
        for batch in _batches(topics):
            await self._client.unsubscribe(list(batch))
            raise_if_cancelled()


@dataclass(slots=True, kw_only=True)
class AgentSession:
    """Keeps a session for as long as `run` runs.

    Attributes:
        broker: where and how.
        client_id: fixed per agent, so that a reconnect cancels the last session's will.
        will: see there.
        topics: that are subscribed from the beginning.
        clock: for waiting.
        jitter: chance, as an input.
        counters: of sessions.
    """

    broker: AgentBrokerSettings
    client_id: str
    will: Will
    topics: Sequence[str]
    clock: AgentClock
    jitter: random.Random
    counters: Counters
    connection: BrokerConnection | None = field(default=None, init=False)
    _connected: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def wait_for_connection(self) -> "BrokerConnection":
        """Waits until there is a session."""
        while self.connection is None:
            self._connected.clear()
            await self._connected.wait()
        return self.connection

    async def run(self, *, on_connected: Callable[[], None], on_message: MessageHandler) -> None:
        """Keeps a session until cancelled.

        Args:
            on_connected: called for each new session, once its topics are subscribed.
            on_message: called with topic and payload of every message; must not raise.
        """
        backoff = Backoff(
            initial_seconds=_INITIAL_BACKOFF_SECONDS,
            max_seconds=_MAX_BACKOFF_SECONDS,
            jitter=self.jitter,
        )
        while True:
            started = self.clock.monotonic()
            try:
                await self._run_connection(on_connected, on_message)
                problem = "the broker closed the session"
            except (aiomqtt.MqttError, OSError) as error:
                problem = str(error) or type(error).__name__
            finally:
                self.connection = None
                self.counters.set("connected", 0)
            raise_if_cancelled()
            # A broker that takes us and drops us at once (a doubled client id) is no success.
            if self.clock.monotonic() - started >= _STABLE_SECONDS:
                backoff.reset()
            pause = backoff.next_seconds()
            where = f"{self.broker.host}:{self.broker.port}"
            _log.warning("broker %s: %s; connecting again in %.1f s", where, problem, pause)
            await self.clock.sleep(pause)

    async def _run_connection(
        self, on_connected: Callable[[], None], on_message: MessageHandler
    ) -> None:
        async with self._build_client() as client:
            connection = BrokerConnection(client)
            await connection.subscribe(self.topics)
            self.connection = connection
            self.counters.set("connected", 1)
            self.counters.add("connects_total")
            _log.info("broker %s:%s: connected", self.broker.host, self.broker.port)
            on_connected()
            self._connected.set()
            async for message in client.messages:
                on_message(str(message.topic), message.payload)

    def _build_client(self) -> aiomqtt.Client:
        broker, will = self.broker, self.will
        delay = _properties(PacketTypes.WILLMESSAGE)
        delay.WillDelayInterval = round(will.delay_seconds)
        session = _properties(PacketTypes.CONNECT)
        # A will is sent at the latest when its session expires, so that must outlive the delay.
        session.SessionExpiryInterval = round(will.delay_seconds) + 1
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username or None,
            password=password_of(broker) or None,
            identifier=self.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            properties=session,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=False, properties=delay),
            keepalive=_KEEPALIVE_SECONDS,
            tls_context=tls_context_of(broker),
            max_queued_incoming_messages=_MAX_QUEUED_MESSAGES,
            # Without it the kernel holds small packets back for 44 ms.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


def password_of(broker: AgentBrokerSettings) -> str:
    """The password, read anew for each session so that it can be changed without a restart.

    Raises:
        OSError: the file cannot be read.
    """
    if broker.password_file:
        return Path(broker.password_file).read_text(encoding="utf-8").strip()
    return broker.password


def tls_context_of(broker: AgentBrokerSettings) -> ssl.SSLContext | None:
    """TLS 1.2 or later, with the client certificate if one is set; read anew for each session.

    Raises:
        OSError: a file cannot be read or is no certificate.
    """
    if not broker.tls_ca_file:
        return None
    context = ssl.create_default_context(cafile=broker.tls_ca_file)
    if broker.tls_certificate_file:
        context.load_cert_chain(broker.tls_certificate_file, broker.tls_key_file or None)
    return context


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho's is not annotated


def _batches(topics: Sequence[str]) -> Iterable[Sequence[str]]:
    return (topics[at : at + SUBSCRIBE_BATCH] for at in range(0, len(topics), SUBSCRIBE_BATCH))


def raise_if_cancelled() -> None:
    """Ends this task if it was cancelled and the cancellation got lost on the way.

    It does in two places: `asyncio.wait_for` of Python 3.11, which aiomqtt uses, swallows one that
    comes with the answer it waits for; and a disconnection that times out raises its own error in
    its place. Nobody cancels twice, so whoever loops around such a call asks here.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
