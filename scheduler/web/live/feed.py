"""Looks at the state while a page is open, and keeps one shared document for each view.

A look takes a snapshot on the event loop, which is quick, and renders on another thread. Views that
differ in what their readers may see are different views. While none is open, only the samples of
the last hour are taken.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from scheduler.model.formatters import format_rfc3339_micros
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.web.live.document import Document, SharedView
from scheduler.web.live.fleet_index import FleetIndex
from scheduler.web.live.history import SAMPLE_SECONDS, History
from scheduler.web.live.views import LiveState, render_view
from scheduler.web.sessions import Sight
from scheduler.web.snapshot import StateSnapshot

LOOK_SECONDS: Final = 0.15
"""Between two looks while a page is open; an update reaches the page within this and a render."""


_REST_RATIO: Final = 3.0
"""Of a fleet so large that a look takes long, looks are rarer: they never take over a quarter."""

_STILL_SECONDS: Final = 10.0
"""A stream without changes says the time so often, which shows that it lives."""


class ViewKey(NamedTuple):
    """Which view a stream is of.

    Attributes:
        view: its name.
        name: the site that it is about; "": none.
        sight: what its readers may see.
    """

    view: str
    name: str
    sight: Sight


@dataclass(slots=True)
class _Watched:
    """A view that some page shows."""

    shared: SharedView = field(default_factory=SharedView)
    watchers: int = 0


_Change = tuple[SharedView, Document, bytes]
"""A view, what it shows now, and the event that leads there; b"": it shows the same as before."""


class LiveFeed:
    """Keeps the documents of all views that are watched.

    Args:
        take_snapshot: takes the state; called on the event loop.
        clock: for the intervals.
        faults: handles the fault of a single look.
    """

    def __init__(
        self, take_snapshot: Callable[[], StateSnapshot], clock: Clock, faults: Faults
    ) -> None:
        self._take_snapshot, self._clock, self._faults = take_snapshot, clock, faults
        self._index, self._history = FleetIndex(), History()
        self._views: dict[ViewKey, _Watched] = {}
        self._is_watched, self._lock = asyncio.Event(), asyncio.Lock()
        self._woken_seconds: dict[int, float] = {}
        self.now = ""
        """The time of the last look, RFC 3339."""

    async def run(self) -> None:
        """Looks and samples until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_while_watched(), name="page-looks")
            group.create_task(self._sample(), name="page-samples")

    async def _look_while_watched(self) -> None:
        while True:
            await self._is_watched.wait()
            began = self._clock.monotonic()
            with self._faults.barrier("loop"):
                await self._look()
            took = self._clock.monotonic() - began
            await self._clock.sleep(max(LOOK_SECONDS, took * _REST_RATIO))

    async def _sample(self) -> None:
        while True:
            with self._faults.barrier("loop"):
                await self._look(is_sample=True)
            await self._clock.sleep(SAMPLE_SECONDS)

    async def _look(self, *, is_sample: bool = False) -> None:
        async with self._lock:
            await self._look_alone(is_sample=is_sample)

    async def prepare(self, shared: SharedView) -> None:
        """Looks at once for a view that has no document yet: its reader waits for no interval."""
        async with self._lock:  # another reader's look may have served it meanwhile
            if not shared.version:
                with self._faults.barrier("loop"):
                    await self._look_alone()

    async def _look_alone(self, *, is_sample: bool = False) -> None:
        snapshot = self._take_snapshot()
        views = [(key, one.shared) for key, one in self._views.items()]
        changes = await asyncio.to_thread(self._render, snapshot, views, is_sample=is_sample)
        self.now = format_rfc3339_micros(snapshot.at)
        for shared, document, event in changes:
            if event:
                shared.advance(document, event)
        self._wake_the_still(changes)

    def _wake_the_still(self, changes: list[_Change]) -> None:
        """Lets streams without changes say the time now and then."""
        now = self._clock.monotonic()
        for shared, _, event in changes:
            last = self._woken_seconds.get(id(shared), float("-inf"))
            if event or now - last >= _STILL_SECONDS:
                self._woken_seconds[id(shared)] = now
                if not event:
                    shared.wake()
        if len(self._woken_seconds) > len(changes):
            kept = {id(shared) for shared, _, _ in changes}
            self._woken_seconds = {
                one: at for one, at in self._woken_seconds.items() if one in kept
            }

    def _render(
        self, snapshot: StateSnapshot, views: list[tuple[ViewKey, SharedView]], *, is_sample: bool
    ) -> list[_Change]:
        self._index.update(snapshot)
        self._history.note_health(self._index)
        if is_sample:
            self._history.sample(self._index, snapshot.at)
        state = LiveState(snapshot, self._index, self._history)
        now = format_rfc3339_micros(snapshot.at)
        changes: list[_Change] = []
        for key, shared in views:
            document = render_view(state, *key)
            changes.append((shared, document, shared.next_event(document, now)))
        return changes

    def namespaces(self) -> Iterator[str]:
        """The namespaces that hold workloads now; the state is looked at when they are read."""
        yield from {one.metadata.namespace for one in self._take_snapshot().workloads}

    def close(self) -> None:
        """Wakes all readers, for the last time."""
        for one in self._views.values():
            one.shared.wake()

    @contextmanager
    def watching(self, key: ViewKey) -> Iterator[SharedView]:
        """The shared documents of a view, kept up to date as long as the context lasts."""
        watched = self._views.setdefault(key, _Watched())
        watched.watchers += 1
        self._is_watched.set()
        try:
            yield watched.shared
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                del self._views[key]
            if not self._views:
                self._is_watched.clear()
