"""The listening socket: limits on connections, and time limits on clients that send nothing.

A connection counts as unknown until a request with a valid token arrives on it. Unknown connections
are closed after some seconds, and the oldest of them gives way when too many connections are open.
Therefore a client without a token cannot take the file descriptors that the database, the broker
and other clients need.
"""

import asyncio
import asyncio.sslproto
import logging
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from scheduler.apiserver.base.log_limits import LogLineLimiter

_SHUTDOWN_TIMEOUT_SECONDS = 0.5
_TLS_BUFFER_BYTES = 32 * 1024
"""The TLS buffer of each connection. With asyncio's 256 KiB, 1,000 watches take 280 MB."""
_BACKLOG = 128
_HANDSHAKE_TIMEOUT_SECONDS = 10.0
_UNKNOWN_TIMEOUT_SECONDS = 10.0
"""How long a connection may be open without a request that has a valid token."""
_KEEPALIVE_SECONDS = 120.0
"""How long an idle connection stays open; longer than the 90 s of Go's client."""
_MAX_DESCRIPTORS = 1_048_576
_MAX_CONNECTIONS = 20_000

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def raise_descriptor_limit() -> int:
    """Raises the limit of open files to what the system allows; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return _MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


class LimitedServer(web.Server):
    """An HTTP server that closes unknown connections first.

    Args:
        handler: handles a request.
        max_connections: the most connections that are open at the same time.
        unknown_timeout_seconds: how long a connection may stay unknown.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        max_connections: int,
        unknown_timeout_seconds: float = _UNKNOWN_TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(
            handler,
            # Cancellation closes the watch of a client that disconnects; writes are shielded.
            handler_cancellation=True,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            access_log=None,
        )
        self._max_connections = max_connections
        self._unknown_timeout_seconds = unknown_timeout_seconds
        self._unknown: dict[RequestHandler, asyncio.Transport] = {}
        """The connections without a valid token yet, oldest first."""

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Counts a new connection; closes the oldest unknown one if there are too many."""
        super().connection_made(handler, transport)
        self._unknown[handler] = transport
        if len(self.connections) > self._max_connections:
            self._abort_if_unknown(next(iter(self._unknown)))
        loop = asyncio.get_running_loop()
        loop.call_later(self._unknown_timeout_seconds, self._abort_if_unknown, handler)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forgets a connection."""
        self._unknown.pop(handler, None)
        super().connection_lost(handler, exc)

    def mark_known(self, request: web.BaseRequest) -> None:
        """Keeps the connection of a request that has a valid token."""
        self._unknown.pop(request.protocol, None)

    def _abort_if_unknown(self, handler: RequestHandler) -> None:
        transport = self._unknown.pop(handler, None)
        if transport is not None:
            transport.abort()


@asynccontextmanager
async def listening(
    server: LimitedServer, bound: socket.socket, context: ssl.SSLContext
) -> AsyncIterator[None]:
    """Accepts connections for the duration of the context.

    Out of file descriptors, asyncio tries to accept again after a second, for each of as many
    connections as its `backlog` says; it writes a traceback for each failure, hence the limit on
    its log lines. Its backlog is 1, so it fails once a second; the system keeps the real backlog.
    """
    # asyncio has no parameter for it, so the class attribute is set.
    asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
    limiter = LogLineLimiter(left_out=(HttpProcessingError,))
    loggers = [logging.getLogger(name) for name in ("asyncio", "aiohttp.server")]
    for one in loggers:
        one.addFilter(limiter)
    listener = await asyncio.get_running_loop().create_server(
        server,
        sock=bound,
        ssl=context,
        backlog=1,
        ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_SECONDS,
    )
    bound.listen(_BACKLOG)
    try:
        yield
    finally:
        listener.close()
        server.pre_shutdown()
        await server.shutdown(_SHUTDOWN_TIMEOUT_SECONDS)
        for one in loggers:
            one.removeFilter(limiter)


@asynccontextmanager
async def listening_on_socket(server: LimitedServer, path: Path | None) -> AsyncIterator[None]:
    """Accepts connections on a Unix socket for the duration of the context; None: nothing happens.

    `listening` ends the connections.
    """
    if path is None:
        yield
        return
    bound = _bind_unix_socket(path)
    listener = await asyncio.get_running_loop().create_unix_server(server, sock=bound, backlog=1)
    bound.listen(_BACKLOG)
    try:
        yield
    finally:
        listener.close()


def _bind_unix_socket(path: Path) -> socket.socket:
    """A socket that only its user may connect to; replaces what an earlier process has left."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)
    except OSError:
        bound.close()
        raise
    return bound


def max_connections_of(descriptor_limit: int) -> int:
    """The most connections under a limit of open files; half are left for the process."""
    return max(16, min(_MAX_CONNECTIONS, descriptor_limit // 2))
