"""When a placed workload is decided again, and on which demand."""

from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler.control.queue.requeue import RequeueReason, RequeueReasons
from scheduler.control.reconcile.triggers import (
    demand_to_decide,
    demand_to_recheck,
    is_decision_due,
    is_unchanged,
)
from scheduler.control.status.migration import revert_migration
from scheduler.model.decision import Decision, SiteAssignment
from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.kinds.kinds import Workload
from tests.support.fake_clock import START

KEY = ("ns", "w")


def workload(phase: str, *, placed: bool = True, changed: bool = False, **more: Any) -> Workload:  # noqa: ANN401 - JSON
    condition = {
        "type": "Placed",
        "status": str(placed),
        "reason": "Placed" if placed else "Waiting",
    }
    group = {"sites": ["m1"], "replicas": 2, "generation": 1, "phase": "Running"}
    raw = {
        "metadata": {"name": "w", "namespace": "ns", "generation": 2 if changed else 1},
        "status": {
            "phase": phase,
            "observedGeneration": 1,
            "placement": {"generation": 1, "groups": [group]},
            "decision": {"id": "1", "hash": "h", "line": "placed on m1 (2)"},
            "conditions": [condition],
            **more,
        },
    }
    return decode_as(raw, Workload)


FRESH = Demand(
    key="ns/w", replicas=2, mode="Fresh", placed=(PlacedReplicas(site="m1", replicas=2),)
)


def mode_of(one: Workload, *, is_policy_changed: bool = False) -> str:
    return demand_to_decide(one, FRESH, is_policy_changed=is_policy_changed).mode


def test_fresh_starts_over_only_after_an_edit() -> None:
    assert mode_of(workload("Running")) == "Steady", "a taint or a restart does not start over"
    assert mode_of(workload("Running", changed=True)) == "Fresh"
    assert mode_of(workload("Running"), is_policy_changed=True) == "Fresh"
    assert mode_of(workload("Running", placed=False)) == "Fresh", "requested and not possible yet"


def test_a_partly_placed_workload_is_decided_at_every_reconciliation() -> None:
    assert not is_decision_due(workload("Running"), needs_redecision=False)
    assert is_decision_due(workload("Running"), needs_redecision=True)
    assert is_decision_due(workload("Waiting", placed=False), needs_redecision=False)
    assert is_decision_due(workload("Running", placed=False), needs_redecision=False)


def test_a_finished_workload_is_never_placed_again() -> None:
    done = workload("Completed")
    assert not is_decision_due(done, needs_redecision=False)
    asked = demand_to_decide(done, FRESH, is_policy_changed=True)
    assert (asked.paused, asked.mode) == (True, "Steady")
    finished = workload("Completed", placed=False, placement={"groups": []})
    assert not is_decision_due(finished, needs_redecision=True)
    assert is_decision_due(workload("Completed", changed=True), needs_redecision=False)


def decision(phase: str = "Placed", **more: Any) -> Decision:  # noqa: ANN401 - fields
    there = (SiteAssignment(site="m1", replicas=2),)
    line = "placed on m1 (2)"
    fields = {"phase": phase, "assignment": there, "line": line, "decided_at": START, **more}
    return Decision(workload="ns/w", **fields)


def says_same(one: Workload, decided: Decision) -> bool:
    return is_unchanged(one, one.status, decided)


def test_a_decision_is_a_change_when_a_right_is_broken_or_something_ends() -> None:
    runs = workload("Running")
    assert says_same(runs, decision())
    assert not says_same(runs, decision(violations={"m1": "grant-expired"}))
    assert not says_same(runs, decision("Waiting"))
    assert not says_same(runs, decision(assignment=(), ended=("m1",)))


def test_a_workload_that_is_no_longer_accepted_is_checked_and_gets_no_new_site() -> None:
    judged = demand_to_recheck(workload("Running"), FRESH)
    assert (judged.paused, judged.mode, judged.placed_replicas) == (True, "Steady", {"m1": 2})


def test_a_migration_that_cannot_continue_is_reverted_as_far_as_replicas_are_missing() -> None:
    old = PlacedReplicas(site="m1", replicas=3, phase="Withdrawing")
    new = PlacedReplicas(site="m2", replicas=2, phase="Placing")
    moving = Demand(key="ns/w", replicas=4, placed=(old, new))
    stays = decision("Waiting", assignment=(SiteAssignment(site="m2", replicas=2),))
    back = revert_migration(moving, stays)
    assert back is not None
    assert back.placed_replicas == {"m1": 2, "m2": 2}
    ended = decision("Waiting", assignment=stays.assignment, ended=("m1",))
    assert revert_migration(moving, ended) is None, "what was ended at once does not come back"


def test_a_reason_that_comes_during_a_reconciliation_is_for_the_next_one() -> None:
    reasons = RequeueReasons()
    reasons.add_redecision([KEY])
    reason = reasons.take(KEY)
    assert reason == RequeueReason(needs_redecision=True)
    assert reasons.take(KEY) == RequeueReason()
    reasons.add_policy_change([KEY])
    reasons.restore(KEY, reason)
    assert reasons.take(KEY) == RequeueReason(needs_redecision=True, is_policy_changed=True)


def test_a_timer_expires_once_and_the_newest_counts() -> None:
    reasons, now = RequeueReasons(), datetime(2026, 11, 23, tzinfo=UTC)
    reasons.set_timer(KEY, now + timedelta(seconds=5))
    reasons.set_timer(KEY, now + timedelta(seconds=9))
    assert reasons.pop_due(now + timedelta(seconds=6)) == []
    assert reasons.pop_due(now + timedelta(seconds=9)) == [KEY]
    assert reasons.pop_due(now + timedelta(seconds=60)) == []
    reasons.set_timer(KEY, now)
    reasons.set_timer(KEY, None)
    assert reasons.pop_due(now) == []
