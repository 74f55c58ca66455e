"""A broker that speaks enough MQTT 5 for one agent, and then sends whatever a test makes up."""

import base64
import json
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_CONNECT, _PUBLISH, _SUBSCRIBE, _UNSUBSCRIBE, _PING = 1, 3, 8, 10, 12


@dataclass(slots=True)
class HostileBroker:
    """What the agent said, and what it is sent.

    Attributes:
        port: of loopback.
        garbage: bytes to send after every subscription.
        connections: of every session.
        client_ids: of every session.
        payloads: decoded payloads of what the agent published, with their topic.
    """

    port: int
    garbage: bytes = b""
    connections: list[socket.socket] = field(default_factory=list)
    client_ids: list[str] = field(default_factory=list)
    payloads: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def newest(self, kind: str) -> dict[str, Any]:
        """The newest payload on a topic of this kind; {} if there is none."""
        found = [tree for topic, tree in self.payloads if topic.endswith(f"/{kind}")]
        return found[-1] if found else {}

    def send(self, data: bytes) -> None:
        """Sends bytes to the newest session, if it is still open."""
        with suppress(OSError):
            self.connections[-1].sendall(data)

    def serve(self, connection: socket.socket) -> None:
        """One session."""
        self.connections.append(connection)
        with connection, suppress(OSError, EOFError):
            while True:
                self._answer(connection, *_read_packet(connection))

    def _answer(self, connection: socket.socket, head: int, body: bytes) -> None:
        kind = head >> 4
        if kind == _CONNECT:
            at = 10 + 1 + body[10]  # no client's properties are longer than 127 bytes
            self.client_ids.append(_text_at(body, at))
            connection.sendall(b"\x20\x03\x00\x00\x00")
        elif kind == _SUBSCRIBE:
            connection.sendall(b"\x90" + _with_length(body[:2] + b"\x00" + b"\x01" * _topics(body)))
            connection.sendall(self.garbage)
        elif kind == _UNSUBSCRIBE:
            connection.sendall(b"\xb0" + _with_length(body[:2] + b"\x00" + b"\x00" * 50))
        elif kind == _PING:
            connection.sendall(b"\xd0\x00")
        elif kind == _PUBLISH:
            self._keep(body)
            at = 2 + struct.unpack("!H", body[:2])[0]
            connection.sendall(b"\x40\x02" + body[at : at + 2])

    def _keep(self, body: bytes) -> None:
        topic = _text_at(body, 0)
        at = 2 + len(topic) + 2
        envelope = json.loads(body[at + 1 + body[at] :])
        payload = base64.b64decode(envelope["payload"])
        if envelope["encoding"] == "deflate":
            payload = zlib.decompress(payload)
        self.payloads.append((topic, json.loads(payload)))


def publish(topic: str | bytes, payload: bytes) -> bytes:
    """A PUBLISH packet of QoS 0."""
    name = topic.encode() if isinstance(topic, str) else topic
    return b"\x30" + _with_length(struct.pack("!H", len(name)) + name + b"\x00" + payload)


def publish_held(topic: str, number: int, payload: bytes) -> bytes:
    """A PUBLISH packet of QoS 2, which its receiver keeps until it is released."""
    name = topic.encode()
    head = struct.pack("!H", len(name)) + name + struct.pack("!H", number) + b"\x00"
    return b"\x34" + _with_length(head + payload)


@contextmanager
def hostile_broker(garbage: bytes = b"") -> Iterator[HostileBroker]:
    """A broker that serves until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = HostileBroker(server.getsockname()[1], garbage)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=broker.serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield broker
        server.shutdown(socket.SHUT_RDWR)


def _read_packet(connection: socket.socket) -> tuple[int, bytes]:
    head = _read(connection, 1)[0]
    length, shift = 0, 0
    while True:
        byte = _read(connection, 1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return head, _read(connection, length)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _text_at(body: bytes, at: int) -> str:
    size = struct.unpack("!H", body[at : at + 2])[0]
    return body[at + 2 : at + 2 + size].decode()


def _topics(body: bytes) -> int:
    at, found = 3 + body[2], 0
    while at < len(body):
        at += 2 + struct.unpack("!H", body[at : at + 2])[0] + 1
        found += 1
    return found


def _with_length(body: bytes) -> bytes:
    length, size = len(body), b""
    while True:
        length, byte = divmod(length, 128)
        size += bytes([byte | (128 if length else 0)])
        if not length:
            return size + body
