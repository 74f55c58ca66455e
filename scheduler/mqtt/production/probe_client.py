"""One session of a probe with a broker: connects as a client, publishes, subscribes, listens.

It is synchronous and bounded: every step ends by a deadline, whatever the broker does. A broker is
also tried with what the session of the scheduler never does: a link that is cut, and messages that
are not acknowledged.
"""

import queue
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, Final, Literal, Self, cast
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_KEEP_ALIVE_SECONDS: Final = 20
_MAX_WAITING: Final = 10_000
_LOOK_SECONDS: Final = 0.1
_REFUSED: Final = 0x80
_NAME_PEM_FILES: Final = "name PEM files that belong together, with --ca, --cert, --key"


class ProbeFailure(Exception):
    """A session cannot be had.

    Attributes:
        path: what it is about: `connect`, `tls`, `login`, `mqtt-5` or `session`.
        what: what was seen.
        instead: what to do.
    """

    def __init__(self, path: str, what: str, instead: str) -> None:
        super().__init__(what)
        self.path, self.what, self.instead = path, what, instead


@dataclass(frozen=True, slots=True)
class ProbeAddress:
    """Where the broker is.

    Attributes:
        scheme: mqtt, mqtts, ws or wss.
        host: name or address.
        port: TCP port.
        path: path of MQTT over WebSocket.
    """

    scheme: str
    host: str
    port: int
    path: str = "/mqtt"

    @classmethod
    def parse(cls, url: str) -> "ProbeAddress":
        """Reads `SCHEME://HOST[:PORT][/PATH]`.

        Raises:
            ValueError: it is none; the message says what to write.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r}: expected mqtts://HOST:8883, mqtt://…, wss://… or ws://…")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user and password do not belong in the URL: see --username")
        return cls(
            parts.scheme,
            parts.hostname,
            parts.port or _PORTS[parts.scheme],
            parts.path if parts.path not in ("", "/") else "/mqtt",
        )

    @property
    def is_encrypted(self) -> bool:
        """Whether it is reached with TLS."""
        return self.scheme in ("mqtts", "wss")

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def transport(self) -> Literal["tcp", "websockets"]:
        """Paho's word for the transport."""
        return "websockets" if self.scheme in ("ws", "wss") else "tcp"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeIdentity:
    """The client to connect as.

    Attributes:
        name: for messages.
        ca_file: CA certificate of the broker's certificate; empty: those of the system.
        certificate_file: client certificate; empty for none.
        key_file: its key; empty if it is in the same file.
        username: user name; empty for none.
        password: its password; left out of `repr`.
    """

    name: str
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether the broker gets no name of this client."""
        return not (self.certificate_file or self.username)

    def tls_context(self) -> ssl.SSLContext:
        """The TLS context.

        Raises:
            ProbeFailure: a file cannot be read or is not what it should be.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.certificate_file:
                context.load_cert_chain(
                    self.certificate_file, self.key_file or None, password=lambda: b""
                )
        except (OSError, ValueError) as error:
            names = ", ".join(filter(None, (self.ca_file, self.certificate_file, self.key_file)))
            raise ProbeFailure("tls", f"{names}: {error}", _NAME_PEM_FILES) from None
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSession:
    """How to connect, apart from place and identity.

    Attributes:
        client_id: empty: a random one.
        is_clean: whether the broker forgets an earlier session of this id.
        expiry_seconds: how long the session outlives its connection.
        receive_maximum: messages of QoS 1 that may wait for an acknowledgement; None: not said.
        acknowledges: whether they are acknowledged.
        will: topic, payload and delay in seconds of the last will; None for none.
    """

    client_id: str = ""
    is_clean: bool = True
    expiry_seconds: int = 0
    receive_maximum: int | None = None
    acknowledges: bool = True
    will: tuple[str, bytes, int] | None = None


@dataclass(frozen=True, slots=True)
class ProbeMessage:
    """A message that arrived.

    Attributes:
        topic: its topic.
        payload: its payload.
        is_retained: whether the broker had retained it.
    """

    topic: str
    payload: bytes
    is_retained: bool


class _WatchedClient(paho.Client):
    """Paho's client, which hands over what its thread fails on, and leaves no socket open then."""

    on_fault: Callable[[Exception], None] = staticmethod(lambda _error: None)
    opened: socket.socket | None = None

    def _create_socket_connection(self) -> socket.socket:
        self.opened = super()._create_socket_connection()
        return self.opened

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        context = cast("ssl.SSLContext", self._ssl_context)
        wrapped = context.wrap_socket(
            tcp_sock, server_hostname=self._host, do_handshake_on_connect=False
        )
        self.opened = wrapped
        wrapped.settimeout(self.connect_timeout)
        wrapped.do_handshake()
        return wrapped

    def _thread_main(self) -> None:
        try:
            super()._thread_main()
        except Exception as error:  # noqa: BLE001 - whatever a broker sends, it is named
            self.on_fault(error)


