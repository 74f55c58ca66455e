"""Room is kept for a pod that its cluster cannot schedule, and given to other work after a time."""

from datetime import timedelta

import pytest

from scheduler.control.ports.agents import OrderState, SiteReport
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.conditions import stuck_condition
from scheduler.control.status.migration import SiteView
from scheduler.control.status.workload import with_health
from scheduler.model.demand.facts import InFlight, OrderGeneration
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import NodeClass, SiteStatus
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus, WorkloadStatus
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.fake_clock import START, FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import NOW, demand, facts_of, grant, site, with_status, workload

ORDER = "hub/ns/pend/1"
FREE = (NodeClass(architecture="amd64", free=({"count": 6, "cpu": "4", "memory": "8Gi"},)),)
WORDS = "Pod pend-1: FailedScheduling: 0/6 nodes are available"


class Member:
    """A site of six nodes at which a pod of 8 cores is ordered."""

    def __init__(self, replicas: int = 1) -> None:
        registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
        registry.sites["m1"] = Site(metadata=Metadata(name="m1"))
        self.sites = Sites(
            objects=registry,
            clock=FakeClock(),
            silent_after_seconds=900.0,
            facts_sink=lambda *_: None,
            stuck_after_seconds=300.0,
        )
        self.sites.admit("m1")
        self.report(0, pending=0)
        self.order(1, replicas)

    def order(self, generation: int, replicas: int) -> None:
        pod = InFlight(workload="ns/pend", replicas=1, requests={"cpu": 8000, "pods": 1})
        one = OrderGeneration(generation=generation, replicas=replicas, pod=pod)
        self.sites.set_order("m1", ORDER, one)

    def report(
        self, seconds: float, *, pending: int, bound: int = 0, generation: int = 1
    ) -> frozenset[str]:
        said = SiteReport(
            site="m1",
            observed_seconds=seconds,
            figures=SiteStatus(node_classes=FREE),
            has_executor=True,
            bound={ORDER: (generation, bound)},
            unschedulable={ORDER: pending} if pending else {},
        )
        return frozenset(self.sites.on_report(said))

    def in_flight(self) -> int:
        return self.sites.facts_of("m1").replicas_in_flight


def test_its_room_is_kept_before_that_time_and_not_after() -> None:
    member = Member()
    member.report(10, pending=1)
    assert member.report(300, pending=1) == set()
    assert member.in_flight() == 1
    assert member.report(310, pending=1) == {"capacity"}
    assert member.in_flight() == 0
    assert member.sites.pods_given_up("m1", ORDER) == 1


def test_an_agent_that_counts_none_keeps_the_room_for_good() -> None:
    member = Member()
    for seconds in (10, 400, 4000):
        member.report(seconds, pending=0)
    assert member.in_flight() == 1


def test_only_the_pods_that_are_told_lose_their_room() -> None:
    member = Member(replicas=5)
    member.report(10, pending=2)
    member.report(400, pending=2)
    assert member.in_flight() == 3


@pytest.mark.parametrize("second", [3, 5])
def test_more_pods_without_a_node_begin_a_time_of_their_own(second: int) -> None:
    member = Member(replicas=5)
    member.report(10, pending=2)
    member.report(300, pending=second)
    member.report(320, pending=second)
    assert member.in_flight() == 5
    member.report(600, pending=second)
    assert member.in_flight() == 5 - second


def test_fewer_pods_without_a_node_have_waited_as_long() -> None:
    member = Member(replicas=5)
    member.report(10, pending=4)
    member.report(300, pending=1, bound=3)
    member.report(310, pending=1, bound=3)
    assert member.in_flight() == 1


def test_room_counts_again_once_the_cluster_may_find_a_node() -> None:
    member = Member()
    member.report(10, pending=1)
    member.report(400, pending=1)
    member.report(410, pending=0)
    assert member.in_flight() == 1
    member.report(420, pending=1)
    assert member.in_flight() == 1


def test_a_new_generation_has_its_whole_room() -> None:
    member = Member()
    member.report(10, pending=1)
    member.report(400, pending=1)
    member.order(2, 2)
    assert member.in_flight() == 2
    member.report(410, pending=1, generation=2)
    assert member.in_flight() == 2


def test_small_work_is_placed_beside_a_pod_that_stays_pending() -> None:
    """The pod of 8 cores fits no node, so that until then it could take all of any node."""
    member = Member(replicas=6)
    phases = []
    for seconds in (10, 310):
        member.report(seconds, pending=6)
        told = member.sites.facts_of("m1")
        raw = site("m1")
        facts = facts_of(raw, grant("m1"), in_flight=told.in_flight)
        fleet = Fleet([with_status(facts, node_classes=FREE)])
        tiny = demand(workload(requests={"cpu": "5m", "memory": "8Mi"}))
        phases.append(choose(tiny, fleet, now=NOW).phase)
    assert phases == ["Waiting", "Placed"]


def test_the_workload_says_why_and_that_no_room_is_kept() -> None:
    group = PlacementGroup(sites=("m1",), replicas=1, generation=1, phase="Placing", since=START)
    status = WorkloadStatus(
        phase="Placed", placement=PlacementStatus(generation=1, groups=(group,))
    )
    state = OrderState(id=ORDER, generation=1, phase="Applied", applied_generation=1, message=WORDS)
    view = SiteView(state=state, is_silent=False)
    after = with_health(status, {"m1": view}, START + timedelta(seconds=1), wanted=1)
    assert after.reason == f"not yet at m1: {WORDS}"
    assert WORDS in after.exceptions[0].message
    late = START + timedelta(seconds=301)
    kept = stuck_condition(after, 300.0, late)
    given_up = stuck_condition(after, 300.0, late, given_up={"m1": 1})
    assert kept is not None
    assert "its capacity there stays reserved" in kept.message
    assert given_up is not None
    assert "no room is kept for the pods that the cluster there cannot schedule: m1 (1)" in (
        given_up.message
    )
