"""The routes of the page's questions: who may ask, what a query may hold, and the JSON answer."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from scheduler.model.kinds.workload import Workload
from scheduler.model.words.sentence import json_bytes
from scheduler.web.answers.language import in_language
from scheduler.web.answers.queue import queue_answer, tenant_shares
from scheduler.web.answers.source import (
    AnswerSource,
    FitQuestion,
    LedgerUnreadable,
    NothingThere,
    QuestionRefused,
    TooManyQuestions,
    WhyQuestion,
)
from scheduler.web.answers.table import (
    MAX_CHOSEN,
    ContradictingQuery,
    TableQuery,
    WorkloadTable,
    WrongQuery,
)
from scheduler.web.answers.table_rows import FACETS, tenants_by_namespace
from scheduler.web.answers.workload import workload_detail
from scheduler.web.auth import bearer_token_of
from scheduler.web.search import words_of
from scheduler.web.sessions import Sessions
from scheduler.web.snapshot import StateSnapshot
from scheduler.words.languages import Language, UnknownLanguage, parse_language

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_RESOURCE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9./_-]{0,314}[A-Za-z0-9])?")
_DECISION: Final = re.compile(r"[A-Za-z0-9._:-]{0,128}(#[0-9]{1,6})?")
_MAX_VALUE_LENGTH: Final = 317
_MAX_SITES: Final = 200
_MAX_HISTORY: Final = 100
_MAX_REPLICAS: Final = 100_000
_MAX_RESOURCES: Final = 8

TakeView = Callable[[], Awaitable[StateSnapshot]]
"""Gives a snapshot that readers share for a second."""


class NamespaceRights:
    """Answers by reviews of the hub, which `Sessions` keeps for a short time.

    Args:
        sessions: asks for the rights of tokens.
        namespaces: gives the namespaces that hold workloads.
    """

    def __init__(self, sessions: Sessions, namespaces: Callable[[], Iterable[str]]) -> None:
        self._sessions, self._namespaces = sessions, namespaces

    async def may_see_namespace(self, request: web.Request, namespace: str) -> bool:
        """Whether a request may see the workloads of a namespace, if it holds any or not."""
        token = bearer_token_of(request)
        if await self._sessions.admits_token(token):
            return True
        return await self._sessions.admits_token(token, namespace)

    async def visible_namespaces(self, request: web.Request) -> frozenset[str] | None:
        """The namespaces whose workloads a request may see; None: all."""
        token = bearer_token_of(request)
        return (await self._sessions.sight_of(token, self._namespaces())).namespaces

    async def sees_fleet(self, request: web.Request) -> bool:
        """Whether a request may see what is about all tenants and sites."""
        token = bearer_token_of(request)
        sight = await self._sessions.sight_of(token, self._namespaces())
        return sight.is_all


class AnswerHandlers:
    """Answers the page's questions.

    Args:
        take: gives the state.
        source: answers what needs the engine or the ledger; None: these are not answered.
        rights: which namespaces who asks may see.
    """

    def __init__(
        self, take: TakeView, source: AnswerSource | None, rights: NamespaceRights
    ) -> None:
        self._take, self._source, self._rights = take, source, rights
        self._table, self._table_lock = WorkloadTable(), asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        one = "/api/v1/workloads/{namespace}/{name}"
        routes = {
            "/api/v1/workloads/table": self._get_table,
            one: self._get_workload,
            f"{one}/why": self._get_why,
            f"{one}/changes": self._get_changes,
            f"{one}/history": self._get_history,
            f"{one}/events": self._get_events,
            "/api/v1/queue": self._get_queue,
            "/api/v1/tenants": self._get_tenants,
            "/api/v1/spend": self._get_spend,
            "/api/v1/fits": self._get_fits,
            "/api/v1/losses/{site}": self._get_loss,
        }
        return [web.get(path, _answering(handler)) for path, handler in routes.items()]

    async def _get_table(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        query, snapshot = table_query(request), await self._take()
        visible = await self._rights.visible_namespaces(request)
        async with self._table_lock:
            return await asyncio.to_thread(
                self._table.answer, snapshot, query, visible, _language(request)
            )

    async def _get_workload(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        snapshot, workload = await self._workload(request)
        key = (workload.metadata.namespace, workload.metadata.name)
        tenant = tenants_by_namespace(snapshot).get(key[0], "")
        reasons = snapshot.reasons_by_workload.get(key, {})
        return await asyncio.to_thread(workload_detail, snapshot, workload, tenant, reasons)

    async def _get_why(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        namespace, name = await self._key(request)
        decision, versus = _text(request, "decision"), tuple(request.query.getall("versus", []))
        if not _DECISION.fullmatch(decision):
            raise WrongQuery("decision: write the id of a record, as status.decision has it")
        if len(versus) > 2 or not all(map(_NAME.fullmatch, versus)):  # noqa: PLR2004 - a pair
            raise WrongQuery("versus: write the names of one or two sites")
        question = WhyQuestion(
            workload=f"{namespace}/{name}",
            decision=decision,
            offset=_number(request, "offset", 0, 0, 10**6),
            limit=_number(request, "limit", 50, 1, _MAX_SITES),
            search=_text(request, "search").lower(),
            versus=versus,
            sees_all=await self._rights.visible_namespaces(request) is None,
        )
        return await self._engine().explain(question)

    async def _get_changes(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        return await self._engine().changes("/".join(await self._key(request)))

    async def _get_history(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        key = "/".join(await self._key(request))
        before = _number(request, "before", 0, 0, 2**62)
        limit = _number(request, "limit", 50, 1, _MAX_HISTORY)
        return await self._engine().history(key, before, limit)

    async def _get_events(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        _, workload = await self._workload(request)
        return await self._engine().events(workload)

    async def _get_queue(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        visible = await self._rights.visible_namespaces(request)
        return await asyncio.to_thread(queue_answer, await self._take(), visible)

    async def _get_tenants(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        visible = await self._rights.visible_namespaces(request)
        return await asyncio.to_thread(tenant_shares, await self._take(), visible)

    async def _get_spend(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        await self._check_all(request)
        return await self._engine().spend(await self._take())

    async def _get_fits(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        await self._check_all(request)
        question = fit_question(request)
        return await self._engine().fits(question)

    async def _get_loss(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        await self._check_all(request)
        site = request.match_info["site"]
        if not _NAME.fullmatch(site):
            raise WrongQuery("expected the name of a site")
        return await self._engine().lost_with(site)

    def _engine(self) -> AnswerSource:
        if self._source is None:
            raise NothingThere("this server does not answer questions to the engine")
        return self._source

    async def _workload(self, request: web.Request) -> tuple[StateSnapshot, Workload]:
        key, snapshot = await self._key(request), await self._take()
        for one in snapshot.workloads:
            if (one.metadata.namespace, one.metadata.name) == key:
                return snapshot, one
        raise NothingThere(f"there is no workload {'/'.join(key)}")

    async def _key(self, request: web.Request) -> tuple[str, str]:
        """The workload that is asked about, once the right to it is checked."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(name):
            raise WrongQuery("expected the names of a namespace and a workload")
        if not await self._rights.may_see_namespace(request, namespace):
            raise web.HTTPForbidden(
                text=f"the token may not get workloads.kapok.dev in namespace {namespace}\n"
            )
        return namespace, name

    async def _check_all(self, request: web.Request) -> None:
        if not await self._rights.sees_fleet(request):
            raise web.HTTPForbidden(
                text="this is about all tenants and sites: the token may not list "
                "workloads.kapok.dev in all namespaces, or not sites.kapok.dev\n"
            )


