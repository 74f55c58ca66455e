"""The chaos run: no promise is broken, whatever happens, and a broken world is told."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks._chaos.run import Outcome, run_story
from benchmarks._chaos.shrink import shrink
from benchmarks._chaos.story import Event, Story, draw_story
from benchmarks._chaos.world import VARIANTS
from benchmarks.chaos import format_story, row_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

_SOAK_KILLS = 1000
_QUIET = Story(seed=5, minutes=6, sites=4, workloads=8)
_REPEATED = """
from benchmarks._chaos.run import run_story
from tests.integration.test_chaos import _repeated
print(run_story(_repeated(seed=2)).digest)
"""


def _found(outcome: Outcome) -> list[str]:
    return [str(one) for one in outcome.violations]


def test_a_short_story_with_kills_and_losses_breaks_no_promise() -> None:
    drawn = draw_story(
        2, minutes=12, sites=4, workloads=10, report_seconds=10, mean_pause_seconds=20
    )
    killed = (Event(200, "scheduler-kill"), Event(240, "deposed"), Event(340, "scheduler-kill"))
    events = tuple(sorted((*drawn.events, *killed), key=lambda one: one.at))
    outcome = run_story(replace(drawn, events=events))
    assert _found(outcome) == []
    assert outcome.kills >= len(killed)


def test_the_replicas_of_a_lost_site_are_replaced_with_the_fewest_moves() -> None:
    events = (Event(60, "site-off", 1, 900),)
    outcome = run_story(replace(_QUIET, minutes=9, events=events))
    row = row_of(outcome)
    assert _found(outcome) == []
    assert row["detect_p99_seconds"] is not None
    assert row["moves"] == row["least_moves"] != 0


def test_sites_without_their_disks_run_no_finished_job_again() -> None:
    lost = [Event(200.0 + 30 * site, "site-lost", site, 20) for site in range(4)]
    events = (Event(30, "job", number=2), *lost, Event(330, "broker-rollback", seconds=20))
    outcome = run_story(replace(_QUIET, minutes=8, events=events))
    assert _found(outcome) == []


def test_sites_without_their_disks_run_nothing_by_an_index_that_was_rolled_back() -> None:
    """The broker's disk is of a time at which the job still ran, and sites hear it first."""
    lost = [Event(80.0, "site-lost", site, 10) for site in range(4)]
    events = (Event(30, "job", number=2), *lost, Event(81, "broker-rollback", seconds=30))
    outcome = run_story(replace(_QUIET, minutes=6, events=events))
    assert _found(outcome) == []


def test_a_hub_that_runs_on_its_own_fleet_starts_from_the_disks_of_its_sites() -> None:
    """Its site loses power, it empties its own site, and then no site has power at all."""
    events = (
        Event(120, "own-site-off", seconds=60),
        Event(300, "own-site-drain", seconds=200, number=1),
        Event(560, "own-fleet-off", seconds=40),
    )
    story = replace(_QUIET, minutes=14, events=events, has_own_hub=True)
    outcome = run_story(story)
    assert _found(outcome) == []
    assert outcome.own_outages == 2, "the order that empties its own site ends no scheduler early"
    assert outcome.kills >= 3


def test_a_hub_whose_sites_have_all_lost_their_disks_is_reported_as_gone() -> None:
    lost = tuple(Event(120.0, "site-lost", site, 20) for site in range(4))
    outcome = run_story(replace(_QUIET, workloads=4, events=lost, has_own_hub=True))
    (found,) = [one for one in outcome.violations if one.what == "kapok-hub"]
    assert found.why == "no scheduler and no broker run; on the disks of no site"


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(301, 309))
def test_stories_of_a_hub_on_its_own_fleet_break_no_promise(seed: int) -> None:
    story = draw_story(
        seed,
        minutes=20,
        sites=5,
        workloads=12,
        report_seconds=10,
        mean_pause_seconds=40,
        mean_kill_seconds=120,
        mean_own_seconds=60,
    )
    assert sum(one.kind.startswith("own-") for one in story.events) >= 2
    assert _found(run_story(story)) == []


def test_only_the_baselines_evict_in_a_storm() -> None:
    """Three of four sites are cut off for longer than it takes to replace what is lost."""
    storm = replace(
        _QUIET, workloads=4, minutes=7.5, events=(Event(60, "fleet-cut", seconds=400, number=1),)
    )
    moves = {one: row_of(run_story(replace(storm, variant=one)))["moves"] for one in VARIANTS}
    assert moves[VARIANTS[0]] == 0
    assert moves[VARIANTS[1]] != 0
    assert moves[VARIANTS[2]] != 0


def test_the_same_story_has_the_same_outcome_in_another_process() -> None:
    """Python draws the order of sets of texts in each process; no decision may depend on it."""
    own = os.environ.get("PYTHONHASHSEED")
    digest = run_story(_repeated(seed=2)).digest
    assert digest == _digest_with_hash_seed("1" if own != "1" else "2")
    assert digest != hashlib.sha256().hexdigest()


def _repeated(seed: int) -> Story:
    return draw_story(
        seed, minutes=5, sites=3, workloads=5, report_seconds=10, mean_pause_seconds=5
    )


def _digest_with_hash_seed(seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _REPEATED],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_a_violation_is_told_with_the_shortest_story_that_shows_it() -> None:
    """An agent that forgets how new its index was is planted between harmless events."""
    events = (
        Event(40, "agent-restart", 0),
        Event(60, "old-disk", 1),
        Event(80, "watches-end"),
        Event(90, "slow", 0, 40),
    )
    story = replace(_QUIET, minutes=2, sites=2, workloads=4, events=events)
    outcome = run_story(story)
    assert {one.promise for one in outcome.violations} == {6}
    short = shrink(story, outcome.violations[0], max_runs=12)
    assert [one.kind for one in short.events] == ["old-disk"]
    assert "old-disk" in format_story(short)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_kills_lose_nothing_and_double_nothing() -> None:
    kills, seed = 0, 100
    while kills < _SOAK_KILLS:
        story = draw_story(
            seed, minutes=60, sites=12, workloads=48, report_seconds=10, mean_pause_seconds=15
        )
        outcome = run_story(story)
        assert _found(outcome) == [], format_story(story)
        assert outcome.figures.doubled == 0, format_story(story)
        kills, seed = kills + outcome.kills, seed + 1
