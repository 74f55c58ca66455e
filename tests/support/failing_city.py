"""A few sites that obey their newest index, fall silent and come back, over loops in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from scheduler.control.failover.gate import EvictionGate, OpenGate
from scheduler.control.ports.agents import (
    NotReadyCount,
    OrderState,
    OrderStatusReport,
    SiteReport,
)
from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.control.status.migration import shares_in
from scheduler.model.decode import decode_as
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.model.site_health import HealthLimits
from tests.support.control_loops import ControlLoops
from tests.support.sites import Raw, nodes, site, workload

INTERVAL_SECONDS = 10.0


@dataclass
class FailingCity:
    """Sites by name with the number of one-core replicas that each has room for.

    Attributes:
        room: cores of each site.
        loops: the loops.
        silent: sites that send nothing now; they go on running what they run.
        broken: sites whose new orders never become ready.
        not_ready: (site, workload) → why replicas there are not ready, and how many of
            them are ready all the same.
        mute: sites that report, and work on by the index that they had.
        gate: holds evictions back.
        after_seconds: of the settings.
        unready_after_seconds: of the settings.
        runs: what runs at each site: order id → (generation, replicas).
    """

    room: dict[str, int]
    loops: ControlLoops = field(default_factory=ControlLoops)
    silent: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    not_ready: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    unready_after_seconds: float = 60.0
    mute: set[str] = field(default_factory=set)
    gate: EvictionGate = field(default_factory=OpenGate)
    after_seconds: float = 100.0
    runs: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loops = self.loops
        loops.inputs.base_terms = loops.inputs.terms = Terms(may_evict=False)
        loops.sites.limits = HealthLimits()
        loops.failover_loop.gate = self.gate
        loops.failover_loop.after_seconds = self.after_seconds
        loops.unready_loop.gate = self.gate
        loops.unready_loop.after_seconds = self.unready_after_seconds
        self.runs = self.runs or {name: {} for name in self.room}
        self._indexes: dict[str, object] = {}
        self._unready_since: dict[tuple[str, str], float] = {}

    def _figures(self, name: str) -> Raw:
        used = sum(replicas for _, replicas in self.runs[name].values())
        free = max(0, self.room[name] - used)
        now = self.loops.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return site(name, nodes(free) if free else nodes(1, cpu="0"), observedAt=now)

    @asynccontextmanager
    async def started(self, *workloads: Raw) -> AsyncIterator[None]:
        """The city with these workloads, placed and running."""
        raw = [self._figures(name) for name in self.room]
        async with self.loops.started(*raw, *workloads), asyncio.TaskGroup() as group:
            loops = (
                self.loops.clock_events.run,
                self.loops.failover_loop.run,
                self.loops.drain_loop.run,
                self.loops.unready_loop.run,
            )
            tasks = [group.create_task(loop()) for loop in loops]
            await self.settle(2)
            yield
            for task in tasks:
                task.cancel()

    async def settle(self, rounds: int = 4) -> None:
        """Lets the loops do all that follows from what the sites say, without time passing."""
        for _ in range(rounds):
            for name in self.room:
                self._speak(name)
            for _ in range(12):
                await self.loops.clock.settle()
                self.loops.read_hub()

    async def live(self, seconds: float) -> None:
        """Time passes; every site that is not silent reports at its interval."""
        until = self.loops.clock.monotonic() + seconds
        while self.loops.clock.monotonic() < until:
            await self._step(min(INTERVAL_SECONDS, until - self.loops.clock.monotonic()))
            await self.settle(2)

    async def _step(self, seconds: float) -> None:
        left = seconds
        while left > 0:
            await self.loops.clock.advance(min(0.5, left))
            self.loops.read_hub()
            left -= 0.5

    def _speak(self, name: str) -> None:
        """A site takes its newest index, runs what that lists, and reports."""
        if name in self.silent:
            return
        loops = self.loops
        loops.dispatcher.flush()
        if name not in self.mute:
            self._indexes[name] = next(
                (
                    detail
                    for what, at, detail in reversed(loops.publisher.log)
                    if what == "index" and at == name
                ),
                None,
            )
        index = self._indexes.get(name)
        version, listed = index if isinstance(index, tuple) else (None, ())
        if name not in self.mute:
            self.runs[name] = {order_id: self._ordered(name, order_id) for order_id in listed}
        loops.controller.on_report(
            SiteReport(
                site=name,
                observed_seconds=loops.clock.monotonic(),
                figures=decode_as(self._figures(name), Site).status,
                has_executor=True,
                bound=dict(self.runs[name]),
                interval_seconds=INTERVAL_SECONDS,
            )
        )
        loops.controller.on_order_status(
            OrderStatusReport(
                site=name,
                site_uid=None,
                version=version,
                digest=f"index-{version}" if version else "",
                orders={
                    order_id: self._order_state(name, order_id, generation, replicas)
                    for order_id, (generation, replicas) in self.runs[name].items()
                },
            )
        )

    def _order_state(self, name: str, order_id: str, generation: int, replicas: int) -> OrderState:
        at, ready, bound = (name, order_id.split("/")[2]), replicas, replicas
        entries: tuple[NotReadyCount, ...] = ()
        found = self.not_ready.get(at)
        if name in self.broken:
            ready = 0
        elif found is not None:
            ready, now = min(replicas, found[1]), self.loops.clock.monotonic()
            lasted = int(now - self._unready_since.setdefault(at, now))
            if ready < replicas:
                entries = (NotReadyCount(found[0], replicas - ready, lasted - lasted % 10),)
                bound = ready if found[0] == "pending-unschedulable" else replicas
        if not entries:
            self._unready_since.pop(at, None)
        return OrderState(
            id=order_id,
            generation=generation,
            applied_generation=generation,
            phase="Ready" if ready == replicas else "Applied",
            replicas=replicas,
            ready=ready,
            bound=bound,
            not_ready=entries,
        )

    def _ordered(self, name: str, order_id: str) -> tuple[int, int]:
        order = self.loops.dispatcher.order_at(name, order_id)
        assert order is not None
        known = self.loops.objects.workloads.get((order.namespace, order.name))
        share = shares_in(known.status.placement.groups).get(name) if known else None
        return order.generation, share.ordered if share else 0

    def fall_silent(self, *names: str) -> None:
        """These sites send nothing from now on."""
        self.silent.update(names)

    def come_back(self, *names: str) -> None:
        """These sites report again."""
        self.silent.difference_update(names)

    def status(self, name: str = "app") -> WorkloadStatus:
        """The status of a workload as the loops know it."""
        return self.loops.objects.workloads["ns", name].status

    def where(self, name: str = "app") -> dict[str, int]:
        """Replicas that stay, by site."""
        shares = shares_in(self.loops.objects.workloads["ns", name].status.placement.groups)
        return {at: one.replicas for at, one in shares.items() if one.replicas}

    def leaving(self, name: str = "app") -> dict[str, int]:
        """Replicas that run on until their replacement runs, by site."""
        shares = shares_in(self.loops.objects.workloads["ns", name].status.placement.groups)
        return {at: one.leaving for at, one in shares.items() if one.leaving}

    def condition(self, name: str = "app", kind: str = "Failover") -> tuple[str, str, str]:
        """Status, reason and message of a condition; three times "" without it."""
        known = self.loops.objects.workloads["ns", name].status.conditions
        found = next((one for one in known if one.type == kind), None)
        return (found.status, found.reason, found.message) if found else ("", "", "")

    def line(self, name: str = "app") -> str:
        """The line of the newest decision."""
        decision = self.loops.objects.workloads["ns", name].status.decision
        return decision.line if decision else ""

    async def annotate(self, name: str, annotations: dict[str, str]) -> None:
        """An operator writes annotations to a Site."""
        await self.loops.hub.merge_patch(SITES, name, {"metadata": {"annotations": annotations}})
        self.loops.read_hub()

    async def edit_site(self, name: str, **spec: object) -> None:
        """An operator edits a Site; None removes a field."""
        await self.loops.hub.merge_patch(SITES, name, {"spec": spec})
        self.loops.read_hub()

    async def drain(self, name: str, **drain: object) -> None:
        """An operator drains a site."""
        await self.edit_site(name, cordon=True, drain=drain)

    def closed(self, name: str) -> tuple[str, str]:
        """Reason and message of the condition `Schedulable` of a site; empty without it."""
        found = self.loops.drain_loop.condition_of(name)
        return (found.reason, found.message) if found else ("", "")

    async def recreate(self, name: str) -> None:
        """Its Site is deleted and made again, under another uid."""
        log = self.loops.publisher.log
        log[:] = [one for one in log if one[:2] != ("index", name)]  # of the former uid
        await self.loops.hub.delete(SITES, name)
        self.loops.read_hub()
        await self.settle(1)
        await self.loops.hub.create(SITES, {**self._figures(name), "status": {}})
        self.loops.read_hub()
        await self.settle(1)

    @asynccontextmanager
    async def next_leader(self) -> AsyncIterator["FailingCity"]:
        """Another scheduler over the same hub, ledger and sites."""
        loops = ControlLoops(
            clock=self.loops.clock, hub=self.loops.hub, recorder=self.loops.recorder
        )
        loops.sites.silent_after_seconds = 20.0  # so long it waits for sites that are silent
        second = FailingCity(
            room=self.room,
            loops=loops,
            silent=set(self.silent),
            broken=set(self.broken),
            not_ready=self.not_ready,
            after_seconds=self.after_seconds,
            unready_after_seconds=self.unready_after_seconds,
            runs=self.runs,
        )
        speaking = [self._figures(name) for name in self.room if name not in self.silent]
        async with asyncio.TaskGroup() as group:
            group.create_task(loops.clock.advance(5))  # the time for which sites are waited for
            async with loops.leads(*speaking):
                runs = (
                    loops.clock_events.run,
                    loops.failover_loop.run,
                    loops.drain_loop.run,
                    loops.unready_loop.run,
                )
                tasks = [group.create_task(run()) for run in runs]
                yield second
                for task in tasks:
                    task.cancel()

    async def patch(self, name: str, spec: dict[str, Any]) -> None:
        """A tenant edits a workload."""
        await self.loops.hub.merge_patch(WORKLOADS, name, {"spec": spec}, namespace="ns")
        self.loops.read_hub()


def pinned(name: str, at: str, replicas: int = 2, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    """A workload that prefers one site, and may run at any."""
    groups = [{"name": "first", "sites": [at]}, {"name": "else", "siteSelector": {}}]
    return workload(replicas, name=name, placement={"siteGroups": groups}, **spec)
