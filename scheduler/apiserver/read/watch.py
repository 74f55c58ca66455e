"""Watches: events from a revision on, bookmarks, the stream of a list, and the end of slow readers.

Source: "Efficient detection of changes" and "Streaming lists" of the Kubernetes API concepts.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from scheduler.apiserver.base.errors import ApiError, options_invalid, server_error
from scheduler.apiserver.base.requests import flag, integer
from scheduler.apiserver.kinds.resources import Resource
from scheduler.apiserver.read.lists import Shape, view, viewed
from scheduler.apiserver.read.selectors import Selection
from scheduler.apiserver.read.tables import partial, table
from scheduler.apiserver.storage.collection import Collection, Event, Stored
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem
from scheduler.runtime.clock import Clock

_encode = msgspec.json.Encoder().encode
BOOKMARK_SECONDS = 60.0
"""Between bookmarks, as the real server's watch cache."""
DEFAULT_TIMEOUT_SECONDS = 1800.0
"""A watch without `timeoutSeconds` ends after this; clients resume."""
_INITIAL_EVENTS_END = {"annotations": {"k8s.io/initial-events-end": "true"}}


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What a watch asks for."""

    resource: Resource
    namespace: str
    selected: Selection
    shape: Shape
    bookmarks: bool
    initial: bool | None
    """`sendInitialEvents`; None where it was not given."""
    revision: int | None
    """Where to start; None for what is there now, as synthetic events."""
    timeout_seconds: float


def watch_request(
    resource: Resource,
    namespace: str,
    selected: Selection,
    shape: Shape,
    query: Mapping[str, str],
) -> WatchRequest:
    """Reads the query of a watch.

    Raises:
        ApiError: 422, or 500 as on a real server: the version is no number.
    """
    version = query.get("resourceVersion", "")
    if version and not version.isdigit():
        raise server_error(
            f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": '
            "invalid syntax"
        )
    initial = flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        raise _forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    if initial is None and query.get("resourceVersionMatch"):
        raise _forbidden(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        )
    if initial:
        revision = None
    else:
        revision = int(version) if version not in {"", "0"} else None
        if initial is False and revision is None:
            revision = -1
    return WatchRequest(
        resource,
        namespace,
        selected,
        shape,
        flag(query, "allowWatchBookmarks"),
        initial,
        revision,
        float(integer(query, "timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS),
    )


def _forbidden(why: str) -> ApiError:
    problem = FieldProblem("FieldValueForbidden", "resourceVersionMatch", f"Forbidden: {why}")
    return options_invalid("ListOptions", [problem])


class Watch:
    """One running watch."""

    def __init__(
        self,
        request: WatchRequest,
        collection: Collection,
        clock: Clock,
        newest: Callable[[], int],
    ) -> None:
        self._request = request
        self._newest = newest
        self._collection = collection
        self._clock = clock
        self._prefix = f"{request.namespace}/" if request.namespace else ""
        self._headers_sent = False

    async def lines(self) -> AsyncIterator[bytes]:
        """The events, line by line, until the time is over."""
        newest = self._newest()
        request = self._request
        end = self._clock.monotonic() + request.timeout_seconds
        position = newest if request.revision in {None, -1} else int(request.revision or 0)
        if request.revision is None:
            for line in self._present():
                yield line
            if request.initial and request.bookmarks:
                yield self._bookmark(newest, _INITIAL_EVENTS_END)
        try:
            async for line in self._follow(position, end):
                yield line
        except ApiError as error:
            yield _line("ERROR", _encode(error.status()))

    def _present(self) -> Iterator[bytes]:
        """What is there now, as one instant shows it; each line is made when it is sent."""
        objects = self._collection.objects
        return self._added([objects[key] for key in self._collection.keys])

    def _added(self, found: list[Stored]) -> Iterator[bytes]:
        for stored in found:
            if stored.key.startswith(self._prefix) and self._passes(stored):
                yield self._shown("ADDED", stored)

    async def _follow(self, position: int, end: float) -> AsyncIterator[bytes]:
        bookmark_at = self._clock.monotonic() + BOOKMARK_SECONDS
        while True:
            for event in self._collection.since(position):
                line = self._line(event)
                position = event.revision
                if line is not None:
                    yield line
            now = self._clock.monotonic()
            if now >= end:
                return
            if now >= bookmark_at:
                bookmark_at = now + BOOKMARK_SECONDS
                position = max(position, self._newest())
                if self._request.bookmarks:
                    yield self._bookmark(position)
            try:
                async with asyncio.timeout(min(end, bookmark_at) - now):
                    await self._collection.changed(position)
            except TimeoutError:
                continue

    def _passes(self, stored: Stored) -> bool:
        selected = self._request.selected
        return not selected or selected.matches(stored.decoded())

    def _line(self, event: Event) -> bytes | None:
        """The event as this watch sees it: leaving a selection is a deletion."""
        if not event.stored.key.startswith(self._prefix):
            return None
        if not self._request.selected:
            return self._plain(event)
        is_in = event.type != "DELETED" and self._passes(event.stored)
        was_in = event.before is not None and self._passes(event.before)
        if is_in:
            return self._shown("MODIFIED" if was_in else "ADDED", event.stored)
        return self._shown("DELETED", _as_it_was(event)) if was_in else None

    def _plain(self, event: Event) -> bytes:
        if self._request.shape.form or self._request.resource.to_view:
            return self._shown(event.type, event.stored)
        if event.line is None:
            event.line = _line(event.type, event.stored.data)
        return event.line

    def _shown(self, kind: str, stored: Stored) -> bytes:
        request = self._request
        if not request.shape.form:
            return _line(kind, view(request.resource, stored))
        item = viewed(request.resource, stored)
        if request.shape.form != "Table":
            return _line(kind, _encode(partial(item)))
        shown = table(
            request.resource,
            [item],
            {"resourceVersion": item["metadata"]["resourceVersion"]},
            include=request.shape.include,
            now=self._clock.now(),
            headers=not self._headers_sent,
        )
        self._headers_sent = True
        return _line(kind, _encode(shown))

    def _bookmark(self, revision: int, more: JsonObject | None = None) -> bytes:
        resource = self._request.resource
        metadata: JsonObject = {"resourceVersion": str(revision), "creationTimestamp": None}
        metadata |= more or {}
        item: JsonObject = {
            "kind": resource.subject.kind,
            "apiVersion": resource.api_version,
            "metadata": metadata,
        }
        if self._request.shape.form == "Table":
            item = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "columnDefinitions": None,
                "rows": [],
            }
        return _line("BOOKMARK", _encode(item))


def _as_it_was(event: Event) -> Stored:
    """The object before a change, with the version of the change."""
    if event.before is None or event.type == "DELETED":
        return event.stored
    item = event.before.decoded()
    item["metadata"]["resourceVersion"] = str(event.revision)
    return Stored(event.stored.key, event.revision, _encode(item))


def _line(kind: str, data: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), data.rstrip())
