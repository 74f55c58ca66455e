"""Runs a story, shows each moment to the checker, and counts."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks._chaos.checker.promises import Checker
from benchmarks._chaos.checker.sight import Sight, Violation
from benchmarks._chaos.clock import IdleLoop, StoryEndedError
from benchmarks._chaos.figures import Figures
from benchmarks._chaos.happenings import happen
from benchmarks._chaos.story import Event, Story
from benchmarks._chaos.view import Viewer
from benchmarks._chaos.world import STEP_SECONDS, World, make_world

_WHOLE_SECONDS = 10.0
_CALM_SECONDS = 600.0
_SAVED_STEPS = 7  # the broker writes to its disk now and then


@dataclass(slots=True)
class Outcome:
    """What a story came to.

    Attributes:
        story: the story.
        steps: number of steps.
        seconds: simulated seconds that have passed.
        kills: number of schedulers that were killed.
        violations: what broke a promise.
        own_outages: how often no site ran the hub, where it is work of the fleet.
        figures: what was measured.
        digest: SHA-256, in hexadecimal, of every status that the hub took and every record, in
            order; two runs with one digest have done the same.
    """

    story: Story
    steps: int = 0
    seconds: float = 0.0
    kills: int = 0
    violations: list[Violation] = field(default_factory=list)
    own_outages: int = 0
    figures: Figures = field(default_factory=Figures)
    digest: str = ""


def run_story(
    story: Story,
    *,
    stops_at: Callable[[Violation], bool] = lambda _: False,
    prepare: Callable[[World], None] = lambda _: None,
    is_late: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Runs a story to its end.

    Args:
        story: the story.
        stops_at: ends it at the first violation of which this is true.
        prepare: changes the world before the first step, for tests of the checker.
        is_late: ends it before its time, also within a step, without the checks of its rest.
    """
    loop = IdleLoop()
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)  # a fault is counted, and told by the checker
    try:
        return loop.run_until_complete(_run(story, stops_at, prepare, is_late))
    finally:
        logging.getLogger().setLevel(level)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _run(
    story: Story,
    stops_at: Callable[[Violation], bool],
    prepare: Callable[[World], None],
    is_late: Callable[[], bool],
) -> Outcome:
    outcome, world = Outcome(story), make_world(story)
    world.clock.is_late = is_late
    try:
        world.set_up()
        prepare(world)
        viewer, checker, waiting = Viewer(world), Checker(), list(story.events)
        calm_from = _calm_from(story.events)
        next_whole, seen = 0.0, hashlib.sha256()
        while world.clock.monotonic() < story.seconds and not is_late():
            try:
                await _let_happen(world, waiting)
                await world.step()
            except StoryEndedError:
                break
            outcome.steps += 1
            outcome.seconds = world.clock.monotonic()
            now = world.clock.monotonic()
            is_last = now >= story.seconds
            is_whole = now >= next_whole or is_last
            if is_whole:
                next_whole = now + _WHOLE_SECONDS
                if outcome.steps % _SAVED_STEPS == 0:
                    world.broker.save()
            sight = viewer.look(is_whole=is_whole, is_calm=is_last and now >= calm_from)
            _note(seen, sight)
            outcome.figures.look(sight)
            found = checker.look(sight)
            if world.own_hub is not None:
                found += world.own_hub.take_violations()
            outcome.violations += found
            if any(map(stops_at, found)):
                break
        outcome.own_outages = world.own_hub.outages if world.own_hub else 0
        outcome.kills, outcome.digest = world.kills, seen.hexdigest()
        return outcome
    finally:
        await world.close()


async def _let_happen(world: World, waiting: list[Event]) -> None:
    """Everything that is due before the end of the next step."""
    now = world.clock.monotonic() + STEP_SECONDS
    while waiting and waiting[0].at <= now:
        await happen(world, waiting.pop(0))
    for at, one in list(world.doomed):
        if at <= now:
            world.doomed.remove((at, one))
            if one in world.schedulers:
                await world.kill_scheduler(one)


def _note(seen: "hashlib._Hash", sight: Sight) -> None:
    """Adds what was written in the last step; the order of keys counts too."""
    for write in sight.writes:
        seen.update(json.dumps([write.at, write.lease_epoch, write.after]).encode())
    for row in sight.rows:
        seen.update(row.hash.encode())


def _calm_from(events: tuple[Event, ...]) -> float:
    """From when on the world has had time to come to rest."""
    ends = [one.at + one.seconds + (8 * 130.0 if one.kind == "flap" else 0.0) for one in events]
    return max(ends, default=0.0) + _CALM_SECONDS
