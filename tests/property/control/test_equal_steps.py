"""Equal workloads that are decided in one step get what they get one by one, in the same order."""

from collections.abc import Callable
from itertools import count
from random import Random
from uuid import UUID

import pytest

from scheduler.control import worker
from scheduler.control.ports.hub import TENANTS
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.reconcile import decide, equal_work
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.model.canonical import canonical_json
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from tests.support.control_loops import ControlLoops
from tests.support.counts import seeds
from tests.support.fake_hub import Fate
from tests.support.sites import Raw, nodes, site, tenant_of_ns, workload
from tests.support.tools import require_kernel

MANIFEST = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "job"}},
        "template": {
            "metadata": {"labels": {"app": "job"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "job:1",
                        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                    }
                ]
            },
        },
    },
}


@pytest.fixture(autouse=True)
def without_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of a test depend on no clock."""
    require_kernel()
    monkeypatch.setattr(equal_work, "_MAX_READ_SECONDS", float("inf"))


def deployment(name: str) -> Raw:
    """A Workload with a Deployment of its name."""
    found = workload(name=name)
    del found["spec"]["demand"]
    found["spec"]["manifests"] = [{**MANIFEST, "metadata": {"name": name}}]
    return found


def sites_of(random: Random) -> list[Raw]:
    """Sites with different room and prices; some are alike."""
    return [
        site(
            f"m{number}",
            nodes(random.randint(1, 3), cpu=random.choice(("2", "5")), memory="16Gi"),
            spec={"prices": {"coreCnyPerHour": random.choice((0.05, 0.06, 0.05 + number / 1000))}},
            observedAt="2026-11-24T08:00:00Z",
        )
        for number in range(random.randint(2, 6))
    ]


def backlog(random: Random, size: int) -> list[Raw]:
    """Mostly equal work, with some of another size, priority, rule or namespace between it."""
    found: list[Raw] = []
    for number in range(size):
        made = deployment(f"job-{number:03}")
        kind = random.random()
        if kind < 0.1:
            made = workload(2, name=f"job-{number:03}")
        elif kind < 0.2:
            made["spec"]["priority"] = random.choice((10, 20))
        elif kind < 0.25:
            made["spec"]["placement"] = {"spread": [{"by": "site", "minGroups": 2}]}
        elif kind < 0.3:
            made["spec"]["manifests"][0]["metadata"]["name"] = "shared"
        elif kind < 0.4:
            made["metadata"]["namespace"] = "other"
        found.append(made)
    return found


@pytest.fixture(autouse=True)
def numbered_uids(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Objects get the same UIDs in each run, as they break ties between sites."""

    def begin() -> None:
        numbers = count()
        monkeypatch.setattr("tests.support.fake_hub.uuid.uuid4", lambda: UUID(int=next(numbers)))

    begin()
    return begin


async def decided(seed: int) -> tuple[list[tuple[str, bytes]], ControlLoops]:
    """The subject and the decision of each record, and the loops."""
    random = Random(seed)  # noqa: S311 - a test, seeded
    loops = ControlLoops(has_tenant=False)
    sites = sites_of(random)
    await loops.hub.create(TENANTS, tenant_of_ns("ns", "other"))
    async with loops.started(*sites, *backlog(random, 40)):
        for _ in range(20):
            await loops.clock.settle()
    records = [
        (subject, canonical_json(content.get("decision", content.get("refusal"))))
        for subject, content in loops.recorder.records
    ]
    return sorted(records), loops


@pytest.mark.parametrize("seed", seeds(6, gate=2))
async def test_each_decision_is_the_one_that_is_made_one_by_one(
    seed: int, monkeypatch: pytest.MonkeyPatch, numbered_uids: Callable[[], None]
) -> None:
    order: list[WorkKey] = []
    note = WorkloadStats.record_seen

    def record_seen(self: WorkloadStats, key: WorkKey, one: Workload) -> None:
        order.append(key)
        note(self, key, one)

    monkeypatch.setattr(WorkloadStats, "record_seen", record_seen)
    together, loops = await decided(seed)
    order_together, order = order, []
    assert max(loops.recorder.steps) > 2
    monkeypatch.setattr(worker, "MAX_TOGETHER", 1)
    numbered_uids()
    singly, reference = await decided(seed)
    assert reference.recorder.steps == []
    assert together == singly
    assert order_together == order
    assert loops.ordered() == reference.ordered()
    assert [one.in_flight for one in loops.fleet.all_facts()] == [
        one.in_flight for one in reference.fleet.all_facts()
    ]
    assert not loops.reconciler.assumptions.keys()


