"""Batches: when, of which workloads, recorded first; and none leaves a trace in its fleet."""

from dataclasses import replace

import pytest

from scheduler.control.ports.hub import TENANTS, WORKLOADS, WatchEvent
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
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.queues import make_queue
from tests.support.sites import NOW, demand, fleet_of, nodes, site, tenant_of_ns, workload

SPEC = {"prices": {"coreCnyPerHour": 0.05}}


def test_a_batch_leaves_no_trace_and_sees_what_changed() -> None:
    asked = [demand(workload(3, name=f"w{number}")) for number in range(4)]
    both = list(fleet_of(*(site(f"m{n}", nodes(4), spec=SPEC) for n in (1, 2))).all_facts())
    batch_fleet = BatchFleet()
    first = batch_fleet.solve(both, asked, NOW, DEFAULT_TERMS)
    again = batch_fleet.solve(both, asked, NOW, DEFAULT_TERMS)
    assert first == again
    assert [one.phase for one in first.decisions].count("Placed") == 2
    assert {one.site for one in first.terms.scarcity} == {"m1", "m2"}
    alone = batch_fleet.solve(both[:1], asked, NOW, DEFAULT_TERMS)
    assert {one.site for one in alone.terms.scarcity} == {"m1"}
    roomy = list(fleet_of(site("m1", nodes(40), spec=SPEC)).all_facts())
    assert batch_fleet.solve(roomy, asked, NOW, DEFAULT_TERMS).terms.scarcity == ()
    assert batch_fleet.solve([], asked, NOW, DEFAULT_TERMS).achieved == 0


def test_a_batch_that_is_cancelled_ends() -> None:
    batch_fleet = BatchFleet()
    batch_fleet.cancel()
    with pytest.raises(BatchCancelled):
        batch_fleet.solve([], [], NOW, DEFAULT_TERMS)


def made(clock: FakeClock, recorder: FakeRecorder, limits: BatchLimits) -> BatchPricer:
    """Four workloads wait for capacity that two sites do not have for all of them."""
    objects = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
    seen = clock.now().isoformat()
    both = fleet_of(*(site(f"m{n}", nodes(4), spec=SPEC, observedAt=seen) for n in (1, 2)))
    queue = make_queue(clock)
    objects.apply_event(TENANTS, WatchEvent("ADDED", tenant_of_ns()))
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
        faults=make_faults(clock),
    )


LIMITS = BatchLimits(
    at_workloads=4,
    interval_seconds=30.0,
    prices_expire_seconds=100.0,
    most_workloads=10,
    most_pairs=1000,
)


async def test_a_batch_is_recorded_before_its_prices_count_and_sets_the_order() -> None:
    clock, recorder = FakeClock(), FakeRecorder()
    pricer = made(clock, recorder, LIMITS)
    await pricer.update_prices()
    terms = pricer.inputs.terms
    assert terms.scarcity
    assert [one.scarcity_version for one in recorder.batches] == [terms.scarcity_version]
    assert {work.rank for work in pricer.queue.active()} == {0, 1, 2, 3}
    await pricer.update_prices()
    assert len(recorder.batches) == 1  # not before its interval is over
    await clock.advance(31)
    await pricer.update_prices()
    assert len(recorder.batches) == 1  # it has the same result
    assert pricer.inputs.terms == terms  # the same work has the same prices
    pricer.inputs.fleet.remove("m2")
    await clock.advance(31)
    await pricer.update_prices()
    assert len(recorder.batches) == 2
    assert recorder.batches[-1].scarcity_version == pricer.inputs.terms.scarcity_version


async def test_prices_end_with_the_backlog_and_with_their_time() -> None:
    clock = FakeClock()
    pricer = made(clock, FakeRecorder(), LIMITS)
    await pricer.update_prices()
    assert pricer.inputs.terms.scarcity
    pricer.queue.forget(("ns", "w0"))
    await clock.advance(99)
    await pricer.update_prices()
    assert pricer.inputs.terms.scarcity  # fewer wait, and still some
    await clock.advance(2)
    await pricer.update_prices()
    assert pricer.inputs.terms == DEFAULT_TERMS
    assert {work.rank for work in pricer.queue.active()} == {UNRANKED}


async def test_an_empty_backlog_has_no_scarcity_prices() -> None:
    pricer = made(FakeClock(), FakeRecorder(), LIMITS)
    await pricer.update_prices()
    for number in range(4):
        pricer.queue.forget(("ns", f"w{number}"))
    await pricer.update_prices()
    assert pricer.inputs.terms == DEFAULT_TERMS


@pytest.mark.parametrize(
    ("change", "batches"),
    [({"at_workloads": 0}, 0), ({"at_workloads": 5}, 0), ({"most_workloads": 3}, 0), ({}, 1)],
)
async def test_a_batch_needs_a_minimum_of_waiting_workloads(
    change: dict[str, int], batches: int
) -> None:
    recorder = FakeRecorder()
    await made(FakeClock(), recorder, replace(LIMITS, **change)).update_prices()
    assert len(recorder.batches) == batches
