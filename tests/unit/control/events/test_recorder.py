"""Events come behind: aggregated, within a budget of their own, and dropped first."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from scheduler.control.events.pending import PendingEvents, WriteBudget
from scheduler.control.events.recorder import EventRecorder, NamedObject
from scheduler.control.ports.hub import EVENTS, ApiResource, Busy, HubError, Object
from scheduler.model.decode import decode_as
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.workload import Workload
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults
from tests.support.sites import workload


class CountingHub(FakeHub):
    """Counts requests; raises `trouble` if there is any."""

    requests = 0
    trouble: HubError | None = None

    async def create(self, resource: ApiResource, body: Object) -> Object:
        self._count()
        return await super().create(resource, body)

    async def merge_patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        self._count()
        return await super().merge_patch(
            resource, name, patch, namespace=namespace, subresource=subresource
        )

    def _count(self) -> None:
        self.requests += 1
        if self.trouble is not None:
            raise self.trouble


def about(name: str) -> Workload:
    raw = workload(1, name=name)
    return decode_as({**raw, "metadata": {**raw["metadata"], "uid": name}}, Workload)


@asynccontextmanager
async def recording() -> AsyncIterator[tuple[EventRecorder, CountingHub, FakeClock]]:
    clock, hub = FakeClock(), CountingHub()
    recorder = EventRecorder(hub, clock, make_faults(clock, []))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(recorder.run())
        yield recorder, hub, clock
        task.cancel()


def say(recorder: EventRecorder, name: str, message: str = "on m1", *, bad: bool = False) -> None:
    recorder.record(about(name), reason="Placed", message=message, is_warning=bad)


async def written(hub: FakeHub) -> list[tuple[str, int]]:
    found = (await hub.list(EVENTS)).items
    return sorted((one["involvedObject"]["name"], one["count"]) for one in found)


async def test_equal_events_are_counted_in_one_object_and_not_written_each() -> None:
    async with recording() as (recorder, hub, clock):
        for _ in range(30):
            say(recorder, "a")
        await clock.settle()
        assert (await written(hub), hub.requests) == ([("a", 30)], 1)
        for _ in range(5):
            say(recorder, "a")
        await clock.settle()
        assert (await written(hub), hub.requests) == ([("a", 35)], 2)


async def test_a_flood_of_decisions_costs_few_requests_and_warnings_come_first() -> None:
    async with recording() as (recorder, hub, clock):
        for number in range(500):
            say(recorder, f"w{number}")
        say(recorder, "bad", bad=True)
        await clock.settle()
        assert hub.requests == 20
        assert ("bad", 1) in await written(hub)
        await clock.advance(10)
        assert hub.requests == 30


async def test_a_hub_that_is_busy_is_left_alone_for_a_while() -> None:
    async with recording() as (recorder, hub, clock):
        hub.trouble = Busy("429", status=429)
        say(recorder, "a")
        say(recorder, "b")
        await clock.settle()
        assert (hub.requests, recorder.dropped) == (1, 1)
        hub.trouble = None
        await clock.advance(4)
        assert hub.requests == 1
        await clock.advance(2)
        assert await written(hub) == [("b", 1)]


async def test_an_object_that_changes_all_the_time_leaves_room_for_the_others() -> None:
    async with recording() as (recorder, hub, clock):
        flapping, calm = about("flapping"), about("calm")
        for number in range(200):
            recorder.record(flapping, reason="Placed", message=f"{number}", is_warning=True)
            await clock.advance(2)
        recorder.record(calm, reason="Placed", message="once", is_warning=False)
        await clock.advance(2)
        events = (await hub.list(EVENTS)).items
        count = sum(one["involvedObject"]["name"] == "flapping" for one in events)
        assert 25 <= count <= 27
        assert len(events) == count + 1
        assert recorder.dropped == 200 - count


async def test_objects_whose_uid_is_not_known_are_not_taken_for_one() -> None:
    async with recording() as (recorder, hub, clock):
        for name in ("a", "b"):
            named = NamedObject(
                api_version="v1", kind="ConfigMap", metadata=Metadata(name=name, namespace="ns")
            )
            recorder.record(named, reason="Frozen", message="m", is_warning=False)
        await clock.settle()
        events = (await hub.list(EVENTS)).items
        assert sorted(one["involvedObject"]["name"] for one in events) == ["a", "b"]


def body(name: str, kind: str) -> Object:
    who = {"uid": name}
    return {"involvedObject": who, "reason": "R", "message": "m", "type": kind, "count": 1}


def test_what_is_dropped_is_the_oldest_that_is_no_warning() -> None:
    pending = PendingEvents(max_count=2)
    names = [("w1", "Warning"), ("n1", "Normal"), ("n2", "Normal"), ("w2", "Warning")]
    assert [pending.put(body(*one)) for one in names] == [0, 0, 1, 1]
    assert pending.put(body("n3", "Normal")) == 1  # itself
    assert pending.put(body("w3", "Warning")) == 1
    left = []
    while one := pending.pop():
        left.append(one["involvedObject"]["uid"])
    assert left == ["w2", "w3"]
    assert not len(pending)


def test_a_budget_gives_a_burst_and_then_a_rate() -> None:
    budget, now, times = WriteBudget(per_second=5, burst=3), 100.0, list[float]()
    while len(times) < 8:
        pause = budget.spend(now)
        if pause:
            now += pause
        else:
            times.append(round(now, 6))
    assert times == [100, 100, 100, 100.2, 100.4, 100.6, 100.8, 101]
