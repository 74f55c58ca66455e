"""A raw HTTP/1.1 client inside the test's event loop: it sends any bytes, also wrong ones."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from scheduler.apiserver.server import ApiServer


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A response; `seconds` is the time until its last byte.

    On a busy machine the system keeps a process waiting, so at most the processor time counts that
    client and server, which share the process, used meanwhile.
    """

    code: int
    body: bytes
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class RawClient:
    """One connection at a time; a new one when the server has closed it."""

    def __init__(self, server: ApiServer, token: str) -> None:
        self._url = urlsplit(server.url)
        self._context = ssl.create_default_context(cafile=str(server.ca_path))
        self._token = token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        return await asyncio.open_connection(
            self._url.hostname, self._url.port, ssl=self._context, server_hostname="127.0.0.1"
        )

    async def request(
        self,
        method: bytes,
        target: bytes,
        body: bytes = b"",
        headers: Mapping[bytes, bytes] | None = None,
    ) -> RawAnswer:
        """Sends a request as it is."""
        lines = [
            b"%s %s HTTP/1.1" % (method, target),
            b"Host: 127.0.0.1",
            b"Authorization: Bearer " + self._token.encode(),
            b"Content-Length: %d" % len(body),
            *(b"%s: %s" % pair for pair in (headers or {}).items()),
        ]
        loop = asyncio.get_running_loop()
        for attempt in (1, 2):
            is_new = self._streams is None
            self._streams = self._streams or await self.open()
            reader, writer = self._streams
            began, cpu = loop.time(), time.process_time()
            try:
                writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
                code, found = await self._read(reader, has_body=method != b"HEAD")
                used = time.process_time() - cpu
                return RawAnswer(code, found, min(loop.time() - began, used))
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if is_new or attempt == 2:  # else: the server closed the idle connection
                    raise
        raise AssertionError("not reached")

    async def _read(self, reader: asyncio.StreamReader, *, has_body: bool) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _c, value in (line.partition(":") for line in lines)
        }
        body = b""
        if not has_body:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.close()
        return int(first.split()[1]), body

    def close(self) -> None:
        """Closes the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


@asynccontextmanager
async def raw_client(server: ApiServer, token: str = "") -> AsyncIterator[RawClient]:
    """A client with the administrator's token, unless another is given."""
    async with RawClient(server, token or server.token) as client:
        yield client
