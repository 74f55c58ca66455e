"""Watches: events after a revision, bookmarks, and streaming lists.

Source: "Efficient detection of changes" and "Streaming lists" of the Kubernetes API concepts.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from scheduler.apiserver.base.errors import ApiError, invalid_options
from scheduler.apiserver.base.heavy_work import HeavyWork, LoopSlices
from scheduler.apiserver.base.requests import check_resource_version, parse_flag, parse_integer
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.read.bodies import needs_decoding
from scheduler.apiserver.read.lists import (
    ObjectRepresentation,
    decode_in_version,
    encode_in_version,
)
from scheduler.apiserver.read.selectors import SelectionPredicate
from scheduler.apiserver.read.tables import make_partial_metadata, make_table
from scheduler.apiserver.storage.collection import (
    CollectionEvent,
    ObjectCollection,
    encode_watch_line,
)
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem
from scheduler.runtime.clock import Clock

_encode = msgspec.json.Encoder().encode
BOOKMARK_PERIOD_SECONDS = 60.0
"""The time between bookmarks, as in the real server's watch cache."""
DEFAULT_TIMEOUT_SECONDS = 1800.0
"""The duration of a watch without `timeoutSeconds`; clients resume it."""
_MAX_WRITE_BYTES = 64 * 1024
"""Events that are there together are sent by one write of up to this size, or of one event."""
_INITIAL_EVENTS_END_METADATA = {"annotations": {"k8s.io/initial-events-end": "true"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """The parameters of a watch."""

    resource: ServerResource
    namespace: str
    predicate: SelectionPredicate
    representation: ObjectRepresentation
    allows_bookmarks: bool
    sends_initial_events: bool | None
    """`sendInitialEvents`; None if it is absent."""
    start_revision: int | None
    """The revision to start after; None: first send the current objects as ADDED; -1: start now."""
    timeout_seconds: float


def parse_watch_request(
    resource: ServerResource,
    namespace: str,
    predicate: SelectionPredicate,
    representation: ObjectRepresentation,
    query: Mapping[str, str],
) -> WatchRequest:
    """Parses the query parameters of a watch.

    Raises:
        ApiError: 422, or 500 as on a real server if the resource version is not a number.
    """
    version = query.get("resourceVersion", "")
    check_resource_version(query)
    initial = parse_flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        raise _forbidden_option_error(
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    if initial is None and query.get("resourceVersionMatch"):
        raise _forbidden_option_error(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        )
    if initial:
        revision = None
    else:
        revision = int(version) if version not in {"", "0"} else None
        if initial is False and revision is None:
            revision = -1
    return WatchRequest(
        resource=resource,
        namespace=namespace,
        predicate=predicate,
        representation=representation,
        allows_bookmarks=parse_flag(query, "allowWatchBookmarks"),
        sends_initial_events=initial,
        start_revision=revision,
        timeout_seconds=float(parse_integer(query, "timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS),
    )


def _forbidden_option_error(why: str) -> ApiError:
    problem = FieldProblem("FieldValueForbidden", "resourceVersionMatch", f"Forbidden: {why}")
    return invalid_options("ListOptions", [problem])


class WatchStream:
    """One running watch, which encodes events for one client."""

    def __init__(
        self,
        *,
        request: WatchRequest,
        collection: ObjectCollection,
        clock: Clock,
        current_revision: Callable[[], int],
        heavy_work: HeavyWork,
    ) -> None:
        self._request = request
        self._current_revision = current_revision
        self._collection = collection
        self._clock = clock
        self._prefix = f"{request.namespace}/" if request.namespace else ""
        self._has_sent_headers = False
        self._heavy_work = heavy_work
        self._slices = LoopSlices()

    async def stream_lines(self) -> AsyncIterator[bytes]:
        """Yields events as JSON lines until the watch times out; what is there comes at once."""
        newest = self._current_revision()
        request = self._request
        end = self._clock.monotonic() + request.timeout_seconds
        position = (
            newest if request.start_revision in {None, -1} else int(request.start_revision or 0)
        )
        if request.start_revision is None:
            async for line in self._initial_lines():
                yield line
            if request.sends_initial_events and request.allows_bookmarks:
                yield self._encode_bookmark(newest, _INITIAL_EVENTS_END_METADATA)
        try:
            async for line in self._follow_history(position, end):
                yield line
        except ApiError as error:
            yield encode_watch_line("ERROR", _encode(error.to_status()))

    async def _initial_lines(self) -> AsyncIterator[bytes]:
        """The objects of this instant as ADDED events; each line is encoded when it is sent."""
        objects = self._collection.objects
        for stored in [objects[key] for key in self._collection.keys]:
            line = await self._in_steps(stored, partial(self._encode_initial, stored))
            if line is not None:
                yield line

    def _encode_initial(self, stored: StoredObject) -> bytes | None:
        if stored.key.startswith(self._prefix) and self._matches(stored):
            return self._encode_object("ADDED", stored)
        return None

    async def _in_steps(
        self, stored: StoredObject, encode: Callable[[], bytes | None]
    ) -> bytes | None:
        """Encodes an object as one step; a large one that is decoded in the thread."""
        request, size = self._request, stored.size
        if request.predicate or needs_decoding(request.resource, request.representation):
            line = await self._heavy_work.run_step(size, encode)
        else:
            line = encode()
        await self._slices.count(size)
        return line

    async def _follow_history(self, position: int, end: float) -> AsyncIterator[bytes]:
        bookmark_at = self._clock.monotonic() + BOOKMARK_PERIOD_SECONDS
        while True:
            # Read before the events: a slow client suspends the loop below, and changes that are
            # made meanwhile must not fall below the revision of a bookmark.
            complete_revision = self._current_revision()
            lines: list[bytes] = []
            size = 0
            for event in self._collection.events_since(position):
                line = await self._in_steps(event.stored, partial(self._encode_event, event))
                position = event.revision
                if line is not None:
                    lines.append(line)
                    size += len(line)
                if size >= _MAX_WRITE_BYTES:
                    yield b"".join(lines)
                    lines, size = [], 0
            if lines:
                yield b"".join(lines)
            now = self._clock.monotonic()
            if now >= end:
                return
            if now >= bookmark_at:
                bookmark_at = now + BOOKMARK_PERIOD_SECONDS
                position = max(position, complete_revision)
                if self._request.allows_bookmarks:
                    yield self._encode_bookmark(position)
            try:
                async with asyncio.timeout(min(end, bookmark_at) - now):
                    await self._collection.wait_for_change(position)
            except TimeoutError:
                continue

    def _matches(self, stored: StoredObject) -> bool:
        selected = self._request.predicate
        return not selected or selected.matches_stored(stored.data)

    def _encode_event(self, event: CollectionEvent) -> bytes | None:
        """Encodes an event for the selectors of this watch; None if it concerns no selected object.

        An object that begins to match is ADDED, one that no longer matches is DELETED.
        """
        if not event.stored.key.startswith(self._prefix):
            return None
        if not self._request.predicate:
            return self._encode_unfiltered(event)
        is_in = event.type != "DELETED" and self._matches(event.stored)
        was_in = event.previous is not None and self._matches(event.previous)
        if is_in:
            return self._encode_object("MODIFIED" if was_in else "ADDED", event.stored)
        return self._encode_object("DELETED", _object_before(event)) if was_in else None

    def _encode_unfiltered(self, event: CollectionEvent) -> bytes:
        if self._request.representation.as_kind or self._request.resource.from_storage_version:
            return self._encode_object(event.type, event.stored)
        return event.encode_line()

    def _encode_object(self, event_type: str, stored: StoredObject) -> bytes:
        request = self._request
        if not request.representation.as_kind:
            return encode_watch_line(event_type, encode_in_version(request.resource, stored))
        item = decode_in_version(request.resource, stored)
        if request.representation.as_kind != "Table":
            return encode_watch_line(event_type, _encode(make_partial_metadata(item)))
        shown = make_table(
            request.resource,
            [item],
            {"resourceVersion": item["metadata"]["resourceVersion"]},
            include_object=request.representation.include_object,
            now=self._clock.now(),
            with_headers=not self._has_sent_headers,
        )
        self._has_sent_headers = True
        return encode_watch_line(event_type, _encode(shown))

    def _encode_bookmark(self, revision: int, extra_metadata: JsonObject | None = None) -> bytes:
        resource = self._request.resource
        metadata: JsonObject = {"resourceVersion": str(revision), "creationTimestamp": None}
        metadata |= extra_metadata or {}
        item: JsonObject = {
            "kind": resource.group_resource.kind,
            "apiVersion": resource.api_version,
            "metadata": metadata,
        }
        if self._request.representation.as_kind == "Table":
            item = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "columnDefinitions": None,
                "rows": [],
            }
        return encode_watch_line("BOOKMARK", _encode(item))


def _object_before(event: CollectionEvent) -> StoredObject:
    """The object before a change, with the resource version of the change."""
    if event.previous is None or event.type == "DELETED":
        return event.stored
    item = event.previous.decode()
    item["metadata"]["resourceVersion"] = str(event.revision)
    return StoredObject(event.stored.key, event.revision, _encode(item))
