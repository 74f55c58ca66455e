"""A wall clock that is set makes no site stale and no figure younger."""

from datetime import datetime, timedelta

import pytest

from scheduler.control.ports.agents import SiteReport
from scheduler.control.sites.sites import Sites
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
            follow_wall_clock=self.sites.follow_wall_clock,
        )
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
        assert facts is not None
        self.facts, self.published = facts, self.published + 1

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
    await rig.clock.advance(20.0)
    assert rig.age_seconds() == pytest.approx(60.0, abs=1.0)
    rig.clock.set_by_seconds = 0.0
    assert rig.age_seconds() == pytest.approx(60.0, abs=1.0)


async def test_the_time_that_a_taint_was_seen_moves_with_the_wall_clock() -> None:
    rig = _Rig()
    await rig.clock.advance(40.0)
    rig.clock.set_by_seconds = 3600.0
    context = rig.inputs.context()
    (taint,) = rig.facts.spec.taints
    assert taint.time_added is not None
    assert context.age_seconds(taint.time_added) == pytest.approx(40.0, abs=1.0)


async def test_a_clock_that_is_right_publishes_nothing() -> None:
    rig = _Rig()
    before = rig.published
    await rig.clock.advance(40.0)
    rig.inputs.context()
    assert rig.published == before
