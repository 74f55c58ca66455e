"""What must hold of the health of a site, whatever arrives and whenever."""

from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.model.site_health import (
    HealthLimits,
    HealthName,
    HealthState,
    deadlines_of,
    fall_silent,
    interval_of,
    on_admitted,
    on_other_message,
    on_report,
    on_stall,
    on_time,
    on_will,
)
from tests.support.counts import examples

LIMITS = HealthLimits()
SOME = settings(max_examples=examples(20), deadline=None)


@dataclass
class Watched:
    """One site, looked at when it says so, as the scheduler does.

    Attributes:
        limits: of the settings.
        interval_seconds: what its agent states.
        now: seconds.
        health: its health now.
        changes: each change of state, with its time.
    """

    limits: HealthLimits = LIMITS
    interval_seconds: float | None = None
    now: float = 0.0
    health: HealthState = field(init=False)
    changes: list[tuple[float, HealthName]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.health = on_admitted(self.limits, self.now, was_known=False)

    def keep(self, after: HealthState) -> None:
        if after.name != self.health.name:
            self.changes.append((self.now, after.name))
        self.health = after

    def report(self, *, made_ago: float = 0.0, is_new_boot: bool = False) -> None:
        self.keep(
            on_report(
                self.health,
                self.limits,
                made_seconds=self.now - made_ago,
                now_seconds=self.now,
                interval_seconds=self.interval_seconds,
                is_new_boot=is_new_boot,
            )
        )

    def will(self) -> None:
        self.keep(on_will(self.health, self.limits))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (look := self.health.look_seconds) <= end:
            self._check_nothing_is_due(self.now + (look - self.now) * 0.999)
            # A little later, because sums of floats are not exact.
            self.now = max(self.now, look) + 1e-3
            self.keep(on_time(self.health, self.limits, now_seconds=self.now))
        self._check_nothing_is_due(end)
        self.now = max(self.now, end)

    def _check_nothing_is_due(self, now: float) -> None:
        if now > self.now:
            after = on_time(self.health, self.limits, now_seconds=now)
            assert after.name == self.health.name, "it is looked at too late"

    def report_for(self, seconds: float, *, every: float) -> None:
        end = self.now + seconds
        while self.now + every <= end:
            self.wait(every)
            self.report()

    @property
    def name(self) -> str:
        return self.health.name

    @property
    def names(self) -> list[HealthName]:
        return [name for _, name in self.changes]


def reporting(*, every: float = 10.0, **more: float) -> Watched:
    """A site that has reported for long."""
    site = Watched(**more)  # type: ignore[arg-type]
    site.report()
    site.report_for(20 * every, every=every)
    assert site.name == "Reporting"
    site.changes.clear()
    return site


def test_a_default_agent_is_late_silent_and_lost_when_it_was_before() -> None:
    site = reporting()
    begin = site.now
    site.wait(400)
    assert [(round(at - begin), name) for at, name in site.changes] == [
        (25, "Late"),
        (45, "Silent"),
        (300, "Lost"),
    ]
    assert site.health.look_seconds == float("inf")
    site.report()
    assert site.names[-1] == "Reporting", "the first time a site returns at once"


@pytest.mark.parametrize("every", [60.0, 120.0])
@pytest.mark.parametrize("states", ["stated", "measured"])
def test_a_site_that_reports_rarely_has_thresholds_of_its_own(every: float, states: str) -> None:
    site = Watched(interval_seconds=every if states == "stated" else None)
    site.report()
    site.report_for(20 * every, every=every)
    # Without a stated interval the first one has to be learned.
    assert "Silent" not in site.names or (states == "measured" and site.names.count("Silent") <= 1)
    site.changes.clear()
    begin = site.now
    site.wait(4 * every)
    assert site.name == "Late"
    site.wait(every)
    assert site.names == ["Late", "Silent"]
    assert site.changes[1][0] - begin == pytest.approx(4.5 * every, abs=1)


def test_a_site_that_reports_faster_keeps_the_threshold_of_the_settings() -> None:
    site = reporting(every=1.0)
    site.wait(44)
    assert site.name == "Late"
    site.wait(1)
    assert site.name == "Silent"


def test_an_interval_beyond_the_bound_does_not_hide_a_site_that_is_gone() -> None:
    site = Watched(interval_seconds=1e9)
    site.report()
    site.wait(LIMITS.max_silent_after_seconds)
    assert site.name == "Silent"
    longest = LIMITS.max_silent_after_seconds
    assert interval_of(site.health, LIMITS) == longest, "failover waits for two of them"


def test_a_new_boot_brings_a_new_interval() -> None:
    site = reporting()
    site.wait(20)
    site.report(is_new_boot=True)
    assert site.health.gaps_seconds == ()
    site.report_for(300, every=30.0)
    assert interval_of(site.health, LIMITS) == 30.0


@SOME
@given(st.integers(0, 40), st.floats(0.1, 60))
def test_a_will_alone_never_makes_a_site_late_or_silent(phase: int, interval: float) -> None:
    site = reporting(every=interval, interval_seconds=interval)
    for _ in range(phase):
        site.wait(interval * 0.4)
        site.will()
        site.wait(interval * 0.6)
        site.report()
    assert site.names == []


@SOME
@given(st.floats(0.0, 1.0), st.sampled_from([1.0, 10.0, 60.0]))
def test_after_a_will_a_site_is_silent_sooner_but_not_before_a_report_is_missing(
    phase: float, interval: float
) -> None:
    silent_at = []
    for has_will in (False, True):
        site = reporting(every=interval, interval_seconds=interval)
        begin = site.now
        site.wait(phase * interval)
        if has_will:
            site.will()
        site.wait(6 * interval + 60)
        assert site.names[:2] == ["Late", "Silent"]
        silent_at.append(site.changes[1][0] - begin)
    without, with_will = silent_at
    assert interval < with_will < without


@SOME
@given(st.integers(1, 10_000), st.sampled_from([1.0, 10.0, 60.0]))
def test_single_lost_reports_make_no_site_late(seed: int, interval: float) -> None:
    chance = Random(seed)  # noqa: S311 - chance of a test
    site = reporting(every=interval)
    for _ in range(30):
        site.wait(interval * chance.uniform(1.7, 2.3))  # one is lost
        site.report()
        for _ in range(chance.randint(1, 5)):
            site.wait(interval * chance.uniform(0.7, 1.3))
            site.report()
    assert site.names == []


@SOME
@given(st.integers(1, 10_000))
def test_a_bad_link_never_makes_a_site_silent(seed: int) -> None:
    """One that loses every third report, up to two in a row, and delays the others."""
    chance = Random(seed)  # noqa: S311 - chance of a test
    site = reporting()
    due, lost = site.now, 0
    for _ in range(60):
        due += 10.0
        lost = lost + 1 if lost < 2 and chance.random() < 0.33 else 0
        if lost:
            continue
        site.wait(max(0.0, due + chance.uniform(0, 5) - site.now))
        site.report()
    assert "Silent" not in site.names


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["wait", "report", "old", "will", "status", "boot"]), st.floats(0, 400)
    ),
    max_size=60,
)


