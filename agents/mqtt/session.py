"""The session with the broker: connects, subscribes, publishes, and reconnects.

Every message is state, so nothing is kept from a session that has ended: after a reconnect the
agent subscribes to all topics again, sends a full report and a status, and receives the retained
messages again.
"""

import asyncio
import logging
import os
import random
import secrets
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, cast

import aiomqtt
from paho.mqtt.client import Client, time_func
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agents.config.settings import AgentBrokerSettings
from agents.metrics.counters import Counters
from agents.mqtt.proxy import proxy_for
from agents.mqtt.websocket import WebSocketStream
from agents.protocol.bounds import MAX_ENVELOPE_BYTES
from agents.runtime.backoff import Backoff
from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

_KEEPALIVE_SECONDS: Final = 20
_MAX_QUEUED_MESSAGES: Final = 2_000
_INITIAL_BACKOFF_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 20.0
_STABLE_SECONDS: Final = 10.0
_HANDSHAKE_SECONDS: Final = 10.0
_MAX_IN_FLIGHT: Final = 20
"""Publications that wait for the broker's acknowledgement: paho's default."""

_MAX_ALIASES: Final = 2
"""Topics that are published to often: reports and statuses. Answers have a topic each."""

# Some brokers deliver only so many retained messages per subscription (the packaged one: 100).
SUBSCRIBE_BATCH: Final = 50

_READ_BYTES: Final = 64 * 1024
_MAX_QUEUED_BYTES: Final = 32 * 1024 * 1024
_MAX_PACKET_BYTES: Final = MAX_ENVELOPE_BYTES + 64 * 1024
"""The largest envelope, with topic and properties."""


class MessageHandler(Protocol):
    """Handles the topic and the payload of a message, and whether the broker had retained it."""

    def __call__(self, topic_name: str, payload: bytes, *, is_retained: bool) -> None:
        """Handles one message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """The last will: what the broker publishes when the session ends without a disconnect.

    Attributes:
        topic: topic to publish on.
        payload: the message.
        delay_seconds: time without a session before the broker publishes it.
    """

    topic: str
    payload: bytes
    delay_seconds: float


class BrokerConnection:
    """An open session. Every method may raise `aiomqtt.MqttError`."""

    def __init__(self, client: aiomqtt.Client, max_aliases: int = 0) -> None:
        """Uses a client that is connected, to a broker that takes so many topic aliases."""
        self._client = client
        self._max_aliases = max_aliases
        self._aliases: dict[str, int] = {}
        self._acknowledged: set[str] = set()

    async def publish(self, topic: str, payload: bytes, *, expiry_seconds: float) -> None:
        """Publishes at least once (QoS 1), not retained; the broker drops it when it expires."""
        properties = _properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = max(1, round(expiry_seconds))
        alias = self._alias_of(topic)
        if alias:
            properties.TopicAlias = alias
        # The broker knows an alias for sure once it has acknowledged a message with both.
        name, sent_at = "" if topic in self._acknowledged else topic, time_func()
        await self._client.publish(name, payload, qos=1, retain=False, properties=properties)
        _note_sent(self._client, sent_at)
        if alias:
            self._acknowledged.add(topic)
        raise_if_cancelled()

    def _alias_of(self, topic: str) -> int:
        """The alias of a topic in this session (MQTT 5, 3.3.2.3.4); 0: it has none."""
        if topic not in self._aliases and len(self._aliases) < self._max_aliases:
            self._aliases[topic] = len(self._aliases) + 1
        return self._aliases.get(topic, 0)

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribes, in batches; retained messages are delivered, also when they were before."""
        for batch in _batches(topics):
            await self._client.subscribe([(topic, 1) for topic in batch])
            raise_if_cancelled()

    async def unsubscribe(self, topics: Sequence[str]) -> None:
        """Ends subscriptions, in batches."""
        for batch in _batches(topics):
            await self._client.unsubscribe(list(batch))
            raise_if_cancelled()


