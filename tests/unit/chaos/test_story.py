"""Stories repeat themselves by their seed, and the shrinker keeps what matters."""

from collections.abc import Sequence
from typing import Any

from benchmarks._chaos.happenings import HAPPENINGS
from benchmarks._chaos.run import Outcome
from benchmarks._chaos.shrink import find_minimal
from benchmarks._chaos.story import (
    HUB_EVENTS,
    OWN_EVENTS,
    SITE_EVENTS,
    USER_EVENTS,
    Event,
    Story,
    draw_story,
)
from benchmarks.chaos import format_early_end


def _draw(seed: int) -> tuple[Event, ...]:
    return draw_story(
        seed, minutes=600, sites=9, workloads=10, report_seconds=10, mean_pause_seconds=20
    ).events


def test_a_seed_gives_its_story_again_and_another_seed_another() -> None:
    assert _draw(3) == _draw(3)
    assert _draw(3) != _draw(4)


def test_every_event_has_something_that_happens() -> None:
    kinds = SITE_EVENTS.keys() | HUB_EVENTS.keys() | USER_EVENTS.keys() | OWN_EVENTS.keys()
    assert kinds == HAPPENINGS.keys() - {"old-disk"} | {"scheduler-kill", "deposed"}
    assert {one.kind for one in _draw(5)} <= kinds


def test_events_at_the_hubs_own_sites_leave_the_others_of_a_seed_as_they_are() -> None:
    sizes: dict[str, Any] = {"sites": 20, "workloads": 50, "report_seconds": 10}
    plain = draw_story(3, minutes=60, mean_pause_seconds=20, **sizes)
    own = draw_story(3, minutes=60, mean_pause_seconds=20, mean_own_seconds=60, **sizes)
    assert (plain.has_own_hub, own.has_own_hub) == (False, True)
    others = tuple(one for one in own.events if one.kind not in OWN_EVENTS)
    assert others == plain.events
    assert len(own.events) - len(others) > 20
    assert [one.at for one in own.events] == sorted(one.at for one in own.events)


def test_the_end_of_a_story_is_quiet() -> None:
    assert all(one.at < 600 * 60 - 890 for one in _draw(6))


def test_a_row_that_ends_before_its_story_says_how_far_it_came() -> None:
    events = (Event(60, "job"), Event(400, "drain", 1, 90))
    story = Story(seed=5, minutes=15, sites=200, workloads=5000, events=events)
    said = format_early_end(Outcome(story, seconds=306.0))
    assert "'kapok' ended after 5.1 of 15 simulated minutes and 1 of 2 events" in said


def test_the_shortest_story_keeps_only_the_events_that_show_it() -> None:
    events, tries = _draw(7)[:64], 0
    needed = {events[5], events[41]}

    def shows(kept: Sequence[Event]) -> bool:
        nonlocal tries
        tries += 1
        return needed <= set(kept)

    assert set(find_minimal(events, shows)) == needed
    assert tries < 64
    assert find_minimal(events, lambda _: True) == []
