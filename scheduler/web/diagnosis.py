"""The handlers behind `kapok status` and `kapok logs`: they ask the sites about one workload.

Only a bearer token is taken, and its holder needs the right to `get workloads/log` in the namespace
of the workload, by a review of the hub for each request. The sites are asked about the orders of
this workload alone. What they answer is passed on and neither kept nor logged.
"""

import asyncio
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from scheduler.control.ports.diagnosis import (
    About,
    DiagnosisPort,
    DiagnosisQuery,
    LogPosition,
    SiteDiagnosis,
)
from scheduler.model.decode import decode_json
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import Clock
from scheduler.web.auth import bearer_token_of

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_MAX_SITES: Final[dict[About, int]] = {"status": 32, "logs": 8}
_MAX_TAIL_LINES: Final = 10_000
_MAX_POSITIONS: Final = 256
_QUESTIONS, _PER_SECONDS, _MAX_HOLDERS = 30, 30.0, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisSource:
    """What the handlers need.

    Attributes:
        find_workload: the workload of a namespace and name; None: there is none.
        order_id: the id of a workload's orders.
        site_uid: the uid of a site's object; None: there is none of this name.
        sites: asks the sites.
        may_read: asks the hub whether the holder of a token may get `workloads/log` in a namespace.
    """

    find_workload: Callable[[str, str], Workload | None]
    order_id: Callable[[Workload], str]
    site_uid: Callable[[str], str | None]
    sites: DiagnosisPort
    may_read: Callable[[str, str], Awaitable[bool]]