class ProbeClient:
    """One session; a context manager that connects and disconnects.

    Attributes:
        capabilities: properties of the broker's CONNACK, by paho's names.
        has_earlier_session: whether the broker had kept an earlier session of this client id.
    """

    def __init__(
        self,
        address: ProbeAddress,
        identity: ProbeIdentity,
        session: ProbeSession | None = None,
        *,
        timeout_seconds: float,
    ) -> None:
        self.capabilities: dict[str, Any] = {}
        self.has_earlier_session = False
        self._address, self._identity = address, identity
        self._session = session or ProbeSession()
        self._timeout_seconds = timeout_seconds
        self._messages: queue.Queue[ProbeMessage] = queue.Queue(_MAX_WAITING)
        self._answers: dict[int, Sequence[ReasonCode]] = {}
        self._answered = threading.Condition()
        self._end, self._is_cut = "", False
        self._outcome: queue.Queue[ProbeFailure | None] = queue.Queue()
        self._client = self._build()

    def __enter__(self) -> Self:
        """Connects.

        Raises:
            ProbeFailure: there is no session within the time-out.
        """
        threading.Thread(target=self._run, name="broker probe", daemon=True).start()
        try:
            failure = self._outcome.get(timeout=self._timeout_seconds)
        except queue.Empty:
            failure = ProbeFailure(
                "connect",
                f"{self._address} accepts connections and does not answer MQTT within"
                f" {self._timeout_seconds:g} s",
                "is this the port of MQTT, and with TLS only where the URL says so?",
            )
        if failure is not None:
            self.cut()
            raise failure
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError, ValueError):
            self._client.disconnect()

    def cut(self) -> None:
        """Ends the connection as a link does that goes down: without a word to the broker."""
        self._is_cut = True
        if self._client.opened is not None:
            with suppress(OSError):
                self._client.opened.shutdown(socket.SHUT_RDWR)

    def subscribe(self, *topics: str) -> bool:
        """Subscribes with QoS 1; returns whether the broker has granted every topic."""
        wanted = [(topic, SubscribeOptions(qos=1)) for topic in topics]
        _, number = self._client.subscribe(wanted)
        return number is not None and not self._is_refused(number)

    def publish(
        self, topic: str, payload: bytes, *, is_retained: bool = False, expiry_seconds: int = 60
    ) -> bool:
        """Publishes with QoS 1; returns whether the broker has taken the message."""
        return not self._is_refused(
            self.send(topic, payload, is_retained=is_retained, expiry_seconds=expiry_seconds)
        )

    def send(
        self, topic: str, payload: bytes, *, is_retained: bool = False, expiry_seconds: int = 60
    ) -> int:
        """Publishes without waiting for the answer; returns its number for `is_taken`."""
        properties = _properties(PacketTypes.PUBLISH)
        if payload:
            properties.MessageExpiryInterval = expiry_seconds
        sent = self._client.publish(topic, payload, 1, is_retained, properties)
        return sent.mid

    def is_taken(self, number: int) -> bool:
        """Whether the broker has taken the message with this number."""
        return not self._is_refused(number)

    def wait_for(self, topic: str, seconds: float | None = None) -> ProbeMessage | None:
        """Waits for a message on a topic, passing over others; None: none came in time."""
        return next(iter(self.collect({topic}, seconds)), None)

    def collect(self, topics: set[str], seconds: float | None = None) -> list[ProbeMessage]:
        """Waits until each topic has had a message, or the time is over; returns the messages."""
        deadline = monotonic() + (self._timeout_seconds if seconds is None else seconds)
        found: dict[str, ProbeMessage] = {}
        while len(found) < len(topics) and (left := deadline - monotonic()) > 0:
            with suppress(queue.Empty):
                message = self._messages.get(timeout=min(left, _LOOK_SECONDS))
                if message.topic in topics:
                    found[message.topic] = message
            self._raise_if_ended()
        return list(found.values())

    def drain(self, seconds: float) -> list[ProbeMessage]:
        """Everything that arrives within a time."""
        deadline, found = monotonic() + seconds, []
        while (left := deadline - monotonic()) > 0:
            with suppress(queue.Empty):
                found.append(self._messages.get(timeout=left))
        return found

    def _raise_if_ended(self) -> None:
        if self._end and not self._is_cut:
            raise ProbeFailure(
                "session",
                f"{self._address} ended the session of {self._identity.name}: {self._end}",
                "see the findings above and the broker's log, and try again",
            )

    def _is_refused(self, number: int) -> bool:
        with self._answered:
            self._answered.wait_for(
                lambda: bool(self._end) or number in self._answers, self._timeout_seconds
            )
            self._raise_if_ended()
            answers = self._answers.pop(number, ())
        return not answers or any(one.value >= _REFUSED for one in answers)

    def _build(self) -> _WatchedClient:
        address, session = self._address, self._session
        client = _WatchedClient(
            CallbackAPIVersion.VERSION2,
            client_id=session.client_id or f"kapok-check-{secrets.token_hex(8)}",
            protocol=paho.MQTTv5,
            transport=address.transport,
            reconnect_on_failure=False,
            manual_ack=not session.acknowledges,
        )
        client.max_inflight_messages_set(200)
        client.connect_timeout = self._timeout_seconds
        if address.transport == "websockets":
            client.ws_set_options(path=address.path)
        if address.is_encrypted:
            client.tls_set_context(self._identity.tls_context())
        if self._identity.username:
            client.username_pw_set(self._identity.username, self._identity.password or None)
        if session.will:
            topic, payload, delay_seconds = session.will
            properties = _properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = delay_seconds
            client.will_set(topic, payload, 1, retain=False, properties=properties)
        client.on_fault = self._fail
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        return client

    def _run(self) -> None:
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._session.expiry_seconds
        if self._session.receive_maximum is not None:
            properties.ReceiveMaximum = self._session.receive_maximum
        try:
            self._client.connect(
                self._address.host,
                self._address.port,
                _KEEP_ALIVE_SECONDS,
                clean_start=self._session.is_clean,
                properties=properties,
            )
            self._client.loop_start()
        except Exception as error:  # noqa: BLE001 - whatever a broker sends, it is named
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._client.opened is not None:
            self._client.opened.close()
        self._outcome.put(describe_failure(self._address, error))

    def _on_connect(self, *words: Any) -> None:  # noqa: ANN401 - as paho has it
        flags, code, properties = cast("tuple[Any, ReasonCode, Properties | None]", words[2:5])
        self.has_earlier_session = bool(flags.session_present)
        if properties is not None:
            self.capabilities = vars(properties)
        if not code.is_failure:
            self._outcome.put(None)
        elif "protocol version" in str(code).lower():
            self._outcome.put(
                ProbeFailure("mqtt-5", f"{self._address} refuses MQTT 5: {code}", _USE_MQTT_5)
            )
        else:
            self._outcome.put(
                ProbeFailure(
                    "login",
                    f"{self._address} refuses {self._identity.name}: {code}",
                    "name the certificate or the user that the broker knows",
                )
            )

    def _on_disconnect(self, *words: Any) -> None:  # noqa: ANN401 - as paho has it
        self._end = str(words[3])
        with self._answered:
            self._answered.notify_all()
        self._outcome.put(
            ProbeFailure(
                "login",
                f"{self._address} ends the connection before it answers",
                "name a client certificate with --cert and --key, or a user with --username;"
                " a broker of MQTT 3 alone may do this too",
            )
        )

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with suppress(queue.Full, UnicodeDecodeError):
            self._messages.put_nowait(
                ProbeMessage(message.topic, bytes(message.payload), message.retain)
            )

    def _on_publish(self, *words: Any) -> None:  # noqa: ANN401 - as paho has it
        self._answer(words[2], [words[3]])

    def _on_subscribe(self, *words: Any) -> None:  # noqa: ANN401 - as paho has it
        self._answer(words[2], words[3])

    def _answer(self, number: int, codes: Sequence[ReasonCode]) -> None:
        with self._answered:
            self._answers[number] = codes
            self._answered.notify_all()


