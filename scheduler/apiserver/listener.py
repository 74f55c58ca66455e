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
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from scheduler.apiserver.base.log_limits import LogLineLimiter
from scheduler.apiserver.connection import ClientConnection, PlainHandler
from scheduler.apiserver.plain_requests import PlainRequest
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT_SECONDS = 0.5
_TLS_BUFFER_BYTES = 32 * 1024
"""The TLS buffer of each connection. With asyncio's 256 KiB, 1,000 watches take 280 MB."""
_BACKLOG = 128
_HANDSHAKE_TIMEOUT_SECONDS = 10.0
_UNKNOWN_TIMEOUT_SECONDS = 10.0
"""How long a connection may be open without a request that has a valid token."""
_KEEPALIVE_SECONDS = 120.0
"""How long an idle connection stays open; longer than the 90 s of Go's client."""
_SOCKET_MODE = 0o600
_LOOK_AT_SOCKET_SECONDS = 1.0
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
        handler: handles a request of aiohttp.
        handle_plain: answers a plain request; None: aiohttp reads all requests.
        max_connections: the most connections that are open at the same time.
        unknown_timeout_seconds: how long a connection may stay unknown.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        max_connections: int,
        handle_plain: PlainHandler | None = None,
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
        self._handle_plain = handle_plain
        self._plain: dict[ClientConnection, asyncio.Transport] = {}
        """The connections on which all requests were plain so far."""
        self._given: dict[RequestHandler, asyncio.Transport] = {}
        """The connections of aiohttp."""
        self._unknown: dict[asyncio.Transport, None] = {}
        """The connections without a valid token yet, oldest first."""

    def __call__(self) -> RequestHandler:
        """Makes the protocol of a new connection."""
        if self._handle_plain is None:
            return super().__call__()
        made = ClientConnection(self, self._handle_plain, keepalive_seconds=_KEEPALIVE_SECONDS)
        return cast("RequestHandler", made)  # asyncio asks for no more than a protocol

    def make_aiohttp_protocol(self) -> RequestHandler:
        """Makes the protocol that reads what is not plain."""
        return super().__call__()

    def opened(self, connection: ClientConnection, transport: asyncio.Transport) -> None:
        """Counts a new connection."""
        self._plain[connection] = transport
        self._add(transport)

    def closed(self, connection: ClientConnection, *, is_given: bool) -> None:
        """Forgets a connection that has ended; one that is given to aiohttp is counted there."""
        transport = self._plain.pop(connection, None)
        # A TLS transport that was closed twice no longer knows its protocol: it is not asked.
        if transport is not None and not is_given:
            self._unknown.pop(transport, None)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Counts a connection of aiohttp, which may be new."""
        super().connection_made(handler, transport)
        self._given[handler] = transport
        if self._handle_plain is None:
            self._add(transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forgets a connection of aiohttp."""
        transport = self._given.pop(handler, None)
        if transport is not None:
            self._unknown.pop(transport, None)
        super().connection_lost(handler, exc)

    def _add(self, transport: asyncio.Transport) -> None:
        """Adds a new connection; closes the oldest unknown one if there are too many."""
        self._unknown[transport] = None
        if len(self._plain) + len(self._given) > self._max_connections:
            self._abort_if_unknown(next(iter(self._unknown)))
        loop = asyncio.get_running_loop()
        loop.call_later(self._unknown_timeout_seconds, self._abort_if_unknown, transport)

    def mark_known(self, request: web.BaseRequest | PlainRequest) -> None:
        """Keeps the connection of a request that has a valid token."""
        self._unknown.pop(cast("asyncio.Transport", request.transport), None)

    def _abort_if_unknown(self, transport: asyncio.Transport) -> None:
        if transport in self._unknown:
            del self._unknown[transport]
            transport.abort()

    def pre_shutdown(self) -> None:
        """Closes what is idle."""
        for connection in list(self._plain):
            connection.close()
        super().pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        """Ends all connections, after a time for the requests that are handled."""
        seconds = _SHUTDOWN_TIMEOUT_SECONDS if timeout is None else timeout
        async with asyncio.TaskGroup() as group:
            for connection in list(self._plain):
                group.create_task(connection.shut_down(seconds))
        await super().shutdown(timeout)


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
async def listening_on_socket(
    server: LimitedServer, path: Path | None, clock: Clock
) -> AsyncIterator[None]:
    """Accepts connections on a Unix socket for the duration of the context; None: nothing happens.

    The socket is made again when its file is gone, as after a clean-up of old files: its clients
    have no other way. `listening` ends the connections.
    """
    if path is None:
        yield
        return
    listener = _SocketListener(server, path)
    await listener.open()
    # No TaskGroup: it would wrap what the body of the context raises.
    task = asyncio.create_task(listener.keep(clock), name="socket")  # noqa: TID251 - see above
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        listener.close()


class _SocketListener:
    """Listens on a Unix socket that only its user may connect to."""

    def __init__(self, server: LimitedServer, path: Path) -> None:
        self._server, self._path = server, path
        self._listener: asyncio.Server | None = None
        self._file = (0, 0)

    async def open(self) -> None:
        """Replaces what an earlier process has left.

        Raises:
            OSError: the socket cannot be made.
        """
        self._path.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(str(self._path))
            self._path.chmod(_SOCKET_MODE)
            found = self._path.lstat()
            loop = asyncio.get_running_loop()
            listener = await loop.create_unix_server(self._server, sock=bound, backlog=1)
        except OSError:
            bound.close()
            raise
        bound.listen(_BACKLOG)
        self.close()  # the one before, if there is one; its connections go on
        self._listener, self._file = listener, (found.st_dev, found.st_ino)

    def close(self) -> None:
        """Accepts no more connections; those that are open go on."""
        if self._listener is not None:
            self._listener.close()

    async def keep(self, clock: Clock) -> None:
        """Looks at the file every second, and makes it again when it is another; never ends."""
        is_failing = False
        while True:
            await clock.sleep(_LOOK_AT_SOCKET_SECONDS)
            try:
                if not self._is_in_place():
                    await self.open()
                    _log.warning("the socket %s was gone, and is made again", self._path)
                is_failing = False
            except OSError as error:
                if not is_failing:
                    _log.warning("the socket %s was gone: %s; trying again", self._path, error)
                is_failing = True

    def _is_in_place(self) -> bool:
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return False
        if (found.st_dev, found.st_ino) != self._file or not stat.S_ISSOCK(found.st_mode):
            return False
        if stat.S_IMODE(found.st_mode) != _SOCKET_MODE:
            self._path.chmod(_SOCKET_MODE)
        return True


def max_connections_of(descriptor_limit: int) -> int:
    """The most connections under a limit of open files; half are left for the process."""
    return max(16, min(_MAX_CONNECTIONS, descriptor_limit // 2))
