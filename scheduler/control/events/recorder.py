"""Kubernetes Events about workloads and sites, as `kubectl describe` shows them; best effort."""

import asyncio
import logging
from dataclasses import dataclass, field

from scheduler.control.ports.hub import EVENTS, Hub, HubError, NotFound, Object
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_COMPONENT = "kapok-scheduler"
_CLUSTER_SCOPED_NAMESPACE = "default"
"""Where the API server takes events about objects without a namespace."""
_MAX_QUEUED = 1000
_MAX_REMEMBERED = 4096
_MAX_MESSAGE_LENGTH = 1024  # the API server refuses longer messages


@dataclass(slots=True)
class EventRecorder:
    """Writes events without delaying the worker; events that do not fit the queue are dropped.

    Attributes:
        hub: where the events are written.
        clock: for the times of the events.
        faults: handles what fails in a write.
    """

    hub: Hub
    clock: Clock
    faults: Faults
    _written: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)
    _queue: "asyncio.Queue[Object]" = field(
        default_factory=lambda: asyncio.Queue(maxsize=_MAX_QUEUED)
    )

    def record(
        self, about: Workload | Site, *, reason: str, message: str, is_warning: bool
    ) -> None:
        """Queues an event about an object.

        Args:
            about: the object; events about a Site, which has no namespace, are in `default`.
            reason: CamelCase, e.g. "Placed".
            message: one line.
            is_warning: whether the event is of type Warning or Normal.
        """
        if not self._queue.full():
            self._queue.put_nowait(self._event_body(about, reason, message, is_warning=is_warning))

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            body = await self._queue.get()
            with self.faults.barrier("event"):
                try:
                    await self._write(body)
                except HubError as error:
                    _log.debug("event dropped: %s", error)

    async def _write(self, body: Object) -> None:
        """Writes an event, or counts up the one with the same object, reason and message."""
        meta = body["metadata"]
        mark = (body["involvedObject"]["uid"], body["reason"], body["message"])
        known = self._written.get(mark)
        if known is None:
            await self.hub.create(EVENTS, body)
            self._written[mark] = (meta["name"], 1)
            while len(self._written) > _MAX_REMEMBERED:
                self._written.pop(next(iter(self._written)))
            return
        name, count = known
        patch = {"count": count + 1, "lastTimestamp": body["lastTimestamp"]}
        self._written[mark] = (name, count + 1)
        try:
            await self.hub.merge_patch(EVENTS, name, patch, namespace=meta["namespace"])
        except NotFound:  # the API server deletes events after an hour
            del self._written[mark]

    def _event_body(
        self, about: Workload | Site, reason: str, message: str, *, is_warning: bool
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