EQUAL = [deployment(f"job-{number}") for number in range(6)]
SITE = site("m1", nodes(1, cpu="8", memory="16Gi"), observedAt="2026-11-24T08:00:00Z")


def loops_with_fate(of: str, fate: Fate) -> ControlLoops:
    """Loops in which this becomes of the first status write of one workload."""
    loops = ControlLoops()
    fates = {of: fate}

    def fate_of(name: str) -> Fate:
        is_status = bool(loops.objects.workloads["ns", name].metadata.finalizers)
        return fates.pop(name, "written") if is_status else "written"

    loops.hub.fate_of = fate_of
    return loops


@pytest.mark.parametrize("fate", ["conflict", "lost"])
async def test_a_conflict_undoes_the_share_of_its_workload_only(fate: Fate) -> None:
    loops = loops_with_fate("job-2", fate)
    async with loops.started(SITE, *EQUAL):
        for _ in range(5):
            await loops.clock.settle()
        assert loops.recorder.steps == [6]
        assert loops.recorder.undone == [("ns/job-2", "7-3#2")]
        assert loops.ordered() == {f"job-{number}" for number in (0, 1, 3, 4, 5)}
        # The hub has refused a conflict for good; what was cut off may still arrive.
        assert len(loops.sites.states["m1"].ordered) == (5 if fate == "conflict" else 6)
        await loops.clock.advance(1)
        assert loops.ordered() == {f"job-{number}" for number in range(6)}
        assert sorted(loops.telemetry.results) == ["error", *["placed"] * 6]


async def test_a_step_has_a_bounded_number_of_shares_and_the_rest_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decide, "_MAX_SHARES_TOGETHER", 4)
    loops = ControlLoops()
    async with loops.started(SITE, *EQUAL):
        for _ in range(5):
            await loops.clock.settle()
        assert loops.recorder.steps == [4, 2]
        assert loops.ordered() == {f"job-{number}" for number in range(6)}
        assert not loops.reconciler.assumptions.keys()


async def test_a_step_that_is_not_recorded_leaves_nothing_behind() -> None:
    loops = ControlLoops()
    loops.recorder.faults = {f"ns/job-{number}": NotRecorded("full") for number in range(6)}
    async with loops.started(SITE, *EQUAL):
        for _ in range(5):
            await loops.clock.settle()
        assert loops.ordered() == set()
        assert not loops.sites.states["m1"].ordered
        assert loops.fleet.facts_of("m1").in_flight == ()
        loops.recorder.faults.clear()
        loops.worker.retry_not_recorded()
        for _ in range(5):
            await loops.clock.settle()
        assert loops.ordered() == {f"job-{number}" for number in range(6)}


async def test_a_fault_in_the_step_leaves_nothing_behind() -> None:
    loops = ControlLoops()
    prepare = loops.recorder.prepare_equal

    def fail(**_: object) -> None:
        loops.recorder.prepare_equal = prepare
        raise ArithmeticError

    loops.recorder.prepare_equal = fail
    async with loops.started(SITE, *EQUAL):
        for _ in range(8):
            await loops.clock.settle()
        assert loops.fault_places == ["workload"]
        assert loops.ordered() == {f"job-{number}" for number in range(6)}
        assert len(loops.fleet.facts_of("m1").in_flight) == 6


async def test_one_slot_is_enough() -> None:
    loops = ControlLoops()
    loops.worker.concurrency = 1
    async with loops.started(SITE, *EQUAL):
        for _ in range(20):
            await loops.clock.settle()
        assert loops.recorder.steps == [6]
        assert loops.ordered() == {f"job-{number}" for number in range(6)}


async def test_what_waits_as_before_is_not_recorded_again() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, *(deployment(f"job-{number:02}") for number in range(12))):
        for _ in range(8):
            await loops.clock.settle()
        assert loops.recorder.steps == [12]
        assert len(loops.recorder.records) == 12
        assert loops.telemetry.results.count("waiting") == 4
        loops.requeuer.requeue(list(loops.objects.workloads))
        for _ in range(8):
            await loops.clock.settle()
        assert loops.telemetry.results.count("waiting") == 8
        assert len(loops.recorder.records) == 12
