"""The HTTP server of `/metrics`: a few lines of HTTP/1.1 instead of a web framework."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

_MAX_REQUEST_BYTES: Final = 8192
_BACKLOG: Final = 32
_IO_TIMEOUT_SECONDS: Final = 5.0
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsServer:
    """Answers `GET /metrics` and `GET /healthz`; closes the connection after each response."""

    def __init__(
        self, render: Callable[[], str], overdue: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        """Takes what makes the pages.

        Args:
            render: returns the page of `/metrics`.
            overdue: the loops that do not come round; with any, `/healthz` answers 503.
        """
        self._render = render
        self._overdue = overdue
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Starts listening.

        Args:
            host: address to listen on.
            port: TCP port; 0 takes a free one.

        Returns:
            The port that it listens on.

        Raises:
            OSError: the port is taken.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        try:
            # Out of file descriptors, asyncio writes a traceback for each connection that its
            # backlog allows, once a second. With 1 there is one; the system keeps the real backlog.
            self._server = await asyncio.start_server(
                self._handle_connection, sock=listener, limit=_MAX_REQUEST_BYTES, backlog=1
            )
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        chosen: int = listener.getsockname()[1]
        return chosen

    def stop(self) -> None:
        """Stops listening."""
        if self._server:
            self._server.close()

    async def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(_IO_TIMEOUT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(self._response(head))
            async with asyncio.timeout(_IO_TIMEOUT_SECONDS):
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            return  # the client closed the connection or is too slow; it will scrape again
        finally:
            writer.close()

    def _response(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        path = words[1].partition(b"?")[0] if len(words) > 1 else b""
        if words[0] != b"GET":
            status, body = "405 Method Not Allowed", "only GET\n"
        elif path == b"/metrics":
            status, body = "200 OK", self._render()
        elif path == b"/healthz" and (late := self._overdue()):
            status, body = "503 Service Unavailable", f"no round of: {', '.join(late)}\n"
        elif path == b"/healthz":
            status, body = "200 OK", "ok\n"
        else:
            status, body = "404 Not Found", "try /metrics\n"
        data = body.encode()
        lines = f"HTTP/1.1 {status}\r\nContent-Type: {_CONTENT_TYPE}\r\n"
        return f"{lines}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data
