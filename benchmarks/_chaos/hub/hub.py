"""What a chaos run does to the hub in memory: watches that end, and requests that fail on order.

It refuses what the real one refuses by its own rules: a lower epoch in a status (CRD and fence). An
object with finalizers stays until they are gone. Users of the hub write by `put`, `edit` and
`remove`, which never fail.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks._chaos.hub.objects import ObjectStore, copied, place_of
from scheduler.control.fence import late_status_problem
from scheduler.control.ports.hub import (
    LEASES,
    SITES,
    WORKLOADS,
    ApiResource,
    Busy,
    Conflict,
    Gone,
    HubError,
    Object,
    Refused,
    WatchEvent,
)
from scheduler.runtime.clock import Clock

_AT = "2026-11-24T00:00:00Z"
_LEASE = (LEASES.plural, "kapok-system", "kapok-scheduler")


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """A status of a workload that the hub has taken.

    Attributes:
        place: namespace and name.
        before: the object before.
        after: the object after.
        lease_epoch: the epoch of the Lease at that moment.
        at: that moment, in seconds since the start.
    """

    place: tuple[str, str]
    before: Object
    after: Object
    lease_epoch: int
    at: float


@dataclass(slots=True)
class ChaosHub:
    """All objects, and what was done to them.

    Attributes:
        rng: decides which requests fail.
        clock: the time.
        fault_ratio: the share of requests that fail in one of four ways.
        writes: statuses of workloads that were taken since the last look at them.
        removed: workloads that are gone since the last look at them.
        freed: when it took a status of a Site that no longer holds evictions, by name; since the
            last look at them.
        takings: how many times a scheduler took the Lease that another one had, or none.
        store: the objects.
    """

    rng: random.Random
    clock: Clock
    fault_ratio: float = 0.0
    writes: list[StatusWrite] = field(default_factory=list)
    removed: list[Object] = field(default_factory=list)
    freed: dict[str, float] = field(default_factory=dict)
    takings: int = 0
    store: ObjectStore = field(init=False)
    _log: dict[str, list[tuple[int, WatchEvent]]] = field(default_factory=dict)
    _compacted: int = 0
    _holder: str = ""
    _uids: int = 0
    _generation: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _late: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ObjectStore(self._make_uid, self._check_patch, self._tell, _AT)

    def _make_uid(self) -> str:
        self._uids += 1
        return f"uid-{self._uids}"

    # ------------------------------------------------------------ users

    def put(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object, or replaces its spec and labels."""
        meta = body["metadata"]
        if self.find(resource, meta["name"], meta.get("namespace")) is None:
            return self.store.create(resource, body)
        return self.edit(resource, meta["name"], {"spec": body["spec"]}, meta.get("namespace"))

    def edit(
        self, resource: ApiResource, name: str, patch: Object, namespace: str | None = None
    ) -> Object:
        """Merges a patch into an object."""
        return self.store.patch(resource, name, patch, namespace, None)

    def remove(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        """Deletes an object; one with finalizers is marked."""
        self.store.mark_deleted(resource, place_of(resource, name, namespace), _AT)

    def find(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object | None:
        """An object as it is; not to be changed."""
        return self.store.at(place_of(resource, name, namespace))

    def every(self, resource: ApiResource) -> list[Object]:
        """All objects of a kind as they are; not to be changed."""
        return self.store.every(resource)

    def end_watches(self, *, compacts: bool) -> None:
        """Ends all watches; if it compacts, they cannot go on from where they were (410)."""
        if compacts:
            self._compacted = self.store.version
            self._log.clear()
        self._generation += 1
        self._wake()

    def land_late(self) -> None:
        """Lets requests arrive that were held up on their way."""
        late, self._late = self._late, []
        for land in late:
            with suppress(HubError):
                land()

    # ------------------------------------------------------------ requests of schedulers

    async def changes(self, resource: ApiResource, version: int) -> AsyncIterator[WatchEvent]:
        """Changes after a version, until the watches are ended."""
        if version < self._compacted:
            raise Gone("too old resource version", status=410, reason="Expired")
        generation, log = self._generation, self._log.setdefault(resource.plural, [])
        position = next((i for i, (at, _) in enumerate(log) if at > version), len(log))
        while generation == self._generation:
            while position < len(log):
                yield WatchEvent(log[position][1].type, copied(log[position][1].object))
                position += 1
                if generation != self._generation:
                    return
            await self._news.wait()

    def write(self, change: Callable[[], Object]) -> Object:
        """A write whose fate is drawn: it is taken, refused, or its answer is lost."""
        if self.rng.random() >= self.fault_ratio:
            return change()
        fate = self.rng.choice(("refused", "lost", "landed", "late", "conflict"))
        if fate == "conflict":
            raise Conflict("the object has been modified", status=409, reason="Conflict")
        if fate == "late":
            self._late.append(change)
        if fate == "landed":
            change()
        raise Busy("no answer", status=503 if fate == "refused" else 0)

    def check_read(self) -> None:
        """Fails a read if that is drawn."""
        if self.rng.random() < self.fault_ratio:
            raise Busy("no answer", status=500)

    def hold_up(self, change: Callable[[], Object]) -> None:
        """Keeps a request on its way until `land_late`."""
        self._late.append(change)

    # ------------------------------------------------------------ what it takes and refuses

    def lease_epoch(self) -> int:
        """The epoch of the newest leader; 0 before the first."""
        lease = self.store.at(_LEASE)
        return int(lease["spec"]["leaseTransitions"]) if lease else 0

    def _check_patch(
        self, resource: ApiResource, subresource: str | None, before: Object, after: Object
    ) -> None:
        """Refuses a status of a former leader, and notes every other one of a workload."""
        if resource is SITES and _holds_evictions(before) and not _holds_evictions(after):
            self.freed[after["metadata"]["name"]] = self.clock.monotonic()
        if resource is not WORKLOADS or subresource != "status":
            return
        old, new = (int((one.get("status") or {}).get("epoch") or 0) for one in (before, after))
        if new < old:
            raise Refused("status.epoch must not fall", status=422, reason="Invalid")
        problem = late_status_problem(before, after, self.store.at(_LEASE) or {})
        if problem:
            raise Refused(problem, status=422, reason="Invalid")
        place = (before["metadata"]["namespace"], before["metadata"]["name"])
        now = self.clock.monotonic()
        self.writes.append(StatusWrite(place, before, after, self.lease_epoch(), now))

    def _tell(self, resource: ApiResource, event: WatchEvent) -> None:
        if resource is WORKLOADS and event.type == "DELETED":
            self.removed.append(event.object)
        if resource is LEASES:
            holder = str(event.object["spec"].get("holderIdentity") or "")
            self.takings += holder not in ("", self._holder)
            self._holder = holder
        self._log.setdefault(resource.plural, []).append((self.store.version, event))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _holds_evictions(site: Object) -> bool:
    conditions = (site.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "EvictionsHeld" and one["status"] == "True" for one in conditions)
