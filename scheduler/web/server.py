"""The HTTP server: the page, /api/v1, /metrics, /healthz, /readyz."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from scheduler.control.ports.access import ALL_SITES, AccessReviewer
from scheduler.model.canonical import to_plain_json
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.web.answers.handlers import AnswerHandlers, NamespaceRights
from scheduler.web.answers.source import AnswerSource
from scheduler.web.answers.words import WordHandlers
from scheduler.web.auth import (
    Handler,
    add_headers,
    auth_middleware,
    bearer_token_of,
    cookie_name,
)
from scheduler.web.cached_render import CachedRender
from scheduler.web.diagnosis import DiagnosisHandlers, DiagnosisSource
from scheduler.web.listener import WebListener
from scheduler.web.live.feed import LiveFeed
from scheduler.web.live.stream import LiveStream
from scheduler.web.openapi.document import document_bytes
from scheduler.web.page_files import PageFiles
from scheduler.web.records import LedgerSource, RecordHandlers
from scheduler.web.search import Searcher, words_of
from scheduler.web.sessions import (
    CODE_LIFETIME_SECONDS,
    SESSION_LIFETIME_SECONDS,
    Sessions,
    Sight,
)
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.views import (
    DashboardRenderer,
    report_ages_seconds,
    site_rows,
    workload_row,
)
from scheduler.web.whatif import WhatIfHandlers, WhatIfSource

_EXPOSITION_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SHUTDOWN_SECONDS: Final = 2.0
_MAX_RENDER_AGE_SECONDS: Final = 1.0
_MAX_SNAPSHOT_AGE_SECONDS: Final = 0.1
"""A page asks when its stream says that something has changed, and wants to see just that."""
_THREAD_SWITCH_SECONDS: Final = 0.0005
"""The longest that a rendering thread holds the GIL before the event loop runs (default: 5 ms)."""
_MAX_BODY_BYTES: Final = 32 * 1024
"""A question about logs names up to where each container is known."""
_MAX_LINE_BYTES: Final = 256 * 1024
"""A query holds up to 64 sentences or values of facets."""
_DEFAULT_PAGE_ROWS, _MAX_PAGE_ROWS = 1000, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSources:
    """What the server needs of the scheduler.

    Attributes:
        take_snapshot: takes a snapshot; called on the event loop.
        render_metrics: renders a snapshot as exposition text; called on another thread.
        ledger: what is read of the ledger.
        readiness_problem: "" when ready, else what is missing.
        readiness_note: what else an operator should know; "": nothing. It makes nothing unready.
        review_token: asks the hub what the holder of a token may read.
        clock: the clock for cached values and sessions.
        faults: handles the faults that single requests cause.
        diagnosis: asks sites about a workload; None: no site is asked.
        answers: answers what needs the engine or the ledger; None: that is not answered.
        whatif: answers what-ifs; None: none is answered.
    """

    take_snapshot: Callable[[], StateSnapshot]
    render_metrics: Callable[[StateSnapshot], bytes]
    ledger: LedgerSource
    readiness_problem: Callable[[], str]
    review_token: AccessReviewer
    clock: Clock
    faults: Faults
    readiness_note: Callable[[], str] = lambda: ""
    diagnosis: DiagnosisSource | None = None
    answers: AnswerSource | None = None
    whatif: WhatIfSource | None = None


@asynccontextmanager
async def serve_web(listener: WebListener, sources: WebSources) -> AsyncIterator[None]:
    """Serves for the time of the context.

    Raises:
        OSError: the port is taken, or the address is none of this machine.
        ValueError: the certificate or its key cannot be used.
    """
    context = listener.make_context()
    handlers = _Handlers(listener, sources)
    before = sys.getswitchinterval()
    sys.setswitchinterval(_THREAD_SWITCH_SECONDS)
    runner = web.AppRunner(
        handlers.app(),
        access_log=None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        max_line_size=_MAX_LINE_BYTES,
    )
    try:
        await runner.setup()
        bound = listener.open_socket()
        # Without free file descriptors asyncio fails as often as its backlog says, each second.
        await web.SockSite(runner, bound, backlog=1, ssl_context=context).start()
        bound.listen()
        async with asyncio.TaskGroup() as group:
            looks = group.create_task(handlers.feed.run(), name="page-feed")
            try:
                yield
            finally:
                looks.cancel()
    finally:
        handlers.live_stream.close()
        await runner.cleanup()
        sys.setswitchinterval(before)


class _Handlers:
    """The request handlers and the state they share."""

    def __init__(self, listener: WebListener, sources: WebSources) -> None:
        self._listener, self._sources = listener, sources
        self._sessions = Sessions(sources.clock, sources.review_token)
        self._records = RecordHandlers(sources.ledger, self._sessions)
        self._more_routes: list[web.RouteDef] = []
        if sources.diagnosis:
            self._more_routes += DiagnosisHandlers(sources.diagnosis, sources.clock).routes()
        if sources.whatif:
            self._more_routes += WhatIfHandlers(sources.whatif, self._sessions).routes()
        clock, take_snapshot = sources.clock, sources.take_snapshot
        self._cached_metrics = CachedRender(
            clock=clock,
            take_snapshot=take_snapshot,
            render=sources.render_metrics,
            max_age_seconds=_MAX_RENDER_AGE_SECONDS,
        )
        self._cached_view = CachedRender(
            clock=clock,
            take_snapshot=take_snapshot,
            render=DashboardRenderer().render,
            max_age_seconds=_MAX_RENDER_AGE_SECONDS,
        )
        self._shared_snapshot = CachedRender(
            clock=clock,
            take_snapshot=take_snapshot,
            render=lambda snapshot: snapshot,
            max_age_seconds=_MAX_SNAPSHOT_AGE_SECONDS,
        )
        self._searcher = Searcher()
        self._page_files = PageFiles()
        self.feed = LiveFeed(take_snapshot, clock, sources.faults)
        rights = NamespaceRights(self._sessions, self.feed.namespaces)
        self._answers = AnswerHandlers(self._shared_snapshot.get, sources.answers, rights)
        self.live_stream = LiveStream(self.feed, self._sessions, clock)

    def app(self) -> web.Application:
        app = web.Application(
            middlewares=[
                _fault_middleware(self._sources.faults),
                auth_middleware(self._sessions, self._listener),
            ],
            client_max_size=_MAX_BODY_BYTES,
        )
        app.on_response_prepare.append(add_headers)
        app.add_routes(
            [
                web.get("/", self._get_page),
                *self._page_files.routes(),
                web.get("/login", self._get_login),
                web.post("/login/codes", self._create_code),
                web.get("/api/v1/sites", self._get_sites),
                web.get("/api/v1/links", self._get_links),
                web.get("/api/v1/workloads", self._get_workloads),
                web.get("/api/v1/evictions", self._get_evictions),
                *self._records.routes(),
                *self._more_routes,
                *WordHandlers().routes(),
                *self._answers.routes(),
                web.get("/api/v1/live", self.live_stream.stream),
                web.get("/metrics", self._get_metrics),
                web.get("/healthz", self._get_healthz),
                web.get("/readyz", self._get_readyz),
                web.get("/openapi.json", self._get_openapi),
            ]
        )
        return app

    # ------------------------------------------------------------ without authentication

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=await self._cached_metrics.get(),
            headers={"Content-Type": _EXPOSITION_CONTENT_TYPE},
        )

    async def _get_healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _get_readyz(self, _: web.Request) -> web.Response:
        missing = self._sources.readiness_problem()
        lines = [missing or "ok", *filter(None, [self._sources.readiness_note()])]
        return web.Response(text="\n".join(lines) + "\n", status=503 if missing else 200)

    async def _get_openapi(self, _: web.Request) -> web.Response:
        return _json_bytes_response(document_bytes())

    # ------------------------------------------------------------ the page

    async def _get_page(self, _: web.Request) -> web.Response:
        return self._page_files.document("index.html")

    async def _create_code(self, request: web.Request) -> web.Response:
        """Serves `kapok open`, which sends a token of the hub."""
        code = self._sessions.create_code(bearer_token_of(request))
        answer = {"code": code, "expiresInSeconds": CODE_LIFETIME_SECONDS}
        return _json_response(answer, status=HTTPStatus.CREATED)

    async def _get_login(self, request: web.Request) -> web.Response:
        session = self._sessions.redeem_code(request.query.get("code", ""))
        if session is None:
            text = (
                "this code was used already or is older than two minutes; run  kapok open  again\n"
            )
            return web.Response(status=HTTPStatus.UNAUTHORIZED, text=text)
        # After a redirect the browser would still treat the request as one from the page with the
        # link, and withhold the strict cookie. From a page of our own it sends the cookie.
        response = self._page_files.document("welcome.html")
        response.set_cookie(
            cookie_name(self._listener.port),
            session,
            max_age=int(SESSION_LIFETIME_SECONDS),
            httponly=True,
            secure=self._listener.is_tls,
            samesite="Strict",
            path="/",
        )
        return response

    async def _sight(self, request: web.Request) -> Sight:
        token = bearer_token_of(request)
        return await self._sessions.sight_of(token, self.feed.namespaces())

    # ------------------------------------------------------------ /api/v1

    async def _get_sites(self, request: web.Request) -> web.Response:
        sight = await self._sight(request)
        if not sight.has_sites:
            text = f"the token may not {ALL_SITES.right}\n"
            return web.Response(status=HTTPStatus.FORBIDDEN, text=text)
        return _json_bytes_response(
            await asyncio.to_thread(_sites_body, self._sources.take_snapshot(), sight)
        )

    async def _get_links(self, request: web.Request) -> web.Response:
        """The round-trip times that one site reported last."""
        if not (await self._sight(request)).has_sites:
            text = f"the token may not {ALL_SITES.right}\n"
            return web.Response(status=HTTPStatus.FORBIDDEN, text=text)
        name = request.query.get("site", "")
        snapshot = self._sources.take_snapshot()
        facts = next((one for one in snapshot.facts if one.name == name), None)
        if facts is None:
            text = "site: write the name of a site\n"
            return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
        links = [to_plain_json(one) for one in facts.status.rtt]
        return _json_response({"site": name, "links": links})

    async def _get_evictions(self, _: web.Request) -> web.Response:
        """What holds evictions back, as `kapok freeze --status` prints it."""
        return _json_response(dict(self._sources.take_snapshot().evictions))

    async def _get_workloads(self, request: web.Request) -> web.Response:
        try:
            limit = int(request.query.get("limit", _DEFAULT_PAGE_ROWS))
        except ValueError:
            limit = 0
        if not 1 <= limit <= _MAX_PAGE_ROWS:
            text = f"limit: write a number from 1 to {_MAX_PAGE_ROWS}\n"
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=text)
        namespace, after = request.query.get("namespace", ""), request.query.get("after", "")
        words = words_of(request.query.get("search", ""))
        snapshot = self._sources.take_snapshot()
        found = snapshot.workloads
        if words:
            view = await self._cached_view.get()
            snapshot, found = view.snapshot, await self._searcher.workloads(view, words)
        sight = await self._sight(request)
        found = [one for one in found if sight.sees(one.metadata.namespace)]
        return _json_bytes_response(
            await asyncio.to_thread(_workloads_body, snapshot, found, namespace, after, limit)
        )


def _fault_middleware(faults: Faults) -> Middleware:
    """Answers a request that brings out a fault with 500, and with no detail of it."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        # aiohttp's own answers are exceptions too, and a reader that is gone is no fault.
        response: web.StreamResponse = web.Response(
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            text="internal error; the scheduler's log has the fault\n",
        )
        try:
            with faults.barrier("request", passing=(web.HTTPException, ConnectionError)):
                response = await handler(request)
        except ConnectionError:
            if request.transport is not None and not request.transport.is_closing():
                raise
        return response  # after a fault it is the one with 500; one that is gone gets none

    return answer


