"""The WebSocket stream: every cut of the bytes, and peers that break the protocol."""

import base64
import hashlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from agents.mqtt.websocket import WebSocketStream

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MIB = 1024 * 1024


def frame(code: int, data: bytes, *, head: int = 0x80) -> bytes:
    """A frame of a server, which has no mask."""
    size = len(data)
    if size < 126:
        return bytes([head | code, size]) + data
    if size < 65_536:
        return bytes([head | code, 126]) + struct.pack("!H", size) + data
    return bytes([head | code, 127]) + struct.pack("!Q", size) + data


def answer_to(request: bytes) -> bytes:
    key = next(one for one in request.split(b"\r\n") if one.startswith(b"Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1(key.split(b": ")[1] + GUID).digest())  # noqa: S324
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nsec-websocket-accept: " + accept + b"\r\n\r\n"
    )


@contextmanager
def stream(answer: bytes | None = None) -> Iterator[tuple[WebSocketStream, socket.socket]]:
    """A stream, and the server's end of it; `answer` is instead of the right one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve() -> None:
        request = theirs.recv(4096)
        theirs.sendall(answer_to(request) if answer is None else answer)

    server = threading.Thread(target=serve)
    server.start()
    with closing(ours), closing(theirs), pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "TCP_NODELAY", socket.SO_KEEPALIVE)
        patch.setattr(socket, "IPPROTO_TCP", socket.SOL_SOCKET)
        try:
            one = WebSocketStream(ours, host="a", path="/mqtt", timeout_seconds=0.5)
            one.setblocking(False)  # noqa: FBT003 - as of a socket
            yield one, theirs
        finally:
            server.join()


def read(one: WebSocketStream, size: int) -> bytes:
    found = b""
    while len(found) < size:
        try:
            piece = one.recv(size - len(found))
        except BlockingIOError:
            return found
        if not piece:
            return found
        found += piece
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_bytes_arrive_whatever_the_frames_and_the_reads_are(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test, seeded
    parts = [chance.randbytes(chance.choice((0, 1, 125, 126, 3_000))) for _ in range(20)]
    wire = b"".join(
        frame(0x2 if number % 3 else 0x0, part, head=chance.choice((0, 0x80)))
        + (frame(0x9, b"ping") if number % 4 == 0 else b"")
        for number, part in enumerate(parts)
    )
    with stream() as (one, server):
        found = b""
        for at in range(0, len(wire), step := chance.choice((1, 7, 1000))):
            server.sendall(wire[at : at + step])
            found += read(one, chance.choice((1, 2, 5_000)))
            while one.pending():
                found += one.recv(10_000)
        assert found == b"".join(parts)
        pongs = server.recv(10_000)
        assert pongs[0] == 0x8A
        assert pongs[1] & 0x80


def test_what_is_sent_is_masked_and_whole_after_a_full_pipe() -> None:
    data = random.Random(1).randbytes(2 * MIB)  # noqa: S311 - a test, seeded
    with stream() as (one, server):
        server.settimeout(5)
        sent, got = 0, bytearray()
        while sent < len(data):
            try:
                sent += one.send(data[sent:])
            except BlockingIOError:
                got += server.recv(65_536)
        server.settimeout(0)
        while True:
            try:
                got += server.recv(MIB)
            except BlockingIOError:
                break
    assert unmasked(bytes(got)) == data


def unmasked(wire: bytes) -> bytes:
    found, at = bytearray(), 0
    while at < len(wire):
        assert wire[at] == 0x82
        assert wire[at + 1] & 0x80
        size, at = wire[at + 1] & 0x7F, at + 2
        extra = {126: 2, 127: 8}.get(size, 0)
        if extra:
            size = int.from_bytes(wire[at : at + extra])
        mask, at = wire[at + extra : at + extra + 4], at + extra + 4
        body = wire[at : at + size]
        repeated = (mask * (size // 4 + 1))[:size]
        found += (int.from_bytes(body) ^ int.from_bytes(repeated)).to_bytes(size)
        at += size
    return bytes(found)


def test_an_endless_frame_takes_no_memory() -> None:
    with stream() as (one, server):
        server.sendall(bytes([0x82, 127]) + struct.pack("!Q", 2**62))
        for _ in range(100):
            server.sendall(b"x" * 65_536)
            assert read(one, 65_536) == b"x" * 65_536
        held = sum(len(getattr(one, name)) for name in ("_raw", "_payload", "_out"))
        assert held <= 65_536


def test_a_flood_of_pings_is_not_kept() -> None:
    with stream() as (one, server):
        for _ in range(2_000):
            server.sendall(frame(0x9, b"p" * 125))
            assert read(one, 1) == b""
        assert len(getattr(one, "_out")) < 1_000  # noqa: B009 - nothing else shows it


@pytest.mark.parametrize(
    ("wire", "word"),
    [
        (bytes([0xC2, 0]), "extensions"),
        (bytes([0x82, 0x81]), "mask"),
        (bytes([0x81, 1]) + b"a", "kind 1"),
        (bytes([0x89, 126]) + b"\0\xff", "125"),
    ],
)
def test_a_frame_that_breaks_the_protocol_ends_the_session(wire: bytes, word: str) -> None:
    with stream() as (one, server):
        server.sendall(wire)
        with pytest.raises(ConnectionError, match=word):
            one.recv(1)


def test_an_end_is_an_end() -> None:
    with stream() as (one, server):
        server.sendall(frame(0x2, b"last") + frame(0x8, b""))
        assert (one.recv(10), one.recv(10)) == (b"last", b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nsec-websocket-accept: d3Jvbmc=\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"\r\n\r\n",
        b"x" * 20_000,
        b"HTTP/1.1 101 slow",
    ],
)
def test_a_peer_that_is_none_is_refused_in_time(answer: bytes) -> None:
    with pytest.raises(OSError), stream(answer):  # noqa: PT011 - several kinds
        pass