@dataclass(slots=True, kw_only=True)
class AgentSession:
    """Keeps a session with the broker while `run` runs.

    Attributes:
        broker: address and credentials of the broker.
        client_id: fixed per agent, so that a reconnect cancels the will of the last session.
        will: the last will.
        topics: topics to subscribe to in every session.
        clock: for the pauses between attempts.
        jitter: chance as an input.
        counters: counts sessions.
        faults: the barrier around each session.
        connection: the open session; None while there is none.
    """

    broker: AgentBrokerSettings
    client_id: str
    will: Will
    topics: Sequence[str]
    clock: AgentClock
    jitter: random.Random
    counters: Counters
    faults: AgentFaults = field(default_factory=AgentFaults)
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
            on_message: called with topic and payload of every message, and whether the broker
                retained it; must not raise.
        """
        backoff = Backoff(
            initial_seconds=_INITIAL_BACKOFF_SECONDS,
            max_seconds=_MAX_BACKOFF_SECONDS,
            jitter=self.jitter,
        )
        while True:
            started = self.clock.monotonic()
            problem = "the broker sent what no client can read, or a file cannot be used"
            with self.faults.guard("session"):
                problem = await self._try_connection(on_connected, on_message)
            raise_if_cancelled()
            # A session that ends at once is no success: another client may have the same client id.
            if self.clock.monotonic() - started >= _STABLE_SECONDS:
                backoff.reset()
            pause = backoff.next_seconds()
            where = f"{self.broker.host}:{self.broker.port}"
            _log.warning("broker %s: %s; connecting again in %.1f s", where, problem, pause)
            await self.clock.sleep(pause)

    async def _try_connection(
        self, on_connected: Callable[[], None], on_message: MessageHandler
    ) -> str:
        """Runs one session to its end; returns why it has ended."""
        try:
            await self._run_connection(on_connected, on_message)
        except (aiomqtt.MqttError, OSError) as error:
            return ascii(str(error)[:300] or type(error).__name__)
        finally:
            self.connection = None
            self.counters.set("connected", 0)
        return "the broker closed the session"

    async def _run_connection(
        self, on_connected: Callable[[], None], on_message: MessageHandler
    ) -> None:
        client = self._build_client()
        try:
            _limit_reading(client)
            _choose_way(client, self.broker)
            limits = _keep_limits(client)
            async with client:
                connection = BrokerConnection(client, min(_MAX_ALIASES, limits.topic_aliases))
                await connection.subscribe(self.topics)
                self.connection = connection
                self.counters.set("connected", 1)
                self.counters.add("connects_total")
                _log.info("broker %s:%s: connected", self.broker.host, self.broker.port)
                on_connected()
                self._connected.set()
                async for message in client.messages:
                    on_message(str(message.topic), message.payload, is_retained=message.retain)
        finally:
            _close_socket(client)

    def _build_client(self) -> aiomqtt.Client:
        broker, will = self.broker, self.will
        delay = _properties(PacketTypes.WILLMESSAGE)
        delay.WillDelayInterval = round(will.delay_seconds)
        session = _properties(PacketTypes.CONNECT)
        # A will is sent at the latest when its session expires, so that must outlive the delay.
        session.SessionExpiryInterval = round(will.delay_seconds) + 1
        session.MaximumPacketSize = _MAX_PACKET_BYTES
        client = aiomqtt.Client(
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
            queue_type=BoundedQueue,
            # Without it the kernel delays small packets by 44 ms (Nagle's algorithm).
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        _pass_over_answers_to_nothing(client)
        return client


def build_probe(broker: AgentBrokerSettings, *, timeout_seconds: float) -> aiomqtt.Client:
    """A client that only shows whether the broker accepts this agent, on the agent's own way.

    Its random name takes over no session, and it has no will.

    Args:
        broker: address and credentials.
        timeout_seconds: longest wait for an answer.

    Raises:
        OSError: a file cannot be read, or the proxy that is named is none.
    """
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username or None,
        password=password_of(broker) or None,
        identifier=f"kapok-agent-doctor-{secrets.token_hex(8)}",
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=True,
        tls_context=tls_context_of(broker),
        timeout=timeout_seconds,
    )
    _limit_reading(client)
    _choose_way(client, broker)
    return client


def password_of(broker: AgentBrokerSettings) -> str:
    """The password; read for each session, so that it can be changed without a restart.

    Raises:
        OSError: the file cannot be read.
    """
    if broker.password_file:
        return Path(broker.password_file).read_text(encoding="utf-8").strip()
    return broker.password


def tls_context_of(broker: AgentBrokerSettings) -> ssl.SSLContext | None:
    """The TLS context (TLS 1.2 or later) with the client certificate, if any; None for no TLS.

    Created for each session, so that certificates can be renewed without a restart.

    Raises:
        OSError: a file cannot be read or is not a certificate.
    """
    if not broker.tls_ca_file:
        return None
    context = ssl.create_default_context(cafile=broker.tls_ca_file)
    if broker.tls_certificate_file:
        context.load_cert_chain(broker.tls_certificate_file, broker.tls_key_file or None)
    return context


class BoundedQueue(asyncio.Queue[aiomqtt.Message]):
    """Messages that wait to be handled, bounded by their bytes too; what is too much is dropped."""

    _bytes = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Adds a message; raises `asyncio.QueueFull` if there is no room for it."""
        if self._bytes + len(item.payload) > _MAX_QUEUED_BYTES:
            raise asyncio.QueueFull
        super().put_nowait(item)

    def _put(self, item: aiomqtt.Message) -> None:
        self._bytes += len(item.payload)
        super()._put(item)

    def _get(self) -> aiomqtt.Message:
        item: aiomqtt.Message = super()._get()
        self._bytes -= len(item.payload)
        return item


