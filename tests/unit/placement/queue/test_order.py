"""Unschedulable work is requeued by events that could change its answer, and by no others."""

import pytest

from scheduler.model.reasons import REASONS
from scheduler.placement.filter.rules import WakeEvent
from scheduler.placement.queue.order import could_wake, wake_events_of


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_a_wake_event(reason: str) -> None:
    assert wake_events_of(reason)


def test_free_capacity_requeues_full_workloads_and_not_forbidden_ones() -> None:
    capacity: frozenset[WakeEvent] = frozenset({"capacity"})
    assert could_wake(capacity, {"full", "data-class"})
    assert not could_wake(capacity, {"data-class", "jurisdiction"})


def test_an_unknown_reason_is_requeued_by_every_event() -> None:
    assert could_wake(frozenset({"time"}), {"from-a-newer-version"})
