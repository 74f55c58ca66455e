"""Equal moves from a lost site that are decided in one step are those decided one by one."""

from collections.abc import Callable
from itertools import count
from random import Random
from uuid import UUID

import pytest

from scheduler.control import worker
from scheduler.control.reconcile import decide, equal_work
from scheduler.model.canonical import canonical_json
from scheduler.model.demand.assignment import AssignedReplicas, AssignedWorkload
from scheduler.model.demand.loss_plan import KeptPlans, make_loss_plan
from tests.support.counts import seeds
from tests.support.failing_city import FailingCity
from tests.support.sites import Raw, workload
from tests.support.tools import require_kernel

Records = list[tuple[str, bytes]]
NAMES = [f"app-{number:02}" for number in range(14)]


@pytest.fixture(autouse=True)
def numbered_uids(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Objects get the same UIDs in each run, as they break ties; steps depend on no clock."""
    require_kernel()
    monkeypatch.setattr(equal_work, "_MAX_READ_SECONDS", float("inf"))

    def begin() -> None:
        numbers = count()
        monkeypatch.setattr("tests.support.fake_hub.uuid.uuid4", lambda: UUID(int=next(numbers)))

    begin()
    return begin


def apps(random: Random) -> list[Raw]:
    """Mostly equal work, with some of another size, priority or rule between it."""
    found = []
    for name in NAMES:
        made = workload(1, name=name)
        kind = random.random()
        if kind < 0.15:
            made = workload(2, name=name)
        elif kind < 0.3:
            made["spec"]["priority"] = 10
        elif kind < 0.4:
            made["spec"]["failover"] = {"mode": "Manual"}
        found.append(made)
    return found


def keep_plan(city: FailingCity, random: Random) -> None:
    """Of a plan for the loss of `m1` that has most of them, some at sites without room."""
    listed = tuple(
        AssignedWorkload(
            workload=f"ns/{name}",
            sites=(AssignedReplicas(site=random.choice(("m2", "m3", "m4")), replicas=1),),
        )
        for name in NAMES
        if random.random() < 0.8
    )
    kept = KeptPlans((make_loss_plan("m1", {"m1"}, listed),))
    city.loops.reconciler.decider.kept_plans = lambda: kept


async def moved(seed: int, *, has_plan: bool) -> tuple[Records, list[object], list[int]]:
    """All records, what each workload says of where it is, and how many each step decided."""
    random = Random(seed)  # noqa: S311 - a test, seeded
    city = FailingCity({"m1": 40, "m2": 0, "m3": 0, "m4": 0})
    async with city.started(*apps(random)):
        assert all(city.where(name).keys() == {"m1"} for name in NAMES)
        city.room |= {"m2": random.choice((4, 9)), "m3": random.choice((0, 3)), "m4": 1}
        await city.live(20)
        if has_plan:
            keep_plan(city, random)
        steps = city.loops.recorder.steps
        steps.clear()
        city.fall_silent("m1")
        await city.live(150)
        records = [
            (subject, canonical_json([content.get("demand"), content.get("decision")]))
            for subject, content in city.loops.recorder.records
        ]
        where: list[object] = [(city.where(name), city.condition(name)) for name in NAMES]
        return sorted(records), where, list(steps)


@pytest.mark.parametrize("has_plan", [False, True])
@pytest.mark.parametrize("seed", seeds(6, gate=2))
async def test_moves_decided_together_are_those_decided_one_by_one(
    seed: int,
    has_plan: bool,  # noqa: FBT001 - a parameter of pytest
    monkeypatch: pytest.MonkeyPatch,
    numbered_uids: Callable[[], None],
) -> None:
    together = await moved(seed, has_plan=has_plan)
    numbered_uids()
    monkeypatch.setattr(worker, "MAX_TOGETHER", 1)
    singly = await moved(seed, has_plan=has_plan)
    assert together[:2] == singly[:2]
    assert singly[2] == []
    assert max(together[2], default=0) >= 2


async def test_a_step_of_moves_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "_MAX_MOVES_TOGETHER", 3)
    city = FailingCity({"m1": 40, "m2": 0})
    async with city.started(*(workload(1, name=name) for name in NAMES)):
        city.room["m2"] = 40
        await city.live(20)
        city.loops.recorder.steps.clear()
        city.fall_silent("m1")
        await city.live(150)
        assert all(city.where(name).keys() == {"m2"} for name in NAMES)
        assert max(city.loops.recorder.steps) == 3
