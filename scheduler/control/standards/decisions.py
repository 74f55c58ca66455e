"""The PlacementDecisions that the hub has, and those that it should have: of each placed workload.

They follow from `Workload.status` as the hub holds it, so none is ahead of it.
"""

from dataclasses import dataclass, field

from scheduler.control.ports.hub import WORKLOADS, HubError, Object
from scheduler.control.standards.names import PLACEMENT_DECISIONS, fingerprint
from scheduler.control.standards.placement_decision import (
    chosen_sites,
    decision_content,
    owner_of,
    placement_decisions,
    slice_name,
)
from scheduler.control.standards.requests import StandardRequests
from scheduler.control.state.objects import HubObjects
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_SLICE = 500
"""So many workloads are looked at before others have a turn."""
_MAX_SLICES = 1000
"""A decision of more slices than this is none that Kapok has written."""


@dataclass(slots=True)
class _WrittenDecision:
    """The slices of one workload as the hub has them, and what they were made of.

    Attributes:
        slices: fingerprint of each slice, by its index.
        count: the references of all slices.
        workload: the workload that was compared last; None: none yet.
        version: the version of the profiles then.
    """

    slices: dict[int, int] = field(default_factory=dict)
    count: int = 0
    workload: Workload | None = None
    version: int = -1


@dataclass(slots=True, kw_only=True)
class DecisionMirror:
    """Keeps the PlacementDecisions beside their workloads as these are placed.

    Attributes:
        objects: the workloads, with the statuses that are written.
        requests: writes to the hub.
        clock: lets other loops run meanwhile.
        faults: handles the faults that single workloads cause.
        scheduler_name: names this scheduler in each slice; slices with another name stay.
        is_complete: whether the last pass has written all that it should.
    """

    objects: HubObjects
    requests: StandardRequests
    clock: Clock
    faults: Faults
    scheduler_name: str
    is_complete: bool = False
    _written: dict[WorkKey, _WrittenDecision] = field(default_factory=dict)
    _strays: set[WorkKey] = field(default_factory=set)

    def forget(self) -> None:
        """Knows nothing of the hub any more: the kind is not served."""
        self._written.clear()
        self._strays.clear()

    async def list_written(self) -> None:
        """Compares with what the hub has; slices of ours without a workload are strays.

        Raises:
            HubError: the hub does not list them.
        """
        found: dict[WorkKey, _WrittenDecision] = {}
        strays: set[WorkKey] = set()
        async for page in self.requests.hub.list_pages(PLACEMENT_DECISIONS):
            for body in page.items:
                if body.get("schedulerName") != self.scheduler_name:
                    continue
                owner, index = owner_of(body), _index_of(body)
                if owner is None or index is None or not self._exists(owner):
                    strays.add((body["metadata"]["namespace"], body["metadata"]["name"]))
                    continue
                known = found.setdefault(owner, _WrittenDecision())
                known.slices[index] = fingerprint(decision_content(body))
                known.count += len(body.get("decisions") or [])
            await self.clock.sleep(0)
        self._written, self._strays = found, strays

    async def write_changed(self, referable: frozenset[str], version: int) -> None:
        """Writes the decisions that differ from where workloads are placed.

        Args:
            referable: the sites that a decision may refer to.
            version: changes with `referable`.

        Raises:
            HubError: the hub does not serve the scheduler.
        """
        self.is_complete = False
        is_complete = await self._delete_strays()
        for index, key in enumerate(list(self.objects.workloads)):
            if index % _SLICE == 0:
                await self.clock.sleep(0)
            workload, known = self.objects.workloads.get(key), self._written.get(key)
            if workload is None:  # it went while others were written
                continue
            if known is None:
                if not workload.status.placement.groups:
                    continue
            elif known.workload is workload and known.version == version:
                continue
            is_complete &= await self._write_one(key, workload, referable, version)
        # The garbage collector removes what a workload owned that is gone.
        for key in [key for key in self._written if not self._exists(key)]:
            del self._written[key]
        self.is_complete = is_complete

    def _exists(self, key: WorkKey) -> bool:
        # An object that cannot be decoded is not gone.
        return key in self.objects.workloads or (WORKLOADS.kind, key) in self.objects.invalid

    async def _delete_strays(self) -> bool:
        for namespace, name in list(self._strays):
            if await self.requests.delete(PLACEMENT_DECISIONS, namespace, name):
                self._strays.discard((namespace, name))
        return not self._strays

    async def _write_one(
        self, key: WorkKey, workload: Workload, referable: frozenset[str], version: int
    ) -> bool:
        """Writes the slices of one workload; returns whether all are as they should be."""
        if not self.faults.admits("standards", key):
            return False
        is_written = False
        with self.faults.barrier("standards", key, passing=(HubError,)):
            sites = [site for site in chosen_sites(workload) if site in referable]
            bodies = placement_decisions(workload, sites, scheduler_name=self.scheduler_name)
            is_written = await self._write_slices(key, bodies)
            if is_written and key in self._written:
                self._written[key].workload, self._written[key].version = workload, version
        return is_written

    async def _write_slices(self, key: WorkKey, bodies: list[Object]) -> bool:
        """Writes the slices that differ; returns whether the hub has taken all.

        Sites that join move others to the next slice, and those that leave towards the front. What
        moves is added where it goes before it is taken from where it was, so that no reader misses
        it in between. (Where some join and others leave at once, this holds for one direction.)
        """
        known = self._written.get(key) or _WrittenDecision()
        order, count = list(enumerate(bodies)), sum(len(one["decisions"]) for one in bodies)
        if count >= known.count:
            order.reverse()
        for index, body in order:
            content = fingerprint(decision_content(body))
            if known.slices.get(index) == content:
                continue
            is_ours = index in known.slices
            if not await self.requests.apply(PLACEMENT_DECISIONS, body, is_ours=is_ours):
                return False
            known.slices[index] = content
            self._written[key] = known
        for index in sorted(set(known.slices) - set(range(len(bodies)))):
            name = slice_name(key[1], index)
            if not await self.requests.delete(PLACEMENT_DECISIONS, key[0], name):
                return False
            del known.slices[index]
        known.count = count
        if not known.slices:
            self._written.pop(key, None)
        return True


def _index_of(body: Object) -> int | None:
    """The index of a slice that has the name that we give; None: it has another one."""
    owner, name = owner_of(body), str(body["metadata"]["name"])
    text = name.rpartition("-")[2]
    if owner is None or not text.isdecimal() or int(text) >= _MAX_SLICES:
        return None
    return int(text) if slice_name(owner[1], int(text)) == name else None