def _choose_way(client: aiomqtt.Client, broker: AgentBrokerSettings) -> None:
    """Makes paho connect through the proxy, and speak WebSocket within TLS, where that is set.

    Raises:
        OSError: the proxy that is named is none.
    """
    mqtt = client._client  # noqa: SLF001 - aiomqtt offers no other way
    _close_failed_handshakes(mqtt)
    proxy = proxy_for(broker.host, broker.proxy, os.environ)
    if proxy is not None:
        mqtt._create_socket_connection = partial(  # type: ignore[method-assign]  # noqa: SLF001 - as above
            proxy.connect, broker.host, broker.port
        )
    if broker.transport == "websockets":
        connect = mqtt._create_socket  # noqa: SLF001 - as above

        def open_stream() -> WebSocketStream:
            connection = cast("socket.socket", connect())
            try:
                return WebSocketStream(
                    connection,
                    host=_host_header(broker),
                    path=broker.websocket_path,
                    timeout_seconds=_HANDSHAKE_SECONDS,
                )
            except BaseException:
                connection.close()
                raise

        mqtt._create_socket = open_stream  # type: ignore[method-assign]  # noqa: SLF001 - as above


def _host_header(broker: AgentBrokerSettings) -> str:
    name = f"[{broker.host}]" if ":" in broker.host else broker.host
    default = 443 if broker.tls_ca_file else 80
    return name if broker.port == default else f"{name}:{broker.port}"


@dataclass(slots=True)
class _BrokerLimits:
    """What the broker says that it takes."""

    topic_aliases: int = 0


def _keep_limits(client: aiomqtt.Client) -> _BrokerLimits:
    """Makes paho send no more at once than the broker says it takes (MQTT 5, 3.2.2.3.3).

    Returns:
        The other limits, which are known once the client is connected.
    """
    limits = _BrokerLimits()
    mqtt = client._client  # noqa: SLF001 - aiomqtt offers no other way
    on_connect = mqtt.on_connect

    def heed(one: Client, data: object, flags: object, code: object, properties: object) -> None:
        maximum = getattr(properties, "ReceiveMaximum", _MAX_IN_FLIGHT)
        # paho's own setter refuses once there is a connection; nothing is in flight before this.
        one._max_inflight_messages = max(1, min(_MAX_IN_FLIGHT, maximum))  # noqa: SLF001 - as above
        limits.topic_aliases = getattr(properties, "TopicAliasMaximum", 0)
        on_connect(one, data, flags, code, properties)  # type: ignore[misc, arg-type, call-arg]

    mqtt.on_connect = heed
    return limits


def _limit_reading(client: aiomqtt.Client) -> None:
    """Ends a session whose broker sends what it must not, before that takes memory.

    A packet may have 256 MB, and of messages of QoS 2, which were never subscribed to, paho keeps
    65,535 until the broker lets them go.
    """
    mqtt = client._client  # noqa: SLF001 - aiomqtt offers no other way
    receive = mqtt._sock_recv  # noqa: SLF001 - as above

    def receive_bounded(bufsize: int) -> bytes:
        if bufsize > _MAX_PACKET_BYTES:
            raise ConnectionError(f"a packet of more than {_MAX_PACKET_BYTES} bytes")
        if mqtt._in_messages:  # noqa: SLF001 - as above
            raise ConnectionError("a message of QoS 2, which was not subscribed to")
        return receive(min(bufsize, _READ_BYTES))

    mqtt._sock_recv = receive_bounded  # type: ignore[method-assign]  # noqa: SLF001 - as above


