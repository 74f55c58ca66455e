"""A wall clock that is set makes no site stale and no figure younger."""

import asyncio
from datetime import datetime, timedelta

import pytest

from scheduler.control.ports.agents import SiteReport
from scheduler.control.sites.sites import Sites
from scheduler.control.sites.wall_clock import WallClockFollower
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import SiteSpec, SiteStatus
from scheduler.placement.fleet.fleet import Fleet
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

_DRAINED = Taint(key="drained", effect="NoExecute")


class _SetClock(FakeClock):
    """A clock whose wall time can be set."""

    set_by_seconds = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.set_by_seconds)


class _Rig:
    def __init__(self) -> None:
        self.clock, self.published = _SetClock(), 0
        self.facts: SiteFacts
        registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
        spec = SiteSpec(taints=(_DRAINED,))
        registry.sites["m1"] = Site(metadata=Metadata(name="m1"), spec=spec)
        self.sites = Sites(
            objects=registry,
            clock=self.clock,
            silent_after_seconds=900.0,
            facts_sink=self._take,
        )
        self.inputs = DecisionInputs(
            fleet=Fleet(),
            clock=self.clock,
            base_terms=DEFAULT_TERMS,
            dated_now=self.sites.dated_now,
        )
        self.follower = WallClockFollower(
            sites=self.sites, clock=self.clock, faults=make_faults(), absorb=self._absorb
        )
        self.absorbed: list[float | None] = []
        self.sites.admit("m1")
        self.sites.on_report(
            SiteReport(
                site="m1",
                observed_seconds=self.clock.monotonic(),
                figures=SiteStatus(),
                has_executor=True,
            )
        )

    def _take(self, _site: str, facts: SiteFacts | None) -> None:
        self.facts, self.published = facts or self.facts, self.published + 1

    def _absorb(self) -> None:
        self.absorbed.append(self.age_seconds())

    def age_seconds(self) -> float | None:
        context = self.inputs.context()
        return context.age_seconds(self.facts.observed_at)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 86_400.0 * 365, -1.5])
async def test_the_age_of_a_report_is_what_has_passed_whatever_the_wall_clock_says(
    step: float,
) -> None:
    rig = _Rig()
    await rig.clock.advance(40.0)
    assert rig.age_seconds() == pytest.approx(40.0, abs=1.0)
    rig.clock.set_by_seconds = step
    assert rig.age_seconds() == pytest.approx(40.0, abs=1.0)
    assert await rig.follower.follow()
    assert rig.age_seconds() == pytest.approx(40.0, abs=1.0)
    assert rig.inputs.now() == rig.clock.now(), "decisions go by the wall clock again"
    await rig.clock.advance(20.0)
    assert rig.age_seconds() == pytest.approx(60.0, abs=1.0)
    rig.clock.set_by_seconds = 0.0
    assert rig.age_seconds() == pytest.approx(60.0, abs=1.0)
    assert await rig.follower.follow()
    assert rig.age_seconds() == pytest.approx(60.0, abs=1.0)


async def test_the_time_that_a_taint_was_seen_moves_with_the_wall_clock() -> None:
    rig = _Rig()
    await rig.clock.advance(40.0)
    rig.clock.set_by_seconds = 3600.0
    await rig.follower.follow()
    context = rig.inputs.context()
    (taint,) = rig.facts.spec.taints
    assert taint.time_added is not None
    assert context.age_seconds(taint.time_added) == pytest.approx(40.0, abs=1.0)


async def test_a_clock_that_is_right_publishes_nothing() -> None:
    rig = _Rig()
    before = rig.published
    await rig.clock.advance(40.0)
    assert not await rig.follower.follow()
    rig.inputs.context()
    assert rig.published == before


def _report(rig: _Rig, site: str) -> SiteReport:
    return SiteReport(
        site=site,
        observed_seconds=rig.clock.monotonic(),
        figures=SiteStatus(),
        has_executor=True,
    )


async def test_a_report_after_the_clock_was_set_is_as_old_as_it_is_before_and_after_dating() -> (
    None
):
    rig = _Rig()
    await rig.clock.advance(40.0)
    rig.clock.set_by_seconds = 3600.0
    rig.sites.on_report(_report(rig, "m1"))
    assert rig.age_seconds() == pytest.approx(0.0, abs=1.0)
    changed_at = rig.sites.states["m1"].ready_changed_at
    assert changed_at is not None
    await rig.follower.follow()
    assert rig.age_seconds() == pytest.approx(0.0, abs=1.0)
    assert rig.sites.states["m1"].ready_changed_at == changed_at + timedelta(seconds=3600)


async def test_many_sites_are_dated_a_few_at_a_time_while_nothing_is_decided() -> None:
    rig = _Rig()
    site = rig.sites.objects.sites["m1"]
    for number in range(2, 301):
        name = f"m{number}"
        rig.sites.objects.sites[name] = Site(metadata=Metadata(name=name), spec=site.spec)
        rig.sites.admit(name)
        rig.sites.on_report(_report(rig, name))
    first = {name: one.health_changed_at for name, one in rig.sites.states.items()}
    await rig.clock.advance(40.0)
    rig.clock.set_by_seconds = 3600.0
    before = rig.published
    dated: list[int] = []
    assert rig.sites.begin_dating()
    while rig.sites.date_some(100):
        dated.append(rig.published - before)
        rig.sites.on_report(_report(rig, "m300"))  # one of those that are not dated yet
        if "m299" in rig.sites.states:
            rig.sites.forget("m299")
        assert rig.inputs.now() == rig.clock.now() - timedelta(seconds=3600)
    assert dated[0] == 100
    assert "m299" not in rig.sites.states
    hour = timedelta(seconds=3600)
    for name, one in rig.sites.states.items():
        was, known = first[name], one.health_changed_at
        assert was is not None
        assert known == was + hour
    assert rig.inputs.now() == rig.clock.now()


async def test_workers_wait_until_all_is_dated() -> None:
    rig = _Rig()
    await rig.clock.advance(40.0)
    rig.clock.set_by_seconds = -3600.0
    order: list[str] = []

    async def decide() -> None:
        await rig.follower.wait_until_dated()
        order.append("decided")

    async def follow() -> None:
        await rig.follower.follow()
        order.append("dated")

    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        group.create_task(decide())
    assert order == ["dated", "decided"]
    assert rig.absorbed
