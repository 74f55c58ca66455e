"""Several orders at once: in order where they share an object, bounded, and ended by an error."""

import threading

import pytest

from agents.runtime.concurrency import group_by_shared, run_groups


def test_items_that_share_a_key_directly_or_by_others_are_one_group_in_order() -> None:
    keys = {"a": "1", "b": "2", "c": "3", "d": "23", "e": "", "f": "14", "g": "5"}
    assert group_by_shared("abcdefg", keys.__getitem__) == [
        ["a", "f"],
        ["b", "c", "d"],
        ["e"],
        ["g"],
    ]


def test_groups_run_at_once_up_to_the_bound_and_each_in_its_order() -> None:
    met, seen = threading.Barrier(3, timeout=10), dict[str, list[int]]()
    running, most, lock = 0, 0, threading.Lock()

    def work(item: tuple[str, int]) -> bool:
        nonlocal running, most
        name, number = item
        with lock:
            running += 1
            most = max(most, running)
        met.wait()  # only three at the same time come through
        with lock:
            running -= 1
            seen.setdefault(name, []).append(number)
        return number == 1

    groups = [[(name, number) for number in range(2)] for name in "abcdef"]
    assert run_groups(groups, work, at_once=3) is True
    assert seen == {name: [0, 1] for name in "abcdef"}
    assert most == 3


def test_after_an_error_nothing_more_is_begun_and_the_error_is_raised() -> None:
    begun = []

    def work(item: int) -> bool:
        begun.append(item)
        if item == 1:
            raise ValueError("no answer")
        return True

    with pytest.raises(ValueError, match="no answer"):
        run_groups([[1, 2, 3], *([n] for n in range(10, 1000))], work, at_once=2)
    assert 2 not in begun
    assert len(begun) < 900
    assert run_groups([], work, at_once=2) is False
