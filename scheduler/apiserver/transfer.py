"""Bodies of requests and responses, within limits of size and time.

A client that sends or reads nothing for a long time holds a connection and memory; both are given
back here.
"""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from multidict import CIMultiDict

from scheduler.apiserver.base.bodies import MAX_BODY_BYTES
from scheduler.apiserver.base.errors import ApiError, bad_request, request_entity_too_large
from scheduler.apiserver.plain_requests import ApiResponse, PlainRequest
from scheduler.runtime.clock import yield_loop

_BODY_TIMEOUT_SECONDS = 30.0
_RESPONSE_TIMEOUT_SECONDS = 60.0
_MIN_GZIP_BYTES = 128 * 1024
"""Smaller responses are not compressed, as on a real server."""
_MIN_TIMED_BYTES = 64 * 1024
"""Smaller responses fit into the buffers of the connection."""
_MAX_WRITE_BYTES = 256 * 1024
_GZIP_FORMAT = 16
"""Added to the window size, as zlib defines it."""
_MAX_WARNING_LENGTH = 1_024
_MAX_WARNINGS_LENGTH = 4_096
"""The most characters of all warnings of a response together, as on a real server."""


AnyRequest = web.BaseRequest | PlainRequest


async def read_body(request: AnyRequest) -> bytes:
    """Reads the body, decompressed by aiohttp.

    Raises:
        ApiError: 400 (the transfer encoding or the compression is broken), 408 (the client is too
            slow), 413 (the body exceeds `MAX_BODY_BYTES`).
    """
    if isinstance(request, PlainRequest):
        return request.body
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise request_entity_too_large(MAX_BODY_BYTES)
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_SECONDS):
            return await _read_all(request)
    except TimeoutError:
        why = f"the body did not arrive within {_BODY_TIMEOUT_SECONDS:.0f} seconds"
        raise ApiError(408, "Timeout", why, {}, {"Connection": "close"}) from None
    except web.RequestPayloadError as error:
        raise bad_request(f"the body cannot be read: {error}") from None


async def _read_all(request: web.BaseRequest) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise request_entity_too_large(MAX_BODY_BYTES)
        chunks.append(chunk)
    return b"".join(chunks)


def make_response(code: int, body: bytes, content_type: str = "application/json") -> ApiResponse:
    """A response that is not cached."""
    headers = CIMultiDict({"Content-Type": content_type, "Cache-Control": "no-cache, private"})
    return ApiResponse(code, body, headers)


async def make_compressed_response(
    request: AnyRequest, code: int, body: bytes, content_type: str
) -> ApiResponse:
    """A response, compressed if it is large and the client accepts gzip; a thread compresses."""
    if len(body) < _MIN_GZIP_BYTES or "gzip" not in request.headers.get("Accept-Encoding", ""):
        return make_response(code, body, content_type)
    response = make_response(code, await asyncio.to_thread(gzip.compress, body, 1), content_type)
    response.headers["Content-Encoding"] = "gzip"
    return response


async def send_parts(
    request: web.BaseRequest,
    response: web.StreamResponse,
    parts: AsyncIterator[bytes],
    on_sent: Callable[[int], None],
) -> None:
    """Sends a body while it is made, compressed if the client accepts gzip.

    Args:
        request: the request.
        response: the response, not prepared yet.
        parts: the parts of the body.
        on_sent: called with the bytes of each part, before compression.

    Raises:
        ConnectionResetError: the client did not read the response in time.
    """
    packer = None
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | _GZIP_FORMAT)
        response.headers["Content-Encoding"] = "gzip"
    await response.prepare(request)
    if request.method == "HEAD":
        return
    async for part in parts:
        on_sent(len(part))
        sent = part if packer is None else await asyncio.to_thread(packer.compress, part)
        if sent:
            await _write_within_time(request, response, sent)
    if packer is not None:
        await _write_within_time(request, response, packer.flush())
    await response.write_eof()


async def _write_within_time(
    request: web.BaseRequest, response: web.StreamResponse, data: bytes
) -> None:
    try:
        async with asyncio.timeout(_RESPONSE_TIMEOUT_SECONDS):
            for start in range(0, len(data), _MAX_WRITE_BYTES):
                await response.write(data[start : start + _MAX_WRITE_BYTES])
                await yield_loop()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read the response") from None


async def send_within_time(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Sends a large response now, so that a client that does not read it cannot keep it.

    Raises:
        ConnectionResetError: the client did not read the response in time.
    """
    size = len(response.body) if isinstance(response, web.Response) and response.body else 0  # type: ignore[arg-type] # bytes, as the handler makes it
    if size < _MIN_TIMED_BYTES:
        return
    try:
        async with asyncio.timeout(_RESPONSE_TIMEOUT_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read the response") from None


def add_warnings(response: web.StreamResponse | ApiResponse, warnings: list[str]) -> None:
    """Adds Warning headers, shortened to what clients accept."""
    left = _MAX_WARNINGS_LENGTH
    for text in warnings:
        quoted = _quote_warning(text)
        left -= len(quoted)
        if left < 0:
            return
        response.headers.add("Warning", f"299 - {quoted}")


def _quote_warning(text: str) -> str:
    plain = "".join(char if char.isprintable() else " " for char in text[:_MAX_WARNING_LENGTH])
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
