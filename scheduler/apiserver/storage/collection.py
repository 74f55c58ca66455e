"""The objects of one resource in memory, and the history that watches read.

Readers see only objects on disk. Writers also see pending writes, which are not on disk yet. A
watch has no queue but a position in the shared history, so slow watches take no memory. A watch
whose position has left the history gets 410 Gone, and its client lists again.
"""

import asyncio
import bisect
from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.apiserver.base.errors import expired
from scheduler.apiserver.storage.stored_object import StoredObject

MAX_HISTORY_EVENTS = 20_000
"""Events kept per resource; kube-apiserver's watch cache keeps up to 100,000."""
MAX_HISTORY_BYTES = 32 * 1024 * 1024
"""Bytes of versions in the history of a resource; a spec that did not change counts once."""


@dataclass(slots=True)
class CollectionEvent:
    """One change of an object; `previous` is the version before it, None for a new object."""

    revision: int
    type: str
    stored: StoredObject
    previous: StoredObject | None

    @property
    def size(self) -> int:
        """The bytes that its version adds to those before it."""
        return self.stored.size_beside(self.previous)

    def encode_line(self) -> bytes:
        """The event as a watch without selector sends it.

        The line is a copy of the object's JSON, so making it again costs less than keeping it.
        """
        return encode_watch_line(self.type, self.stored.data)


def encode_watch_line(event_type: str, data: bytes) -> bytes:
    """One line of a watch response: the type of an event and the JSON of its object."""
    return b'{"type":"%s","object":%s}\n' % (event_type.encode(), data.rstrip())


class ObjectCollection:
    """All objects of one resource, by key and in the order of keys."""

    def __init__(self, revision: int) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.keys: list[str] = []
        self.pending_writes: dict[str, tuple[int, StoredObject | None]] = {}
        """Writes that are not on disk yet, by key, with their revision; None for a deletion."""
        self.events: list[CollectionEvent] = []
        self._first_index = 0
        self._history_bytes = 0
        self.oldest_revision = revision
        """The oldest revision at which a watch may start."""
        self._waiters: set[asyncio.Future[None]] = set()

    def load(self, stored: StoredObject) -> None:
        """Adds an object read from disk at the start; the keys must come in order."""
        self.objects[stored.key] = stored
        self.keys.append(stored.key)

    def copy(self) -> "ObjectCollection":
        """The objects and the history of this instant, for a reader in another thread."""
        made = ObjectCollection(self.oldest_revision)
        made.objects, made.keys = dict(self.objects), list(self.keys)
        made.events = self.events[self._first_index :]
        return made

    def latest(self, key: str) -> StoredObject | None:
        """The newest version of an object, including a pending write; None if there is none."""
        waiting = self.pending_writes.get(key)
        return waiting[1] if waiting else self.objects.get(key)

    def drop_pending(self, key: str, revision: int) -> None:
        """Removes a pending write that is on disk or has failed."""
        waiting = self.pending_writes.get(key)
        if waiting and waiting[0] == revision:
            del self.pending_writes[key]

    def commit(self, key: str, stored: StoredObject, *, is_deletion: bool) -> None:
        """Makes a write visible to readers, once it is on disk."""
        self.drop_pending(key, stored.revision)
        before = self.objects.get(key)
        if is_deletion:
            if before is None:
                return
            del self.objects[key]
            del self.keys[bisect.bisect_left(self.keys, key)]
        else:
            self.objects[key] = stored
            if before is None:
                bisect.insort(self.keys, key)
        kind = "DELETED" if is_deletion else "ADDED" if before is None else "MODIFIED"
        self._append_event(CollectionEvent(stored.revision, kind, stored, before))

    def _append_event(self, event: CollectionEvent) -> None:
        self.events.append(event)
        self._history_bytes += event.size
        while len(self.events) - self._first_index > MAX_HISTORY_EVENTS or (
            self._history_bytes > MAX_HISTORY_BYTES and len(self.events) - self._first_index > 1
        ):
            gone = self.events[self._first_index]
            self._history_bytes -= gone.size
            self.oldest_revision = gone.revision
            self._first_index += 1
        # Deleting only when half is unused makes the cost per event constant on average.
        if self._first_index > len(self.events) // 2:
            del self.events[: self._first_index]
            self._first_index = 0
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def events_since(self, revision: int) -> list[CollectionEvent]:
        """The events after a revision, oldest first.

        Raises:
            ApiError: 410, the revision is older than the history.
        """
        if revision < self.oldest_revision:
            raise expired(f"too old resource version: {revision} ({self.oldest_revision})")
        start = bisect.bisect_right(
            self.events, revision, lo=self._first_index, key=lambda event: event.revision
        )
        return self.events[start:]

    async def wait_for_change(self, revision: int) -> None:
        """Waits until there is an event after `revision`."""
        if len(self.events) > self._first_index and self.events[-1].revision > revision:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def snapshot_at(self, revision: int) -> "CollectionSnapshot":
        """The objects as they were at a revision.

        Raises:
            ApiError: 410, the revision is older than the history.
        """
        changed: dict[str, StoredObject | None] = {}
        # Newest first, so that the oldest change of a key wins: it has the value at `revision`.
        for event in reversed(self.events_since(revision)):
            changed[event.stored.key] = event.previous
        return CollectionSnapshot(self, changed)


class CollectionSnapshot:
    """A collection at one revision: the current objects, and the keys that differed."""

    def __init__(
        self, collection: ObjectCollection, previous: dict[str, StoredObject | None]
    ) -> None:
        self._objects = collection.objects
        self._previous = previous
        gone = [key for key, was in previous.items() if was and key not in collection.objects]
        self._keys = sorted([*collection.keys, *gone]) if gone else collection.keys

    def iter_after(self, start: str, prefix: str) -> Iterator[StoredObject]:
        """The objects whose key has the prefix `prefix` and sorts after `start`, in order."""
        position = bisect.bisect_right(self._keys, start) if start else 0
        if prefix and (not start or start < prefix):
            position = bisect.bisect_left(self._keys, prefix)
        for index in range(position, len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                return
            found = self._previous[key] if key in self._previous else self._objects.get(key)
            if found is not None:
                yield found

    def count_after(self, start: str, prefix: str) -> int:
        """The number of objects after `start`, or an upper bound of it, which clients allow."""
        low = bisect.bisect_right(self._keys, start)
        high = bisect.bisect_left(self._keys, prefix + "\U0010ffff") if prefix else len(self._keys)
        return max(0, high - low)
