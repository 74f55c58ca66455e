"""HTTP: from a request to a verb and back; the only file here that knows aiohttp's requests."""

import asyncio
import gzip
import hashlib
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import cast

import msgspec
from aiohttp import web

from scheduler.apiserver.auth.access_reviews import REVIEWS, definition, review
from scheduler.apiserver.auth.middleware import Door
from scheduler.apiserver.auth.rbac import Attempt, Identity, allows
from scheduler.apiserver.base.errors import (
    ApiError,
    internal,
    no_route,
    too_large,
    too_many_requests,
)
from scheduler.apiserver.base.requests import (
    ResourcePath,
    decode_body,
    flag,
    media_type,
    parse_path,
)
from scheduler.apiserver.kinds.core.protobuf import PROTOBUF, decode_protobuf
from scheduler.apiserver.kinds.resources import Resource
from scheduler.apiserver.read.lists import Shape, selection
from scheduler.apiserver.read.watch import Watch, watch_request
from scheduler.apiserver.routes import PUBLIC, Routes
from scheduler.apiserver.verbs import Answer, Call, Verbs
from scheduler.apiserver.write.writer import Registry
from scheduler.hub.schema.json_types import JsonObject

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
BODY_LIMIT_BYTES = 3 * 1024 * 1024
"""As the real server's limit on request bodies."""
_STATUS_GROUPS = frozenset(
    {"", "apps", "batch", "events.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io"}
)
"""Below these an unknown resource is answered with a Status; below others in plain text."""
_WATCHES_LIMIT = 1_000
_GZIP_FROM_BYTES = 128 * 1024
"""As the real server: smaller answers are not worth it."""
_WRITE_TIMEOUT_SECONDS = 30.0
"""A watcher that takes nothing for this long is cut off; it resumes where it was."""


Adviser = Callable[[JsonObject], list[str]]
"""Warnings about an object of one kind that was written, for the writer."""
_WRITES = frozenset({"POST", "PUT", "PATCH"})


