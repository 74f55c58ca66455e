"""The HTTPS server of joining: `GET /ca`, `POST /join`, `/renew` and `/received`.

It is open to the network, so everything is bounded: connections (`connections.py`), bytes, requests
of one source, refused requests of one source, and requests that wait for the hub. What it says to a
machine that has no token is the authority's certificate, and nothing else.
"""

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from agents.protocol.errors import WireError
from agents.protocol.joining.messages import (
    AUTHORITY_ANSWER,
    JOIN_ANSWER,
    JOIN_REFUSAL,
    JOIN_REQUEST,
    MAX_JOIN_BYTES,
    RECEIVED_ANSWER,
    RECEIVED_REQUEST,
    RENEW_REQUEST,
    AuthorityAnswer,
    JoinRefusal,
)
from scheduler.control.ports.hub import HubError
from scheduler.joining.admission import Admission, JoinRefused
from scheduler.joining.connections import BoundedListener, source_of
from scheduler.mqtt.token_bucket import Rate, TokenBucket
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_REQUESTS: Final = Rate(per_second=10.0, burst=200.0)
"""Of one source: 30 rooms behind one address join, and ask each second whether they report."""
_REFUSALS: Final = Rate(per_second=0.2, burst=30.0)
"""Of one source: wrong tokens."""
_MAX_SOURCES: Final = 4096
_MAX_AT_THE_HUB: Final = 8
_MAX_WAITING: Final = 64
_RETRY_SECONDS: Final = 5
_JSON: Final = "application/json"

CountJoin = Callable[[str], None]


@dataclass(slots=True)
class _Source:
    """What one source has used."""

    requests: TokenBucket
    refusals: TokenBucket


@dataclass(slots=True, kw_only=True)
class JoinEndpoint:
    """Answers machines that join.

    Attributes:
        admission: decides.
        clock: for rates.
        faults: handles the faults of single requests.
        count: called with the result of each request: "joined", "renewed", "received", "asked", or
            why it was refused.
    """

    admission: Admission
    clock: Clock
    faults: Faults
    count: CountJoin
    _sources: OrderedDict[str, _Source] = field(default_factory=OrderedDict, init=False)
    _at_the_hub: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_MAX_AT_THE_HUB), init=False
    )
    _waiting: int = field(default=0, init=False)

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(client_max_size=MAX_JOIN_BYTES)
        app.router.add_get("/ca", self._wrap(self._authority))
        app.router.add_post("/join", self._wrap(self._join))
        app.router.add_post("/renew", self._wrap(self._renew))
        app.router.add_post("/received", self._wrap(self._received))
        return app

    def _wrap(
        self, handle: Callable[[bytes], Awaitable[tuple[str, bytes]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def respond(request: web.Request) -> web.Response:
            source = self._source_of(source_of(request.remote or ""))
            refusal = JoinRefusal(reason="error", message="the hub failed; try again later")
            status = 500
            with self.faults.barrier("join"):
                try:
                    result, body = await self._answer(request, source, handle)
                except JoinRefused as error:
                    source.refusals.charge(error.reason not in ("rate", "busy"))
                    status, refusal = (
                        error.status,
                        JoinRefusal(reason=error.reason, message=str(error)[:1000]),
                    )
                except WireError as error:
                    source.refusals.charge(1)
                    status = 400
                    refusal = JoinRefusal(reason="bad-request", message=str(error)[:1000])
                except HubError:
                    status = 503
                    refusal = JoinRefusal(
                        reason="busy", message="the hub does not answer now; try again"
                    )
                else:
                    self.count(result)
                    return web.Response(body=body, content_type=_JSON, headers=_HEADERS)
            self.count(refusal.reason)
            return _refuse(status, refusal)

        return respond

    async def _answer(
        self,
        request: web.Request,
        source: _Source,
        handle: Callable[[bytes], Awaitable[tuple[str, bytes]]],
    ) -> tuple[str, bytes]:
        source.requests.charge(1)
        if source.requests.is_empty() or source.refusals.is_empty():
            raise JoinRefused("rate", "too many requests from this address; wait a minute", 429)
        try:
            data = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise JoinRefused(
                "bad-request", f"at most {MAX_JOIN_BYTES} bytes are read", 413
            ) from None
        if self._waiting >= _MAX_WAITING:
            raise JoinRefused("busy", "too many machines join at once; try again", 503)
        self._waiting += 1
        try:
            async with self._at_the_hub:
                return await handle(data)
        finally:
            self._waiting -= 1

    def _source_of(self, name: str) -> _Source:
        found = self._sources.pop(name, None) or _Source(
            TokenBucket(_REQUESTS, self.clock), TokenBucket(_REFUSALS, self.clock)
        )
        self._sources[name] = found
        if len(self._sources) > _MAX_SOURCES:
            self._sources.popitem(last=False)
        return found

    async def _authority(self, _data: bytes) -> tuple[str, bytes]:
        answer = AuthorityAnswer(
            authority=self.admission.authority.certificate_pem.decode(),
            now_seconds=self.clock.now().timestamp(),
        )
        return "asked", AUTHORITY_ANSWER.encode(answer)

    async def _join(self, data: bytes) -> tuple[str, bytes]:
        answer = await self.admission.join(JOIN_REQUEST.decode(data))
        return "joined", JOIN_ANSWER.encode(answer)

    async def _renew(self, data: bytes) -> tuple[str, bytes]:
        answer = await self.admission.renew(RENEW_REQUEST.decode(data))
        return "renewed", JOIN_ANSWER.encode(answer)

    async def _received(self, data: bytes) -> tuple[str, bytes]:
        answer = await self.admission.received(RECEIVED_REQUEST.decode(data))
        return "received", RECEIVED_ANSWER.encode(answer)


_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _refuse(status: int, refusal: JoinRefusal) -> web.Response:
    headers = dict(_HEADERS)
    if status in (429, 503):
        headers["Retry-After"] = str(_RETRY_SECONDS)
    return web.Response(
        status=status, body=JOIN_REFUSAL.encode(refusal), content_type=_JSON, headers=headers
    )


@asynccontextmanager
async def serve_joining(
    endpoint: JoinEndpoint, bound: socket.socket, context: ssl.SSLContext
) -> AsyncIterator[BoundedListener]:
    """Serves for the time of the context; the listener's `run` accepts connections.

    Args:
        endpoint: answers.
        bound: the listening socket.
        context: TLS of the server.
    """
    runner = web.AppRunner(endpoint.app(), access_log=None, handle_signals=False)
    await runner.setup()
    bound.setblocking(False)  # noqa: FBT003 - of the standard library
    server = runner.server
    if server is None:
        raise RuntimeError("a runner that was set up has a server")
    try:
        yield BoundedListener(
            bound=bound,
            context=context,
            make_protocol=server,
            clock=endpoint.clock,
            faults=endpoint.faults,
            count_refused=lambda: endpoint.count("connections"),
        )
    finally:
        await runner.cleanup()