class _Wish(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The body of a request."""

    sites: list[str] = []
    pod: str | None = None
    container: str | None = None
    tail_lines: int | None = None
    positions: list[LogPosition] = []


class _Refused(Exception):
    """The request is not answered; the message says why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class DiagnosisHandlers:
    """Answers questions about workloads at their sites.

    Args:
        source: what they need.
        clock: for the pace of each user.
    """

    def __init__(self, source: DiagnosisSource, clock: Clock) -> None:
        self._source = source
        self._pace = _Pace(clock)

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.post("/api/v1/status/{namespace}/{name}", self._post_status),
            web.post("/api/v1/logs/{namespace}/{name}", self._post_logs),
        ]

    async def _post_status(self, request: web.Request) -> web.Response:
        return await self._answer(request, "status")

    async def _post_logs(self, request: web.Request) -> web.Response:
        return await self._answer(request, "logs")

    async def _answer(self, request: web.Request, about: About) -> web.Response:
        try:
            workload, wish = await self._read(request)
            names, left_out = _sites_of(workload, wish, about)
        except _Refused as refusal:
            return web.Response(status=refusal.status, text=f"{refusal}\n")
        query = DiagnosisQuery(
            about=about,
            pod=wish.pod,
            container=wish.container,
            tail_lines=wish.tail_lines,
            positions=tuple(wish.positions),
        )
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._ask(name, workload, query)) for name in names]
        found = [one.result() for one in asked]
        row = _status_row if about == "status" else _logs_row
        body: dict[str, Any] = {
            "workload": workload.metadata.key,
            "phase": workload.status.phase,
            "sites": [row(one) for one in found],
        }
        if left_out:
            body["leftOut"] = left_out
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def _ask(self, site: str, workload: Workload, query: DiagnosisQuery) -> SiteDiagnosis:
        uid = self._source.site_uid(site)
        if uid is None:
            return SiteDiagnosis(site=site, problem="there is no such Site any more")
        return await self._source.sites.ask(site, uid, self._source.order_id(workload), query)

    async def _read(self, request: web.Request) -> tuple[Workload, _Wish]:
        """The workload that is asked about, and the rest of the question.

        Raises:
            _Refused: the token is missing or has not the right, or the request is wrong.
        """
        token = bearer_token_of(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if not token:
            raise _Refused(HTTPStatus.UNAUTHORIZED, "send a bearer token of the hub")
        if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(name):
            raise _Refused(HTTPStatus.BAD_REQUEST, "expected the names of a namespace and workload")
        if not self._pace.allows(token):
            text = f"at most {_QUESTIONS} questions in {_PER_SECONDS:g} s are answered"
            raise _Refused(HTTPStatus.TOO_MANY_REQUESTS, f"{text}; wait some seconds")
        if not await self._source.may_read(token, namespace):
            raise _Refused(
                HTTPStatus.FORBIDDEN,
                f"the token may not get workloads.kapok.dev/log in namespace {namespace}",
            )
        try:
            wish: _Wish = decode_json(await request.read() or b"{}", _Wish)
        except (msgspec.DecodeError, RecursionError, web.HTTPRequestEntityTooLarge) as error:
            raise _Refused(
                HTTPStatus.BAD_REQUEST, f"the question cannot be read: {error}"
            ) from None
        _check(wish)
        workload = self._source.find_workload(namespace, name)
        if workload is None:
            raise _Refused(HTTPStatus.NOT_FOUND, f"there is no workload {namespace}/{name}")
        return workload, wish


class _Pace:
    """How often each holder of a token may ask."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: OrderedDict[bytes, deque[float]] = OrderedDict()

    def allows(self, token: str) -> bool:
        """Whether one more question is answered now; then it is counted."""
        digest, now = sha256(token.encode()).digest(), self._clock.monotonic()
        times = self._asked.setdefault(digest, deque())
        self._asked.move_to_end(digest)
        while len(self._asked) > _MAX_HOLDERS:
            self._asked.popitem(last=False)
        while times and times[0] <= now - _PER_SECONDS:
            times.popleft()
        if len(times) >= _QUESTIONS:
            return False
        times.append(now)
        return True


def _check(wish: _Wish) -> None:
    named = [*wish.sites, *filter(None, (wish.pod, wish.container))]
    named += [text for one in wish.positions for text in (one.pod, one.container)]
    lines = wish.tail_lines
    if not all(map(_NAME.fullmatch, named)):
        raise _Refused(HTTPStatus.BAD_REQUEST, "expected names of sites, pods and containers")
    if lines is not None and not 1 <= lines <= _MAX_TAIL_LINES:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"lines: write a number from 1 to {_MAX_TAIL_LINES}")
    if len(wish.positions) > _MAX_POSITIONS or any(len(one.after) > 40 for one in wish.positions):  # noqa: PLR2004 - an instant
        raise _Refused(HTTPStatus.BAD_REQUEST, f"at most {_MAX_POSITIONS} positions are taken")


def _sites_of(workload: Workload, wish: _Wish, about: About) -> tuple[list[str], int]:
    """The sites to ask, and how many are left out.

    Raises:
        _Refused: a site is named where the workload has no replicas.
    """
    placed = sorted({site for one in workload.status.placement.groups for site in one.sites})
    strange = sorted(set(wish.sites) - set(placed))
    if strange:
        where = ", ".join(placed[:8]) or "none"
        raise _Refused(
            HTTPStatus.NOT_FOUND,
            f"{workload.metadata.key} has no replicas at {strange[0]}; its sites: {where}",
        )
    wanted = sorted(set(wish.sites)) or placed
    most = _MAX_SITES[about]
    return wanted[:most], max(0, len(wanted) - most)


def _status_row(found: SiteDiagnosis) -> dict[str, Any]:
    reasons: dict[str, int] = {}
    for pod in found.pods:
        if pod.reason:
            reasons[pod.reason] = reasons.get(pod.reason, 0) + 1
    return {
        "name": found.site,
        "pods": found.pod_count,
        "ready": found.ready_count,
        "reasons": reasons,
        "events": [
            {
                "about": one.about,
                "type": one.kind,
                "reason": one.reason,
                "message": one.message,
                "count": one.count,
                "lastSeen": one.last_seen,
            }
            for one in found.events
        ],
        "podDetails": [
            {
                "name": pod.name,
                "phase": pod.phase,
                "ready": pod.is_ready,
                "restarts": pod.restarts,
                "node": pod.node,
                "reason": pod.reason,
                "message": pod.message,
            }
            for pod in found.pods
        ],
    } | ({"problem": found.problem} if found.problem else {})


def _logs_row(found: SiteDiagnosis) -> dict[str, Any]:
    logs = [
        {
            "pod": one.pod,
            "container": one.container,
            "text": one.text,
            "after": one.after,
            "truncated": one.is_truncated,
        }
        | ({"problem": one.problem} if one.problem else {})
        for one in found.logs
    ]
    return {"name": found.site, "logs": logs} | (
        {"problem": found.problem} if found.problem else {}
    )
