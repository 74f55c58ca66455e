"""Plain requests are read as aiohttp reads them; what is not plain is given to aiohttp."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from scheduler.apiserver import connection
from scheduler.apiserver.listener import LimitedServer
from scheduler.apiserver.plain_requests import ApiResponse, PlainRequest, read_head

POD = b"/api/v1/namespaces/a/pods/b"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def message(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    length = [b"Content-Length: %d" % len(body)] if body else []
    return b"\r\n".join([line, b"Host: x", *headers, *length, b"", body])


def test_a_plain_request_is_read_whole() -> None:
    text = message(
        b"PATCH %s/status?fieldManager=me&force&fieldManager=you HTTP/1.1" % POD,
        b"content-TYPE:\t application/merge-patch+json  ",
        body=b'{"a": 1}',
    )
    head = read_head(text + b"GET")
    assert head is not None
    request = head.with_body(text + b"GET", transport=None)  # type: ignore[arg-type] # not used
    assert (request.method, request.path) == ("PATCH", POD.decode() + "/status")
    assert request.query == {"fieldManager": "me", "force": ""}
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert request.body == b'{"a": 1}'


@pytest.mark.parametrize(
    "text",
    [
        message(b"GET /api/v1/pods HTTP/1.1"),  # a list
        message(b"GET %s?watch=true HTTP/1.1" % POD),
        message(b"DELETE /api/v1/namespaces/a/pods HTTP/1.1"),
        message(b"HEAD %s HTTP/1.1" % POD),
        message(b"GET %s HTTP/1.0" % POD),
        message(b"GET %s%%41 HTTP/1.1" % POD),
        message(b"GET /api/v1/namespaces/../pods/b HTTP/1.1"),
        message(b"GET /api/v1/namespaces/a//pods/b HTTP/1.1"),
        message(b"GET %s?a=%%20 HTTP/1.1" % POD),
        message(b"GET %s?a+b=c HTTP/1.1" % POD),
        message(b"GET %s HTTP/1.1" % POD, b"Connection: close"),
        message(b"GET %s HTTP/1.1" % POD, b"Host: y"),
        message(b"GET %s HTTP/1.1" % POD, b"Expect: 100-continue"),
        message(b"GET %s HTTP/1.1" % POD, b"X : y"),
        message(b"GET %s HTTP/1.1" % POD, b"X: y\n z"),
        message(b"GET %s HTTP/1.1" % POD, b" folded"),
        message(b"GET %s HTTP/1.1" % POD, b"X: \xc3\xa9"),
        message(b"GET %s HTTP/1.1" % POD, b"X: " + b"y" * 8_000),
        message(b"PUT %s HTTP/1.1" % POD, b"Transfer-Encoding: chunked"),
        message(b"PUT %s HTTP/1.1" % POD, b"Content-Encoding: gzip", body=b"x"),
        message(b"PUT %s HTTP/1.1" % POD, b"Content-Length: 1", body=b"x"),
        message(b"PUT %s HTTP/1.1" % POD, b"Content-Length: +1"),
        message(b"PUT %s HTTP/1.1" % POD, b"Content-Length: "),
        message(b"PUT %s HTTP/1.1" % POD, b"Content-Length: 99999999"),
        message(b"GET  %s HTTP/1.1" % POD),
        b"GET %s HTTP/1.1\r\n\r\n" % POD,
        b"GET %s HTTP/1.1\r\nHost: x\r\n" % POD,
        b"\r\n" + message(b"GET %s HTTP/1.1" % POD),
        b"\x16\x03\x01",
    ],
)
def test_anything_unusual_is_left_to_aiohttp(text: bytes) -> None:
    assert read_head(text) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "headers",
    [
        b"a: b\r\n" * 1_300,  # a space that two parts of the pattern could take, in each header
        b"a:" + b" \t" * 3_900 + b"\r\n",
        b"a:" + b" " * 7_800,
        b"a" * 7_800,
    ],
    ids=["many", "blanks", "spaces", "name"],
)
def test_a_head_that_is_wrong_at_its_end_is_refused_at_once(headers: bytes) -> None:
    """With backtracking the first one would take longer than the universe is old."""
    line = b"GET %s HTTP/1.1\r\n" % POD
    assert read_head(line + headers + b"\x80: x\r\n\r\n") is None


@given(st.binary(max_size=60), st.integers(0, 100))
def test_no_bytes_make_the_reader_fail(noise: bytes, at: int) -> None:
    text = message(b"PUT %s?a=b HTTP/1.1" % POD, b"Accept: */*", body=b"{}")
    read_head(noise)
    read_head(text[:at] + noise + text[at:])


# ---------------------------------------------------------------- connections


def answer_of(request: PlainRequest) -> ApiResponse:
    body = f"{request.method} {len(request.body)} {request.path[-1]}".encode()
    return ApiResponse(200, body, CIMultiDict({"X-By": "plain"}))


async def _answer_at_once(request: PlainRequest) -> ApiResponse:
    return answer_of(request)


async def _by_aiohttp(request: web.BaseRequest) -> web.Response:
    body = f"{request.method} {len(await request.read())} {request.path[-1]}"
    return web.Response(text=body, headers={"X-By": "aiohttp"})


@asynccontextmanager
async def serving(handle: connection.PlainHandler = _answer_at_once) -> AsyncIterator[Connection]:
    server = LimitedServer(_by_aiohttp, max_connections=10, handle_plain=handle)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()
        listener.close()
        server.pre_shutdown()
        await server.shutdown(0.1)


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Who has answered, and the body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = dict(line.split(": ", 1) for line in head.splitlines()[1:-1])
    body = await reader.readexactly(int(fields["Content-Length"]))
    return fields["X-By"], body.decode()


def put(name: bytes, body: bytes) -> bytes:
    return message(b"PUT /api/v1/namespaces/a/pods/%s HTTP/1.1" % name, body=body)


async def test_requests_sent_together_and_in_pieces_are_answered_in_order() -> None:
    async with serving() as (reader, writer):
        writer.write(put(b"a", b"x") + put(b"b", b"xy") + put(b"c", b"xyz")[:-1])
        assert await read_answer(reader) == ("plain", "PUT 1 a")
        assert await read_answer(reader) == ("plain", "PUT 2 b")
        writer.write(b"z")
        assert await read_answer(reader) == ("plain", "PUT 3 c")


async def test_aiohttp_takes_the_connection_over_with_all_that_was_sent() -> None:
    async with serving() as (reader, writer):
        listing = message(b"GET /api/v1/pods HTTP/1.1")
        writer.write(put(b"a", b"x") + listing + put(b"b", b"xy"))
        assert await read_answer(reader) == ("plain", "PUT 1 a")
        assert await read_answer(reader) == ("aiohttp", "GET 0 s")
        assert await read_answer(reader) == ("aiohttp", "PUT 2 b")


async def test_a_body_that_comes_slowly_is_awaited_by_aiohttp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_MAX_WAIT_FOR_BODY_SECONDS", 0.05)
    async with serving() as (reader, writer):
        writer.write(put(b"a", b"xyz")[:-2])
        await asyncio.sleep(0.2)  # noqa: TID251 - the timer of the connection is real
        writer.write(b"yz")
        assert await read_answer(reader) == ("aiohttp", "PUT 3 a")


async def test_a_long_body_in_pieces_is_read_by_aiohttp_at_once() -> None:
    async with serving() as (reader, writer):
        text = put(b"a", b"x" * 500_000)
        writer.write(text[:1_000])
        await asyncio.sleep(0.05)  # noqa: TID251 - until these bytes are there
        writer.write(text[1_000:])
        assert await read_answer(reader) == ("aiohttp", "PUT 500000 a")


async def test_a_client_that_leaves_cancels_its_request() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(_request: PlainRequest) -> ApiResponse:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(wait) as (_reader, writer):
        writer.write(put(b"a", b"x"))
        await began.wait()
        writer.close()
        await ended.wait()


async def test_a_shutdown_waits_for_the_request_that_is_handled() -> None:
    async def answer_late(request: PlainRequest) -> ApiResponse:
        await asyncio.sleep(0.05)  # noqa: TID251 - less than the time of the shutdown
        return answer_of(request)

    server = LimitedServer(_by_aiohttp, max_connections=10, handle_plain=answer_late)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    writer.write(put(b"a", b"x"))
    await asyncio.sleep(0.02)  # noqa: TID251 - until the request is there
    server.pre_shutdown()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.shutdown(5.0))
        assert await read_answer(reader) == ("plain", "PUT 1 a")
        assert await reader.read() == b""
    writer.close()
    listener.close()
