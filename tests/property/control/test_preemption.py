"""Preemption in a small city: whatever comes, goes and falls silent, what matters less waits."""

from random import Random
from typing import Any

import pytest

from scheduler.control.ports.hub import WORKLOADS
from scheduler.control.status.migration import shares_in
from tests.support.failing_city import FailingCity
from tests.support.sites import Raw, workload


def created(raw: Raw, number: int) -> Raw:
    raw["metadata"]["creationTimestamp"] = f"2026-11-23T06:{number // 60:02}:{number % 60:02}Z"
    return raw


def placed(city: FailingCity) -> dict[str, dict[str, int]]:
    found = {}
    for (_, name), one in city.loops.objects.workloads.items():
        shares = shares_in(one.status.placement.groups)
        found[name] = {site: share.ordered for site, share in shares.items() if share.ordered}
    return found


def check_at_any_time(city: FailingCity) -> None:
    for name, room in city.room.items():
        used = sum(count for _, count in city.runs[name].values())
        assert used <= room, (name, used, room)
    asked = city.loops.objects.workloads
    for subject, content in city.loops.recorder.records:
        decision = content.get("decision")
        for victim in decision.preemption.victims if decision and decision.preemption else ():
            assert victim.priority < content["demand"].priority, subject
    for key, one in asked.items():
        for victim in one.status.preempting:
            assert victim.workload != "/".join(key)


def check_settled(city: FailingCity, specs: dict[str, dict[str, Any]]) -> None:
    """Nothing that matters less holds the room for which something that may preempt waits."""
    held = placed(city)
    for name, spec in specs.items():
        status = city.status(name)
        assert status.preempting == (), name
        if sum(held[name].values()) or spec.get("preemption") != "LowerPriority":
            continue
        free = sum(city.room.values()) - sum(sum(one.values()) for one in held.values())
        lower = sum(
            sum(held[other].values())
            for other, of in specs.items()
            if of["priority"] < spec["priority"]
        )
        assert free + lower < spec["replicas"], (name, specs, held)
    for site in city.room:
        assert city.loops.fleet.facts_of(site).reserved_for == ()


async def live_through(seed: int) -> int:
    random = Random(seed)  # noqa: S311 - a test, seeded
    city = FailingCity({f"m{n}": random.randrange(2, 5) for n in range(3)})
    specs: dict[str, dict[str, Any]] = {}
    async with city.started():
        for number in range(10):
            name = f"w{number}"
            specs[name] = {
                "priority": random.choice((0, 10, 10, 50, 100)),
                "replicas": random.randrange(1, 4),
                **({"preemption": "LowerPriority"} if random.random() < 0.6 else {}),
            }
            words = {field: one for field, one in specs[name].items() if field != "replicas"}
            raw = workload(specs[name]["replicas"], name=name, **words)
            await city.loops.hub.create(WORKLOADS, created(raw, number))
            city.loops.read_hub()
            if random.random() < 0.2:
                gone = random.choice(sorted(specs))
                await city.patch(gone, {"replicas": 0})
                specs[gone]["replicas"] = 0
            await city.live(random.choice((1, 5, 20)))
            check_at_any_time(city)
        for _ in range(8):  # what nothing could end for is looked at again, more and more rarely
            await city.live(60)
            check_at_any_time(city)
        check_settled(city, {name: one for name, one in specs.items() if one["replicas"]})
        before = placed(city)
        await city.live(120)
        assert placed(city) == before, "nothing goes to and fro"
        assert city.loops.fault_places == []
        return sum(
            1
            for _, content in city.loops.recorder.records
            if "decision" in content and content["decision"].preemption is not None
        )


async def test_what_matters_less_keeps_nothing_out() -> None:
    assert await live_through(2) > 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 30))
async def test_what_matters_less_keeps_nothing_out_in_many_cities(seed: int) -> None:
    await live_through(seed)