def _close_failed_handshakes(mqtt: Client) -> None:
    """Closes a socket whose handshake fails, as with a certificate that is not trusted.

    paho leaves it to the garbage collector, and a site whose link leads to another server tries
    again for as long as that lasts.
    """

    def wrap(tcp_sock: socket.socket) -> ssl.SSLSocket:
        context = cast("ssl.SSLContext", mqtt._ssl_context)  # noqa: SLF001 - aiomqtt offers no other way
        # The context checks the name; `wrap_socket` closes what it cannot wrap.
        wrapped = context.wrap_socket(
            tcp_sock,
            server_hostname=mqtt.host,
            do_handshake_on_connect=False,
        )
        try:
            wrapped.settimeout(mqtt.connect_timeout)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    mqtt._ssl_wrap_socket = wrap  # type: ignore[method-assign]  # noqa: SLF001 - as above


def _note_sent(client: aiomqtt.Client, sent_at: float) -> None:
    """Has paho count a message that the broker acknowledged as a sign of life.

    paho 2.2 does not note what it writes, and so pings each time the keep-alive interval is over:
    48 bytes with TLS, 180 times an hour, although MQTT 5 (3.1.2.10) asks for it only where nothing
    else is sent. A connection that gives no sign of life is pinged as before.
    """
    mqtt = client._client  # noqa: SLF001 - aiomqtt offers no other way
    with mqtt._msgtime_mutex:  # noqa: SLF001 - as above
        mqtt._last_msg_out = max(mqtt._last_msg_out, sent_at)  # noqa: SLF001 - as above


def _pass_over_answers_to_nothing(client: aiomqtt.Client) -> None:
    """Ignores an answer to a subscription that is not, or no longer, waited for.

    It comes when an agent ends while it subscribes, and a broker may send as many as it likes:
    aiomqtt would write an error with a traceback for each.
    """
    mqtt = client._client  # noqa: SLF001 - aiomqtt offers no other way
    subscribed, unsubscribed = client._on_subscribe, client._on_unsubscribe  # noqa: SLF001 - as above

    def on_subscribe(one: Any, data: Any, number: int, *more: Any) -> None:  # noqa: ANN401 - paho's
        if number in client._pending_subscribes:  # noqa: SLF001 - as above
            subscribed(one, data, number, *more)

    def on_unsubscribe(one: Any, data: Any, number: int, *more: Any) -> None:  # noqa: ANN401 - as above
        if number in client._pending_unsubscribes:  # noqa: SLF001 - as above
            unsubscribed(one, data, number, *more)

    mqtt.on_subscribe, mqtt.on_unsubscribe = on_subscribe, on_unsubscribe


def _close_socket(client: aiomqtt.Client) -> None:
    """Closes the socket of a session that has ended, if it is still open.

    aiomqtt leaves it open and watched when the broker has sent what paho cannot read: the event
    loop would then call the reader again and again, and each session would leave a descriptor.
    """
    sock = client._client.socket()  # noqa: SLF001 - aiomqtt offers no other way
    if sock is None or sock.fileno() < 0:
        return
    loop = asyncio.get_running_loop()
    loop.remove_reader(sock.fileno())
    loop.remove_writer(sock.fileno())
    sock.close()


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho's is not annotated


def _batches(topics: Sequence[str]) -> Iterable[Sequence[str]]:
    return (topics[at : at + SUBSCRIBE_BATCH] for at in range(0, len(topics), SUBSCRIBE_BATCH))


def raise_if_cancelled() -> None:
    """Raises `CancelledError` if this task was cancelled and the cancellation was lost.

    That happens in two places: `asyncio.wait_for` of Python 3.11, which aiomqtt uses, swallows a
    cancellation that arrives together with the result it waits for; and a disconnect that times
    out raises its own error instead. A task is cancelled only once, so a loop around such a call
    has to check.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
