"""When what runs is decided on again, and on what."""

from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler.control.queue.requeue import Wish, Wishes
from scheduler.control.reconcile.triggers import as_asked, as_judged, is_due, says_the_same
from scheduler.control.status.migration import given_back
from scheduler.model.decision import Assigned, Decision
from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand, Placed
from scheduler.model.kinds.kinds import Workload
from tests.support.fake_clock import START

KEY = ("ns", "w")


def workload(phase: str, *, placed: bool = True, changed: bool = False, **more: Any) -> Workload:  # noqa: ANN401 - JSON
    word = {"type": "Placed", "status": str(placed), "reason": "Placed" if placed else "Waiting"}
    group = {"sites": ["m1"], "replicas": 2, "generation": 1, "phase": "Running"}
    raw = {
        "metadata": {"name": "w", "namespace": "ns", "generation": 2 if changed else 1},
        "status": {
            "phase": phase,
            "observedGeneration": 1,
            "placement": {"generation": 1, "groups": [group]},
            "decision": {"id": "1", "hash": "h", "line": "placed on m1 (2)"},
            "conditions": [word],
            **more,
        },
    }
    return decode_as(raw, Workload)


FRESH = Demand(key="ns/w", replicas=2, mode="Fresh", placed=(Placed(site="m1", replicas=2),))


def mode_of(one: Workload, *, anew: bool = False) -> str:
    return as_asked(one, FRESH, is_asked_anew=anew).mode


def test_fresh_starts_over_only_when_it_is_asked_for() -> None:
    assert mode_of(workload("Running")) == "Steady", "a taint or a restart is no wish"
    assert mode_of(workload("Running", changed=True)) == "Fresh"
    assert mode_of(workload("Running"), anew=True) == "Fresh"
    assert mode_of(workload("Running", placed=False)) == "Fresh", "it was asked and not yet done"


def test_what_is_not_placed_whole_is_due_at_every_look_though_a_part_of_it_runs() -> None:
    assert not is_due(workload("Running"), is_redecided=False)
    assert is_due(workload("Running"), is_redecided=True)
    assert is_due(workload("Waiting", placed=False), is_redecided=False)
    assert is_due(workload("Running", placed=False), is_redecided=False)


def test_what_has_finished_is_never_placed_afresh() -> None:
    done = workload("Completed")
    assert not is_due(done, is_redecided=False)
    asked = as_asked(done, FRESH, is_asked_anew=True)
    assert (asked.paused, asked.mode) == (True, "Steady")
    gone = workload("Completed", placed=False, placement={"groups": []})
    assert not is_due(gone, is_redecided=True)
    assert is_due(workload("Completed", changed=True), is_redecided=False)


def decision(phase: str = "Placed", **more: Any) -> Decision:  # noqa: ANN401 - fields
    there = (Assigned(site="m1", replicas=2),)
    line = "placed on m1 (2)"
    fields = {"phase": phase, "assignment": there, "line": line, "decided_at": START, **more}
    return Decision(workload="ns/w", **fields)


def says_same(one: Workload, decided: Decision) -> bool:
    return says_the_same(one, one.status, decided)


def test_a_decision_says_something_new_when_a_right_is_broken_or_something_ends() -> None:
    runs = workload("Running")
    assert says_same(runs, decision())
    assert not says_same(runs, decision(violations={"m1": "grant-expired"}))
    assert not says_same(runs, decision("Waiting"))
    assert not says_same(runs, decision(assignment=(), ended=("m1",)))


def test_what_is_not_accepted_any_more_is_judged_and_placed_nowhere_new() -> None:
    judged = as_judged(workload("Running"), FRESH)
    assert (judged.paused, judged.mode, judged.placed_replicas) == (True, "Steady", {"m1": 2})


def test_a_move_that_cannot_go_on_is_turned_back_as_far_as_replicas_are_missing() -> None:
    old = Placed(site="m1", replicas=3, phase="Withdrawing")
    new = Placed(site="m2", replicas=2, phase="Placing")
    moving = Demand(key="ns/w", replicas=4, placed=(old, new))
    stays = decision("Waiting", assignment=(Assigned(site="m2", replicas=2),))
    back = given_back(moving, stays)
    assert back is not None
    assert back.placed_replicas == {"m1": 2, "m2": 2}
    ended = decision("Waiting", assignment=stays.assignment, ended=("m1",))
    assert given_back(moving, ended) is None, "what was ended at once does not come back"


def test_a_wish_that_comes_during_a_look_is_for_the_next_one() -> None:
    wishes = Wishes()
    wishes.redecide([KEY])
    wish = wishes.take(KEY)
    assert wish == Wish(is_redecided=True)
    assert wishes.take(KEY) == Wish()
    wishes.ask_anew([KEY])
    wishes.give_back(KEY, wish)
    assert wishes.take(KEY) == Wish(is_redecided=True, is_asked_anew=True)


def test_an_alarm_rings_once_and_the_newest_counts() -> None:
    wishes, now = Wishes(), datetime(2026, 11, 23, tzinfo=UTC)
    wishes.alarm(KEY, now + timedelta(seconds=5))
    wishes.alarm(KEY, now + timedelta(seconds=9))
    assert wishes.due(now + timedelta(seconds=6)) == []
    assert wishes.due(now + timedelta(seconds=9)) == [KEY]
    assert wishes.due(now + timedelta(seconds=60)) == []
    wishes.alarm(KEY, now)
    wishes.alarm(KEY, None)
    assert wishes.due(now) == []
