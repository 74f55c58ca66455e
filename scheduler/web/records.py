"""The handlers that answer from the ledger: records, blobs and single decisions.

Who may read all workloads may read the ledger. Who may read the workloads of one namespace may read
the records about them, and the blobs that these refer to: what a decision knew of the sites,
without the names of other workloads that were in flight there.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from scheduler.web.auth import bearer_token_of
from scheduler.web.sessions import Sessions

_DECISION_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}(#[0-9]{1,6})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSource:
    """What the server reads of the ledger; every function is called on another thread.

    Attributes:
        find_decision: the record with this id as JSON, or None; raises LookupError when the ledger
            cannot be read.
        read_page: a page of records as JSON; raises LookupError when the ledger cannot be read,
            ValueError for a wrong query.
        read_blob: the JSON under a digest; raises KeyError when there is none, LookupError when
            the ledger cannot be read.
        read_blob_of: the JSON under a digest, if a record (by id) refers to it, as the readers of
            that record may see it; raises like `read_blob`.
    """

    find_decision: Callable[[str], bytes | None]
    read_page: Callable[[Mapping[str, str]], bytes]
    read_blob: Callable[[str], bytes]
    read_blob_of: Callable[[str, str], bytes]


_NO_SUCH_ID: Final = "there is no record of this id that the token may read\n"


class _Forbidden(Exception):
    """The token lacks a right; the message names it."""


class RecordHandlers:
    """Answers requests for records.

    Args:
        ledger: where they are read.
        sessions: asks for the rights of tokens.
    """

    def __init__(self, ledger: LedgerSource, sessions: Sessions) -> None:
        self._ledger, self._sessions = ledger, sessions

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get("/api/v1/decisions/{id}", self._get_decision),
            web.get("/api/v1/ledger/records", self._get_records),
            web.get("/api/v1/ledger/blobs/{digest}", self._get_blob),
        ]

    async def _get_decision(self, request: web.Request) -> web.Response:
        async def read() -> bytes | None:
            name = request.match_info["id"]
            if not _DECISION_ID.fullmatch(name):
                return None
            found = await asyncio.to_thread(self._ledger.find_decision, name)
            if found is not None:
                await self._check_found(request, [str(json.loads(found).get("subject", ""))])
            return found

        return await _answer(read)

    async def _get_records(self, request: web.Request) -> web.Response:
        async def read() -> bytes:
            query = dict(request.query)
            # Before anything is read, where the query says what it is about.
            subject = query.get("about", query.get("subject", ""))
            if "id" not in query:
                await self._check(request, subject)
            page = await asyncio.to_thread(self._ledger.read_page, query)
            if not await self._may_read_all(request):
                subjects = [str(row["subject"]) for row in json.loads(page)["records"]]
                if "id" in query:
                    await self._check_found(request, subjects)
                for one in subjects:
                    await self._check(request, one)
            return page

        return await _answer(read)

    async def _get_blob(self, request: web.Request) -> web.Response:
        async def read() -> bytes:
            digest, record = request.match_info["digest"], request.query.get("record", "")
            if await self._may_read_all(request):
                return await asyncio.to_thread(self._ledger.read_blob, digest)
            page = await asyncio.to_thread(self._ledger.read_page, {"id": record})
            rows = json.loads(page)["records"]
            await self._check_found(request, [str(row["subject"]) for row in rows])
            return await asyncio.to_thread(self._ledger.read_blob_of, digest, record)

        return await _answer(read)

    async def _may_read_all(self, request: web.Request) -> bool:
        """Whether a request may read everything."""
        return await self._sessions.admits_token(bearer_token_of(request))

    async def _check_found(self, request: web.Request, subjects: list[str]) -> None:
        """Checks the right to what was found by an id, which says nothing of whose it is.

        Raises:
            _Forbidden: there is none, or none that the token may read; the words are the same.
        """
        try:
            for subject in subjects or [""]:
                await self._check(request, subject)
        except _Forbidden:
            raise _Forbidden(_NO_SUCH_ID) from None

    async def _check(self, request: web.Request, subject: str) -> None:
        """Checks the right to what is shown.

        Args:
            request: the request.
            subject: what it is about, as `namespace/name`; anything else needs the right to all.

        Raises:
            _Forbidden: the token of the request lacks the right.
        """
        namespace, slash, _ = subject.partition("/")
        if await self._may_read_all(request):
            return
        token = bearer_token_of(request)
        if slash and namespace and await self._sessions.admits_token(token, namespace):
            return
        raise _Forbidden(
            f"the token may not get workloads.kapok.dev in namespace {namespace}\n"
            if slash and namespace
            else "the token may not list workloads.kapok.dev in all namespaces; name one workload "
            "(NAMESPACE/NAME) in a namespace where it may get them\n"
        )


async def _answer(read: Callable[[], Awaitable[bytes | None]]) -> web.Response:
    try:
        body = await read()
    except _Forbidden as error:
        return web.Response(status=HTTPStatus.FORBIDDEN, text=str(error))
    except KeyError as error:
        return web.Response(status=HTTPStatus.NOT_FOUND, text=f"{error.args[0]}\n")
    except LookupError as error:
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{error}\n")
    except ValueError:
        text = "after and limit are whole numbers\n"
        return web.Response(status=HTTPStatus.BAD_REQUEST, text=text)
    if body is None:
        text = "no such decision; a workload has the id in status.decision.id\n"
        return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
    return web.Response(body=body, content_type="application/json")
