"""What the gate leaves out of the examples and seeds, the soak has."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.counts import FULL, GATE, examples, in_the_gate, seeds


@pytest.mark.parametrize(
    ("full", "gate"), [(5, 5), (10, 10), (12, 10), (60, 15), (100, 25), (300, 75)]
)
def test_the_gate_tries_a_share_and_never_too_few(full: int, gate: int) -> None:
    assert in_the_gate(full) == gate


def test_a_count_of_its_own_follows_the_profile() -> None:
    before = settings.get_current_profile_name()
    try:
        settings.load_profile(FULL)
        assert (examples(200), settings().max_examples) == (200, 100)
        settings.load_profile(GATE)
        assert (examples(200), settings().max_examples) == (50, 25)
    finally:
        settings.load_profile(before)


@pytest.mark.parametrize("name", [GATE, FULL])
def test_no_profile_takes_a_busy_machine_for_a_fault(name: str) -> None:
    profile = settings.get_profile(name)
    assert profile.deadline is None
    assert HealthCheck.too_slow in profile.suppress_health_check


def test_settings_that_state_only_a_count_have_no_deadline_either() -> None:
    tried = 0

    @given(st.integers())
    @settings(max_examples=examples(40))
    def count(_: int) -> None:
        nonlocal tried
        tried += 1

    count()
    assert 10 <= tried <= 40
    assert settings(max_examples=3).deadline is None


def test_every_seed_is_in_the_gate_or_in_the_soak_alone() -> None:
    found = seeds(6, gate=2)
    assert found[:2] == [0, 1]
    assert [one.values for one in found[2:]] == [(2,), (3,), (4,), (5,)]
    assert {mark.name for one in found[2:] for mark in one.marks} == {"soak"}
