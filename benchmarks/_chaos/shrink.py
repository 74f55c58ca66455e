"""Finds a short story that still shows a violation: delta debugging of its events.

Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002). Every run is one
whole simulation, so the number of runs is bounded, and a story ends at the violation itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks._chaos.checker.sight import Violation
from benchmarks._chaos.run import run_story
from benchmarks._chaos.story import Event, Story

_QUIET_SECONDS = 900.0
MAX_RUNS = 40


def shrink(
    story: Story,
    violation: Violation,
    *,
    max_runs: int = MAX_RUNS,
    is_late: Callable[[], bool] = lambda: False,
) -> Story:
    """The shortest story found that breaks the same promise.

    Args:
        story: a story that breaks it.
        violation: what it showed.
        max_runs: so many shorter stories are tried at most.
        is_late: no more are tried, and the one that is tried is ended.
    """
    end = violation.at
    # What is only seen at rest needs the rest.
    is_at_rest = violation.at >= story.seconds - 1
    minutes = story.minutes if is_at_rest else min(story.minutes, (end + 60.0) / 60.0)
    events = tuple(one for one in story.events if one.at <= end)
    runs = 0

    def shows(kept: Sequence[Event]) -> bool:
        nonlocal runs
        if runs >= max_runs or is_late():
            return False
        runs += 1
        tried = replace(story, minutes=minutes, events=tuple(kept))
        found = run_story(
            tried, stops_at=lambda one: one.promise == violation.promise, is_late=is_late
        )
        return any(one.promise == violation.promise for one in found.violations)

    kept = find_minimal(events, shows)
    return replace(story, minutes=minutes, events=tuple(kept))


def find_minimal(events: Sequence[Event], shows: Callable[[Sequence[Event]], bool]) -> list[Event]:
    """The events without those that can be left out in blocks, then one by one.

    Args:
        events: all of them show it.
        shows: whether some of them do.
    """
    kept, blocks = list(events), 2
    while len(kept) > 1:
        size = max(1, len(kept) // blocks)
        for start in range(0, len(kept), size):
            without = kept[:start] + kept[start + size :]
            if shows(without):
                kept, blocks = without, max(blocks - 1, 2)
                break
        else:
            if size == 1:
                break
            blocks = min(len(kept), 2 * blocks)
    return kept if len(kept) != 1 or not shows([]) else []
