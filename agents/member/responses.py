"""Reads responses: bounds their size and the time that all of one may take, and names errors.

A socket's timeout only bounds the wait for the next byte. A server that sends one byte every few
seconds would hold a worker thread for ever, so the timeout shrinks with what is left of the total.
"""

import http.client
import io
import json
import mmap
import socket
from functools import partial
from typing import Any, Final

from agents.member.errors import MemberApiError, UnusableResponse
from agents.member.trees import map_at, message_at, objects_at, text_at
from agents.runtime.clock import AgentSystemClock

Tree = dict[str, Any]
"""A Kubernetes object as a JSON tree."""

MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024
"""More than twice the largest object; of a list, fewer objects are asked for then."""

TOTAL_SECONDS: Final = 30.0

_CHUNK_BYTES: Final = 64 * 1024
_MIN_TIMEOUT_SECONDS: Final = 0.001
_MAX_CAUSES: Final = 100
_CLOCK: Final = AgentSystemClock()  # a socket waits in real time, whatever clock the loops have


class ResponseTooLarge(http.client.HTTPException):
    """A response has more than `MAX_RESPONSE_BYTES` bytes; what was read of it is dropped."""


def limit_time(
    connection: http.client.HTTPConnection,
    *,
    idle_seconds: float,
    total_seconds: float = TOTAL_SECONDS,
) -> None:
    """Limits the time for the next response of a connection, from its first line to its end.

    Args:
        connection: an open connection, before the request is sent.
        idle_seconds: longest wait for the next byte.
        total_seconds: longest wait for all of it.
    """
    deadline = _CLOCK.monotonic() + total_seconds
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


def keep_probing(sock: socket.socket) -> None:
    """Lets the kernel find out within half a minute that the other end is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


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
            raise TimeoutError("the response takes too long")
        self._sock.settimeout(max(_MIN_TIMEOUT_SECONDS, min(left, self._idle_seconds)))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def items_of(tree: Tree, path: str) -> list[Tree]:
    """The objects of a list; null stands for an empty list, and a null item is left out."""
    items = tree.get("items", ())
    if items is None:
        items = ()
    if not isinstance(items, list | tuple) or not all(
        each is None or isinstance(each, dict) for each in items
    ):
        raise UnusableResponse(f"GET {path}: not a list of objects")
    return [each for each in items if each is not None]


def parse_object(data: bytes) -> Tree | None:
    """The object that a response holds, empty for an empty response; None if it holds another."""
    try:
        tree = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def api_error_of(code: int, answer: Tree, what: str) -> MemberApiError:
    """The error that a Status object says; `what` names the request."""
    message = message_at(answer, "message", 600) or http.client.responses.get(
        code, "no reason given"
    )
    return MemberApiError(
        code,
        text_at(answer, "reason"),
        f"{what}: {code} {message}",
        _field_conflicts_of(answer),
        _invalid_fields_of(answer),
    )


def _invalid_fields_of(answer: Tree) -> tuple[tuple[str, str], ...]:
    causes = objects_at(map_at(answer, "details"), "causes")[:_MAX_CAUSES]
    return tuple((text_at(each, "field"), message_at(each, "message", 600)) for each in causes)


def _field_conflicts_of(answer: Tree) -> dict[str, tuple[str, ...]]:
    """The conflicts by field; several managers may own one."""
    found: dict[str, tuple[str, ...]] = {}
    for each in objects_at(map_at(answer, "details"), "causes")[:_MAX_CAUSES]:
        if each.get("reason") == "FieldManagerConflict":
            field = text_at(each, "field")
            found[field] = (*found.get(field, ()), message_at(each, "message", 300))
    return found
