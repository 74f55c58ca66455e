"""Limits on connections, and on log lines that a peer can cause."""

import asyncio
import logging

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from scheduler.apiserver.base.log_limits import LogLineLimiter
from scheduler.apiserver.listener import LimitedServer, max_connections_of
from scheduler.apiserver.plain_requests import ApiResponse, PlainRequest


async def _answer(_request: web.BaseRequest) -> web.Response:
    return web.Response(text="ok")


async def test_an_unknown_connection_is_closed_and_gives_way_first() -> None:
    server = LimitedServer(_answer, max_connections=2, unknown_timeout_seconds=0.2)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    first, second, third = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    async with asyncio.timeout(5):
        assert await _ended(first[0])  # there are more than two: the oldest gives way
        third[1].write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await _ended(second[0])  # it sent nothing in time
        assert await _ended(third[0])  # it sent no whole request in time
    for _reader, writer in (first, second, third):
        writer.close()
    listener.close()
    await server.shutdown(0.1)


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


class _ClosedTransport(asyncio.Transport):
    """A TLS transport that was closed twice, as asyncio leaves it."""

    aborted = 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        raise AttributeError("'NoneType' object has no attribute '_get_app_protocol'")

    def abort(self) -> None:
        self.aborted += 1


async def _answer_plain(_request: PlainRequest) -> ApiResponse:
    raise AssertionError("no request is sent")


async def test_a_connection_whose_tls_has_ended_is_forgotten() -> None:
    server = LimitedServer(_answer, max_connections=1, handle_plain=_answer_plain)
    first, second = _ClosedTransport(), _ClosedTransport()
    for transport in (first, second):
        connection = server()
        connection.connection_made(transport)
        connection.connection_lost(None)
    assert (first.aborted, second.aborted) == (0, 0), "the first one holds no place any more"


def test_half_of_the_descriptors_stay_free() -> None:
    assert max_connections_of(1024) == 512
    assert max_connections_of(2**20) == 20_000


def _record(text: str, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, None) if error else None
    return logging.LogRecord("aiohttp.server", logging.ERROR, "", 0, text, (), trace)


def test_lines_of_one_kind_are_limited_and_counted() -> None:
    now = 0.0
    limiter = LogLineLimiter(left_out=(BadHttpMethod,), monotonic=lambda: now)
    assert sum(limiter.filter(_record("the same")) for _ in range(100)) == 3
    assert limiter.filter(_record("another"))
    assert not limiter.filter(_record("a peer's fault", BadHttpMethod("FLY")))
    now = 11.0
    later = _record("the same")
    assert limiter.filter(later)
    assert "97 more of this kind" in later.getMessage()
