"""Batches: when, of what, recorded first; and no batch leaves a trace in the fleet it stands on."""

from dataclasses import replace

import pytest

from scheduler.control.ports.hub import WORKLOADS, WatchEvent
from scheduler.control.queue.work_queue import Urgency
from scheduler.control.reconcile.batch_prices import (
    BatchCancelled,
    BatchFleet,
    BatchLimits,
    BatchPricer,
)
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.queue.order import UNRANKED
from tests.support.control_loops import FakeRecorder
from tests.support.fake_clock import FakeClock
from tests.support.null_telemetry import NullTelemetry
from tests.support.queues import make_queue
from tests.support.sites import NOW, demand, fleet_of, nodes, site, workload

SPEC = {"prices": {"coreCnyPerHour": 0.05}}


def test_a_batch_leaves_no_trace_and_sees_what_changed() -> None:
    asked = [demand(workload(3, name=f"w{number}")) for number in range(4)]
    both = list(fleet_of(*(site(f"m{n}", nodes(4), spec=SPEC) for n in (1, 2))).all_facts())
    image = BatchFleet()
    first = image.solve(both, asked, NOW, DEFAULT_TERMS)
    again = image.solve(both, asked, NOW, DEFAULT_TERMS)
    assert first == again
    assert [one.phase for one in first.decisions].count("Placed") == 2
    assert {one.site for one in first.terms.scarcity} == {"m1", "m2"}
    alone = image.solve(both[:1], asked, NOW, DEFAULT_TERMS)
    assert {one.site for one in alone.terms.scarcity} == {"m1"}
    roomy = list(fleet_of(site("m1", nodes(40), spec=SPEC)).all_facts())
    assert image.solve(roomy, asked, NOW, DEFAULT_TERMS).terms.scarcity == ()
    assert image.solve([], asked, NOW, DEFAULT_TERMS).achieved == 0


def test_a_batch_that_is_called_off_ends() -> None:
    image = BatchFleet()
    image.cancel()
    with pytest.raises(BatchCancelled):
        image.solve([], [], NOW, DEFAULT_TERMS)


def made(clock: FakeClock, recorder: FakeRecorder, limits: BatchLimits) -> BatchPricer:
    """Four workloads wait for capacity that two sites do not have for all of them."""
    objects = HubObjects(NullTelemetry(), lambda *_: None)
    seen = clock.now().isoformat()
    both = fleet_of(*(site(f"m{n}", nodes(4), spec=SPEC, observedAt=seen) for n in (1, 2)))
    queue = make_queue(clock)
    for number in range(4):
        objects.apply_event(WORKLOADS, WatchEvent("ADDED", workload(3, name=f"w{number}")))
        queue.add(("ns", f"w{number}"), Urgency(0, number))
    return BatchPricer(
        queue=queue,
        objects=objects,
        quotas=Quotas(),
        inputs=DecisionInputs(fleet=both, clock=clock, base_terms=DEFAULT_TERMS),
        recorder=recorder,
        epoch=lambda: 7,
        clock=clock,
        telemetry=NullTelemetry(),
        limits=limits,
    )


LIMITS = BatchLimits(
    at_workloads=4,
    interval_seconds=30.0,
    prices_expire_seconds=100.0,
    most_workloads=10,
    most_pairs=1000,
)


async def test_a_batch_is_recorded_before_its_prices_count_and_sets_the_order() -> None:
    clock, written = FakeClock(), FakeRecorder()
    batching = made(clock, written, LIMITS)
    await batching.update_prices()
    terms = batching.inputs.terms
    assert terms.scarcity
    assert [one.scarcity_version for one in written.batches] == [terms.scarcity_version]
    assert {work.rank for work in batching.queue.active()} == {0, 1, 2, 3}
    await batching.update_prices()
    assert len(written.batches) == 1  # not before its interval is over
    await clock.advance(31)
    await batching.update_prices()
    assert len(written.batches) == 1  # it would say the same
    assert batching.inputs.terms == terms  # the same work has the same prices
    batching.inputs.fleet.remove("m2")
    await clock.advance(31)
    await batching.update_prices()
    assert len(written.batches) == 2
    assert written.batches[-1].scarcity_version == batching.inputs.terms.scarcity_version


async def test_prices_end_with_the_need_and_with_their_time() -> None:
    clock = FakeClock()
    batching = made(clock, FakeRecorder(), LIMITS)
    await batching.update_prices()
    assert batching.inputs.terms.scarcity
    batching.queue.forget(("ns", "w0"))
    await clock.advance(99)
    await batching.update_prices()
    assert batching.inputs.terms.scarcity  # fewer wait, and still some
    await clock.advance(2)
    await batching.update_prices()
    assert batching.inputs.terms == DEFAULT_TERMS
    assert {work.rank for work in batching.queue.active()} == {UNRANKED}


async def test_nothing_waits_and_nothing_is_scarce() -> None:
    batching = made(FakeClock(), FakeRecorder(), LIMITS)
    await batching.update_prices()
    for number in range(4):
        batching.queue.forget(("ns", f"w{number}"))
    await batching.update_prices()
    assert batching.inputs.terms == DEFAULT_TERMS


@pytest.mark.parametrize(
    ("change", "batches"),
    [({"at_workloads": 0}, 0), ({"at_workloads": 5}, 0), ({"most_workloads": 3}, 0), ({}, 1)],
)
async def test_a_batch_is_taken_only_of_enough(change: dict[str, int], batches: int) -> None:
    written = FakeRecorder()
    await made(FakeClock(), written, replace(LIMITS, **change)).update_prices()
    assert len(written.batches) == batches
