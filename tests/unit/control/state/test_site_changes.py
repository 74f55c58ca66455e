"""A report requeues waiting work only where it could help: more is free, or more is known."""

from dataclasses import replace

import msgspec
import pytest

from scheduler.control.ports.agents import SiteReport
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.facts import InFlight, OrderGeneration
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import FreeRow, NodeClass, Rtt, SiteStatus
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry


def made() -> Sites:
    registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
    registry.sites["m1"] = Site(metadata=Metadata(name="m1"))
    sites = Sites(
        objects=registry,
        clock=FakeClock(),
        silent_after_seconds=45.0,
        facts_sink=lambda *_: None,
    )
    sites.admit("m1")
    return sites


def said(*free: FreeRow, bound: dict[str, tuple[int, int]] | None = None) -> SiteReport:
    figures = SiteStatus(node_classes=(NodeClass(architecture="amd64", free=free),))
    return SiteReport(
        site="m1", observed_seconds=0, figures=figures, has_executor=True, bound=bound or {}
    )


BEFORE: FreeRow = {"count": 2, "cpu": "4", "memory": "8Gi"}


@pytest.mark.parametrize(
    ("after", "helps"),
    [
        (({"count": 2, "cpu": "4", "memory": "8Gi"},), False),
        (({"count": 2, "cpu": "3", "memory": "8Gi"},), False),
        (({"count": 1, "cpu": "4", "memory": "8Gi"},), False),
        (({"count": 2, "cpu": "4500m", "memory": "1Gi"},), True),
        (({"count": 3, "cpu": "1", "memory": "8Gi"},), True),
        (({"count": 2, "cpu": "4", "memory": "8Gi", "nvidia.com/gpu": 1},), True),
        (({"count": 1, "cpu": "4"}, {"count": 1, "cpu": "2"}), True),
    ],
)
def test_only_more_of_a_resource_helps(after: tuple[FreeRow, ...], *, helps: bool) -> None:
    sites = made()
    sites.on_report(said(BEFORE))
    assert sites.on_report(said(*after)) == ({"capacity"} if helps else set())


def test_an_order_that_is_no_longer_in_flight_frees_capacity() -> None:
    sites = made()
    sites.on_report(said(BEFORE))
    pod = InFlight(workload="ns/w", replicas=1, requests={"cpu": 1000})
    ordered = OrderGeneration(generation=1, replicas=1, pod=pod)
    sites.set_order("m1", "hub/ns/w/1", ordered)
    assert sites.on_report(said(BEFORE, bound={"hub/ns/w/1": (1, 1)})) == {"capacity"}
    assert not sites.take_freed()
    sites.set_order("m1", "hub/ns/w/1", None)
    assert sites.take_freed() == {"m1"}


@pytest.mark.parametrize(
    ("after", "helps"),
    [
        ({"m2": 5.0}, False),
        ({"m2": 9.0}, False),
        ({}, False),
        ({"m2": 4.5}, True),
        ({"m2": 5.0, "m3": 80.0}, True),
    ],
)
def test_shorter_round_trips_help_with_latency_only(
    after: dict[str, float], *, helps: bool
) -> None:
    def measured(rtt: dict[str, float]) -> SiteReport:
        rtts = tuple(Rtt(to=to, milliseconds=figure) for to, figure in rtt.items())
        figures = msgspec.structs.replace(said(BEFORE).figures, rtt=rtts)
        return replace(said(BEFORE), figures=figures)

    sites = made()
    sites.on_report(measured({"m2": 5.0}))
    assert sites.on_report(measured(after)) == ({"latency"} if helps else set())


def test_an_unchanged_report_after_a_long_silence_helps() -> None:
    sites = made()
    sites.on_report(said(BEFORE))
    soon, late = (replace(said(BEFORE), observed_seconds=seconds) for seconds in (30.0, 75.0))
    assert sites.on_report(soon) == set()
    assert sites.on_report(late) == {"report", "latency", "capacity"}
