"""A socket that takes publications out of what the broker sends, before paho reads it.

paho reads a packet with five system calls, and its event-loop callback reads one packet at a time;
one client that floods the broker so keeps back what the broker sends for all others. Here one call
reads many packets. Publications of QoS 0 go straight to a handler; all other packets are passed on
to paho byte by byte, so that it keeps the session as ever.
"""

import socket
import ssl
from collections.abc import Callable

PublicationHandler = Callable[[str, bytes, bool], None]
"""Called with topic, payload, and whether the message is a retained one; must not raise."""

_READ_BYTES = 128 * 1024
_PUBLISH, _QOS_BITS, _QOS_2_BIT, _RETAIN_BIT = 3, 0b0110, 0b0100, 0b0001
_MAX_LENGTH_BYTES = 4


class PublicationSocket:
    """Stands for the connected socket of a paho client (MQTT 5)."""

    def __init__(
        self,
        connected: socket.socket,
        on_publication: PublicationHandler,
        *,
        max_packet_bytes: int,
    ) -> None:
        self._socket = connected
        self._on_publication = on_publication
        self._max_packet_bytes = max_packet_bytes
        self._received = bytearray()
        self._others = bytearray()

    def recv(self, size: int) -> bytes:
        """Bytes of packets that are no publications of QoS 0; b"" at the end of the connection.

        Raises:
            BlockingIOError: there are none now.
            OSError: the connection failed, or the broker sent what MQTT does not allow.
        """
        if not self._others:
            data = self._socket.recv(_READ_BYTES)
            if not data:
                return b""
            self._received += data
            self._sort_packets()
            if not self._others:
                raise BlockingIOError
        found = bytes(self._others[:size])
        del self._others[:size]
        return found

    def pending(self) -> int:
        """Bytes that can be read without waiting for the socket."""
        inner = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._others) + inner

    def send(self, data: bytes) -> int:
        """Sends bytes as a socket does."""
        return self._socket.send(data)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def _sort_packets(self) -> None:
        data, at = self._received, 0
        while (found := self._packet_at(at)) is not None:
            body, end = found
            head = data[at]
            if head >> 4 == _PUBLISH and not head & _QOS_BITS:
                self._publish(bytes(data[body:end]), is_retained=bool(head & _RETAIN_BIT))
            elif head >> 4 == _PUBLISH and head & _QOS_2_BIT:
                # Never subscribed to; paho keeps each one until the broker lets it go.
                raise OSError("the broker sent a publication of QoS 2")
            else:
                self._others += data[at:end]
            at = end
        del data[:at]

    def _packet_at(self, at: int) -> tuple[int, int] | None:
        """Where the body of a packet begins and ends; None if it has not arrived completely."""
        length = _variable_integer(self._received, at + 1)
        if length is None:
            return None
        size, body = length
        if size > self._max_packet_bytes:
            raise OSError(f"the broker sent a packet of {size} bytes")
        end = body + size
        return (body, end) if end <= len(self._received) else None

    def _publish(self, body: bytes, *, is_retained: bool) -> None:
        topic_end = 2 + int.from_bytes(body[:2], "big")
        properties = _variable_integer(body, topic_end)
        if properties is None or sum(properties) > len(body):
            raise OSError("the broker sent a publication that is cut short")
        try:
            topic = body[2:topic_end].decode()
        except UnicodeDecodeError:
            topic = ""  # counted as a wrong topic
        self._on_publication(topic, body[sum(properties) :], is_retained)


def _variable_integer(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """A variable byte integer, and where it ends; None if more bytes are needed.

    Raises:
        OSError: it has more than four bytes.
    """
    value = 0
    for index, byte in enumerate(data[at : at + _MAX_LENGTH_BYTES]):
        value |= (byte & 127) << (7 * index)
        if not byte & 128:
            return value, at + index + 1
        if index == _MAX_LENGTH_BYTES - 1:
            raise OSError("the broker sent a length of more than four bytes")
    return None