_OF_ALL_TENANTS: Final = ("used", "inFlightReplicas", "workloads")


def _sites_body(snapshot: StateSnapshot, sight: Sight) -> bytes:
    age_of = report_ages_seconds(snapshot)
    rows = [{**row, "reportAgeSeconds": age_of.get(row["name"])} for row in site_rows(snapshot)]
    if not sight.is_all:
        rows = [
            {key: value for key, value in row.items() if key not in _OF_ALL_TENANTS} for row in rows
        ]
    return msgspec.json.encode({"sites": rows})


def _workloads_body(
    snapshot: StateSnapshot, found: Iterable[Workload], namespace: str, after: str, limit: int
) -> bytes:
    """One page by namespace and name; the value of `next` is the `after` of the next page."""
    keyed = {(one.metadata.namespace, one.metadata.name): one for one in found}
    keys = sorted(key for key in keyed if not namespace or key[0] == namespace)
    start = tuple(after.split("/", 1)) if after else ()
    page = list(islice((key for key in keys if key > start), limit + 1))
    body: dict[str, Any] = {
        "workloads": [
            workload_row(keyed[key], snapshot.reasons_by_workload.get(key, {}))
            for key in page[:limit]
        ],
        "total": len(keys),
    }
    if len(page) > limit:
        body["next"] = "/".join(page[limit - 1])
    return msgspec.json.encode(body)


def _json_response(value: object, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return _json_bytes_response(msgspec.json.encode(value), status=status)


def _json_bytes_response(body: bytes, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=body, content_type="application/json", status=status)