@SOME
@given(EVENTS, st.sampled_from([None, 0.5, 10.0, 60.0]))
@example([("wait", 50.0), ("report", 0.0)] * 30, None)
def test_no_site_flaps_faster_than_it_is_held(
    events: list[tuple[str, float]], interval: float | None
) -> None:
    """Between two falls there is a whole hold-off, which doubles, up to its bound."""
    site = Watched(interval_seconds=interval)
    held: list[tuple[float, float]] = []
    for what, seconds in events:
        before = site.health
        _play(site, what, seconds)
        after = site.health
        assert after.since_seconds <= site.now
        assert isfinite(after.look_seconds) or after.is_absent
        if before.is_absent and after.is_present:
            held.append((site.now - before.since_seconds, before.hold_seconds))
    assert all(waited >= hold for waited, hold in held)
    _check_order(site.names)


def _play(site: Watched, what: str, seconds: float) -> None:
    if what == "wait":
        site.wait(seconds)
    elif what == "will":
        site.will()
    elif what == "status":
        site.keep(on_other_message(site.health, site.limits, made_seconds=site.now))
    else:
        site.report(made_ago=seconds if what == "old" else 0.0, is_new_boot=what == "boot")


def _check_order(names: list[HealthName]) -> None:
    allowed = {
        "Late": {"Reporting", "Silent"},
        "Reporting": {"Late", "Silent"},
        "Silent": {"Reporting", "Lost"},
        "Lost": {"Reporting"},
    }
    assert all(after in allowed[before] for before, after in pairwise(names))


