"""Bounds the size of a response and the time that all of it may take.

A socket's timeout only bounds the wait for the next byte. A server that sends one byte every few
seconds would hold a worker thread for ever, so the timeout shrinks with what is left of the total.
"""

import http.client
import io
import mmap
import socket
from functools import partial
from typing import Any, Final

from agents.runtime.clock import AgentSystemClock

MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024
"""More than twice the largest object; of a list, fewer objects are asked for then."""

TOTAL_SECONDS: Final = 30.0

_CHUNK_BYTES: Final = 64 * 1024
_MIN_TIMEOUT_SECONDS: Final = 0.001
_CLOCK: Final = AgentSystemClock()  # a socket waits in real time, whatever clock the loops have


class ResponseTooLarge(http.client.HTTPException):
    """A response has more than `MAX_RESPONSE_BYTES` bytes; what was read of it is dropped."""


def limit_time(connection: http.client.HTTPConnection, *, idle_seconds: float) -> None:
    """Limits the time for the next response of a connection, from its first line to its end.

    Args:
        connection: an open connection, before the request is sent.
        idle_seconds: longest wait for the next byte.
    """
    deadline = _CLOCK.monotonic() + TOTAL_SECONDS
    connection.sock.settimeout(idle_seconds)
    connection.response_class = partial(  # type: ignore[assignment]  # it is only ever called
        _TimedResponse, deadline=deadline, idle_seconds=idle_seconds
    )


def read_bounded(response: http.client.HTTPResponse) -> bytes:
    """Reads a response to its end.

    It is read into pages of its own, which take memory only as they are filled and give it back at
    once: after large blocks, malloc would keep it.

    Raises:
        ResponseTooLarge: it is larger than allowed; the connection must be closed.
        TimeoutError: it takes too long.
    """
    with mmap.mmap(-1, MAX_RESPONSE_BYTES + _CHUNK_BYTES) as pages:
        while piece := response.read1(_CHUNK_BYTES):
            pages.write(piece)
            if pages.tell() > MAX_RESPONSE_BYTES:
                raise ResponseTooLarge(f"response of more than {MAX_RESPONSE_BYTES} bytes")
        data = pages[: pages.tell()]
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # of a body with a known length, `read1` does not notice the end
    return data


class _TimedResponse(http.client.HTTPResponse):
    """A response whose socket is read against a deadline."""

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
        *,
        deadline: float,
        idle_seconds: float,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock, deadline, idle_seconds))


class _TimedReader(io.RawIOBase):
    """Reads a socket; fails once the deadline has passed."""

    def __init__(self, sock: socket.socket, deadline: float, idle_seconds: float) -> None:
        self._sock = sock
        # Keeps the descriptor open after the connection has let go of its socket.
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline
        self._idle_seconds = idle_seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - as the superclass has it
        left = self._deadline - _CLOCK.monotonic()
        if left <= 0:
            raise TimeoutError(f"the response takes more than {TOTAL_SECONDS:g} s")
        self._sock.settimeout(max(_MIN_TIMEOUT_SECONDS, min(left, self._idle_seconds)))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
