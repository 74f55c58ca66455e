"""In the loops: a planned start keeps its room until the workload starts or is gone."""

from datetime import datetime, timedelta

from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import Workload
from tests.support.control_loops import ControlLoops
from tests.support.fake_clock import START
from tests.support.sites import Raw, nodes, site, workload

CLEAN_AT = START + timedelta(hours=2)


def in_hours(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


def place(name: str, clean_hour: int = 2, cores: int = 1) -> Raw:
    """A site with one clean hour."""
    steps = [
        {"at": in_hours(hour), "gco2PerKwh": 100 if hour == clean_hour else 600}
        for hour in range(12)
    ]
    issued = {"origin": "modelled", "observedAt": START.isoformat(), "steps": steps}
    spec = {
        "energy": {"pue": 1.2, "forecast": issued},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.0},
    }
    intensity = {"gco2PerKwh": 600, "origin": "measured", "observedAt": START.isoformat()}
    return site(name, nodes(cores), spec=spec, intensity=intensity, observedAt=START.isoformat())


def job(name: str = "job", hours: int = 1) -> Raw:
    schedule = {"deadline": in_hours(10), "durationSeconds": hours * 3600}
    return workload(1, name=name, placement={"preset": "green-batch"}, schedule=schedule)


async def plan_of(loops: ControlLoops, name: str = "job") -> tuple[datetime, dict[str, int]] | None:
    plan = decode_as(await loops.workload(name), Workload).status.plan
    return None if plan is None else (plan.start_at, dict(plan.place))


async def create(loops: ControlLoops, one: Raw) -> None:
    loops.hub.take_events()
    await loops.hub.create(WORKLOADS, one)
    loops.read_hub()
    await loops.clock.advance(3)


def planned_at(loops: ControlLoops, name: str) -> list[str]:
    return [one.workload for one in loops.fleet.facts_of(name).planned]


async def test_a_service_waits_until_the_planned_work_is_gone() -> None:
    loops = ControlLoops()
    async with loops.started(place("m1"), job()):
        await loops.clock.advance(3)
        assert await plan_of(loops) == (CLEAN_AT, {"m1": 1})
        assert planned_at(loops, "m1") == ["ns/job"]

        await create(loops, workload(1, name="service"))
        assert await loops.phase("service") == "Waiting"

        loops.hub.take_events()
        await loops.hub.delete(WORKLOADS, "job", "ns")
        loops.read_hub()
        await loops.clock.advance(30)
        assert planned_at(loops, "m1") == []
        assert await loops.phase("service") == "Placed"


async def test_two_jobs_are_planned_one_after_the_other() -> None:
    loops = ControlLoops()
    async with loops.started(place("m1"), job("first", 2), job("second", 2)):
        await loops.clock.advance(3)
        plans = [await plan_of(loops, name) for name in ("first", "second")]
        first, second = sorted(plan[0] for plan in plans if plan is not None)
        assert first < CLEAN_AT + timedelta(hours=1)
        assert second - first >= timedelta(hours=2.4)
        assert planned_at(loops, "m1") == ["ns/first", "ns/second"]


async def test_the_work_starts_at_its_planned_time_and_its_room_is_its_own() -> None:
    loops = ControlLoops()
    m1 = place("m1")
    async with loops.started(m1, job()):
        await loops.clock.advance(3)
        for _ in range(3):
            await loops.clock.advance(3600)
            loops.report(m1)
            await loops.clock.advance(5)
        assert await loops.phase("job") == "Placed"
        assert await plan_of(loops) is None
        assert planned_at(loops, "m1") == []


async def test_the_next_leader_keeps_the_room_before_it_decides_anything() -> None:
    loops = ControlLoops()
    m1 = place("m1")
    async with loops.started(m1, job()):
        await loops.clock.advance(3)
    after = ControlLoops(clock=loops.clock, hub=loops.hub, recorder=loops.recorder)
    await loops.hub.create(WORKLOADS, workload(1, name="service"))
    async with after.leads(m1):
        assert planned_at(after, "m1") == ["ns/job"]
        await after.clock.advance(5)
        assert await after.phase("service") == "Waiting"
        assert await plan_of(after) == (CLEAN_AT, {"m1": 1})


async def test_a_site_that_falls_silent_loses_its_planned_starts_to_others() -> None:
    loops = ControlLoops()
    async with loops.started(place("m1"), place("m2", clean_hour=4), job()):
        await loops.clock.advance(3)
        first = await plan_of(loops)
        assert first is not None
        (site_name,) = first[1]
        other = {"m1": "m2", "m2": "m1"}[site_name]
        loops.clock_events.mark_silent(site_name)
        await loops.clock.advance(5)
        second = await plan_of(loops)
        assert second is not None
        assert second[1] == {other: 1}
        assert planned_at(loops, site_name) == []
        assert planned_at(loops, other) == ["ns/job"]


async def test_work_of_a_higher_priority_takes_the_room_and_the_plan_is_made_again() -> None:
    loops = ControlLoops()
    async with loops.started(place("m1"), place("m2", clean_hour=4), job()):
        await loops.clock.advance(3)
        first = await plan_of(loops)
        assert first is not None
        (taken,) = first[1]
        only_there = {"siteGroups": [{"name": "there", "sites": [taken]}]}
        await create(loops, workload(1, name="urgent", priority=100, placement=only_there))
        await loops.clock.advance(5)
        assert await loops.phase("urgent") == "Placed"
        second = await plan_of(loops)
        assert second is not None
        assert second[1].keys().isdisjoint([taken])


async def test_a_plan_is_made_again_every_hour_on_the_forecast_of_then() -> None:
    loops = ControlLoops()
    m1 = place("m1", clean_hour=6)
    async with loops.started(m1, job()):
        await loops.clock.advance(3)
        assert await plan_of(loops) == (START + timedelta(hours=6), {"m1": 1})
        loops.hub.take_events()
        await loops.hub.merge_patch(SITES, "m1", {"spec": place("m1", clean_hour=4)["spec"]})
        loops.read_hub()
        for _ in range(15):  # reports keep the site fresh
            loops.report(m1)
            await loops.clock.advance(250)
        assert await plan_of(loops) == (START + timedelta(hours=4), {"m1": 1})


async def test_paused_work_keeps_no_room() -> None:
    loops = ControlLoops()
    async with loops.started(place("m1"), job()):
        await loops.clock.advance(3)
        assert planned_at(loops, "m1") == ["ns/job"]
        loops.hub.take_events()
        await loops.hub.merge_patch(WORKLOADS, "job", {"spec": {"paused": True}}, namespace="ns")
        loops.read_hub()
        await loops.clock.advance(5)
        assert planned_at(loops, "m1") == []
        assert await plan_of(loops) is None
