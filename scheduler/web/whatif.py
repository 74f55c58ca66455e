"""The handlers behind `kapok whatif` and the page's what-ifs: questions about a copy of the fleet.

A POST has a question as JSON and is answered line by line, so that its sender sees how far it is. A
GET has the words of a scenario and one answer, in the language that `lang` names; it cannot name
files. One question is answered at a time: each takes a core for some seconds.
"""

import asyncio
import re
import shlex
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from scheduler.control.ports.access import ALL_SITES, ALL_WORKLOADS
from scheduler.model.decode import decode_json
from scheduler.model.quantities import CPU, GPU, MEMORY, NotAQuantity, refuse_shares, requests_of
from scheduler.web.answers.language import in_language
from scheduler.web.auth import bearer_token_of
from scheduler.web.sessions import Sessions
from scheduler.whatif.questions import CapacityQuestion, Question, WhatIfQuestion
from scheduler.whatif.scenario.changes import (
    Change,
    ContradictingChanges,
    MakeChange,
    ScenarioError,
)
from scheduler.whatif.scenario.words import read_scenario
from scheduler.whatif.shape import DEFAULT_CLASS, AskedShape
from scheduler.words.languages import UnknownLanguage, parse_language

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_MAX_QUESTION_BYTES: Final = 8 << 20
"""New sites come with their nodes."""
_MAX_WORDS_LENGTH: Final = 8192
MAX_SCENARIO_PARTS: Final = 8
"""So often the parameter `scenario` may be repeated."""
_SHAPE_RESOURCES: Final = {"cpu": CPU, "memory": MEMORY, "gpu": GPU}
_BUSY: Final = "another what-if is being answered; ask again in some seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfSource:
    """What the handlers need.

    Attributes:
        ask: answers a question; yields lines of JSON, the answer last.
    """

    ask: Callable[[Question], AsyncGenerator[bytes, None]]


