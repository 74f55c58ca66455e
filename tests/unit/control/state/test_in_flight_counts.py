"""What is counted in flight order by order equals what a count of all orders finds."""

from dataclasses import replace
from random import Random

from scheduler.control.ports.agents import SiteReport
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.facts import InFlight, OrderGeneration
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import SiteStatus
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

IDS = [f"hub/ns/w{number}/1" for number in range(6)]


def test_counting_one_order_after_the_other_finds_what_counting_all_again_does() -> None:
    random = Random(5)  # noqa: S311 - a test, seeded
    published: list[tuple[InFlight, ...]] = []
    registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
    registry.sites["m1"] = Site(metadata=Metadata(name="m1"))
    sites = Sites(
        objects=registry,
        clock=FakeClock(),
        silent_after_seconds=900.0,
        facts_sink=lambda _, facts: published.append(facts.in_flight if facts else ()),
    )
    sites.admit("m1")
    for second in range(400):
        match random.randrange(4):
            case 0:
                sites.on_report(report(second, random))
            case 1:
                sites.drop_generation("m1", random.choice(IDS), random.randint(1, 3))
            case 2:
                sites.set_order("m1", random.choice(IDS), None)
            case _:
                order_id = random.choice(IDS)
                pod = InFlight(workload=order_id, replicas=1, requests={"cpu": 1000, "pods": 1})
                one = OrderGeneration(
                    generation=random.randint(1, 3), replicas=random.randint(0, 3), pod=pod
                )
                sites.set_order("m1", order_id, one)
        state = sites.states["m1"]
        fresh = replace(state, ordered=dict(state.ordered)).in_flight(300.0)
        assert state.in_flight(300.0) == fresh
        assert published[-1] == fresh


def report(second: int, random: Random) -> SiteReport:
    """A report of some orders as bound, and of some of their pods as unschedulable."""
    named = random.sample(IDS, 3)
    return SiteReport(
        site="m1",
        observed_seconds=10.0 * second,
        figures=SiteStatus(),
        has_executor=True,
        bound={one: (random.randint(1, 3), random.randint(0, 3)) for one in named},
        unschedulable={one: random.randint(0, 2) for one in named},
    )


def test_orders_that_are_gathered_publish_the_facts_of_their_site_once() -> None:
    published: list[tuple[InFlight, ...]] = []
    registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
    registry.sites["m1"] = Site(metadata=Metadata(name="m1"))
    sites = Sites(
        objects=registry,
        clock=FakeClock(),
        silent_after_seconds=900.0,
        facts_sink=lambda _, facts: published.append(facts.in_flight if facts else ()),
    )
    sites.admit("m1")
    published.clear()
    with sites.gathering():
        for order_id in IDS:
            pod = InFlight(workload=order_id, replicas=1, requests={"cpu": 1000, "pods": 1})
            sites.set_order("m1", order_id, OrderGeneration(generation=1, replicas=2, pod=pod))
        assert published == []
    (facts,) = published
    assert [one.replicas for one in facts] == [2] * len(IDS)
