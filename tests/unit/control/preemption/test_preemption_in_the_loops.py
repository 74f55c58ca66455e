"""Preemption in the loops: who ends for whom, in which order, and what says so."""

from typing import Any

from scheduler.control.ports.hub import TENANTS, WORKLOADS
from scheduler.model.demand.demand import Demand
from tests.support.failing_city import FailingCity, pinned
from tests.support.sites import Raw, workload
from tests.unit.control.failover.test_drain import managed


def low(name: str, at: str, replicas: int = 2, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    return pinned(name, at, replicas, **{"priority": 10, **spec})


def urgent(replicas: int, *, name: str = "urgent", **spec: Any) -> Raw:  # noqa: ANN401 - fields
    return workload(replicas, name=name, **{"priority": 100, "preemption": "LowerPriority", **spec})


def created(raw: Raw, at: str) -> Raw:
    return {**raw, "metadata": {**raw["metadata"], "creationTimestamp": at}}


async def arrives(city: FailingCity, raw: Raw) -> None:
    await city.loops.hub.create(WORKLOADS, raw)
    city.loops.read_hub()


def preempting(city: FailingCity, name: str = "urgent") -> list[tuple[str, str, int, int]]:
    found = city.status(name).preempting
    return [(one.workload, one.site, one.replicas, one.keep) for one in found]


def over_committed(city: FailingCity) -> list[str]:
    return [
        name
        for name, room in city.room.items()
        if sum(count for _, count in city.runs[name].values()) > room
    ]


async def test_lower_work_ends_then_the_urgent_work_runs() -> None:
    city = FailingCity({"m1": 2, "m2": 2})
    async with city.started(low("app", "m1"), low("other", "m2", priority=20)):
        await arrives(city, urgent(1))
        await city.live(40)
        assert city.status("urgent").phase == "Running"
        assert city.where("urgent") == {"m1": 1}
        assert city.where("app") == {"m1": 1}, "as many stay as fit"
        assert city.where("other") == {"m2": 2}, "the higher one is left alone"
        assert preempting(city) == []
        assert over_committed(city) == []
        kind, reason, message = city.condition("app", "Preempted")
        assert (kind, reason) == ("True", "Preempted")
        assert "preempted by ns/urgent (priority 100)" in message
        assert city.status("app").phase == "Waiting", "it is back in the queue"


async def test_the_statuses_name_the_victims_before_any_ends_and_room_is_kept() -> None:
    city = FailingCity({"m1": 2})
    async with city.started(low("app", "m1")):
        city.mute.add("m1")  # what is withdrawn is not seen gone
        await arrives(city, urgent(2))
        await city.live(20)
        assert preempting(city) == [("ns/app", "m1", 2, 0)]
        assert city.status("urgent").phase == "Waiting"
        assert "for it end 2 of 2 of ns/app at m1 (priority 10)" in city.line("urgent")
        facts = city.loops.fleet.facts_of("m1")
        assert facts.reserved_for == ("ns/urgent",)
        assert city.where("app") == {}
        assert city.where("urgent") == {}, "nothing is ordered before the room is there"
        city.mute.discard("m1")
        await city.live(30)
        assert city.where("urgent") == {"m1": 2}
        assert city.loops.fleet.facts_of("m1").reserved_for == ()


async def test_a_victim_is_not_gone_before_its_site_says_that_it_follows_its_orders() -> None:
    city = FailingCity({"m1": 2})
    async with city.started(low("app", "m1")):
        city.mute.add("m1")  # it says that it goes on by the index that it had
        await arrives(city, urgent(2))
        await city.live(10)
        city.runs["m1"].clear()  # its pods are gone, and as far as the hub knows may come again
        await arrives(city, low("later", "m1", priority=50))
        await city.live(20)
        assert preempting(city) == [("ns/app", "m1", 2, 0)]
        assert city.loops.fleet.facts_of("m1").reserved_for == ("ns/urgent",)
        city.mute.discard("m1")
        await city.live(30)
        assert city.where("urgent") == {"m1": 2}, "what ended for it is its room"
        assert city.where("later") == {}


async def test_the_victims_come_back_with_their_age_when_there_is_room_again() -> None:
    city = FailingCity({"m1": 2})
    async with city.started(created(low("app", "m1"), "2026-11-23T06:00:00Z")):
        await arrives(city, urgent(2))
        await city.live(40)
        assert city.where("urgent") == {"m1": 2}
        await arrives(city, created(low("later", "m1"), "2026-11-23T07:50:00Z"))
        await city.live(20)
        await city.patch("urgent", {"replicas": 0})
        await city.live(60)
        assert city.where("app") == {"m1": 2}, "it is older than the one that came later"
        assert city.where("later") == {}
        assert city.condition("app", "Preempted") == ("", "", "")


async def test_every_record_names_the_other_and_replays() -> None:
    city = FailingCity({"m1": 2})
    async with city.started(low("app", "m1")):
        await arrives(city, urgent(2))
        await city.live(40)
    records = city.loops.recorder.records
    decided = [one["decision"] for subject, one in records if subject == "ns/urgent"]
    assert [bool(one.preemption) for one in decided] == [True, False]
    assert decided[0].preemption.victims[0].workload == "ns/app"
    (ended,) = [one for s, one in records if s == "ns/app" and one["demand"].preempted]
    assert ended["demand"].preempted[0].by == "ns/urgent"
    assert ended["decision"].preempted == {"m1": 2}
    assert isinstance(ended["demand"], Demand)


async def test_nothing_ends_where_it_would_not_be_enough_or_is_not_asked_for() -> None:
    city = FailingCity({"m1": 2})
    async with city.started(low("app", "m1")):
        await arrives(city, urgent(3))
        await arrives(city, urgent(1, name="modest", preemption="Never"))
        await arrives(city, urgent(1, name="equal", priority=10))
        await city.live(40)
        assert city.where("app") == {"m1": 2}
        for name in ("urgent", "modest", "equal"):
            assert city.status(name).phase == "Waiting"
            assert preempting(city, name) == []


async def test_nothing_ends_at_a_silent_site_or_where_a_rule_refuses() -> None:
    city = FailingCity({"m1": 2, "m2": 2})
    async with city.started(low("app", "m1"), low("other", "m2", failover={"mode": "Manual"})):
        city.fall_silent("m2")
        await city.live(300)
        await city.edit_site("m1", cordon=True)
        await arrives(city, urgent(1))
        await city.live(40)
        assert preempting(city) == []
        assert city.where("app") == {"m1": 2}
        assert city.where("other") == {"m2": 2}


async def test_a_gang_ends_as_a_whole() -> None:
    city = FailingCity({"m1": 2, "m2": 2})
    gang = workload(4, name="app", priority=10, placement={"gang": True, "strategy": "Balanced"})
    async with city.started(gang):
        assert city.where("app") == {"m1": 2, "m2": 2}
        await arrives(city, urgent(1))
        await city.live(40)
        assert city.where("app") == {}
        assert sum(city.where("urgent").values()) == 1


async def test_a_victim_stays_if_the_other_fits_without_it_or_not_at_all() -> None:
    for is_room_there in (True, False):
        city = FailingCity({"m1": 2, "m2": 1})
        async with city.started(low("app", "m1"), low("small", "m2", 1, priority=90)):
            key, preemption = ("ns", "urgent"), city.loops.term.preemption
            held, preemption.redecide = preemption.redecide, lambda _keys: None
            await arrives(city, urgent(1))
            await city.settle(1)
            assert preempting(city) == [("ns/app", "m1", 1, 1)], "decided, and not withdrawn yet"
            if is_room_there:
                await city.patch("small", {"replicas": 0})
                await city.live(0.5)
            else:
                await city.edit_site("m1", cordon=True)
            preemption.redecide = held
            held([("ns", "app")])
            await city.live(30)
            assert city.where("app") == {"m1": 2}
            assert city.where("urgent") == ({"m2": 1} if is_room_there else {})
            assert preempting(city) == []
            assert city.loops.term.preemptions.of(key) is None
            assert city.loops.fleet.facts_of("m1").reserved_for == ()


async def test_a_deleted_preemptor_takes_nothing_more() -> None:
    city = FailingCity({"m1": 2})
    async with city.started(low("app", "m1")):
        city.mute.add("m1")
        await arrives(city, urgent(2))
        await city.live(10)
        assert preempting(city)
        await city.loops.hub.delete(WORKLOADS, "urgent", "ns")
        city.loops.read_hub()
        city.mute.discard("m1")
        await city.live(60)
        assert city.where("app") == {"m1": 2}
        assert city.loops.fleet.facts_of("m1").reserved_for == ()


async def test_a_budget_that_forbids_everything_is_spared_as_long_as_others_are_enough() -> None:
    city = FailingCity({"m1": 1, "m2": 1})
    guarded = managed("guarded", "m1", 1, maxUnavailable=0)
    async with city.started(guarded, low("app", "m2", 1, priority=50)):
        await arrives(city, urgent(1))
        await city.live(40)
        assert city.where("guarded") == {"m1": 1}, "its priority is lower, and its budget counts"
        assert city.where("urgent") == {"m2": 1}
        await arrives(city, urgent(1, name="second", priority=90))
        await city.live(40)
        assert city.where("second") == {"m1": 1}
        lines = [
            one["decision"].line
            for key, one in city.loops.recorder.records
            if key == "ns/second" and one["decision"].preemption
        ]
        assert len(lines) == 1
        said = "more than PodDisruptionBudgets allow: ns/guarded: guarded-pdb (maxUnavailable: 0)"
        assert said in lines[0]


async def test_a_priority_beyond_that_of_the_tenant_ends_nothing() -> None:
    city = FailingCity({"m1": 1})
    async with city.started(low("app", "m1", 1)):
        await city.loops.hub.merge_patch(TENANTS, "ns", {"spec": {"maxPriority": 60}})
        city.loops.read_hub()
        await arrives(city, urgent(1))
        await city.live(20)
        assert city.where("app") == {"m1": 1}
        assert city.status("urgent").phase == "Refused"
        assert "100 is above maxPriority of tenant ns; write 60 or less" in city.line("urgent")
