"""The report loop: on time, at once when asked, and soon after pods were bound."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

from agents.loops import ReportLoop
from agents.metrics.counters import Counters
from agents.mqtt.publisher import ReportBuilder
from agents.observe import SensorCollector
from agents.protocol.keys import SigningKey
from agents.protocol.report import OrderBoundPods
from agents.runtime.data_dir import Boot
from agents.sensors.sensor import Observation
from tests.support.fake_clock import FakeClock


@dataclass
class Pods:
    """A sensor of a cluster whose pods a test binds."""

    clock: FakeClock
    counts: dict[str, int] = field(default_factory=dict)
    looks: list[float] = field(default_factory=list)
    name: str = "pods"
    seconds: float = 0.0

    async def observe(self) -> Observation:
        self.looks.append(self.clock.monotonic())
        if self.seconds:
            await self.clock.sleep(self.seconds)
        orders = (OrderBoundPods(id=one, generation=1, bound=n) for one, n in self.counts.items())
        return Observation(orders=tuple(orders))


@dataclass
class Session:
    """A connection that notes when something was published."""

    clock: FakeClock
    sent: list[float] = field(default_factory=list)

    @property
    def connection(self) -> "Session":
        return self

    async def publish(self, topic: str, payload: bytes, *, expiry_seconds: float) -> None:
        assert topic
        assert payload
        assert expiry_seconds
        self.sent.append(self.clock.monotonic())


@dataclass
class Rig:
    """A loop with an interval of ten seconds."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.pods, self.session = Pods(self.clock), Session(self.clock)
        key, boot = SigningKey(bytes(32)), Boot("b", 1)
        self.loop = ReportLoop(
            interval_seconds=10.0,
            session=self.session,  # type: ignore[arg-type]  # what the loop uses of it
            builder=ReportBuilder(
                site="m1", agent="main", boot=boot, key=key, full_interval_seconds=300.0
            ),
            collector=SensorCollector(
                sensors=[self.pods], meter=None, clock=self.clock, counters=Counters()
            ),
            clock=self.clock,
            counters=Counters(),
        )

    async def __aenter__(self) -> Self:
        self.group = asyncio.TaskGroup()
        await self.group.__aenter__()
        self.task = self.group.create_task(self.loop.run())
        await self.clock.advance(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await self.group.__aexit__(None, None, None)


async def test_without_work_it_reports_every_interval_and_looks_no_more_often() -> None:
    async with Rig() as rig:
        await rig.clock.advance(35.0)
        assert len(rig.session.sent) == 4
        assert rig.pods.looks == rig.session.sent


async def test_it_reports_at_once_when_asked_and_not_more_often_than_bounded() -> None:
    async with Rig() as rig:
        for _ in range(20):
            rig.loop.request_report()
            await rig.clock.advance(0.05)
        assert 4 <= len(rig.session.sent) <= 7


async def test_pods_that_are_bound_after_a_new_index_are_reported_within_a_second() -> None:
    async with Rig() as rig:
        await rig.clock.advance(4.0)
        rig.loop.expect_change()
        await rig.clock.advance(0.3)
        rig.pods.counts["a"] = 3
        bound_at = rig.clock.monotonic()
        for _ in range(10):  # indexes that come again and again put no look off
            rig.loop.expect_change()
            await rig.clock.advance(0.1)
        assert bound_at <= rig.session.sent[-1] <= bound_at + 0.6


async def test_a_burst_is_reported_every_half_second_and_a_broken_cluster_makes_no_storm() -> None:
    async with Rig() as rig:
        rig.loop.note_applied({"a": 1})
        for count in range(40):
            rig.pods.counts["a"] = count
            await rig.clock.advance(0.1)
        assert 6 <= len(rig.session.sent) <= 9
        before, looks = len(rig.session.sent), len(rig.pods.looks)
        for count in range(300):  # pods come and go; every try of the order fails as the last did
            rig.pods.counts["a"] = count % 2 * 39
            rig.loop.note_applied({"a": 1})
            await rig.clock.advance(0.1)
        assert len(rig.session.sent) - before <= 5, "three by the interval, one when all had ended"
        assert len(rig.pods.looks) - looks <= 14


async def test_a_look_that_takes_time_is_no_reason_for_a_second_one() -> None:
    async with Rig() as rig:
        rig.pods.seconds = 0.05
        await rig.clock.advance(65.0)
        assert len(rig.session.sent) == 7
        assert len(rig.pods.looks) == 7
