"""A grid asks each of twelve sites for a quarter of its power, for three hours.

Work is drawn from the public jobs, with services beside them; lengths are stated up to 20 % wrong.
What the site promises before (`promised_watts`) is compared with the best that a solver finds, and
with what was delivered: the plan is made again every five minutes from what really runs. Requests
are met from half a minute after they come, or they are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from random import Random

import numpy as np

from benchmarks._energy.traces import INPUT as JOBS_INPUT
from benchmarks._energy.traces import TICK_SECONDS, Job, read_jobs
from scheduler.energy.forecasts.hourly import Floats
from scheduler.energy.plans.grid_event import (
    SheddableWork,
    SheddingWay,
    plan_shedding,
    promised_watts,
    ways_of,
)
from scheduler.placement.solver.highs import IntegerProgram, LinearTerm

_SITES, _CORES, _LOADS = 12, 64, (0.5, 0.8)
_SLOT_SECONDS = 30
_SLOTS, _REACTION = 3 * 3600 // _SLOT_SECONDS, 1
_EVERY_SLOTS = 300 // _SLOT_SECONDS
_ASKED_SHARE, _WRONG = 0.25, 0.2
_WATTS_PER_CORE, _PUE = 3.3, 1.3
_SLACK_HOURS = 24
_SERVICE_SHARE, _PAUSABLE_SHARE, _ELASTIC_SHARE, _MOVABLE_SHARE = 0.3, 0.6, 0.2, 0.5
_MOVING_SLOTS = 4
_BOUND_NODES, _BOUND_GAP = 300, 0.005
_BOUND_EVERY_SLOTS = 6
_INPUTS = (
    f"{JOBS_INPUT}; power: assumed (3.3 W a core, PUE 1.3); services, deadlines, what may pause, "
    "be slowed or move: drawn"
)


@dataclass(slots=True)
class SiteWork:
    """A piece of work at a site, as it really is.

    Attributes:
        work: what the planner knows of it.
        left: slots that it still runs; None: it is a service.
        deadline: the slot in which it must have ended; None: none.
        way: how it goes now; None: as usual.
        since: the slot from which the way counts.
        is_gone: whether it runs elsewhere.
        ran: slots that it has run, which begin again elsewhere.
        before: its share when it was ordered last, which holds while the order travels.
    """

    work: SheddableWork
    left: float | None
    deadline: int | None
    way: SheddingWay | None = None
    since: int = 0
    is_gone: bool = False
    ran: float = 0.0
    before: float = 1.0

    def share_at(self, slot: int) -> float:
        """The share of its parallelism that it runs at here."""
        if self.is_gone or (self.left is not None and self.left <= 0):
            return 0.0
        way, at = self.way, slot - self.since
        if at < _REACTION:
            return self.before
        if way is None or at < way.begin or at >= way.end:
            return 1.0
        if way.action == "move" and at < self.work.moving:
            return 1.0
        return way.share

    def known(self, slot: int, latest: float | None, *, is_paused: bool) -> SheddableWork:
        """What the planner knows of it in a slot; `latest` is how long it runs at most."""
        if latest is None:
            return self.work
        left = max(1, ceil(latest))
        spare = None if self.deadline is None else max(0, self.deadline - slot - left)
        begin = _REACTION if is_paused else 0
        if spare is not None:
            spare = max(0, spare - begin)
        return replace(
            self.work,
            ends_in=begin + left,
            starts_in=begin,
            spare=spare,
            lost_by_moving=ceil(self.ran),
        )


@dataclass(slots=True)
class Delivered:
    """What came of a request.

    Attributes:
        asked: watts.
        watts: what the site drew in each slot; [slots].
        missed: works that cannot keep their deadlines.
    """

    asked: float
    drawn_before: float
    watts: list[float] = field(default_factory=list)
    missed: int = 0

    @property
    def shed(self) -> Floats:
        """Watts below what was drawn before, of what was asked; [slots]."""
        shed: Floats = np.clip(self.drawn_before - np.array(self.watts), 0.0, self.asked)
        return shed

    @property
    def held_share(self) -> float:
        """The slots from the reaction time on in which the whole request is met."""
        return float((self.shed[_REACTION:] >= self.asked - 1e-6).mean())


def rows(data: Path | None, seed: int) -> list[dict[str, object]]:
    """One row for each load.

    Raises:
        FileNotFoundError: the data set is missing.
        ValueError: a job is wrong.
    """
    jobs = read_jobs(data)
    return [_row(jobs, load, seed) for load in _LOADS]


def _row(jobs: Sequence[Job], load: float, seed: int) -> dict[str, object]:
    promised, best, runs, largest = [], [], [], []
    chance = Random(seed)  # noqa: S311 - a simulation
    sites = [draw_site(jobs, load, chance, site) for site in range(_SITES)]
    free = {f"site-{site:02d}": _CORES - _used(each) for site, each in enumerate(sites)}
    for site, works in enumerate(sites):
        room = {name: cores for name, cores in free.items() if name != f"site-{site:02d}"}
        known = [each.work for each in works]
        drawn = sum(work.watts for work in known)
        most = promised_watts(known, slots=_SLOTS, reaction=_REACTION, room=room)
        promised.append(most / drawn)
        best.append(best_watts(known, room) / drawn)
        runs.append(carry_out(works, min(most, _ASKED_SHARE * drawn), room))
        largest.append(carry_out(works, most, room))
    return {
        "load": load,
        "sites": _SITES,
        "asked_share": _ASKED_SHARE,
        "met": sum(run.asked >= _ASKED_SHARE * run.drawn_before - 1e-6 for run in runs),
        "reaction_seconds": _REACTION * _SLOT_SECONDS,
        "held_share_least": round(min(run.held_share for run in runs), 4),
        "delivered_of_promised_kwh": round(_kwh_share(runs), 4),
        "promised_share": round(float(np.mean(promised)), 4),
        "promised_of_best": round(float(np.sum(promised) / np.sum(best)), 4),
        "promised_of_best_least": round(min(np.array(promised) / np.array(best)), 4),
        "delivered_of_largest_kwh": round(_kwh_share(largest), 4),
        "misses": sum(run.missed for run in runs),
        "misses_of_largest": sum(run.missed for run in largest),
        "inputs": _INPUTS,
    }


def _kwh_share(runs: Sequence[Delivered]) -> float:
    whole = sum(run.asked * (_SLOTS - _REACTION) for run in runs)
    return float(sum(run.shed[_REACTION:].sum() for run in runs)) / whole


def _used(works: Sequence[SiteWork]) -> int:
    return sum(each.work.cores for each in works)


def draw_site(jobs: Sequence[Job], load: float, chance: Random, site: int) -> list[SiteWork]:
    """Works of one site: services, and jobs somewhere on their way."""
    works: list[SiteWork] = []
    while _used(works) < load * _CORES:
        key = f"{site}-{len(works)}"
        # A job is met as often as it is long.
        job = chance.choices(jobs, [each.length * each.cores for each in jobs])[0]
        works.append(_drawn(key, job, chance))
    return works


def _drawn(key: str, job: Job, chance: Random) -> SiteWork:
    is_service = chance.random() < _SERVICE_SHARE
    elsewhere = tuple(f"site-{site:02d}" for site in chance.sample(range(_SITES), 3))
    moves = elsewhere if chance.random() < _MOVABLE_SHARE else ()
    work = SheddableWork(
        key=key,
        priority=chance.choice((0, 0, 1, 2)),
        watts=job.cores * _WATTS_PER_CORE * _PUE,
        cores=job.cores,
        can_pause=not is_service and chance.random() < _PAUSABLE_SHARE,
        least_share=0.5 if chance.random() < _ELASTIC_SHARE else 1.0,
        may_move_to=moves,
        moving=_MOVING_SLOTS,
    )
    if is_service:
        return SiteWork(work, None, None)
    real = job.length * TICK_SECONDS / _SLOT_SECONDS
    stated = real * chance.uniform(1 - _WRONG, 1 + _WRONG)
    ran = chance.random() * real
    waited = chance.random() * _SLACK_HOURS * 3600 / _SLOT_SECONDS
    allowed = int(_SLACK_HOURS * 3600 / _SLOT_SECONDS - waited + real - ran) + 1
    found = SiteWork(work, max(1.0, real - ran), allowed, ran=ran)
    latest = max(1.0, stated / (1 - _WRONG) - ran)
    return replace(found, work=found.known(0, latest, is_paused=False))


def carry_out(works: Sequence[SiteWork], asked: float, room: Mapping[str, int]) -> Delivered:
    """Holds a request, planning again every five minutes from what really runs."""
    own = [replace(each) for each in works]
    known_left: dict[str, float | None] = {each.work.key: each.work.ends_in for each in own}
    free = dict(room)
    run = Delivered(asked, sum(each.work.watts for each in own))
    for slot in range(_SLOTS):
        if slot % _EVERY_SLOTS == 0 and slot < _SLOTS - _REACTION:
            _plan(own, known_left, slot, run, free)
        drawn = 0.0
        for each in own:
            share = each.share_at(slot)
            drawn += share * each.work.watts
            advance(each, share, slot, known_left, free)
        run.watts.append(drawn)
    run.missed = sum(
        each.left is not None
        and each.deadline is not None
        and each.left > 0
        and _SLOTS + each.left > each.deadline
        for each in own
    )
    return run


def _plan(
    own: list[SiteWork],
    known_left: Mapping[str, float | None],
    slot: int,
    run: Delivered,
    free: Mapping[str, int],
) -> None:
    here = [
        each for each in own if not each.is_gone and not (each.left is not None and each.left <= 0)
    ]
    moving = [each for each in here if each.way is not None and each.way.action == "move"]
    rest = [each for each in here if each not in moving]
    known = {}
    for each in rest:
        is_paused = each.share_at(slot) == 0.0
        known[each.work.key] = each.known(slot, known_left[each.work.key], is_paused=is_paused)
    # What is on its way elsewhere draws power until it is gone, and has no other way.
    leaving = [
        SheddableWork(
            key=f"leaving {each.work.key}",
            priority=0,
            watts=each.work.watts,
            ends_in=each.since + each.work.moving - slot,
            spare=0,
        )
        for each in moving
        if each.since + each.work.moving > slot
    ]
    plan = plan_shedding(
        [*known.values(), *leaving],
        limit_watts=run.drawn_before - run.asked,
        slots=_SLOTS - slot,
        reaction=_REACTION,
        room=free,
    )
    for each in rest:
        each.before, each.way = each.share_at(slot), plan.ways.get(each.work.key)
        each.since = slot


def advance(
    each: SiteWork,
    share: float,
    slot: int,
    known_left: dict[str, float | None],
    free: dict[str, int],
) -> None:
    """One slot of a work goes by; a job that has moved begins again elsewhere.

    Args:
        each: the work.
        share: of its parallelism that it ran at here.
        slot: the slot.
        known_left: slots that each work runs at most, as the planner counts.
        free: room of the other sites.
    """
    key, way = each.work.key, each.way
    left = known_left[key]
    share = 1.0 if each.is_gone else share
    each.ran += share
    if each.left is not None and each.left > 0:
        each.left -= share
        if each.left <= 0 and each.deadline is not None and slot + 1 > each.deadline:
            each.left = 1e9  # it has ended, and too late
    if left is not None:
        known_left[key] = max(1.0, left - share)
    if way is not None and way.action == "move" and slot - each.since >= each.work.moving:
        free[way.site] -= each.work.cores
        each.is_gone, each.way = True, None
        if each.left is not None:  # it begins again
            each.left += each.ran


def best_watts(works: Sequence[SheddableWork], room: Mapping[str, int]) -> float:
    """The most that any choice of ways sheds, by an integer program; never less than the best.

    Every sixth slot is looked at, which can only make the program's answer larger.
    """
    program = IntegerProgram()
    drawn = sum(work.watts for work in works)
    shed = program.add_variable(0, int(drawn), -1.0)
    slots = [_REACTION, *range(_REACTION + _BOUND_EVERY_SLOTS, _SLOTS, _BOUND_EVERY_SLOTS)]
    terms: list[list[LinearTerm]] = [[LinearTerm(shed, 1.0)] for _ in slots]
    taken: dict[str, list[LinearTerm]] = {}
    for work in works:
        chosen = []
        for way in ways_of(work, _SLOTS, _REACTION):
            variable = program.add_variable(0, 1, 0.0)
            chosen.append(LinearTerm(variable, 1.0))
            for row, slot in zip(terms, slots, strict=True):
                if way.watts[slot]:
                    row.append(LinearTerm(variable, float(way.watts[slot])))
            if way.site:
                taken.setdefault(way.site, []).append(LinearTerm(variable, float(work.cores)))
        program.add_constraint(chosen, 1, 1)
    for row in terms:
        program.add_constraint(row, None, drawn)
    for site, cores in taken.items():
        program.add_constraint(cores, None, room.get(site, 0))
    found = program.solve(max_nodes=_BOUND_NODES, relative_gap=_BOUND_GAP)
    if found is None:
        return drawn
    return min(drawn, float(found.values[0]) * (1 + found.gap) + 1.0)
