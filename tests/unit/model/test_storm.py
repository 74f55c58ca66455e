"""When evictions are frozen, held and slowed down."""

from dataclasses import replace

import pytest

from scheduler.model.mass_silence import Domain, SiteReading
from scheduler.model.site_health import HealthState
from scheduler.model.storm import Freeze, LinkReading, StormState, after_thaw
from tests.support.silences import LIMITS, LONG_AGO, fleet, judge, present, silent

NOW = 1000.0
FELL = NOW - 50
GUANGDONG: Domain = ("province", "CN-GD")
GANSU: Domain = ("province", "CN-GS")


@pytest.mark.parametrize(
    ("gone", "there", "is_frozen"),
    [
        (0, 1, False),
        (1, 0, True),
        (1, 1, False),  # one dead site of two is replaced: the other shows that the link works
        (2, 0, True),
        (1, 2, False),
        (2, 1, True),
        (2, 2, False),
        (3, 2, True),
        (50, 50, False),
        (51, 49, True),
        (100, 0, True),
    ],
)
def test_more_than_half_of_the_fleet_at_once_is_a_storm(
    *, gone: int, there: int, is_frozen: bool
) -> None:
    state = judge(fleet(gone, there, fell_seconds=FELL, now_seconds=NOW), NOW)
    assert (state.freeze is not None) is is_frozen
    assert (state.per_second == 0) is is_frozen


def test_sites_that_died_one_after_another_are_no_storm() -> None:
    gone = [silent(f"gone-{n}", heard_seconds=100.0 * n) for n in range(7)]
    assert judge([*gone, *fleet(0, 3, fell_seconds=0, now_seconds=NOW)], NOW).freeze is None


def test_sites_gone_long_ago_do_not_hide_that_the_rest_fell_together() -> None:
    long_ago = [silent(f"old-{n}", heard_seconds=10.0) for n in range(30)]
    state = judge([*long_ago, *fleet(25, 15, fell_seconds=FELL, now_seconds=NOW)], NOW)
    assert state.freeze is not None
    assert state.freeze.why == "25 sites fell silent together, and 15 were received since"


def test_a_site_that_is_not_due_yet_is_no_witness() -> None:
    # The link was cut; sites that report rarely count as present for minutes.
    slow = [present(f"slow-{n}", heard_seconds=FELL - n) for n in range(10)]
    gone = [silent(f"gone-{n}", heard_seconds=FELL) for n in range(2)]
    state = judge([*slow, *gone], NOW)
    assert state.freeze is not None
    assert state.freeze.reason == "quiet"
    one_other = [present("other", heard_seconds=NOW - 1)]
    assert judge([*slow, *gone, *one_other], NOW).freeze is not None
    heard_again = [present(f"slow-{n}", heard_seconds=NOW - 1 - n) for n in range(10)]
    assert judge([*heard_again, *gone], NOW).freeze is None


def test_sites_that_were_never_there_do_not_count() -> None:
    never = HealthState(name="Silent", quiet_since_seconds=0.0)
    new = [SiteReading(f"new-{n}", never) for n in range(9)]
    state = judge([*new, *fleet(0, 1, fell_seconds=0, now_seconds=NOW)], NOW)
    assert state.freeze is None
    assert state.healthy_ratio == 1.0


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (replace(LONG_AGO, connected_since_seconds=None), "session"),
        (replace(LONG_AGO, connected_since_seconds=NOW - 5), "session"),
        (replace(LONG_AGO, stalled_seconds=NOW - 5), "stalled"),
        (LONG_AGO, None),
    ],
)
def test_a_link_in_doubt_freezes(link: LinkReading, reason: str | None) -> None:
    state = judge(fleet(1, 9, fell_seconds=FELL, now_seconds=NOW), NOW, link=link)
    assert (state.freeze.reason if state.freeze else None) == reason