class WhatIfHandlers:
    """The request handlers.

    Args:
        source: what they need.
        sessions: says what the holder of a token may see.
    """

    def __init__(self, source: WhatIfSource, sessions: Sessions) -> None:
        self._source, self._sessions = source, sessions
        self._is_busy = False

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get("/api/v1/whatif", self._get_whatif),
            web.get("/api/v1/workloads/{namespace}/{name}/whatif", self._get_change),
            web.post("/api/v1/whatif", self._post_question),
            web.get("/api/v1/capacity", self._get_capacity),
        ]

    async def _get_whatif(self, request: web.Request) -> web.StreamResponse:
        parts = request.query.getall("scenario", [])
        if len(parts) > MAX_SCENARIO_PARTS:
            text = f"scenario: write it at most {MAX_SCENARIO_PARTS} times"
            return _text(HTTPStatus.BAD_REQUEST, text)
        words = " ".join(parts)
        if len(words) > _MAX_WORDS_LENGTH:
            text = f"scenario: at most {_MAX_WORDS_LENGTH} characters are read"
            return _text(HTTPStatus.BAD_REQUEST, text)
        try:
            changes = read_scenario(_split(words), _refuse_file)
        except ContradictingChanges as error:
            return _text(HTTPStatus.CONFLICT, str(error))
        except ScenarioError as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))
        return await self._answer_once(request, WhatIfQuestion(changes=changes))

    async def _get_change(self, request: web.Request) -> web.StreamResponse:
        """The smallest change of a workload that the page asks to be shown."""
        try:
            change = _made_change(request)
        except ScenarioError as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))
        return await self._answer_once(request, WhatIfQuestion(changes=(change,)))

    async def _get_capacity(self, request: web.Request) -> web.StreamResponse:
        """What still fits where: `cpu`, `memory`, `gpu`, `class`, `namespace` of the query."""
        query = request.query
        unknown = sorted(query.keys() - {*_SHAPE_RESOURCES, "class", "namespace", "lang"})
        if unknown:
            return _text(HTTPStatus.BAD_REQUEST, f"there is no parameter {unknown[0][:80]!r}")
        shape = {
            "requests": {
                resource: query[name]
                for name, resource in _SHAPE_RESOURCES.items()
                if query.get(name)
            },
            "dataClass": query.get("class") or DEFAULT_CLASS,
            "namespace": query.get("namespace", ""),
        }
        try:
            asked = msgspec.convert(shape, AskedShape)
            requests_of(asked.requests)
            refuse_shares(asked.requests)
        except (msgspec.ValidationError, NotAQuantity) as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))
        return await self._answer_once(request, CapacityQuestion(shape=asked))

    async def _answer_once(self, request: web.Request, question: Question) -> web.StreamResponse:
        """One answer, as the whole body."""
        try:
            language = parse_language(request.query.get("lang", "en"))
        except UnknownLanguage as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        self._is_busy, last = True, b"{}"
        try:
            async with aclosing(self._source.ask(question)) as lines:
                async for line in lines:
                    last = line
                    if request.transport is None or request.transport.is_closing():
                        break  # its reader is gone
        finally:
            self._is_busy = False
        found: dict[str, Any] = msgspec.json.decode(last)
        if "refused" in found:
            # It could be read, but it does not suit the fleet as it is.
            return _text(HTTPStatus.CONFLICT, found["refused"])
        if "answer" not in found:
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, found.get("failed", "no answer"))
        said = await asyncio.to_thread(in_language, found["answer"], language)
        body = msgspec.json.encode(said)
        return web.Response(body=body, content_type="application/json")

    async def _post_question(self, request: web.Request) -> web.StreamResponse:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            question: Question = decode_json(await _read_body(request), Question)
        except (msgspec.DecodeError, RecursionError, ScenarioError) as error:
            return _text(HTTPStatus.BAD_REQUEST, f"the question cannot be read: {error}")
        if self._is_busy:
            return _text(HTTPStatus.TOO_MANY_REQUESTS, _BUSY)
        self._is_busy = True
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            await response.prepare(request)
            async with aclosing(self._source.ask(question)) as lines:  # its end ends the process
                async for line in lines:
                    await response.write(line)
        except ConnectionError:
            return response  # its reader is gone
        finally:
            self._is_busy = False
        with suppress(ConnectionError):
            await response.write_eof()  # last: who has read to the end may ask again
        return response

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """Why a request is not answered; None: it is. An answer names all sites and workloads."""
        sight = await self._sessions.sight_of(bearer_token_of(request), ())
        if not sight.is_all:
            lacking = ALL_WORKLOADS if sight.has_sites else ALL_SITES
            return _text(HTTPStatus.FORBIDDEN, f"the token may not {lacking.right}")
        return _text(HTTPStatus.TOO_MANY_REQUESTS, _BUSY) if self._is_busy else None


def _made_change(request: web.Request) -> MakeChange:
    query, place = request.query, request.match_info
    if not all(map(_NAME.fullmatch, (place["namespace"], place["name"]))):
        raise ScenarioError("expected the names of a namespace and a workload")
    raw = {
        "type": "fix",
        "workload": f"{place['namespace']}/{place['name']}",
        "kind": query.get("change", ""),
        "target": query.get("target", ""),
        "becomes": query.get("to", ""),
    }
    try:
        return msgspec.convert(raw, MakeChange)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"change: {error}") from None


def _split(words: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError as error:
        raise ScenarioError(f"scenario: {error}") from None


def _refuse_file(verb: str, name: str) -> Change:
    raise ScenarioError(f"{verb} -f {name[:80]}: files are read by kapok whatif only")


async def _read_body(request: web.Request) -> bytes:
    """The body, which may be larger than that of other requests."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > _MAX_QUESTION_BYTES:
            raise ScenarioError(f"it is larger than {_MAX_QUESTION_BYTES >> 20} MiB")
    return bytes(body)


def _text(status: HTTPStatus, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
