"""Whose turn it is: fair, ordered, and nobody waits for ever."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from scheduler.model.reasons import REASONS
from scheduler.placement.queueing import (
    LIFT,
    LIFT_AFTER_SECONDS,
    Waiting,
    next_of,
    share_of,
    waking_events,
)
from scheduler.placement.rules import Event


def test_order_is_priority_then_share_then_age() -> None:
    old = Waiting(key="a/old", tenant="greedy", created_at_seconds=1)
    young = Waiting(key="a/young", tenant="modest", created_at_seconds=2)
    urgent = Waiting(key="a/urgent", priority=1, tenant="greedy", created_at_seconds=3)
    shares = {"greedy": 0.9, "modest": 0.1}
    left = [old, young, urgent]
    order = []
    while left:
        work = next_of(left, shares, now_seconds=0)
        assert work is not None
        order.append(work.key)
        left.remove(work)
    assert order == ["a/urgent", "a/young", "a/old"]
    assert next_of([], shares, now_seconds=0) is None


@given(priority=st.integers(-1000, 1000), turn_seconds=st.floats(0.01, 60))
def test_no_stream_of_urgent_work_starves_the_rest(priority: int, turn_seconds: float) -> None:
    humble = Waiting(key="a/humble", priority=-1000)
    longest = LIFT_AFTER_SECONDS * ((priority + 1000) // LIFT + 2)
    now = longest + turn_seconds  # an adversary has brought fresh urgent work at every turn so far
    fresh = Waiting(key="a/fresh", priority=priority, waiting_since_seconds=now)
    assert next_of([humble, fresh], {}, now_seconds=now) is humble


def test_the_dominant_share_counts_by_weight() -> None:
    assert share_of({"cpu": 5, "memory": 1}, {"cpu": 10, "memory": 10}) == 0.5
    assert share_of({"cpu": 5}, {"cpu": 10}, weight=2.0) == 0.25
    assert share_of({"cpu": 5}, {}) == 0.0


def test_every_reason_can_be_woken_and_only_by_what_concerns_it() -> None:
    known = set(get_args(Event))
    for reason in REASONS:
        assert waking_events([reason]) <= known
    assert "capacity" in waking_events(["full"])
    assert "capacity" not in waking_events(["data-class"])
    assert "grant" in waking_events(["data-class"])
    assert "report" in waking_events(["stale"])