def test_without_any_message_the_link_is_in_doubt_before_a_site_is_silent() -> None:
    sites = [present(f"there-{n}", heard_seconds=NOW) for n in range(10)]
    assert judge(sites, NOW + 16).freeze is None
    state = judge(sites, NOW + 18)
    assert state.freeze is not None
    assert state.freeze.reason == "quiet"


def test_a_session_that_all_sites_prove_is_trusted_at_once() -> None:
    link = replace(LONG_AGO, connected_since_seconds=NOW - 5)
    assert judge(fleet(0, 9, fell_seconds=0, now_seconds=NOW), NOW, link=link).freeze is None


def test_after_a_start_nothing_is_evicted_before_sites_were_heard_or_time_has_passed() -> None:
    unknown = SiteReading("a", HealthState(quiet_since_seconds=NOW, was_known=True))
    link = LinkReading(listening_since_seconds=NOW, connected_since_seconds=NOW)
    others = [present(f"there-{n}", heard_seconds=NOW + 5) for n in range(4)]
    state = judge([unknown, *others], NOW + 5, link=link)
    assert state.freeze is not None
    assert "began to listen" in state.freeze.why
    later = [present(f"there-{n}", heard_seconds=NOW + 59) for n in range(4)]
    state = judge([silent("a"), *later], NOW + LIMITS.settle_seconds, state, link=link)
    assert state.freeze is None


def test_a_freeze_ends_when_its_cause_was_over_for_a_while() -> None:
    state = judge(fleet(6, 4, fell_seconds=FELL, now_seconds=NOW), NOW)
    for second in range(1, int(LIMITS.settle_seconds) + 1):
        state = judge(fleet(1, 9, fell_seconds=FELL, now_seconds=NOW + second), NOW + second, state)
        assert state.freeze is not None, second
        assert state.freeze.since_seconds == NOW
    after = NOW + LIMITS.settle_seconds + 1
    state = judge(fleet(1, 9, fell_seconds=FELL, now_seconds=after), after, state)
    assert state.freeze is None
    assert state.per_second == LIMITS.full_per_second


def test_a_province_that_is_silent_is_held_and_then_evicted() -> None:
    def sites(now_seconds: float) -> list[SiteReading]:
        return [
            *(silent(f"gs-{n}", GANSU, heard_seconds=FELL - n) for n in range(3)),
            *(present(f"gd-{n}", GUANGDONG, heard_seconds=now_seconds - 1) for n in range(7)),
        ]

    state = judge(sites(NOW), NOW)
    assert state.freeze is None
    held = state.holding((GANSU,), NOW)
    assert held is not None
    assert held.until_seconds == NOW + LIMITS.settle_seconds
    assert state.holding((GUANGDONG,), NOW) is None
    later = NOW + LIMITS.settle_seconds
    state = judge(sites(later), later, state)
    assert state.holding((GANSU,), later) is None
    assert state.is_in_lost_domain((GANSU,))
    assert not state.is_in_lost_domain((GUANGDONG,))
    assert state.per_second == LIMITS.reduced_per_second  # 70 % of the fleet reports


def test_one_dead_site_is_no_lost_domain() -> None:
    sites = [
        silent("gs", GANSU, heard_seconds=FELL),
        *(present(f"gd-{n}", GUANGDONG, heard_seconds=NOW - 1) for n in range(2)),
    ]
    state = judge(sites, NOW)
    assert state.held == ()
    assert state.per_second == LIMITS.full_per_second


def test_a_silent_province_is_held_without_an_end_while_others_fall_too() -> None:
    gone = [silent(f"gs-{n}", GANSU, heard_seconds=FELL) for n in range(3)]
    others = [silent(f"gd-gone-{n}", GUANGDONG, heard_seconds=FELL) for n in range(2)]

    def rest(now_seconds: float) -> list[SiteReading]:
        return [present(f"gd-{n}", GUANGDONG, heard_seconds=now_seconds - 1) for n in range(6)]

    state = judge([*gone, *others, *rest(NOW)], NOW)
    held = state.holding((GANSU,), NOW + 9999)
    assert held is not None
    assert held.until_seconds is None
    back = [present(f"gd-gone-{n}", GUANGDONG, heard_seconds=NOW + 9) for n in range(2)]
    state = judge([*gone, *back, *rest(NOW + 10)], NOW + 10, state)
    held = state.holding((GANSU,), NOW + 10)
    assert held is not None
    assert held.until_seconds == NOW + 10 + LIMITS.settle_seconds


