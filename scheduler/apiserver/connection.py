"""A connection of a client: plain requests are answered here, aiohttp does everything else.

aiohttp takes 0.1 to 0.2 ms of CPU for a request and its response, half of what a small write costs
in all. A connection begins here. The first request on it that is not plain, as a watch, is given to
a handler of aiohttp with the whole connection, which stays there until it ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from scheduler.apiserver.plain_requests import (
    ApiResponse,
    PlainRequest,
    RequestHead,
    read_head,
)

_MAX_AHEAD_BYTES = 256 * 1024
"""What a client may send before the response; more is not read from the socket."""
_MAX_AWAITED_BYTES = 64 * 1024
"""A longer request that is not whole is aiohttp's, which keeps little before the token is known."""
_MAX_WAIT_FOR_BODY_SECONDS = 5.0
"""A body that takes longer is given to aiohttp, which has the limits for slow clients."""
_RESPONSE_TIMEOUT_SECONDS = 60.0

PlainHandler = Callable[[PlainRequest], Awaitable[ApiResponse]]


class ConnectionOwner(Protocol):
    """The server of a connection."""

    def opened(self, connection: "ClientConnection", transport: asyncio.Transport) -> None:
        """A connection was accepted."""

    def closed(self, connection: "ClientConnection", *, is_given: bool) -> None:
        """A connection has ended, or belongs to aiohttp now."""

    def make_aiohttp_protocol(self) -> asyncio.Protocol:
        """Makes the protocol that reads what is not plain."""


class ClientConnection(asyncio.Protocol):
    """The protocol of a connection until a request is not plain.

    Args:
        owner: the server.
        handle: answers a plain request; raises nothing but ConnectionError and CancelledError.
        keepalive_seconds: how long a connection may be idle.
    """

    def __init__(
        self, owner: ConnectionOwner, handle: PlainHandler, *, keepalive_seconds: float
    ) -> None:
        self._owner = owner
        self._handle = handle
        self._keepalive_seconds = keepalive_seconds
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._data = b""
        """What has arrived and is not part of the request that is handled."""
        self._head: RequestHead | None = None
        """The head at the beginning of `_data`, while its body is awaited."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._is_writable = asyncio.Event()
        self._is_writable.set()
        self._is_closing = False

    # ------------------------------------------------------------ events of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to wait for requests."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self, self._transport)
        self._idle_since = self._loop.time()
        self._wait(self._keepalive_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels the request; a write that was submitted goes on."""
        del exc
        self._leave()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._is_writable.clear()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_writable.set()

    def data_received(self, data: bytes) -> None:
        """Takes what has arrived."""
        self._data = self._data + data if self._data else data
        if self._task is None:
            self._read_next()
        elif len(self._data) > _MAX_AHEAD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    # ------------------------------------------------------------ requests

    def _read_next(self) -> None:
        """Handles the request at the beginning of what has arrived, if it is whole."""
        transport = self._transport
        if transport is None or self._is_closing or not self._data:
            return
        head = self._head or read_head(self._data)
        size = head.head_bytes + head.body_bytes if head else 0
        if head is None or len(self._data) < size > _MAX_AWAITED_BYTES:
            self._give_to_aiohttp()
            return
        if len(self._data) < size:
            if self._head is None:
                self._wait(_MAX_WAIT_FOR_BODY_SECONDS)
            self._head = head
            return
        request = head.with_body(self._data, transport)
        self._data, self._head = self._data[size:], None
        # No TaskGroup: the task lives as long as the connection, which no function waits for.
        self._task = self._loop.create_task(self._answer(request))
        self._task.add_done_callback(self._on_answered)

    async def _answer(self, request: PlainRequest) -> None:
        response = await self._handle(request)
        if self._transport is None:
            return
        self._transport.write(response.encode())
        if not self._is_writable.is_set():
            async with asyncio.timeout(_RESPONSE_TIMEOUT_SECONDS):
                await self._is_writable.wait()

    def _on_answered(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        transport = self._transport
        if transport is None:
            return
        if task.cancelled() or task.exception() is not None:
            transport.abort()
        elif self._is_closing:
            transport.close()
        else:
            self._idle_since = self._loop.time()
            transport.resume_reading()
            self._read_next()

    def _give_to_aiohttp(self) -> None:
        transport = self._transport
        if transport is None:
            return
        protocol = self._owner.make_aiohttp_protocol()
        transport.set_protocol(protocol)
        self._leave(is_given=True)
        protocol.connection_made(transport)
        data, self._data = self._data, b""
        protocol.data_received(data)

    # ------------------------------------------------------------ time and end

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        idle_seconds = self._loop.time() - self._idle_since
        if self._transport is None:
            return
        if self._head is not None and self._task is None:
            self._give_to_aiohttp()
        elif self._task is None and idle_seconds >= self._keepalive_seconds:
            self._transport.close()
        else:
            self._wait(max(1.0, self._keepalive_seconds - idle_seconds))

    def _leave(self, *, is_given: bool = False) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._owner.closed(self, is_given=is_given)

    def close(self) -> None:
        """Closes the connection as soon as it is idle."""
        self._is_closing = True
        if self._transport is not None and self._task is None:
            self._transport.close()

    async def shut_down(self, timeout_seconds: float) -> None:
        """Waits for the request that is handled, for a time, and ends the connection."""
        self.close()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout_seconds)
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()
