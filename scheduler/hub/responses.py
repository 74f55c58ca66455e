"""Reads what a Kubernetes API answers: objects, the lines of a watch, and errors.

An error is named by what the caller can do about it; `scheduler.control.ports.hub` has the names.
"""

from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
import msgspec

from scheduler.control.ports.hub import (
    Busy,
    Conflict,
    Gone,
    HubError,
    NotFound,
    Object,
    Refused,
    WatchEvent,
)

_MAX_LINE_BYTES = 8 * 2**20  # a watch event holds one object, which etcd limits to 1.5 MB
_MOST_DIGITS = 6  # more seconds than eleven days are no pause


async def iter_lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a watch stream. aiohttp's `readline` refuses lines longer than its buffer."""
    pending = bytearray()
    async for piece in response.content.iter_any():
        pending += piece
        if len(pending) > _MAX_LINE_BYTES:
            raise Busy("watch: a line of the stream is longer than 8 MiB, so it is no watch event")
        while (end := pending.find(b"\n")) >= 0:
            line, pending = bytes(pending[:end]), pending[end + 1 :]
            if line.strip():
                yield line


def decode_change(line: bytes) -> WatchEvent:
    """One event of a watch.

    Raises:
        HubError: the line says that the watch ends, or is none of a watch.
    """
    event = decode_object(line, "watch")
    kind, body = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise Busy("watch: a line of the stream is no watch event")
    if kind == "ERROR":
        raise _error_of(body, "watch")
    return WatchEvent(type=kind, object=body)


def decode_object(data: bytes, action: str) -> Object:
    """A JSON object that the hub sent; `Busy` for anything else, as from a broken proxy."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Busy(f"{action}: the answer is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Busy(f"{action}: the answer is not a JSON object")
    return found


async def error_in(response: aiohttp.ClientResponse, action: str) -> HubError | None:
    """The error that a response is; None for a good one."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return None
    text = await response.read()
    return error_of_answer(response.status, text, response.headers.get("Retry-After"), action)


def error_of_answer(
    status: int, body: bytes, retry_after: str | None, action: str
) -> HubError | None:
    """The error that an answer is; None for a good one.

    Args:
        status: the HTTP status.
        body: as it came; JSON of a `Status`, or whatever a proxy says.
        retry_after: the header of this name.
        action: what was asked, for the message.
    """
    if status < HTTPStatus.BAD_REQUEST:
        return None
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        said = None
    if not isinstance(said, dict):
        said = {"message": body[:200].decode(errors="replace")}
    error = _error_of({**said, "code": status}, action)
    error.retry_after_seconds = _retry_after_seconds(retry_after)
    return error


def _retry_after_seconds(text: str | None) -> float:
    """The seconds of a Retry-After header; 0 for none, a date or nonsense.

    API servers send whole seconds; a date would compare the clocks of two machines.
    """
    is_number = text and text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return float(text) if text and is_number else 0.0


def reason_of(error: Exception) -> str:
    """Why there is no answer, in the words of the operating system where there are some."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error.os_error.strerror or error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# kube-apiserver 1.36 answers some invalid requests with 500; a retry never succeeds.
_FINAL_SERVER_ERRORS = ("failed to create typed patch object", "etcdserver: request is too large")
_ERROR_BY_CODE: dict[int, type[HubError]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Gone,
    HTTPStatus.TOO_MANY_REQUESTS: Busy,
    HTTPStatus.REQUEST_TIMEOUT: Busy,
}


def _error_of(status: Object, action: str) -> HubError:
    written = status.get("code")
    code = written if isinstance(written, int) else 0
    text = str(status.get("message", ""))
    kind = _ERROR_BY_CODE.get(code, Busy if code >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused)
    if code == HTTPStatus.INTERNAL_SERVER_ERROR and text.startswith(_FINAL_SERVER_ERRORS):
        kind = Refused
    message = f"{action}: {code} {text}"
    return kind(message, status=code, reason=str(status.get("reason", "")))
