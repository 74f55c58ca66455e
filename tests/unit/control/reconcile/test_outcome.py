"""What a decision means for the queue."""

from datetime import timedelta

from scheduler.control.reconcile.draft import ReconcileResult, outcome_of
from scheduler.control.status.workload import with_decision
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.workload import DecisionReference, WorkloadStatus
from scheduler.placement.choose import choose
from tests.support.sites import NOW, Raw, demand, fleet_of, site_with_capacity, workload


def outcome(schedule: Raw) -> tuple[ReconcileResult, WorkloadStatus]:
    wanted: Demand = demand(workload(1, schedule=schedule))
    decision = choose(wanted, fleet_of(site_with_capacity("m1", 9)), now=NOW)
    status = with_decision(
        WorkloadStatus(),
        decision,
        DecisionReference(),
        is_new_content=True,
        known_sites={"m1"},
        now=NOW,
    )
    return outcome_of(decision, wanted), status


def test_work_that_is_too_early_is_decided_again_at_its_start() -> None:
    result, status = outcome({"earliest": (NOW + timedelta(seconds=90)).isoformat()})
    assert result == ReconcileResult("waiting", frozenset({"deadline"}), 90.0)
    assert status.phase == "Waiting"


def test_work_that_is_too_late_is_refused_and_waits_for_another_deadline_only() -> None:
    past = (NOW + timedelta(minutes=30)).isoformat()
    result, status = outcome({"deadline": past, "durationSeconds": 3600})
    assert result == ReconcileResult("refused", frozenset({"deadline"}), None)
    assert status.phase == "Refused"
    assert "the latest start was 2026-11-23T07:31:00Z" in status.reason


def test_work_with_a_planned_start_is_decided_again_after_an_hour_at_the_latest() -> None:
    wanted = demand(workload(1))
    for hours, seconds in ((0.5, 1800.0), (1, 3600.0), (30, 3600.0)):
        planned = Decision(
            workload=wanted.key,
            phase="Waiting",
            reasons={"deadline": 1},
            start_at=NOW + timedelta(hours=hours),
            decided_at=NOW,
        )
        assert outcome_of(planned, wanted).retry_after_seconds == seconds