_USE_MQTT_5: Final = "use a broker that speaks MQTT 5: mosquitto 2, EMQX 5, BifroMQ"


_CAUSES: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (
        ssl.SSLCertVerificationError,
        "tls",
        "name its CA with --ca, use the name it was made for, check both clocks, or renew it",
    ),
    (
        ssl.SSLError,
        "tls",
        "is this a port with TLS? Has the broker's CA signed the certificate named by --cert?",
    ),
    (socket.gaierror, "connect", "check the name, or the DNS server"),
    (ConnectionRefusedError, "connect", "start the broker, or name its port"),
    (
        paho.WebsocketConnectionError,
        "connect",
        "is this a WebSocket listener, and is its path that of the URL (usually /mqtt)?",
    ),
    (
        TimeoutError,
        "connect",
        "is there a firewall, or a port that does not speak as the URL says?",
    ),
    (OSError, "connect", "check address, network and firewall"),
    (Exception, "mqtt-5", _USE_MQTT_5),
)
"""Errors of a connection, the narrower before the wider: what they are about, and what to do."""


def describe_failure(address: ProbeAddress, error: Exception) -> ProbeFailure:
    """What keeps a connection from being made, and what to do about it."""
    path, instead = next((path, do) for kind, path, do in _CAUSES if isinstance(error, kind))
    text = str(error)[:300] or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the broker's certificate: {error.verify_message}"
    elif isinstance(error, TimeoutError):
        text = f"it does not answer ({text})"
    return ProbeFailure(path, f"{address}: {text}", instead)


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho's is not annotated