def test_a_site_that_flaps_is_held_twice_as_long_each_time_up_to_the_bound() -> None:
    site, waited = reporting(), []
    for _ in range(8):
        site.wait(46)
        assert site.name == "Silent"
        begin = site.now
        while site.health.is_absent:
            site.wait(10)
            site.report()
        waited.append(site.now - begin - 10)
    assert waited == [0, 30, 60, 120, 240, 480, 600, 600]
    site.report_for(700, every=10.0)
    site.wait(46)
    site.report()
    assert site.name == "Reporting", "a site that was there for long has no past"


def test_a_held_site_must_report_in_time_without_a_gap() -> None:
    site = reporting()
    for _ in range(2):
        site.wait(46)
        site.report()
    assert site.health.is_absent
    site.report_for(20, every=10.0)
    site.wait(30)  # a gap: counted from here again
    site.report()
    site.report_for(20, every=10.0)
    assert site.health.is_absent
    site.report_for(10, every=10.0)
    assert site.health.is_present


def test_a_late_site_reports_in_time_again_after_two_reports_in_a_row() -> None:
    site = reporting()
    site.wait(30)
    site.report()
    assert site.name == "Late"
    site.wait(10)
    site.report()
    assert site.names == ["Late", "Reporting"]


def test_what_was_withheld_brings_no_site_back() -> None:
    site = reporting()
    site.wait(46)
    site.report(made_ago=30.0)
    assert site.name == "Silent"
    assert site.health.held_until_seconds is None
    site.report(made_ago=1.0)
    assert site.name == "Reporting"


@SOME
@given(st.floats(1, 1e6), st.floats(0, 24))
def test_no_site_is_to_blame_for_a_stall_of_the_receiver(stall: float, quiet: float) -> None:
    site = reporting()
    site.wait(quiet)
    site.now += stall
    site.keep(on_stall(site.health, LIMITS, stall_seconds=stall, now_seconds=site.now))
    site.keep(on_time(site.health, LIMITS, now_seconds=site.now))
    assert site.names == []
    assert site.now - site.health.quiet_since_seconds == pytest.approx(quiet, abs=1e-6)
    site.report()
    assert max(site.health.gaps_seconds) <= 24 + 1e-6, "and it is no jitter"


def test_after_a_start_nothing_is_known_before_a_report_or_time_passes() -> None:
    never = Watched()
    never.wait(44)
    assert never.name == "Unknown"
    assert {never.health.is_present, never.health.is_absent} == {False}
    never.wait(10_000)
    assert never.names == ["Silent"], "a site that was never there is not lost"
    known = Watched()
    known.health = replace(known.health, was_known=True)
    known.wait(10_000)
    assert known.names == ["Silent", "Lost"]
    heard = Watched()
    heard.wait(5)
    heard.report()
    assert heard.names == ["Reporting"]


@SOME
@given(
    st.floats(0.1, 1e6),
    st.floats(0.1, 1e6),
    st.floats(0.1, 1e6),
    st.lists(st.floats(0.001, 1e6), max_size=16),
    st.sampled_from([None, "will"]),
)
def test_the_thresholds_are_always_in_order(
    silent: float, bound: float, lost: float, gaps: list[float], will: str | None
) -> None:
    limits = HealthLimits(
        silent_after_seconds=silent, max_silent_after_seconds=bound, lost_after_seconds=lost
    )
    health = HealthState(name="Reporting", gaps_seconds=tuple(gaps), has_will=will is not None)
    found = deadlines_of(health, limits)
    assert 0 < found.late_seconds < found.silent_seconds < found.lost_seconds
    assert found.silent_seconds <= max(silent, bound)


def test_a_site_that_is_marked_silent_stays_so_until_it_reports() -> None:
    site = reporting()
    site.keep(fall_silent(site.health, LIMITS, now_seconds=site.now))
    site.wait(10)
    assert site.name == "Silent"
    site.report()
    assert site.name == "Reporting"
