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
from functools import partial
from typing import Any

import aiomqtt
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agents.protocol.bounds import MAX_ENVELOPE_BYTES, MAX_TOPIC_CHARACTERS
from agents.protocol.topics import hub_subscriptions
from scheduler.mqtt.outbox import Outbox, OutgoingMessage
from scheduler.mqtt.publication_socket import PublicationSocket
from scheduler.mqtt.receiver import Receiver
from scheduler.runtime.cancellation import run_cancellable
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_KEEPALIVE_SECONDS = 20
_INITIAL_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 15.0
# Messages are state that the next one replaces. With QoS 1 the broker would queue them for a slow
# session and every one would be acknowledged, which costs as much as reading it.
_SUBSCRIPTION_QOS = 0
_MAX_PACKET_BYTES = MAX_ENVELOPE_BYTES + 4 * MAX_TOPIC_CHARACTERS + 64
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
        receiver: queues the messages received.
        outbox: the messages to publish.
        clock: for waiting.
        jitter: random numbers for the backoff.
        on_connected: called at the start of each session, before any message is handled.
        faults: handles what fails besides the connection.
        is_connected: whether a session is up; for readiness.
        connected_since_seconds: since when it is, on the monotonic clock; None: it is not.
    """

    address: BrokerAddress
    receiver: Receiver
    outbox: Outbox
    clock: Clock
    jitter: random.Random
    on_connected: Callable[[], None]
    faults: Faults
    is_connected: bool = field(default=False, init=False)
    connected_since_seconds: float | None = field(default=None, init=False)

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
            self.connected_since_seconds = None
            if was_connected:
                backoff_seconds = _INITIAL_BACKOFF_SECONDS
            _log.warning(
                "broker %s:%s: %s; reconnecting in about %.1f s",
                self.address.host,
                self.address.port,
                reason,
                backoff_seconds,
            )
            # Full jitter, as of the agents.
            await self.clock.sleep(backoff_seconds * max(0.02, 2 * self.jitter.random()))
            backoff_seconds = min(backoff_seconds * 2, _MAX_BACKOFF_SECONDS)

    async def _run_session(self) -> None:
        cancellations_before = _cancellation_count()
        async with _client_context(self._make_client()) as client:
            self._read_fast(client)
            for one in hub_subscriptions():
                await client.subscribe(one, qos=_SUBSCRIPTION_QOS)
            if _cancellation_count() > cancellations_before:
                raise asyncio.CancelledError
            self.is_connected, self.connected_since_seconds = True, self.clock.monotonic()
            self.on_connected()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._wait_for_end(client), name="mqtt session")
                for number in range(_PUBLISHER_COUNT):
                    group.create_task(self._publish(client), name=f"mqtt publish {number}")

    def _make_client(self) -> aiomqtt.Client:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.MaximumPacketSize = _MAX_PACKET_BYTES
        client = aiomqtt.Client(
            self.address.host,
            self.address.port,
            username=self.address.username,
            password=self.address.password,
            tls_context=self.address.tls,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=_KEEPALIVE_SECONDS,
            properties=properties,
            max_concurrent_outgoing_calls=_PUBLISHER_COUNT,
            # Nagle's algorithm with delayed acknowledgements holds small packets back for 44 ms.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        if self.address.tls is not None:
            shake_hands = partial(_shake_hands, client._client, self.address.tls)  # noqa: SLF001 - aiomqtt offers no other way
            client._client._ssl_wrap_socket = shake_hands  # type: ignore[method-assign]  # noqa: SLF001 - as above
        # As many wait as may; the warning about more than ten came with nearly every publication.
        client.pending_calls_threshold = _PUBLISHER_COUNT
        # aiomqtt's queue is left out: it is not fair, and each of its messages costs two tasks.
        client._client.on_message = self._on_message  # noqa: SLF001 - aiomqtt offers no other way
        _pass_over_answers_to_nothing(client)
        return client

    def _read_fast(self, client: aiomqtt.Client) -> None:
        """Takes publications of QoS 0 from the connection before paho reads them."""
        paho = client._client  # noqa: SLF001 - aiomqtt offers no other way
        connected = paho.socket()
        if isinstance(connected, socket.socket):
            paho._sock = PublicationSocket(  # type: ignore[assignment]  # noqa: SLF001 - as above
                connected, self._on_publication, max_packet_bytes=_MAX_PACKET_BYTES
            )

    def _on_publication(self, topic: str, payload: bytes, is_retained: bool) -> None:  # noqa: FBT001 - a callback
        self.receiver.receive(topic, payload, retained=is_retained)

    def _on_message(self, _client: object, _userdata: object, message: MQTTMessage) -> None:
        """Receives what was read before `_read_fast`, and messages of another QoS."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # counted as a wrong topic
        self.receiver.receive(topic, bytes(message.payload), retained=message.retain)

    async def _wait_for_end(self, client: aiomqtt.Client) -> None:
        """Raises `MqttError` when the session ends; no message arrives here."""
        async for _ in client.messages:
            pass

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
            payload = one.payload if one.seal is None else await asyncio.to_thread(one.seal)
            properties = None
            if one.expiry_seconds is not None:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
                properties.MessageExpiryInterval = one.expiry_seconds
            await client.publish(
                one.topic, payload, qos=1, retain=one.retain, properties=properties
            )
        except (aiomqtt.MqttError, OSError, asyncio.CancelledError):
            self.outbox.put_back(one)  # the next session sends it
            raise


def _pass_over_answers_to_nothing(client: aiomqtt.Client) -> None:
    """Ignores an answer to a subscription that is not, or no longer, waited for.

    It comes when the scheduler ends while it subscribes; aiomqtt would write an error with a
    traceback.
    """
    paho = client._client  # noqa: SLF001 - aiomqtt offers no other way
    subscribed = client._on_subscribe  # noqa: SLF001 - as above

    def on_subscribe(one: Any, data: Any, number: int, *more: Any) -> None:  # noqa: ANN401 - paho's
        if number in client._pending_subscribes:  # noqa: SLF001 - as above
            subscribed(one, data, number, *more)

    paho.on_subscribe = on_subscribe


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


def _shake_hands(mqtt: Client, tls: ssl.SSLContext, plain: socket.socket) -> ssl.SSLSocket:
    """Does TLS on a connection, and closes it if that fails; paho would leave it open."""
    secured = tls.wrap_socket(plain, server_hostname=mqtt.host, do_handshake_on_connect=False)
    secured.settimeout(mqtt.connect_timeout)
    try:
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


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