def table_query(request: web.Request) -> TableQuery:
    """Reads the query of the table.

    Raises:
        WrongQuery: a value is out of its bounds.
    """
    sort = _text(request, "sort") or "namespace"
    written = {name: request.query.getall(name, []) for name in FACETS}
    if any(len(values) > MAX_CHOSEN for values in written.values()):
        raise WrongQuery(f"at most {MAX_CHOSEN} values of a facet may be chosen")
    chosen = {name: frozenset(values) for name, values in written.items()}
    if any(len(value) > _MAX_VALUE_LENGTH for values in chosen.values() for value in values):
        raise WrongQuery(f"a value of a facet has at most {_MAX_VALUE_LENGTH} characters")
    return TableQuery(
        words=words_of(request.query.get("search", "")),
        chosen={name: values for name, values in chosen.items() if values},
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
        offset=_number(request, "offset", 0, 0, 10**7),
        limit=_number(request, "limit", 200, 1, 1000),
    )


def fit_question(request: web.Request) -> FitQuestion:
    """Reads the shape: each `request` is NAME=QUANTITY, as `?request=cpu=8&request=memory=2Gi`.

    Raises:
        WrongQuery: a value is out of its bounds.
        ContradictingQuery: a resource has two quantities.
    """
    written = request.query.getall("request", [])
    if not 1 <= len(written) <= _MAX_RESOURCES:
        raise WrongQuery(f"request: write 1 to {_MAX_RESOURCES} of NAME=QUANTITY, as cpu=8")
    requests: dict[str, str] = {}
    for text in written:
        name, equals, amount = text.partition("=")
        if not equals or not _RESOURCE.fullmatch(name) or not amount:
            raise WrongQuery("request: write NAME=QUANTITY, as cpu=8")
        if requests.get(name, amount) != amount:
            raise ContradictingQuery(f"request: {name} has two quantities; write it once")
        requests[name] = amount
    return FitQuestion(
        requests=requests,
        replicas=_number(request, "replicas", 1, 1, _MAX_REPLICAS),
        data_class=_text(request, "class"),
        limit=_number(request, "limit", 50, 1, _MAX_SITES),
    )


def _language(request: web.Request) -> Language:
    return parse_language(request.query.get("lang", "en"))


def _text(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    if len(value) > _MAX_VALUE_LENGTH:
        raise WrongQuery(f"{name}: at most {_MAX_VALUE_LENGTH} characters")
    return value


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name, "")
    is_number = text.isascii() and text.isdecimal() and len(text) <= 20  # noqa: PLR2004 - digits
    value = int(text) if is_number else default if not text else -1
    if not least <= value <= most:
        raise WrongQuery(f"{name}: write a whole number from {least} to {most}")
    return value


_STATUS_OF: Final[Mapping[type[Exception], HTTPStatus]] = {
    WrongQuery: HTTPStatus.BAD_REQUEST,
    ContradictingQuery: HTTPStatus.CONFLICT,
    UnknownLanguage: HTTPStatus.BAD_REQUEST,
    QuestionRefused: HTTPStatus.BAD_REQUEST,
    NothingThere: HTTPStatus.NOT_FOUND,
    TooManyQuestions: HTTPStatus.TOO_MANY_REQUESTS,
    LedgerUnreadable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def _answering(
    handler: Callable[[web.Request], Awaitable[Any]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler whose answer is sent as JSON, and whose refusals have a status each."""

    async def answer(request: web.Request) -> web.Response:
        try:
            language = _language(request)
            found = await handler(request)
        except tuple(_STATUS_OF) as error:
            status = next(code for kind, code in _STATUS_OF.items() if isinstance(error, kind))
            return web.Response(status=status, text=f"{error}\n")
        body = await asyncio.to_thread(lambda: json_bytes(in_language(found, language)))
        return web.Response(body=body, content_type="application/json")

    return answer
