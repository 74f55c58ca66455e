"""A scheduler that is killed at any step of a preemption: the next one ends what it began."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scheduler.control.ports.hub import WORKLOADS
from tests.support.failing_city import FailingCity, pinned
from tests.support.sites import workload

_STEPS = 27
"""So many writes to the hub and the ledger are begun or ended until all is carried out."""


class Killed:
    """Lets so many steps to the hub and the ledger happen; none after them ever ends."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.is_armed = False
        self.has_struck = False

    async def step(self) -> None:
        if not self.is_armed:
            return
        if self.left <= 0:
            self.has_struck = True
            await asyncio.Event().wait()
        self.left -= 1

    def around(self, record: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slowly(**facts: Any) -> Any:  # noqa: ANN401 - those of `record`
            await self.step()
            found = await record(**facts)
            await self.step()
            return found

        return slowly


def used_beyond_room(city: FailingCity) -> dict[str, int]:
    used = {name: sum(n for _, n in city.runs[name].values()) for name in city.room}
    return {name: used[name] for name in used if used[name] > city.room[name]}


async def killed_after(steps: int) -> bool:
    """Runs a preemption of two victims, killed after so many steps; whether that came to pass."""
    city, kill = FailingCity({"m1": 2, "m2": 1, "m3": 1}), Killed(steps)
    victims = (
        pinned("app", "m1", priority=10),
        workload(1, name="other", priority=10, placement={"siteSelector": {"matchLabels": {}}}),
    )
    urgent = workload(3, name="urgent", priority=100, preemption="LowerPriority")
    keeper = pinned("keeper", "m3", 1, priority=500)
    loops = city.loops
    async with city.started(*victims, keeper):
        await city.live(20)
        before = {name: city.where(name) for name in ("app", "other", "keeper")}
        assert sum(sum(one.values()) for one in before.values()) == 4
        loops.hub.pause = kill.step
        loops.recorder.record = kill.around(loops.recorder.record)
        await loops.hub.create(WORKLOADS, urgent)
        kill.is_armed = True
        loops.read_hub()
        await city.live(30)
        assert not used_beyond_room(city)
    kill.is_armed = False
    async with city.next_leader() as second:
        for _ in range(12):
            await second.live(10)
            assert not used_beyond_room(second)
        assert sum(second.where("urgent").values()) == 3
        assert second.status("urgent").phase == "Running"
        assert second.status("urgent").preempting == ()
        assert second.where("keeper") == before["keeper"], "nothing of a higher priority ends"
        assert second.where("app") == {}
        assert second.where("other") == {}
        for site in city.room:
            assert second.loops.fleet.facts_of(site).reserved_for == ()
        for name in ("app", "other"):
            records = [one for key, one in loops.recorder.records if key == f"ns/{name}"]
            by = {each.by for one in records if "demand" in one for each in one["demand"].preempted}
            assert by == {"ns/urgent"}
    return kill.has_struck


@pytest.mark.parametrize("steps", range(2, _STEPS, 6))
async def test_the_next_leader_ends_the_preemption(steps: int) -> None:
    assert await killed_after(steps)


@pytest.mark.soak
@pytest.mark.parametrize("steps", range(_STEPS))
async def test_the_next_leader_ends_the_preemption_at_every_step(steps: int) -> None:
    assert await killed_after(steps)
