"""MQTT over WebSocket (RFC 6455), for sites from which only HTTPS gets out.

paho has its own, which keeps a whole frame in memory and copies it for every packet in it, answers
pings without a mask, and lets a frame be as long as the peer says. The peer may be hostile here, so
this one holds at most one read and one write, whatever the lengths of frames.
"""

import base64
import hashlib
import os
import socket
import ssl
from contextlib import suppress
from time import monotonic
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_READ_BYTES: Final = 64 * 1024
_MAX_FRAME_BYTES: Final = 64 * 1024
_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_CONTROL_BYTES: Final = 125
_MAX_WAITING_BYTES: Final = 4 * _MAX_CONTROL_BYTES
_LENGTH_16, _LENGTH_64 = 126, 127
_FINAL, _MASKED = 0x80, 0x80
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA


def read_http_head(connection: socket.socket, deadline: float) -> list[str]:
    """The lines of an HTTP answer up to its empty line; nothing after it is read.

    Args:
        connection: a blocking socket.
        deadline: on the monotonic clock.

    Raises:
        OSError: it ends, is too long, or takes too long.
    """
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        if len(head) >= _MAX_HEAD_BYTES or (left := deadline - monotonic()) <= 0:
            raise ConnectionError("no HTTP answer")
        connection.settimeout(left)
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("the connection ended before an HTTP answer")
        head += byte
    return head.decode("latin-1").split("\r\n")


class WebSocketStream:
    """The bytes in the binary frames of a WebSocket, as the part of a socket that paho uses.

    Args of the constructor:
        connection: a connected socket, with TLS or without; closed with the stream.
        host: name or address for the request.
        path: path of the endpoint.
        timeout_seconds: longest time of the handshake.

    Raises:
        OSError: the peer is no WebSocket endpoint; the message says what it answered.
    """

    def __init__(
        self, connection: socket.socket, *, host: str, path: str, timeout_seconds: float
    ) -> None:
        self._socket = connection
        self._raw, self._payload, self._out = bytearray(), bytearray(), bytearray()
        self._left_in_frame = 0
        self._framed_bytes = 0
        self._is_closed = False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shake_hands(host, path, monotonic() + timeout_seconds)

    def _shake_hands(self, host: str, path: str, deadline: float) -> None:
        key = base64.b64encode(os.urandom(16))
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        self._socket.settimeout(max(0.1, deadline - monotonic()))
        self._socket.sendall(request.encode())
        status, *fields = read_http_head(self._socket, deadline)
        # RFC 6455, 4.2.2: the answer proves that it was made for this key.
        digest = hashlib.sha1(key + _GUID).digest()  # noqa: S324 - what the protocol says
        expected = base64.b64encode(digest).decode()
        given = (one.partition(":")[2].strip() for one in fields if _is_accept(one))
        if status.split(" ")[1:2] != ["101"] or expected not in given:
            raise ConnectionError(f"no WebSocket at {path}: {status[:100]!a}")

    # ------------------------------------------------------------ what paho and asyncio call

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as of a socket
        """As of a socket."""
        self._socket.setblocking(flag)

    def pending(self) -> int:
        """Bytes that can be read without the descriptor becoming readable."""
        below = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._payload) + below

    def close(self) -> None:
        """Closes the connection."""
        self._is_closed = True
        self._socket.close()

    def recv(self, size: int) -> bytes:
        """At most `size` bytes; none when the peer has ended.

        Raises:
            OSError: `BlockingIOError` or `ssl.SSLWantReadError` if there is nothing yet;
                `ConnectionError` if the peer breaks the protocol.
        """
        while not self._payload and not self._is_closed:
            data = self._socket.recv(_READ_BYTES)
            if not data:
                return b""
            self._raw += data
            self._decode()
        taken = bytes(self._payload[:size])
        del self._payload[:size]
        return taken

    def send(self, data: bytes | bytearray) -> int:
        """Sends a frame; returns how many bytes of `data` are in it.

        Raises:
            OSError: `BlockingIOError` or `ssl.SSLWantWriteError` if not all of the frame could be
                sent; the next call, with the same data, goes on with it.
        """
        if not self._framed_bytes:
            piece = bytes(data[:_MAX_FRAME_BYTES])
            self._out += _frame(_BINARY, piece)
            self._framed_bytes = len(piece)
        self._flush()
        sent, self._framed_bytes = self._framed_bytes, 0
        return sent

    def _flush(self) -> None:
        while self._out:
            del self._out[: self._socket.send(self._out)]

    # ------------------------------------------------------------ frames

    def _decode(self) -> None:
        while self._raw and not self._is_closed:
            if self._left_in_frame:
                taken = min(self._left_in_frame, len(self._raw))
                self._payload += self._raw[:taken]
                del self._raw[:taken]
                self._left_in_frame -= taken
            elif not self._decode_head():
                return

    def _decode_head(self) -> bool:
        """Reads the head of a frame, and a whole control frame; False: it is not here yet."""
        if len(self._raw) < 2:  # noqa: PLR2004 - the shortest head
            return False
        code, length = self._raw[0] & 0x0F, self._raw[1] & 0x7F
        if self._raw[0] & 0x70 or self._raw[1] & _MASKED:
            raise ConnectionError("a WebSocket frame with extensions or a mask")
        if code in (_CLOSE, _PING, _PONG):
            return self._decode_control(code, length)
        if code not in (_BINARY, _CONTINUATION):
            raise ConnectionError(f"a WebSocket frame of kind {code}; MQTT uses binary ones")
        size = {_LENGTH_16: 2, _LENGTH_64: 8}.get(length, 0)
        if len(self._raw) < 2 + size:
            return False
        self._left_in_frame = int.from_bytes(self._raw[2 : 2 + size]) if size else length
        del self._raw[: 2 + size]
        return True

    def _decode_control(self, code: int, length: int) -> bool:
        if length > _MAX_CONTROL_BYTES:
            raise ConnectionError("a WebSocket control frame of more than 125 bytes")
        if len(self._raw) < 2 + length:
            return False
        body = bytes(self._raw[2 : 2 + length])
        del self._raw[: 2 + length]
        if code == _CLOSE:
            self._is_closed = True
        elif code == _PING and len(self._out) < _MAX_WAITING_BYTES:
            self._out += _frame(_PONG, body)
            with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._flush()  # what stays goes with the next frame
        return True


def _is_accept(field: str) -> bool:
    return field.lower().startswith("sec-websocket-accept:")


def _frame(code: int, data: bytes) -> bytes:
    """A final frame with a mask, as every frame of a client has (RFC 6455, 5.3)."""
    size = len(data)
    if size < _LENGTH_16:
        head = bytes([_FINAL | code, _MASKED | size])
    elif size <= 0xFFFF:  # noqa: PLR2004 - 16 bits
        head = bytes([_FINAL | code, _MASKED | _LENGTH_16]) + size.to_bytes(2)
    else:
        head = bytes([_FINAL | code, _MASKED | _LENGTH_64]) + size.to_bytes(8)
    mask = os.urandom(4)
    repeated = int.from_bytes((mask * (size // 4 + 1))[:size])
    return head + mask + (int.from_bytes(data) ^ repeated).to_bytes(size)
