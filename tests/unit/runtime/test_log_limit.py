"""Log lines of one kind are limited, and what is left out is counted."""

import asyncio
import logging

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from scheduler.runtime.log_limit import LogLimit, PeerFaults
from tests.support.fake_clock import FakeClock


def record(text: str, *arguments: object, line: int = 1) -> logging.LogRecord:
    return logging.LogRecord("a.b", logging.WARNING, "file.py", line, text, arguments, None)


async def test_lines_of_one_place_are_limited_whatever_their_words() -> None:
    clock = FakeClock()
    limit = LogLimit(clock)
    written = [limit.filter(record(f"site {number} is odd")) for number in range(10_000)]
    assert sum(written) == 20
    assert limit.filter(record("another place", line=2))
    await clock.advance(5)
    last = record("site %s is odd", "x")
    assert limit.filter(last)
    assert last.getMessage() == (
        "site x is odd (9980 more lines of this kind were left out before)"
    )


def test_a_line_is_bounded() -> None:
    long = record("%s", "x" * 100_000)
    assert LogLimit(FakeClock()).filter(long)
    assert len(long.getMessage()) == 8192


def test_kinds_are_bounded() -> None:
    limit = LogLimit(FakeClock())
    for line in range(5000):
        limit.filter(record("x", line=line))
    assert len(limit) == 1024


async def _fail(_request: web.BaseRequest) -> web.Response:
    raise RuntimeError("a fault of ours")


async def test_what_clients_send_wrong_is_a_line_and_our_own_failure_has_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger, filtered = logging.getLogger("aiohttp.server"), PeerFaults(HttpProcessingError)
    logger.addFilter(filtered)
    server = web.Server(_fail)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    malformed = (
        b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nCookie: " + b"a" * 60_000 + b"\r\n\r\n",
        b"GET /?" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n",
    )
    try:
        for sent in (*malformed, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert (await reader.read()).startswith(b"HTTP/1.")
            writer.close()
    finally:
        listener.close()
        await server.shutdown(0.1)
        logger.removeFilter(filtered)
    *theirs, ours = caplog.records
    assert [(one.levelname, one.exc_info) for one in theirs] == [("WARNING", None)] * 3
    assert all(len(one.getMessage()) < 500 for one in theirs)
    assert "Content-Length" in theirs[0].getMessage()
    assert ours.levelname == "ERROR"
    assert ours.exc_info is not None
    assert isinstance(ours.exc_info[1], RuntimeError)
