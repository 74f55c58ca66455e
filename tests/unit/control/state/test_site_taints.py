"""Seconds of a toleration count from `timeAdded`, else from when the taint was seen first."""

from datetime import timedelta

import msgspec

from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import SiteSpec
from tests.support.fake_clock import START, FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

FIRE = Taint(key="fire", effect="NoExecute")


def taints_of(sites: Sites, *taints: Taint) -> list[Taint]:
    spec = SiteSpec(taints=taints)
    sites.objects.sites["m1"] = Site(metadata=Metadata(name="m1"), spec=spec)
    sites.admit("m1")
    return list(sites.facts_of("m1").spec.taints)


async def test_a_taint_without_a_time_counts_from_when_it_was_seen_first() -> None:
    clock = FakeClock()
    sites = Sites(
        objects=HubObjects(NullTelemetry(), lambda *_: None, make_faults()),
        clock=clock,
        silent_after_seconds=45.0,
        facts_sink=lambda *_: None,
    )
    dated = msgspec.structs.replace(FIRE, time_added=START)
    other = msgspec.structs.replace(FIRE, key="other", time_added=START - timedelta(hours=1))
    no_schedule = Taint(key="full")
    assert taints_of(sites, FIRE, other, no_schedule) == [dated, other, no_schedule]
    await clock.advance(60)
    assert taints_of(sites, FIRE) == [dated], "seeing it again changes nothing"
    assert taints_of(sites) == []
    again = msgspec.structs.replace(FIRE, time_added=START + timedelta(seconds=60))
    assert taints_of(sites, FIRE) == [again], "it was away meanwhile"
