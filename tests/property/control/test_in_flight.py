"""Many decisions in flight: with conflicts, cut connections and kills, nothing is over-committed.

The loops are the real ones over a real ledger file. The hub loses answers before and after it has
written, holds writes up, and has other clients that write first; the process is killed wherever it
waits. Meanwhile work is edited, and more is asked for than there is room and quota.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from scheduler.control.ports.agents import OrderForSite
from scheduler.control.ports.hub import (
    GRANTS,
    KAPOK_RESOURCES,
    SITES,
    TENANTS,
    WORKLOADS,
    WatchEvent,
)
from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import UNDOES, LedgerEntry, Receipt, Record, undone_ids
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.replay import replay
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.kinds.metadata import WorkKey
from tests.support.control_loops import EPOCH, ControlLoops
from tests.support.counts import seeds
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub, Fate
from tests.support.sites import Raw, grant, nodes, site, tenant_of_ns, workload

ROOM = {"m1": 12, "m2": 9, "m3": 6}
QUOTA = 24
SITE_OBJECTS = [site(name, nodes(room, cpu="1")) for name, room in ROOM.items()]
FATES: tuple[Fate, ...] = ("conflict", "lost", "landed", "late")


def asked(name: str, replicas: int) -> Raw:
    """A Deployment whose pods need a core each."""
    container = {"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "1"}}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }
    raw = workload(name=name, replicas=replicas)
    spec = {name: value for name, value in raw["spec"].items() if name != "demand"}
    return {**raw, "spec": {**spec, "replicas": replicas, "manifests": [manifest]}}


class UnsteadyLedger(Ledger):
    """A real ledger whose disk is full now and then; then nothing is recorded."""

    random: Random
    fault_rate = 0.0

    async def append(self, entry: LedgerEntry) -> Receipt:
        if self.random.random() < self.fault_rate:
            raise LedgerUnavailableError("the disk is full")
        return await super().append(entry)


@dataclass
class Trial:
    """A hub and a ledger that outlive the schedulers, which are killed one after the other.

    Attributes:
        random: chooses all faults.
        ledger: the ledger.
        fault_rate: of the writes.
        hub: the hub.
        clock: the time.
        written: ids of the decisions that each workload's status has named, in this order.
        deciding: how often each workload is reconciled now.
        killed: ids of decisions that were on their way when a process was killed.
        most_at_once: so many reconciliations were in flight.
        may_be_late: writes may be held up.
        replicas_of: what each order asks for, by its digest.
    """

    random: Random
    ledger: UnsteadyLedger
    fault_rate: float
    hub: FakeHub = field(default_factory=FakeHub)
    clock: FakeClock = field(default_factory=FakeClock)
    written: dict[str, list[str]] = field(default_factory=dict)
    deciding: Counter[WorkKey] = field(default_factory=Counter)
    killed: set[str] = field(default_factory=set)
    replicas_of: dict[str, int] = field(default_factory=dict)
    most_at_once: int = 0
    may_be_late: bool = True

    def __post_init__(self) -> None:
        self.hub.fate_of = self._fate_of
        self.hub.pause = self._pause
        self.loops = ControlLoops()

    def _fate_of(self, name: str) -> Fate:
        del name
        if self.random.random() >= self.fault_rate:
            return "written"
        return self.random.choice(FATES if self.may_be_late else FATES[:-1])

    async def _pause(self) -> None:
        for _ in range(self.random.randrange(6)):
            await self.clock.sleep(0)

    async def fill(self, count: int) -> None:
        """The hub has sites, a tenant with a quota, and workloads."""
        for one in SITE_OBJECTS:
            await self.hub.create(SITES, {**one, "status": {}})
        await self.hub.create(GRANTS, grant(*ROOM))
        await self.hub.create(TENANTS, tenant_of_ns(quota={"cpu": str(QUOTA)}))
        for number in range(count):
            replicas = self.random.randrange(1, 4)
            await self.hub.create(WORKLOADS, asked(f"w{number}", replicas))

    async def run_scheduler(self, steps: int) -> None:
        """One process, from its start until it is killed."""
        self.loops = loops = ControlLoops(
            clock=self.clock, hub=self.hub, recorder=LedgerRecorder(self.ledger)
        )
        self._watch_reconciliations()
        self.hub.take_events()
        for resource in KAPOK_RESOURCES:
            for one in (await self.hub.list(resource)).items:
                loops.objects.apply_event(resource, WatchEvent("ADDED", one))
        loops.dispatcher.start_epoch(EPOCH)
        loops.startup.begin()
        for one in SITE_OBJECTS:
            loops.report({**one, "status": {**one["status"], "observedAt": None}})
        await loops.startup.wait_for_sites()
        watch = loops.recorder.watch(
            self.clock, on_failure=lambda: None, on_recovery=loops.worker.retry_not_recorded
        )
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(one) for one in (loops.worker.run(), loops.wake_ups.run(), watch)
            ]
            for self.may_be_late in (True, False):
                for _ in range(steps):
                    await self._step()
            # A write that arrives only in the next life is for the fence of epochs to refuse.
            while self._late_is_undecided():
                await self._step()
            in_flight = {"/".join(key) for key, count in self.deciding.items() if count}
            for task in tasks:
                task.cancel()
        await self.ledger.check_writable()  # what was handed over is written all the same
        self._take_events()
        self._note_killed(in_flight)

    def _late_is_undecided(self) -> bool:
        """Whether a write that arrived late has not been decided again yet."""
        records = self.ledger.records(limit=100_000)
        return bool(undone_ids(records) & {ids[-1] for ids in self.written.values() if ids})

    def _note_killed(self, in_flight: set[str]) -> None:
        """The decisions that were on their way, or to be marked, when the process was killed."""
        self.killed |= self.loops.recorder.undone_unrecorded()
        for name in in_flight:
            newest = next(self.ledger.newest_first(name), None)
            if newest and newest.id not in self.written.get(name, ()):
                self.killed.add(newest.id)

    async def _step(self) -> None:
        if self.random.random() < 0.3:
            await self._edit()
        if self.random.random() < 0.2 or not self.may_be_late:
            self.hub.land_late()
        await self.clock.advance(self.random.choice([0.0, 0.01, 0.3, 1.0]))
        await asyncio.sleep(0.002)  # noqa: TID251 - the ledger's thread writes a real file
        self._take_events()
        self.loops.dispatcher.flush()
        self.check_orders()
        await self.check_statuses()

    async def _edit(self) -> None:
        """Another client changes how many replicas a workload has."""
        name = f"w{self.random.randrange(len(self.loops.objects.workloads))}"
        patch = {"spec": {"replicas": self.random.randrange(1, 5)}}
        await self.hub.merge_patch(WORKLOADS, name, patch, namespace="ns")

    def _take_events(self) -> None:
        for resource, event in self.hub.take_events():
            if resource == WORKLOADS:
                status = event.object.get("status", {})
                decision = (status.get("decision") or {}).get("id")
                known = self.written.setdefault("ns/" + event.object["metadata"]["name"], [])
                if decision and decision not in known[-1:]:
                    known.append(decision)
            if resource in KAPOK_RESOURCES:
                self.loops.objects.apply_event(resource, event)

    def _watch_reconciliations(self) -> None:
        reconcile, self.deciding = self.loops.reconciler.reconcile, Counter()

        async def watched(key: WorkKey) -> object:
            self.deciding[key] += 1
            assert self.deciding[key] == 1, f"{key} is decided twice at once"
            self.most_at_once = max(self.most_at_once, self.deciding.total())
            try:
                return await reconcile(key)
            finally:
                self.deciding[key] -= 1

        real = self.loops.worker.reconciler
        self.loops.worker.reconciler = _Watched(  # type: ignore[assignment]
            watched, real.look_alike, real.begin_together, real.finish, real.abandon
        )

    def check_orders(self) -> None:
        """What is ordered fits into each site and into the quota."""
        ordered: Counter[str] = Counter()
        for name, plan in self.loops.dispatcher.plans.items():
            for order in plan.orders.values():
                digest = self.loops.dispatcher.digest_of(name, order)
                content: OrderForSite | None = order
                if order.kept_digest:  # after a start, until its content is asked for
                    content = self.loops.order_sync.content_of(name, order)
                if content is not None:  # it is unknown while a later one is on its way
                    replicas = content.manifests[0]["spec"]["replicas"]  # type: ignore[index]
                    self.replicas_of[digest] = replicas
                ordered[name] += self.replicas_of[digest]
        assert all(ordered[name] <= room for name, room in ROOM.items()), ordered
        assert ordered.total() <= QUOTA, ordered

    async def check_statuses(self) -> None:
        """What the hub says is placed fits into each site, also by writes that arrived late."""
        placed: Counter[str] = Counter()
        for one in (await self.hub.list(WORKLOADS)).items:
            placement = one.get("status", {}).get("placement", {})
            for group in placement.get("groups", ()):
                for name in group["sites"]:
                    placed[name] += group.get("replicas", 0)
        assert all(placed[name] <= room for name, room in ROOM.items()), placed

    def check_ledger(self, records: list[Record], reader: LedgerReader) -> None:
        """Every decision replays, was carried out in order, or is said not to be."""
        seq_of = {one.id: one.seq for one in records}
        undone = [one.content[UNDOES] for one in records if UNDOES in one.content]
        assert len(undone) == len(set(undone))
        for name, ids in self.written.items():
            # One that arrived late is replaced, maybe by the one that was there before.
            in_order = [seq_of[one] for one in ids if one not in undone]
            assert in_order == sorted(in_order), (name, ids)
        written = {one for ids in self.written.values() for one in ids}
        for one in records:
            if one.kind in ("decision", "refusal"):
                assert one.id in {*written, *undone, *self.killed}, one
            if one.kind == "decision":
                result = replay(reader, one)
                assert result.is_same, result.sentence


@dataclass
class _Watched:
    """The reconciler of a worker, watched."""

    reconcile: object
    look_alike: object
    begin_together: object
    finish: object
    abandon: object


async def run_trial(folder: Path, seed: int, *, lives: int, steps: int, count: int) -> Trial:
    """Runs schedulers one after the other, the last one without faults."""
    random = Random(seed)  # noqa: S311 - a repeatable choice, no secret
    async with UnsteadyLedger(folder) as ledger:
        ledger.random, ledger.fault_rate = random, 0.03
        trial = Trial(random=random, ledger=ledger, fault_rate=0.25)
        await trial.fill(count)
        for _ in range(lives):
            await trial.run_scheduler(steps)
        trial.fault_rate = ledger.fault_rate = 0.0
        await trial.run_scheduler(steps)
        assert not trial.loops.reconciler.assumptions.keys()  # nothing is on its way any more
        records = ledger.records(limit=100_000)
        with LedgerReader(folder / LEDGER_FILE) as reader:
            trial.check_ledger(records, reader)
    return trial


@pytest.mark.parametrize("seed", seeds(2, gate=1))
async def test_what_is_on_its_way_is_never_over_committed_and_replays(
    tmp_path: Path, seed: int
) -> None:
    trial = await run_trial(tmp_path, seed, lives=2, steps=12, count=20)
    assert trial.most_at_once > 4


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 40))
async def test_over_many_lives_nothing_is_over_committed_and_all_replays(
    tmp_path: Path, seed: int
) -> None:
    await run_trial(tmp_path, seed, lives=6, steps=60, count=60)