def test_when_a_province_returns_its_other_sites_get_time_to_do_the_same() -> None:
    rest = [present(f"gd-{n}", GUANGDONG, heard_seconds=NOW - 1) for n in range(9)]
    state = judge([*(silent(f"gs-{n}", GANSU, heard_seconds=FELL) for n in range(3)), *rest], NOW)
    first = present("gs-0", GANSU, heard_seconds=NOW + 1)
    others = [silent(f"gs-{n}", GANSU, heard_seconds=FELL) for n in (1, 2)]
    state = judge([first, *others, *rest], NOW + 2, state)
    held = state.holding((GANSU,), NOW + 2)
    assert held is not None
    assert held.until_seconds == NOW + 2 + LIMITS.settle_seconds


def test_a_thaw_ends_a_freeze_until_the_next_storm() -> None:
    sites = fleet(6, 4, fell_seconds=FELL, now_seconds=NOW)
    state = after_thaw(judge(sites, NOW), sites)
    state = judge(sites, NOW, state)
    assert state.freeze is None
    assert state.per_second == LIMITS.reduced_per_second
    later = NOW + 500
    again = [
        *(silent(f"gone-{n}", heard_seconds=FELL) for n in range(6)),
        *(silent(f"there-{n}", heard_seconds=later - 50) for n in range(3)),
        present("there-3", heard_seconds=later - 1),
    ]
    state = judge(again, later, state)
    assert state.freeze is not None
    assert state.freeze.reason == "fleet"


def test_a_thaw_does_not_lift_the_doubt_in_a_link_that_is_down() -> None:
    sites, link = (
        fleet(6, 0, fell_seconds=FELL, now_seconds=NOW),
        replace(LONG_AGO, connected_since_seconds=None),
    )
    state = judge(sites, NOW, after_thaw(judge(sites, NOW, link=link), sites), link=link)
    assert state.freeze is not None
    assert state.freeze.reason == "session"


def test_an_excused_site_that_returned_counts_again() -> None:
    sites = fleet(6, 4, fell_seconds=FELL, now_seconds=NOW)
    state = after_thaw(judge(sites, NOW), sites)
    assert len(state.excused) == 6
    state = judge(fleet(0, 4, fell_seconds=FELL, now_seconds=NOW + 1), NOW + 1, state)
    assert state.excused == frozenset()


def test_an_operators_freeze_comes_before_all_else() -> None:
    operator = Freeze(reason="operator", since_seconds=NOW, why="works at the exchange")
    state = judge(
        fleet(6, 4, fell_seconds=FELL, now_seconds=NOW), NOW, StormState(), operator=operator
    )
    assert state.freeze == operator
    assert state.automatic is not None
    assert state.automatic.reason == "fleet"
    assert state.per_second == 0


def test_the_full_rate_comes_back_only_when_the_fleet_was_whole_for_a_while() -> None:
    state = judge(fleet(4, 6, fell_seconds=FELL, now_seconds=NOW), NOW)
    assert state.per_second == LIMITS.reduced_per_second
    state = judge(fleet(2, 8, fell_seconds=FELL, now_seconds=NOW + 1), NOW + 1, state)
    assert state.per_second == LIMITS.reduced_per_second
    later = NOW + 1 + LIMITS.settle_seconds
    state = judge(fleet(2, 8, fell_seconds=FELL, now_seconds=later), later, state)
    assert state.per_second == LIMITS.full_per_second