class Frontend:
    """Handles every request of the server."""

    def __init__(
        self, registry: Registry, door: Door, advisers: Mapping[str, Adviser] | None = None
    ) -> None:
        self._registry = registry
        self._door = door
        self._advisers = advisers or {}
        self._routes = Routes(registry.catalog)
        self._verbs = Verbs(registry)
        self._watches: set[asyncio.Task[None]] = set()
        self._watching = 0
        self.closing = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request; every error becomes a Status."""
        try:
            return await self._handle(request)
        except ApiError as error:
            return _failure(error)
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            return _failure(internal(f"{type(error).__name__}: {error}"))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._door.check_names(request.headers)
        path = request.path
        if path in PUBLIC:
            return await self._static(request, path)
        identity = self._door.identify(request.headers)
        if "Impersonate-User" in request.headers:
            raise ApiError(
                403,
                "Forbidden",
                "the embedded hub does not act as somebody else; "
                "get a token of the role with: kapok hub token",
            )
        target = parse_path(path)
        if target is None:
            return await self._static(request, path)
        if (target.group, target.plural) in REVIEWS and request.method == "POST":
            return await self._review(request, target, identity)
        resource = self._registry.catalog.find(target.group, target.version, target.plural)
        if resource is None or (target.namespace and not resource.namespaced):
            known = target.group in _STATUS_GROUPS
            return _failure(no_route()) if known else _no_page()
        return await self._resource(request, target, resource, identity)

    async def _static(self, request: web.BaseRequest, path: str) -> web.Response:
        if request.method not in {"GET", "HEAD"}:
            raise no_route()
        try:
            kind, body = self._routes.answer(path, request.headers.get("Accept", ""))
        except ApiError as error:
            if error.code != 404 or path.startswith("/api/"):  # noqa: PLR2004 - HTTP's Not Found
                raise
            return _no_page()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32].upper()}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        response = await _compressed(request, 200, body, kind)
        response.headers["ETag"] = tag
        if request.query.get("hash", "-") == tag.strip('"'):
            response.headers["Cache-Control"] = "public, immutable"
        return response

    async def _resource(
        self,
        request: web.BaseRequest,
        target: ResourcePath,
        resource: Resource,
        identity: Identity,
    ) -> web.StreamResponse:
        watches = request.method == "GET" and not target.name and flag(request.query, "watch")
        attempt = _attempt(request.method, target, watches=watches)
        if not allows(identity, attempt):
            raise attempt.refusal(identity)
        if watches:
            return await self._watch(request, target, resource)
        call = Call(
            method=request.method,
            path=target,
            resource=resource,
            query=request.query,
            content_type=request.headers.get("Content-Type", ""),
            accept=request.headers.get("Accept", ""),
            user_agent=request.headers.get("User-Agent", ""),
            body=await _body(request),
        )
        if resource.warning:
            call.warnings.append(resource.warning)
        answer = await self._verbs.handle(call)
        call.warnings += self._advice(call, answer)
        response = await _compressed(request, answer.code, answer.body, answer.kind)
        for warning in call.warnings:
            response.headers.add("Warning", f"299 - {_quoted(warning)}")
        return response

    def _advice(self, call: Call, answer: Answer) -> list[str]:
        """What the writer of an object should know, though it was taken."""
        adviser = self._advisers.get(call.resource.subject.kind)
        is_write = call.method in _WRITES and not call.path.subresource
        if adviser is None or not is_write or answer.code >= HTTPStatus.BAD_REQUEST:
            return []
        return adviser(msgspec.json.decode(answer.body))

    async def _review(
        self, request: web.BaseRequest, target: ResourcePath, identity: Identity
    ) -> web.Response:
        """Answers a question about access."""
        key = (target.group, target.plural)
        data = await _body(request)
        kind = request.headers.get("Content-Type", "")
        if media_type(kind) == PROTOBUF:
            item = decode_protobuf(data, definition(*key))
        else:
            item = decode_body(data, kind).value
        return _response(201, _encode(review(identity, REVIEWS[key], item)))

    # ------------------------------------------------------------ watches

    async def _watch(
        self, request: web.BaseRequest, target: ResourcePath, resource: Resource
    ) -> web.StreamResponse:
        query = request.query
        asked = watch_request(
            resource,
            target.namespace,
            selection(resource, query),
            Shape.of(request.headers.get("Accept", ""), query),
            query,
        )
        if self._watching >= _WATCHES_LIMIT:
            raise too_many_requests(f"{self._watching} watches are open, the limit of this server")
        collection = self._registry.collection(resource.storage)
        watch = Watch(asked, collection, self._registry.clock, lambda: self._registry.revision)
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        self._watching += 1
        try:
            await self._stream(request, response, watch)
        finally:
            self._watching -= 1
        return response

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, watch: Watch
    ) -> None:
        await response.prepare(request)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._watches.add(task)
        try:
            async for line in watch.lines():
                async with asyncio.timeout(_WRITE_TIMEOUT_SECONDS):
                    await response.write(line)
        except (TimeoutError, ConnectionResetError):
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the watcher takes no more") from None
        finally:
            self._watches.discard(task)

    def end_watches(self) -> None:
        """Ends all watches: the server stops."""
        for task in list(self._watches):
            task.cancel()


_METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _attempt(method: str, target: ResourcePath, *, watches: bool) -> Attempt:
    """What a request tries to do, in the words of access rules."""
    verb = _METHODS.get(method, "get" if target.name else "list")
    if watches:
        verb = "watch"
    elif method == "DELETE" and not target.name:
        verb = "deletecollection"
    resource = target.plural
    if target.subresource:
        resource += f"/{target.subresource}"
    return Attempt(verb, target.group, resource, target.namespace, target.name)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


async def _body(request: web.BaseRequest) -> bytes:
    """The body, decompressed, up to the limit.

    Raises:
        ApiError: 400, 413.
    """
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise too_large(BODY_LIMIT_BYTES)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > BODY_LIMIT_BYTES:
            raise too_large(BODY_LIMIT_BYTES)
        chunks.append(chunk)
    return b"".join(chunks)


def _response(code: int, body: bytes, kind: str = "application/json") -> web.Response:
    headers = {"Content-Type": kind, "Cache-Control": "no-cache, private"}
    return web.Response(status=code, body=body, headers=headers)


async def _compressed(request: web.BaseRequest, code: int, body: bytes, kind: str) -> web.Response:
    """An answer, compressed where that is worth it; others are served meanwhile."""
    if len(body) < _GZIP_FROM_BYTES or "gzip" not in request.headers.get("Accept-Encoding", ""):
        return _response(code, body, kind)
    response = _response(code, await asyncio.to_thread(gzip.compress, body, 1), kind)
    response.headers["Content-Encoding"] = "gzip"
    return response


def _no_page() -> web.Response:
    """What lies below no served group is answered in plain text, as by a real server."""
    return web.Response(status=404, text="404 page not found\n")


def _failure(error: ApiError) -> web.Response:
    headers = {"Content-Type": "application/json", **error.headers}
    return web.Response(status=error.code, body=_encode(error.status()), headers=headers)
