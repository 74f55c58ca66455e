"""A lean HTTP/1.1 client for short requests over connections that stay open.

A scheduler sends two requests for each workload, and aiohttp's client took half of their CPU: URLs,
header maps, cookies, streams and timers that nothing here needs. This one writes a request as one
piece, reads the answer in one buffer, and knows three headers of it. Rules:

- A connection carries one request at a time. It is used again after an answer that says where it
  ends; after anything else, such as bytes that were not asked for, it is closed.
- GET and DELETE are sent once more if a connection that had been idle ends without a byte of an
  answer, because the server may have closed it meanwhile. PATCH and POST are not: the first one may
  have had its effect.
- An answer is bounded in size (`http_answer.py`), and the caller's time-out covers all of it.

What is unusual (redirects, long lists, watches) is aiohttp's; `client.py` chooses.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from aiohttp.http import SERVER_SOFTWARE

from scheduler.hub.http_answer import Answer, AnswerReader, NoAnswer

_MAX_IDLE_SECONDS: Final = 15.0
"""Shorter than the idle time-outs of proxies; that of aiohttp."""
_HAPPY_EYEBALLS_SECONDS: Final = 0.25  # RFC 8305
_IDEMPOTENT: Final = frozenset({"GET", "DELETE"})
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9/._~:-]*")
_PLAIN_VALUE: Final = re.compile(r"[\x20-\x7e]*")

SetOptions = Callable[[Any], None]
"""Sets the options of a TCP socket."""


class NotConnected(Exception):
    """No connection was opened; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go.

    Attributes:
        host: name or address.
        port: of TCP.
        name: of the Host header.
        prefix: of each path.
        tls: how the server is verified; None: plain HTTP.
        socket_path: a Unix socket instead of host and port.
    """

    host: str
    port: int
    name: str
    prefix: str = ""
    tls: ssl.SSLContext | None = None
    socket_path: Path | None = None

    @classmethod
    def of_url(cls, url: str, tls: ssl.SSLContext | None) -> "Server | None":
        """The server of a plain URL; None for one that only a whole HTTP client understands."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        is_plain = url.isascii() and _PLAIN_PATH.fullmatch(parts.path or "/") is not None
        scheme = "http" if tls is None else "https"
        if not host or not is_plain or parts.username is not None or parts.scheme != scheme:
            return None
        if parts.query or parts.fragment:
            return None
        default = 80 if tls is None else 443
        return cls(host, port or default, parts.netloc, parts.path.rstrip("/"), tls)


