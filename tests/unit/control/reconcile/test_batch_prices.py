"""Batches: when, of which workloads, recorded first, and again only after a change."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from scheduler.control.ports.hub import TENANTS, WORKLOADS, WatchEvent
from scheduler.control.queue.work_queue import Urgency
from scheduler.control.reconcile.batch_prices import BatchLimits, BatchPricer
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.model.demand.assignment import BatchAssignment, assignment_version
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.queue.order import UNRANKED
from tests.support.batches import DirectSolver
from tests.support.control_loops import FakeRecorder
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.queues import make_queue
from tests.support.sites import fleet_of, nodes, site, tenant_of_ns, workload

SPEC = {"prices": {"coreCnyPerHour": 0.05}}


def made(
    clock: FakeClock,
    recorder: FakeRecorder,
    limits: BatchLimits,
    solver: DirectSolver | None = None,
) -> BatchPricer:
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
        solver=solver or DirectSolver(),
        limits=limits,
        faults=make_faults(clock),
    )


LIMITS = BatchLimits(
    at_workloads=4,
    interval_seconds=30.0,
    prices_expire_seconds=100.0,
    most_workloads=10,
    most_pairs=1000,
    budget_seconds=20.0,
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


async def test_a_batch_is_solved_again_when_something_changed_or_time_has_passed() -> None:
    clock, solver = FakeClock(), DirectSolver()
    pricer = made(clock, FakeRecorder(), LIMITS, solver)
    await pricer.update_prices()
    terms, assigned = pricer.inputs.terms, pricer.inputs.assigned
    facts = pricer.inputs.fleet.facts_of("m1")
    later = msgspec.structs.replace(facts.status, observed_at=clock.now() + timedelta(seconds=9))
    pricer.inputs.fleet.upsert(msgspec.structs.replace(facts, status=later))
    await clock.advance(31)
    await pricer.update_prices()
    assert len(solver.solved) == 1  # a report that says nothing new
    assert (pricer.inputs.terms, pricer.inputs.assigned) == (terms, assigned)
    await clock.advance(31)
    await pricer.update_prices()
    assert len(solver.solved) == 2  # half of the time for which prices count has passed
    pricer.inputs.fleet.remove("m2")
    await clock.advance(31)
    await pricer.update_prices()
    assert len(solver.solved) == 3
    assert {one.site for one in pricer.inputs.terms.scarcity} == {"m1"}


async def test_what_a_batch_assigns_is_recorded_and_in_force_until_it_ends() -> None:
    recorder = FakeRecorder()
    pricer = made(FakeClock(), recorder, LIMITS)
    await pricer.update_prices()
    listed, version = recorder.assigned, assignment_version(recorder.assigned)
    assert len(listed) == 2  # two of four have room
    assert pricer.inputs.assigned == {
        one.workload: BatchAssignment(version=version, sites=one.sites) for one in listed
    }
    for number in range(4):
        pricer.queue.forget(("ns", f"w{number}"))
    await pricer.update_prices()
    assert pricer.inputs.assigned == {}


async def test_a_batch_that_is_not_solved_has_no_effect_and_is_not_repeated() -> None:
    clock, solver, recorder = FakeClock(), DirectSolver(), FakeRecorder()
    solver.problem = "it took longer than 20 s"
    pricer = made(clock, recorder, LIMITS, solver)
    await pricer.update_prices()
    assert pricer.inputs.terms == DEFAULT_TERMS
    assert not pricer.inputs.assigned
    assert not recorder.batches
    await clock.advance(31)
    await pricer.update_prices()
    assert len(solver.solved) == 1


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
