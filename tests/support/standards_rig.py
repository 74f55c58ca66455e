"""The loop that writes standard objects, over a hub in memory, a pass at a time."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from scheduler.control.ports.hub import (
    KAPOK_RESOURCES,
    NAMESPACE,
    SITES,
    WORKLOADS,
    ApiResource,
    HubError,
    Object,
    WatchEvent,
)
from scheduler.control.standards.decisions import DecisionMirror
from scheduler.control.standards.loop import StandardsLoop
from scheduler.control.standards.names import (
    CLUSTER_PROFILES,
    PLACEMENT_DECISIONS,
    STANDARD_RESOURCES,
)
from scheduler.control.standards.profiles import ProfileMirror
from scheduler.control.standards.requests import StandardRequests
from scheduler.control.state.objects import HubObjects
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import nodes, site, workload


class CountingTelemetry(NullTelemetry):
    """Keeps the counts of standard writes."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, str]] = []

    def count_standard_write(self, kind: str, result: str) -> None:
        """Keeps it."""
        self.writes.append((kind, result))


@dataclass
class StandardsRig:
    """A hub, what a scheduler knows of it, and the loop.

    Attributes:
        served: the kinds that the hub serves.
        is_pressed: whether work waits.
        asked: how often it was asked for a kind.
        log_of_faults: the faults that the loop had.
    """

    hub: FakeHub = field(default_factory=FakeHub)
    clock: FakeClock = field(default_factory=FakeClock)
    telemetry: CountingTelemetry = field(default_factory=CountingTelemetry)
    served: set[ApiResource] = field(default_factory=lambda: set(STANDARD_RESOURCES))
    is_pressed: bool = False
    asked: int = 0
    log_of_faults: list[str] = field(default_factory=list)
    has_decisions: bool = True

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A scheduler that knows nothing begins, as after a kill."""
        faults = make_faults(self.clock, self.log_of_faults)
        self.objects = HubObjects(
            telemetry=self.telemetry, on_change=lambda *_: None, faults=faults
        )
        self.requests = StandardRequests(
            hub=self.hub,
            clock=self.clock,
            telemetry=self.telemetry,
            is_pressed=lambda: self.is_pressed,
        )
        decisions = DecisionMirror(
            objects=self.objects,
            requests=self.requests,
            clock=self.clock,
            faults=faults,
            scheduler_name="kapok",
        )
        self.loop = StandardsLoop(
            profiles=ProfileMirror(
                objects=self.objects,
                requests=self.requests,
                clock=self.clock,
                faults=faults,
                manager="kapok",
            ),
            decisions=decisions if self.has_decisions else None,
            requests=self.requests,
            is_served=self._is_served,
            clock=self.clock,
            faults=faults,
            jitter=random.Random(1),  # noqa: S311 - a test, seeded
        )

    async def restart(self) -> None:
        """A scheduler is killed, and another one lists the hub."""
        self.start()
        self.hub.take_events()
        for resource in KAPOK_RESOURCES:
            for one in (await self.hub.list(resource)).items:
                self.objects.apply_event(resource, WatchEvent("ADDED", one))

    async def _is_served(self, resource: ApiResource) -> bool:
        self.asked += 1
        return resource in self.served

    def read_hub(self) -> None:
        """What the watches bring."""
        for resource, event in self.hub.take_events():
            if resource in KAPOK_RESOURCES:
                self.objects.apply_event(resource, event)

    async def write_due(self) -> HubError | None:
        """One pass over what the watches have brought."""
        self.read_hub()
        return await self.loop.write_due()

    async def write_all(self) -> None:
        """One pass, for which as much time passes as its budget needs."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.write_due())
            while not task.done():
                await self.clock.advance(1)
        assert task.result() is None

    async def add_site(self, name: str, **status: Any) -> None:  # noqa: ANN401 - fields
        """A Site that has reported."""
        ready = {"type": "Ready", "status": "True", "reason": "Reporting"}
        shown = {"freeCpu": "4", "conditions": [ready], **status}
        await self.hub.create(SITES, site(name, nodes(4), **shown))

    async def place(self, name: str, *sites: str) -> None:
        """A workload with a replica at each of these sites, whatever it was before."""
        groups = [{"sites": [one], "replicas": 1, "phase": "Running"} for one in sites]
        status = {"placement": {"groups": groups}}
        if await self._has(WORKLOADS, name):
            await self.hub.merge_patch(
                WORKLOADS, name, {"status": status}, namespace="ns", subresource="status"
            )
        else:
            await self.hub.create(WORKLOADS, {**workload(name=name), "status": status})

    async def remove_workload(self, name: str) -> None:
        """The workload is gone, and the garbage collector has removed what it owned."""
        await self.hub.delete(WORKLOADS, name, "ns")
        for one in await self.decisions():
            if one["metadata"]["ownerReferences"][0]["name"] == name:
                await self.hub.delete(PLACEMENT_DECISIONS, one["metadata"]["name"], "ns")

    async def profiles(self) -> dict[str, Object]:
        """The ClusterProfiles by name."""
        items = (await self.hub.list(CLUSTER_PROFILES)).items
        return {one["metadata"]["name"]: one for one in items}

    async def decisions(self) -> list[Object]:
        """All slices."""
        return (await self.hub.list(PLACEMENT_DECISIONS)).items

    async def decided(self) -> dict[str, list[str]]:
        """The sites that the slices of each workload list, in the order of the slices."""
        found: dict[str, list[str]] = {}
        for one in sorted(await self.decisions(), key=_slice_order):
            assert len(one["decisions"]) <= 100
            owner = one["metadata"]["ownerReferences"][0]["name"]
            for each in one["decisions"]:
                assert each["clusterProfileRef"]["namespace"] == NAMESPACE
                found.setdefault(owner, []).append(each["clusterProfileRef"]["name"])
        return found

    async def _has(self, resource: ApiResource, name: str) -> bool:
        items = (await self.hub.list(resource)).items
        return any(one["metadata"]["name"] == name for one in items)


def _slice_order(body: Object) -> tuple[str, int]:
    labels = body["metadata"]["labels"]
    owner = body["metadata"]["ownerReferences"][0]["name"]
    return owner, int(labels["multicluster.x-k8s.io/decision-index"])
