"""Unschedulable work is requeued by events that could change its answer, and by no others."""

import pytest

from scheduler.model.reasons import REASONS
from scheduler.placement.filter.rules import WakeEvent
from scheduler.placement.queue.order import could_wake, wake_events_of


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_can_be_helped_by_something(reason: str) -> None:
    assert wake_events_of(reason)


def test_free_capacity_helps_the_full_and_not_the_forbidden() -> None:
    capacity: frozenset[WakeEvent] = frozenset({"capacity"})
    assert could_wake(capacity, {"full", "data-class"})
    assert not could_wake(capacity, {"data-class", "jurisdiction"})


def test_a_reason_that_nobody_knows_is_helped_by_everything() -> None:
    assert could_wake(frozenset({"time"}), {"from-a-newer-version"})
