"""Kubernetes Events about workloads and sites, as `kubectl describe` shows them; best effort.

They come behind everything else: one request at a time, with a budget of their own, so that many
decisions do not cost the hub a write more each. What waits too long is dropped, warnings last. One
object has a bound of its own: 25 events, and one more each five minutes.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Protocol

from scheduler.control.events.pending import (
    EventKey,
    PendingEvents,
    SubjectBudgets,
    WriteBudget,
    event_key,
    subject_key,
)
from scheduler.control.ports.hub import EVENTS, Busy, Hub, HubError, NotFound, Object
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.metadata import Metadata
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_COMPONENT = "kapok-scheduler"
_CLUSTER_SCOPED_NAMESPACE = "default"
"""Where the API server takes events about objects without a namespace."""
_MAX_PENDING = 1000
_PER_SECOND, _BURST = 1.0, 20.0
"""A few decisions are reported at once; of hundreds a second only a part is."""
_OBJECT_PER_SECOND, _OBJECT_BURST = 1 / 300, 25.0
"""Events about one object, as client-go limits them: 25, and one more each five minutes."""
_BUSY_PAUSE_SECONDS = 5.0
_MAX_REMEMBERED = 4096
_MAX_MESSAGE_LENGTH = 1024  # the API server refuses longer messages


class EventSubject(Protocol):
    """An object of the hub that an event is about: a Workload, a Site, or a `NamedObject`."""

    @property
    def api_version(self) -> str:
        """Its `apiVersion`."""
        ...

    @property
    def kind(self) -> str:
        """Its kind."""
        ...

    @property
    def metadata(self) -> Metadata:
        """Its name, and what else is known of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedObject:
    """An object of the hub of which only the name is known.

    Attributes:
        api_version: its `apiVersion`.
        kind: its kind.
        metadata: its name and namespace.
    """

    api_version: str
    kind: str
    metadata: Metadata


@dataclass(slots=True)
class EventRecorder:
    """Writes events without delaying the worker; events beyond its budget wait, or are dropped.

    Attributes:
        hub: where the events are written.
        clock: for the times of the events.
        faults: handles what fails in a write.
        pending: what waits to be written.
        dropped: how many events were never written.
    """

    hub: Hub
    clock: Clock
    faults: Faults
    pending: PendingEvents = field(default_factory=lambda: PendingEvents(_MAX_PENDING))
    dropped: int = 0
    _written: dict[EventKey, tuple[str, int]] = field(default_factory=dict)
    _budget: WriteBudget = field(
        default_factory=lambda: WriteBudget(per_second=_PER_SECOND, burst=_BURST)
    )
    _subjects: SubjectBudgets = field(
        default_factory=lambda: SubjectBudgets(
            per_second=_OBJECT_PER_SECOND, burst=_OBJECT_BURST, max_subjects=_MAX_REMEMBERED
        )
    )
    _recorded: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, about: EventSubject, *, reason: str, message: str, is_warning: bool) -> None:
        """Queues an event about an object.

        Args:
            about: the object; events about a Site, which has no namespace, are in `default`.
            reason: CamelCase, e.g. "Placed".
            message: one line.
            is_warning: whether the event is of type Warning or Normal.
        """
        body = self._event_body(about, reason, message, is_warning=is_warning)
        self.dropped += self.pending.put(body)
        self._recorded.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._recorded.wait()
            self._recorded.clear()
            while self.pending:
                while pause := self._budget.spend(self.clock.monotonic()):
                    await self.clock.sleep(pause)
                if body := self._next_admitted():
                    await self._write_next(body)

    def _next_admitted(self) -> Object | None:
        """The next event of an object that has not had too many; those before it are dropped."""
        while body := self.pending.pop():
            if self._subjects.admits(subject_key(body), self.clock.monotonic()):
                return body
            self.dropped += 1
        return None

    async def _write_next(self, body: Object) -> None:
        """Writes an event; it is dropped if the hub does not take it."""
        pause_seconds = 0.0
        with self.faults.barrier("event"):
            try:
                await self._write(body)
            except HubError as error:
                self.dropped += 1
                if isinstance(error, Busy):
                    pause_seconds = max(_BUSY_PAUSE_SECONDS, error.retry_after_seconds)
                _log.debug("event dropped: %s", error)
        if pause_seconds:
            await self.clock.sleep(pause_seconds)

    async def _write(self, body: Object) -> None:
        """Writes an event, or counts up the one with the same object, reason and message."""
        meta, mark = body["metadata"], event_key(body)
        known = self._written.get(mark)
        if known is None:
            await self.hub.create(EVENTS, body)
            self._written[mark] = (meta["name"], body["count"])
            while len(self._written) > _MAX_REMEMBERED:
                self._written.pop(next(iter(self._written)))
            return
        name, count = known
        count += body["count"]
        patch = {"count": count, "lastTimestamp": body["lastTimestamp"]}
        self._written[mark] = (name, count)
        try:
            await self.hub.merge_patch(EVENTS, name, patch, namespace=meta["namespace"])
        except NotFound:  # the API server deletes events after an hour
            del self._written[mark]

    def _event_body(
        self, about: EventSubject, reason: str, message: str, *, is_warning: bool
    ) -> Object:
        meta = about.metadata
        at = self.clock.now()
        # Named by the nanosecond in hex, as client-go names them.
        mark = f"{int(at.timestamp() * 1e9):x}"
        now = format_rfc3339(at)
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{meta.name[:200]}.{mark}",
                "namespace": meta.namespace or _CLUSTER_SCOPED_NAMESPACE,
            },
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "name": meta.name,
                **({"namespace": meta.namespace} if meta.namespace else {}),
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
            },
            "reason": reason,
            "message": message[:_MAX_MESSAGE_LENGTH],
            "type": "Warning" if is_warning else "Normal",
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": "",
        }
