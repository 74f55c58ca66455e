"""The list of unadmitted sites is bounded, and no crowd hides a newcomer."""

import random

from scheduler.control.sites.unadmitted_sites import UnadmittedSites
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults


def listing() -> UnadmittedSites:
    clock = FakeClock()
    return UnadmittedSites(clock, make_faults(clock), random.Random(1))  # noqa: S311 - a test, seeded


def test_a_newcomer_is_listed_whatever_crowd_was_there_before() -> None:
    waiting = listing()
    for number in range(10_000):
        waiting.record(f"crowd-{number}", f"key-{number}")
    waiting.record("newcomer", "its-key")
    assert "newcomer" in waiting
    assert len(waiting) == 400


def test_a_crowd_of_one_key_removes_none_but_its_own() -> None:
    waiting = listing()
    waiting.record("newcomer", "its-key")
    for number in range(10_000):
        waiting.record(f"crowd-{number}", "one-key")
    assert "newcomer" in waiting
    assert len(waiting) == 5


def test_a_newcomer_among_as_many_as_it_needs_to_repeat_is_mostly_listed() -> None:
    waiting, seen = listing(), 0
    for _ in range(100):
        for number in range(260):
            waiting.record(f"crowd-{number}", f"key-{number}")
        waiting.record("newcomer", "its-key")
        seen += "newcomer" in waiting
    assert seen == 100


def test_a_site_that_is_admitted_or_changes_its_key_leaves_nothing_behind() -> None:
    waiting = listing()
    waiting.record("a", "old")
    waiting.record("a", "new")
    waiting.remove("a")
    waiting.remove("a")
    assert len(waiting) == 0
    for number in range(8):
        waiting.record(f"b-{number}", "old")
    assert len(waiting) == 4
