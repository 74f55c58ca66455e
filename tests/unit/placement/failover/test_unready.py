"""Replicas that stay not ready: which of them another site could do better."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.model.kinds.failover import MAX_UNREADY_MOVES, UnreadyMove, UnreadyReason
from scheduler.model.kinds.policy import FailoverMode
from scheduler.placement.failover.unready import (
    MAX_FAILED_MOVES,
    TRY_AGAIN_SECONDS,
    ReasonTally,
    UnreadyCandidate,
    UnreadySite,
    UnreadySpell,
    plan_unready,
    sites_to_avoid,
    with_unready_move,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
KEY = ("ns", "app")
PROVEN = UnreadySite(site="m2", replicas=2, is_proven=True, has_started=True)
ALL: tuple[UnreadyReason, ...] = (
    "crash-loop",
    "image-pull",
    "pending-unschedulable",
    "probe",
    "node-lost",
    "stuck",
    "other",
)
OF_CONTENT: tuple[UnreadyReason, ...] = ("crash-loop", "image-pull", "probe", "other")
OF_SITE: tuple[UnreadyReason, ...] = ("pending-unschedulable", "node-lost", "stuck")


def at(
    reason: UnreadyReason, *, replicas: int = 1, seconds: float = 612.0, site: str = "m1"
) -> UnreadySite:
    spell = UnreadySpell(reason=reason, replicas=replicas, seconds=seconds)
    return UnreadySite(site=site, replicas=3, is_proven=False, has_started=False, spells=(spell,))


def candidate(*sites: UnreadySite, **fields: object) -> UnreadyCandidate:
    plain = UnreadyCandidate(
        key=KEY,
        priority=0,
        created_at_seconds=0.0,
        mode="Automatic",
        after_seconds=600.0,
        content="c1",
        sites=sites,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def why(one: UnreadyCandidate, site: str = "m1", *, is_enabled: bool = True) -> str:
    """Why the replicas at a site stay; "" if they are to leave, "-" if that is no question."""
    plan = plan_unready([one], now=NOW, is_enabled=is_enabled)
    if any(eviction.site == site for _, eviction in plan.due):
        return ""
    held = plan.held.get((one.key, site))
    return held.why if held else "-"


@pytest.mark.parametrize("reason", OF_SITE)
def test_what_a_site_lacks_may_be_anywhere_else(reason: UnreadyReason) -> None:
    [(key, eviction)] = plan_unready([candidate(at(reason))], now=NOW).due
    assert (key.key, eviction.site, eviction.replicas, eviction.seconds) == (KEY, "m1", 1, 612)
    assert (eviction.only, eviction.never) == ((), ())


@pytest.mark.parametrize("reason", OF_CONTENT)
def test_what_the_content_may_cause_goes_only_where_that_runs(reason: UnreadyReason) -> None:
    assert why(candidate(at(reason))) == "NoSiteRunsIt"
    other = at(reason, site="m3", replicas=1, seconds=5)
    assert why(candidate(at(reason), other)) == "NoSiteRunsIt"
    [(_, one)] = plan_unready([candidate(at(reason), PROVEN)], now=NOW).due
    assert one.only == ("m2",)


def test_only_what_lasts_counts_and_0_seconds_are_never() -> None:
    assert why(candidate(at("stuck", seconds=599.0))) == "-"
    assert why(candidate(at("stuck"), after_seconds=0.0)) == "-"
    assert why(candidate(at("stuck", seconds=5.0), after_seconds=5.0)) == ""


@pytest.mark.parametrize(
    ("mode", "is_numbered", "is_enabled", "expected"),
    [
        ("Automatic", False, True, ""),
        ("Automatic", False, False, "Disabled"),
        ("Manual", False, True, "Manual"),
        ("Fenced", False, True, "CannotFence"),
        ("Automatic", True, True, "CannotFence"),
    ],
)
def test_its_rules_hold_it(
    mode: FailoverMode, *, is_numbered: bool, is_enabled: bool, expected: str
) -> None:
    one = candidate(at("stuck"), mode=mode, is_numbered=is_numbered)
    assert why(one, is_enabled=is_enabled) == expected


def test_what_is_paused_stays() -> None:
    assert why(candidate(at("stuck"), is_paused=True)) == "Paused"


def test_a_job_moves_only_before_it_begins_and_as_a_whole() -> None:
    assert why(candidate(at("stuck", replicas=3), is_job=True)) == ""
    assert why(candidate(at("stuck", replicas=2), is_job=True)) == "JobHasBegun"
    begun = replace(at("stuck", replicas=3), has_started=True)
    assert why(candidate(begun, is_job=True)) == "JobHasBegun"


def move(
    site: str, to: str, *, seconds: float, failed: bool = False, **fields: object
) -> UnreadyMove:
    known: dict[str, object] = {"reason": "stuck", "content": "c1", **fields}
    at_time = NOW - timedelta(seconds=seconds)
    return UnreadyMove(site=site, to=(to,), replicas=1, at=at_time, failed=failed, **known)  # type: ignore[arg-type]


def test_a_site_is_left_once_an_hour_and_so_is_the_site_moved_to() -> None:
    lately, before = TRY_AGAIN_SECONDS - 1, TRY_AGAIN_SECONDS
    for one in (move("m1", "m4", seconds=lately), move("m4", "m1", seconds=lately)):
        assert why(candidate(at("stuck"), moves=(one,))) == "MovedLately"
    assert why(candidate(at("stuck"), moves=(move("m1", "m4", seconds=before),))) == ""
    assert why(candidate(at("stuck"), moves=(move("m5", "m4", seconds=lately),))) == ""
    other = move("m1", "m4", seconds=lately, content="c0")
    assert why(candidate(at("stuck"), moves=(other,))) == "MovedLately", "an edit lifts nothing"


def test_sites_where_the_same_content_was_not_ready_are_avoided() -> None:
    moves = (
        move("m1", "m2", seconds=9_999, failed=True),
        move("m3", "m4", seconds=9_999, reason="probe"),
        move("m5", "m6", seconds=9_999),
        move("m7", "m8", seconds=10),
        move("m9", "m10", seconds=10, content="c0", failed=True),
    )
    assert sites_to_avoid(moves, "c1", NOW) == {"m2", "m3", "m7"}
    crashed = candidate(at("probe"), PROVEN, moves=moves[:1])
    assert why(crashed) == "NoSiteRunsIt", "where it failed, it is not tried again"


def test_after_three_replacements_that_failed_it_stays_until_its_manifests_change() -> None:
    failed = tuple(
        move("m1", f"n{n}", seconds=9_999 + n, failed=True) for n in range(MAX_FAILED_MOVES)
    )
    assert why(candidate(at("stuck"), moves=failed)) == "ReplacementsFailed"
    assert why(candidate(at("stuck"), moves=failed[1:])) == ""
    assert why(candidate(at("stuck"), moves=failed, content="c2")) == ""


def widespread_reasons(
    candidates: list[UnreadyCandidate], *, working_sites: int
) -> frozenset[UnreadyReason]:
    tally = ReasonTally()
    for one in candidates:
        tally.add(one)
    return tally.widespread(working_sites)


def many(reason: UnreadyReason, sites: int) -> list[UnreadyCandidate]:
    return [
        candidate(at(reason, site=f"s{n}"), replace(PROVEN, site="p"), key=("ns", f"w{n % 2}{n}"))
        for n in range(sites)
    ]


@pytest.mark.parametrize("reason", ALL)
def test_the_same_reason_at_a_quarter_of_the_sites_moves_nothing(reason: UnreadyReason) -> None:
    assert widespread_reasons(many(reason, 3), working_sites=12) == {reason}
    assert widespread_reasons(many(reason, 3), working_sites=13) == frozenset()
    assert widespread_reasons(many(reason, 2), working_sites=2) == frozenset()
    plan = plan_unready(many(reason, 3), now=NOW, widespread=frozenset({reason}))
    assert plan.due == ()
    assert {one.why for one in plan.held.values()} == {"NotReadyAtManySites"}


def test_one_workload_that_is_broken_everywhere_holds_no_other_one() -> None:
    broken = candidate(*(at("probe", site=f"s{n}") for n in range(4)), key=("ns", "broken"))
    assert widespread_reasons([broken], working_sites=4) == frozenset()


def test_the_most_replicas_leave_first_and_important_work_before_other() -> None:
    two = candidate(at("stuck"), at("stuck", replicas=2, site="m3"))
    urgent = candidate(at("stuck"), key=("ns", "urgent"), priority=9)
    due = plan_unready([two, urgent], now=NOW).due
    assert [(each.key[1], one.site) for each, one in due] == [("urgent", "m1"), ("app", "m3")]


def test_what_is_remembered_is_bounded_and_failures_are_kept_longest() -> None:
    moves: tuple[UnreadyMove, ...] = (move("m0", "m1", seconds=5, failed=True),)
    for n in range(100):
        moves = with_unready_move(moves, move(f"m{n}", "x", seconds=1), NOW)
        assert len(moves) <= MAX_UNREADY_MOVES
    assert moves[0].failed
    assert moves[-1].site == "m99"