class HttpPool:
    """Sends requests to one server, each over a connection that carries no other meanwhile."""

    def __init__(self, server: Server, *, set_options: SetOptions | None = None) -> None:
        self.server = server
        self._set_options = set_options
        self._idle: list[tuple[_Connection, float]] = []
        self._open: set[_Connection] = set()

    def encode_head(
        self, method: str, path: str, query: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> bytes | None:
        """The head of a request but its length; None if it has more than plain characters."""
        if not _PLAIN_PATH.fullmatch(path):
            return None
        target = f"{self.server.prefix}{path}" + (f"?{urlencode(query)}" if query else "")
        lines = [
            f"{method} {target} HTTP/1.1\r\nHost: {self.server.name}\r\n",
            f"User-Agent: {SERVER_SOFTWARE}\r\n",  # servers name a field's manager by it
        ]
        for name, value in headers.items():
            if not _PLAIN_VALUE.fullmatch(value):
                return None
            lines.append(f"{name}: {value}\r\n")
        return "".join(lines).encode("ascii")

    async def request(
        self,
        method: str,
        head: bytes,
        body: bytes | None,
        *,
        timeout_seconds: float,
        connect_seconds: float,
    ) -> Answer:
        """Sends a request and reads the whole answer.

        Args:
            method: that of the head.
            head: from `encode_head`.
            body: what is sent; None: nothing.
            timeout_seconds: for all of it.
            connect_seconds: for opening a connection.

        Raises:
            NotConnected: no connection was opened, so nothing was sent.
            NoAnswer: it may have had its effect.
            TimeoutError: as above.
            ssl.SSLCertVerificationError: the server is not the one that is expected.
        """
        length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
        request = b"".join((head, length, b"\r\n", body or b""))
        async with asyncio.timeout(timeout_seconds):
            connection = self._take_idle()
            if connection is not None:
                try:
                    return await self._exchange(connection, request)
                except NoAnswer:
                    if method not in _IDEMPOTENT or connection.has_received:
                        raise
            return await self._exchange(await self._connect(connect_seconds), request)

    async def _exchange(self, connection: "_Connection", request: bytes) -> Answer:
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.abort()
            raise
        if connection.is_reusable:
            self._idle.append((connection, asyncio.get_running_loop().time()))
        else:
            connection.abort()
        return answer

    def _take_idle(self) -> "_Connection | None":
        """The connection that was used last; those that are idle for long are closed."""
        idle = self._idle
        oldest = asyncio.get_running_loop().time() - _MAX_IDLE_SECONDS
        while idle and idle[0][1] < oldest:
            idle.pop(0)[0].abort()
        while idle:
            connection, _ = idle.pop()
            if connection.is_reusable:
                return connection
        return None

    async def _connect(self, connect_seconds: float) -> "_Connection":
        loop, server = asyncio.get_running_loop(), self.server
        try:
            async with asyncio.timeout(connect_seconds):
                if server.socket_path is not None:
                    _, connection = await loop.create_unix_connection(
                        self._make_connection, str(server.socket_path)
                    )
                    return connection
                transport, connection = await loop.create_connection(
                    self._make_connection,
                    server.host,
                    server.port,
                    ssl=server.tls,
                    server_hostname=server.host if server.tls else None,
                    happy_eyeballs_delay=_delay_between_addresses(server.host),
                )
        except TimeoutError as error:
            raise TimeoutError(f"no connection within {connect_seconds:g} s") from error
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise NotConnected(reason or str(error) or type(error).__name__) from error
        opened = transport.get_extra_info("socket")
        if opened is not None and self._set_options is not None:
            self._set_options(opened)
        return connection

    def _make_connection(self) -> "_Connection":
        connection = _Connection(self._open.discard)
        self._open.add(connection)
        return connection

    def close(self) -> None:
        """Closes all connections; requests that wait for an answer get none."""
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()


def _delay_between_addresses(host: str) -> float | None:
    """When the next address of a name is tried beside the one before; None for an address.

    A connection that is cancelled between its race of addresses and its use stays open in CPython
    3.11, and an address has nothing to race against.
    """
    try:
        ip_address(host)
    except ValueError:
        return _HAPPY_EYEBALLS_SECONDS
    return None


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, on_lost: Callable[["_Connection"], object]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._reader = AnswerReader()

    @property
    def has_received(self) -> bool:
        """Whether a byte of the present answer has come."""
        return self._reader.has_received

    @property
    def is_reusable(self) -> bool:
        """Whether the next request may be sent over it."""
        transport = self._transport
        is_free = self._waiter is None and self._reader.keeps
        return is_free and transport is not None and not transport.is_closing()

    async def exchange(self, request: bytes) -> Answer:
        """Sends a request and waits for its answer.

        Raises:
            NoAnswer: the connection ended, or what came is no answer.
        """
        if self._transport is None:
            raise NoAnswer("the connection was closed")
        self._reader.begin()
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiter

    def abort(self) -> None:
        """Closes it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._waiter is None or self._waiter.done():
            self.abort()  # it was not asked for
            return
        try:
            answer = self._reader.feed(data)
        except NoAnswer as error:
            self._fail(str(error))
            return
        if answer is not None:
            self._finish(answer)

    def eof_received(self) -> None:
        """Called by asyncio, which closes the connection after it."""
        answer = self._reader.end() if self._waiter is not None else None
        if answer is not None:
            self._finish(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        self._on_lost(self)
        self._fail("the server closed the connection" if exc is None else str(exc))

    def _fail(self, reason: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(NoAnswer(reason))
        self.abort()

    def _finish(self, answer: Answer) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)
