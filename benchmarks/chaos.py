"""A simulated day: sites, links, brokers and schedulers fail, and every promise is checked.

One process, a clock that is moved by hand, and one seed: the same seed gives the same story. After
every step a checker that shares no code with the scheduler looks at what is exported (objects,
orders, reports, records) and at what really runs. A violation is printed with the seed and the
shortest story that was found to show it.

Two rows beside the first one run the same story for comparison: `no storm control` lets evictions
go on while most of the fleet is silent, and `evict all at once` replaces a site as soon as it is
silent, too.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from benchmarks._chaos.run import Outcome, run_story
from benchmarks._chaos.shrink import MAX_RUNS, shrink
from benchmarks._chaos.story import Story, draw_story
from benchmarks._chaos.world import VARIANTS

_ANSWERED, _MOST_SHRUNK = 7, 3
"""The promise that nothing accepted is lost; so many violations are made shorter."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--minutes",
        type=float,
        default=15.0,
        help="simulated minutes; all rows and shorter stories together end after as many real ones"
        " at the latest, and stderr says which row ended before its story; a site is replaced when"
        " it has been silent for 300 s, and the last 15 minutes are quiet, so stories of fewer than"
        " about 30 minutes seldom hold a recovery (default: %(default)s)",
    )
    parser.add_argument(
        "--sites", type=int, default=200, help="number of sites (default: %(default)s)"
    )
    parser.add_argument(
        "--workloads", type=int, default=5000, help="workloads at first (default: %(default)s)"
    )
    parser.add_argument(
        "--report-seconds",
        type=float,
        default=30.0,
        help="time between two reports of a site (default: %(default)s)",
    )
    parser.add_argument(
        "--pause-seconds",
        type=float,
        default=15.0,
        help="mean time between two events (default: %(default)s)",
    )
    parser.add_argument(
        "--kill-seconds",
        type=float,
        metavar="MEAN",
        help="more kills of schedulers and brokers, with this mean time between two; the other"
        " events of the seed stay (default: no more)",
    )
    parser.add_argument(
        "--own-seconds",
        type=float,
        metavar="MEAN",
        help="broker and schedulers are pods of the fleet that they serve; with this mean time"
        " between two events at their own sites: power, cuts, drains by their own orders (default:"
        " they run outside)",
    )
    parser.add_argument(
        "--variant", choices=VARIANTS, action="append", help="only this row; may be repeated"
    )
    parser.add_argument(
        "--shrink-runs",
        type=int,
        default=MAX_RUNS,
        help="shorter stories tried for each violation (default: %(default)s)",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row for each variant of the same story."""
    story = draw_story(
        arguments.seed,
        minutes=arguments.minutes,
        sites=arguments.sites,
        workloads=arguments.workloads,
        report_seconds=arguments.report_seconds,
        mean_pause_seconds=arguments.pause_seconds,
        mean_kill_seconds=arguments.kill_seconds,
        mean_own_seconds=arguments.own_seconds,
    )
    variants = arguments.variant or VARIANTS
    begun, limit = time.monotonic(), arguments.minutes * 60.0
    found = []
    for number, variant in enumerate(variants, start=1):
        is_late = partial(_is_over, begun + limit * number / len(variants))
        outcome = run_story(replace(story, variant=variant), is_late=is_late)
        if outcome.seconds < story.seconds:
            sys.stderr.write(f"seed {story.seed}: {format_early_end(outcome)}\n")
        found.append(outcome)
    for outcome in found:
        if outcome.story.variant == VARIANTS[0]:
            _tell(outcome, arguments.shrink_runs, partial(_is_over, begun + limit))
    return [row_of(outcome) for outcome in found]


def _is_over(end: float) -> bool:
    return time.monotonic() > end


def row_of(outcome: Outcome) -> dict[str, object]:
    """The figures of a story as a row."""
    figures, story = outcome.figures, outcome.story
    return {
        "variant": story.variant,
        "seed": story.seed,
        "sites": story.sites,
        "workloads": story.workloads,
        "minutes": round(outcome.seconds / 60.0, 1),
        "events": len(story.events),
        "steps": outcome.steps,
        "kills": outcome.kills,
        "own_outages": outcome.own_outages,
        "digest": outcome.digest,
        "violations": len(outcome.violations),
        "lost": sum(one.promise == _ANSWERED for one in outcome.violations),
        "doubled": figures.doubled,
        "detect_p50_seconds": quantile(figures.detect_seconds, 0.5),
        "detect_p99_seconds": quantile(figures.detect_seconds, 0.99),
        "recover_p50_seconds": quantile(figures.recover_seconds, 0.5),
        "recover_p99_seconds": quantile(figures.recover_seconds, 0.99),
        "moves": figures.moves,
        "least_moves": figures.least_moves,
        "unplaced_minutes_by_priority": {
            str(priority): round(minutes, 1)
            for priority, minutes in sorted(figures.unplaced_minutes.items())
        },
    }


def quantile(values: Sequence[float], ratio: float) -> float | None:
    """The value that a share of all does not exceed; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(ratio * len(ordered)))] if ordered else None


def _tell(outcome: Outcome, shrink_runs: int, is_late: Callable[[], bool]) -> None:
    """Prints each violation, and for the first of each promise its seed and shortest story."""
    told: set[int] = set()
    for one in outcome.violations:
        sys.stderr.write(f"seed {outcome.story.seed}: {one}\n")
        if one.promise in told or len(told) >= _MOST_SHRUNK or not shrink_runs:
            continue
        told.add(one.promise)
        short = shrink(outcome.story, one, max_runs=shrink_runs, is_late=is_late)
        sys.stderr.write(f"{format_story(short)}\n")


def format_early_end(outcome: Outcome) -> str:
    """Says how far a row has come whose real time was over before its story was."""
    story, minutes = outcome.story, outcome.seconds / 60.0
    happened = sum(one.at <= outcome.seconds for one in story.events)
    return (
        f"the row '{story.variant}' ended after {minutes:.1f} of {story.minutes:g} simulated"
        f" minutes and {happened} of {len(story.events)} events, because its share of the real"
        " time was over; use fewer --sites and --workloads, one --variant, or more --minutes"
    )


def format_story(story: Story) -> str:
    """A story for people, with the words that repeat it."""
    lines = "\n".join(f"  {event}" for event in story.events) or "  (no event is needed)"
    return (
        f"  shortest story found, {story.minutes:.0f} minutes, seed {story.seed},"
        f" {story.sites} sites, {story.workloads} workloads:\n{lines}"
    )
