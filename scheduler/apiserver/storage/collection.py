"""The objects of one resource in memory, and the history that watches read.

Readers see only what is on disk; writers work on the head, which includes writes still on their
way. A watcher keeps no queue of its own but a position in the shared history, so that a thousand
slow watchers cost nothing: who falls out of the history is told to list anew (410).
"""

import asyncio
import bisect
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from scheduler.apiserver.base.errors import expired
from scheduler.hub.schema.json_types import JsonObject

HISTORY_EVENTS = 20_000
"""Events kept per resource; the API server's own watch cache keeps up to 100,000."""
HISTORY_BYTES = 32 * 1024 * 1024
"""Bytes of objects kept per resource's history."""


@dataclass(slots=True)
class Stored:
    """One version of one object: its JSON with the resource version in it."""

    key: str
    """`namespace/name`, or the name alone for cluster-scoped resources."""
    revision: int
    data: bytes

    def decoded(self) -> JsonObject:
        """A fresh copy that the caller may change."""
        found: JsonObject = msgspec.json.decode(self.data)
        return found


@dataclass(slots=True)
class Event:
    """One change. `before` is what a selector compares with: None for a new object."""

    revision: int
    type: str
    stored: Stored
    before: Stored | None
    line: bytes | None = None
    """The event as it goes to plain watchers; made once."""


class Collection:
    """All objects of one resource."""

    def __init__(self, resource: str, revision: int) -> None:
        self.resource = resource
        self.objects: dict[str, Stored] = {}
        self.keys: list[str] = []
        self.head: dict[str, tuple[int, Stored | None]] = {}
        """Writes that are not on disk yet, with their revision; None is a deletion."""
        self.events: list[Event] = []
        self._first = 0
        self._bytes = 0
        self.oldest = revision
        """Watches may start at this revision or later."""
        self._waiters: set[asyncio.Future[None]] = set()

    def load(self, stored: Stored) -> None:
        """Takes an object from disk at the start; keys come in order."""
        self.objects[stored.key] = stored
        self.keys.append(stored.key)

    def latest(self, key: str) -> Stored | None:
        """The newest version, also if it is still on its way to the disk."""
        waiting = self.head.get(key)
        return waiting[1] if waiting else self.objects.get(key)

    def forget(self, key: str, revision: int) -> None:
        """Takes a write off the head: it is on disk now, or it failed."""
        waiting = self.head.get(key)
        if waiting and waiting[0] == revision:
            del self.head[key]

    def commit(self, key: str, stored: Stored, *, deleted: bool) -> None:
        """Makes a write visible: it is on disk."""
        self.forget(key, stored.revision)
        before = self.objects.get(key)
        if deleted:
            if before is None:
                return
            del self.objects[key]
            del self.keys[bisect.bisect_left(self.keys, key)]
        else:
            self.objects[key] = stored
            if before is None:
                bisect.insort(self.keys, key)
        kind = "DELETED" if deleted else "ADDED" if before is None else "MODIFIED"
        self._append(Event(stored.revision, kind, stored, before))

    def _append(self, event: Event) -> None:
        self.events.append(event)
        self._bytes += len(event.stored.data)
        while len(self.events) - self._first > HISTORY_EVENTS or (
            self._bytes > HISTORY_BYTES and len(self.events) - self._first > 1
        ):
            gone = self.events[self._first]
            self._bytes -= len(gone.stored.data)
            self.oldest = gone.revision
            self._first += 1
        if self._first > len(self.events) // 2:
            del self.events[: self._first]
            self._first = 0
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def since(self, revision: int) -> list[Event]:
        """The events after a revision.

        Raises:
            ApiError: 410, the history does not reach back that far.
        """
        if revision < self.oldest:
            raise expired(f"too old resource version: {revision} ({self.oldest})")
        start = bisect.bisect_right(
            self.events, revision, lo=self._first, key=lambda event: event.revision
        )
        return self.events[start:]

    async def changed(self, revision: int) -> None:
        """Waits until there is an event after `revision`."""
        if len(self.events) > self._first and self.events[-1].revision > revision:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def at(self, revision: int) -> "Snapshot":
        """The objects as they were at a revision.

        Raises:
            ApiError: 410, the history does not reach back that far.
        """
        changed: dict[str, Stored | None] = {}
        for event in reversed(self.since(revision)):
            changed[event.stored.key] = event.before
        return Snapshot(self, changed)


class Snapshot:
    """A collection at one revision: today's objects and what differs from them."""

    def __init__(self, collection: Collection, changed: dict[str, Stored | None]) -> None:
        self._objects = collection.objects
        self._changed = changed
        gone = [key for key, was in changed.items() if was and key not in collection.objects]
        self._keys = sorted([*collection.keys, *gone]) if gone else collection.keys

    def after(self, start: str, prefix: str) -> Iterator[Stored]:
        """The objects whose key begins with `prefix` and lies after `start`, in order."""
        position = bisect.bisect_right(self._keys, start) if start else 0
        if prefix and (not start or start < prefix):
            position = bisect.bisect_left(self._keys, prefix)
        for index in range(position, len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                return
            found = self._changed[key] if key in self._changed else self._objects.get(key)
            if found is not None:
                yield found

    def count(self, start: str, prefix: str) -> int:
        """How many objects lie after `start`; an upper bound is enough for clients."""
        low = bisect.bisect_right(self._keys, start)
        high = bisect.bisect_left(self._keys, prefix + "\U0010ffff") if prefix else len(self._keys)
        return max(0, high - low)
