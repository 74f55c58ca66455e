"""Reports come at once when pods were bound, and no broken cluster makes a storm of them."""

from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.report import OrderBoundPods
from agents.report_pace import LEAST_SECONDS, ReportPace


def bound(count: int, generation: int = 1, name: str = "a") -> OrderBoundPods:
    return OrderBoundPods(id=name, generation=generation, bound=count)


def pace() -> ReportPace:
    return ReportPace(interval_seconds=10.0)


def test_without_work_the_interval_stays() -> None:
    one = pace()
    assert not one.note_look([], 0.1)
    assert not one.note_look(None, 0.1)
    assert one.pause_seconds == 10.0


def test_after_a_new_index_it_looks_again_soon_and_then_less_and_less_often() -> None:
    one, pauses = pace(), list[float]()
    one.expect_change()
    for _ in range(7):
        pauses.append(one.pause_seconds)
        assert not one.note_look([], 0.0)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_what_was_bound_is_reported_at_once_and_the_next_look_is_soon() -> None:
    one = pace()
    assert one.note_look([bound(2)], 0.0)
    assert one.pause_seconds == LEAST_SECONDS
    assert not one.note_look([bound(2)], 0.0)
    assert one.note_look([bound(3)], 0.0)
    assert one.note_look([bound(3, generation=2)], 0.0), "another generation"
    assert one.note_look([bound(0, generation=2)], 0.0), "all have ended, and their room is free"
    assert one.note_look([], 0.0), "the order is gone"
    assert not one.note_look([], 0.0)


def test_an_order_that_is_tried_again_is_nothing_new() -> None:
    one = pace()
    assert one.note_applied({"a": 1})
    one.note_look([], 0.0)
    assert not one.note_applied({"a": 1})
    assert one.pause_seconds == 1.0
    assert one.note_applied({"a": 2})
    assert one.note_applied({})
    assert one.pause_seconds == LEAST_SECONDS


def test_a_cluster_that_takes_long_to_read_is_looked_at_less_often() -> None:
    one = pace()
    one.note_look([bound(1)], 1.5)
    assert one.pause_seconds == 6.0


@given(st.lists(st.integers(0, 4), max_size=60))
def test_pods_that_come_and_go_cause_no_more_reports_than_there_are_pods(
    counts: list[int],
) -> None:
    one = pace()
    reports = sum(one.note_look([bound(count)], 0.0) for count in counts)
    assert reports <= 4 + 1
