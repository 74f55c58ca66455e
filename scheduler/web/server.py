"""The HTTP server on loopback: the page, /api/v1, /metrics, /healthz, /readyz."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web

from scheduler.runtime.clock import Clock
from scheduler.web.auth import add_headers, cookie_name, door
from scheduler.web.cached_render import Fresh
from scheduler.web.live import Live
from scheduler.web.sessions import CODE_SECONDS, SESSION_SECONDS, Review, Sessions
from scheduler.web.snapshot import Snapshot
from scheduler.web.views import Views, ages, site_rows, workload_row

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_SHUTDOWN_SECONDS: Final = 2.0
_FRESH_SECONDS: Final = 1.0
_SWITCH_SECONDS: Final = 0.0005
"""How long a thread that renders keeps the event loop waiting at most (5 ms unless set)."""
_MOST_BODY_BYTES: Final = 1024
_PAGE_ROWS, _MOST_PAGE_ROWS = 1000, 10_000
_DECISION_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_FILES: Final = {
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/favicon.ico": ("icon.svg", "image/svg+xml"),  # browsers ask for it on pages of plain text
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is shown.

    Attributes:
        look: takes a snapshot; called on the event loop.
        render: makes exposition text of it; called on another thread.
        decision: the record with this id as JSON, or None; called on another thread. LookupError
            when the ledger cannot be read.
        why_not_ready: "" when ready, else what is missing.
        review: asks the hub whether a token may read.
        clock: for the age of what is shared.
    """

    look: Callable[[], Snapshot]
    render: Callable[[Snapshot], bytes]
    decision: Callable[[str], bytes | None]
    why_not_ready: Callable[[], str]
    review: Review
    clock: Clock


@asynccontextmanager
async def serve_web(port: int, sources: Sources) -> AsyncIterator[None]:
    """Serves on 127.0.0.1 for the time of the context.

    Raises:
        OSError: the port is taken.
    """
    pages = _Pages(port, sources)
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    runner = web.AppRunner(pages.app(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        pages.live.close()
        await runner.cleanup()
        sys.setswitchinterval(before)


class _Pages:
    """The handlers."""

    def __init__(self, port: int, sources: Sources) -> None:
        self._port, self._sources = port, sources
        self._sessions = Sessions(sources.clock, sources.review)
        clock, look = sources.clock, sources.look
        self._metrics = Fresh(clock, look, sources.render, _FRESH_SECONDS)
        self._view = Fresh(clock, look, Views().view, _FRESH_SECONDS)
        self.live = Live(self._view.get, clock)

    def app(self) -> web.Application:
        app = web.Application(
            middlewares=[door(self._sessions, self._port)], client_max_size=_MOST_BODY_BYTES
        )
        app.on_response_prepare.append(add_headers)
        app.add_routes(
            [
                web.get("/", self._index),
                *(web.get(path, _static(*one)) for path, one in _FILES.items()),
                web.get("/login", self._login),
                web.post("/login/codes", self._new_code),
                web.get("/api/v1/sites", self._sites),
                web.get("/api/v1/workloads", self._workloads),
                web.get("/api/v1/decisions/{id}", self._decision),
                web.get("/api/v1/live", self.live.stream),
                web.get("/metrics", self._scrape),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        return app

    # ------------------------------------------------------------ open to this machine

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._metrics.get(), headers={"Content-Type": _TEXT})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        missing = self._sources.why_not_ready()
        return web.Response(text=(missing or "ok") + "\n", status=503 if missing else 200)

    # ------------------------------------------------------------ the page

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(body=_file("index.html"), content_type="text/html", charset="utf-8")

    async def _new_code(self, _: web.Request) -> web.Response:
        """For `kapok open`, which holds a token of the hub."""
        answer = {"code": self._sessions.new_code(), "expiresInSeconds": CODE_SECONDS}
        return _json(answer, status=HTTPStatus.CREATED)

    async def _login(self, request: web.Request) -> web.Response:
        session = self._sessions.session_for(request.query.get("code", ""))
        if session is None:
            text = "this code was used already, or is older than two minutes; run  kapok open\n"
            return web.Response(status=HTTPStatus.UNAUTHORIZED, text=text)
        # A redirect would still count as coming from wherever the link was; a page of ours does
        # not, and so the browser sends the strict cookie with what follows.
        response = web.Response(body=_file("welcome.html"), content_type="text/html")
        response.set_cookie(
            cookie_name(self._port),
            session,
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return response

    # ------------------------------------------------------------ /api/v1

    async def _sites(self, _: web.Request) -> web.Response:
        return _raw(await asyncio.to_thread(_sites_body, self._sources.look()))

    async def _workloads(self, request: web.Request) -> web.Response:
        try:
            limit = int(request.query.get("limit", _PAGE_ROWS))
        except ValueError:
            limit = 0
        if not 1 <= limit <= _MOST_PAGE_ROWS:
            text = f"limit: a number from 1 to {_MOST_PAGE_ROWS}\n"
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=text)
        namespace, after = request.query.get("namespace", ""), request.query.get("after", "")
        now = self._sources.look()
        return _raw(await asyncio.to_thread(_workloads_body, now, namespace, after, limit))

    async def _decision(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        found = None
        if _DECISION_ID.fullmatch(name):
            try:
                found = await asyncio.to_thread(self._sources.decision, name)
            except LookupError as error:
                return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{error}\n")
        if found is None:
            text = "no such decision; the id stands in the workload's status.decision.id\n"
            return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
        return _raw(found)


def _sites_body(now: Snapshot) -> bytes:
    age_of = ages(now)
    rows = [{**row, "reportAgeSeconds": age_of.get(row["name"])} for row in site_rows(now)]
    return msgspec.json.encode({"sites": rows})


def _workloads_body(now: Snapshot, namespace: str, after: str, limit: int) -> bytes:
    """One page in the order of namespace and name; `next` continues it."""
    keyed = {(one.metadata.namespace, one.metadata.name): one for one in now.workloads}
    keys = sorted(key for key in keyed if not namespace or key[0] == namespace)
    start = tuple(after.split("/", 1)) if after else ()
    page = list(islice((key for key in keys if key > start), limit + 1))
    body: dict[str, Any] = {
        "workloads": [workload_row(keyed[key], now.reasons.get(key, {})) for key in page[:limit]],
        "total": len(keys),
    }
    if len(page) > limit:
        body["next"] = "/".join(page[limit - 1])
    return msgspec.json.encode(body)


def _static(name: str, kind: str) -> Callable[[web.Request], Any]:
    body = _file(name)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return answer


def _file(name: str) -> bytes:
    return files("scheduler.web").joinpath("page", name).read_bytes()


def _json(value: object, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return _raw(msgspec.json.encode(value), status=status)


def _raw(body: bytes, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=body, content_type="application/json", status=status)
