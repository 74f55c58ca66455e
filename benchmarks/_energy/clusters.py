"""Jobs that may wait a day, on five clusters with little capacity, by forecasts from the past only.

Capacity is reserved over time (`scheduler.energy.plans.reserved_time`). Lengths are stated by the
jobs, exactly or up to 20 % wrong; a job that runs longer takes the room of plans, which are made
again. A cluster can be lost for a day: what ran there goes on elsewhere from its last hour, or
begins again.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from random import Random

import numpy as np

from benchmarks._energy.traces import INPUT as JOBS_INPUT
from benchmarks._energy.traces import TICK_SECONDS, TICKS_PER_HOUR, Job, read_jobs
from benchmarks._energy.zones import INPUT as ZONES_INPUT
from benchmarks._energy.zones import read_zone
from scheduler.energy.forecasts.hourly import Floats
from scheduler.energy.forecasts.learned_blend import LearnedBlend
from scheduler.energy.plans.reserved_time import (
    Outlook,
    ReservedRun,
    ReservedTime,
    TimedWork,
    improve_plans,
    plan_work,
    start_costs,
)
from scheduler.energy.plans.waiting_price import WaitingPrice

_ZONES = ("DE", "NL", "ES", "GB", "PL")
_FIRST_HOUR, _HOURS, _TRACE_HOURS = 7000, 400, 168
_PAST_HOURS, _AHEAD_HOURS = 40 * 24, 96
_LOADS = (0.5, 0.8)
_SLACK_HOURS, _AIM_HOURS = 24, 11.5  # half an hour below the 12 that are allowed
_SLOT_TICKS = 300 // TICK_SECONDS
_SLOTS_PER_HOUR = TICKS_PER_HOUR // _SLOT_TICKS
_SLACK = _SLACK_HOURS * _SLOTS_PER_HOUR
_WRONG, _PROLONGED = 0.2, 0.02
_SPARE_HOURS = 6
_LOST_HOURS = 24
_IMPROVED_EVERY_HOURS = 1
_INPUTS = f"{ZONES_INPUT}; {JOBS_INPUT}; power: equal for every core (assumed)"
_ROUNDS, _FIRST_STEP = 60, 40.0


@dataclass(slots=True)
class Zones:
    """Intensities of the zones, as they were and as they were expected at each hour."""

    real: Floats
    series: list[Floats]
    made: dict[int, Floats] = field(default_factory=dict)

    def expected_at(self, hour: int) -> Floats:
        """Sums by slot, known up to the hour and expected from then on; [zones, slots + 1]."""
        if hour not in self.made:
            self.made[hour] = np.array([self._expected(each, hour) for each in self.series])
        return self.made[hour]

    def _expected(self, series: Floats, hour: int) -> Floats:
        now = _FIRST_HOUR + hour
        ahead = LearnedBlend().forecast(series[now - _PAST_HOURS : now], _AHEAD_HOURS).expected
        known = series[_FIRST_HOUR:now]
        late = np.full(max(0, _HOURS - hour - _AHEAD_HOURS), ahead[-24:].mean())
        return _sums(np.concatenate([known, ahead, late])[:_HOURS])


def _sums(hours: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.repeat(hours, _SLOTS_PER_HOUR))]) / _SLOTS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Trial:
    """What happens in a run.

    Attributes:
        cores: of each cluster.
        aim_hours: the mean wait that is aimed at; None: the slack only.
        wrong: how far stated lengths may be off.
        lost: a cluster and the slot in which it is lost for a day; None: none is.
        resumes: whether its jobs go on elsewhere from their last hour, or begin again.
        spare_hours: before the latest start; kept for what is planned again.
        improves: whether plans are improved each hour.
    """

    cores: int
    aim_hours: float | None = None
    wrong: float = 0.0
    lost: tuple[int, int] | None = None
    resumes: bool = True
    spare_hours: int = 0
    improves: bool = False


@dataclass(slots=True)
class Progress:
    """A job on its way.

    Attributes:
        job: the job.
        left: slots that it still runs, as it is; the planner knows what is stated.
        stated: slots that are stated of `left`.
        done: slots that count as done.
    """

    job: Job
    left: int
    stated: int
    done: int = 0


@dataclass(slots=True)
class Run:
    """One run: jobs arrive, are planned, start, end, run longer, and lose their cluster.

    Attributes:
        zones: intensities.
        trial: what happens.
        grams: of all that ran, also of what is lost.
        waits: hours from the arrival to the first start, of each job.
        late, inevitable: jobs that end too late, and how many of them no plan could have saved.
    """

    zones: Zones
    trial: Trial
    reserved: ReservedTime = field(init=False)
    price: WaitingPrice = field(init=False)
    grams: float = 0.0
    waits: list[float] = field(default_factory=list)
    late: int = 0
    inevitable: int = 0
    _jobs: dict[str, Progress] = field(default_factory=dict)
    _events: list[tuple[int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Empty clusters."""
        size = (len(_ZONES), _HOURS * _SLOTS_PER_HOUR)
        self.reserved = ReservedTime(np.full(size, self.trial.cores, np.int64))
        aim = self.trial.aim_hours
        self.price = WaitingPrice(None if aim is None else aim * _SLOTS_PER_HOUR)

    def all(self, jobs: list[Job], chance: Random) -> None:
        """Runs all jobs to their ends."""
        for number, job in enumerate(jobs):
            real = _slots(job.length)
            stated = ceil(real * chance.uniform(1 - self.trial.wrong, 1 + self.trial.wrong))
            self._jobs[str(number)] = Progress(job, real, max(1, stated))
            heapq.heappush(self._events, (_slots(job.at), _ARRIVES, str(number)))
        if self.trial.lost is not None:
            place, at = self.trial.lost
            heapq.heappush(self._events, (at, _IS_LOST, str(place)))
            heapq.heappush(self._events, (at + _LOST_HOURS * _SLOTS_PER_HOUR, _IS_BACK, str(place)))
        happens = {
            _ENDS: self._end,
            _IS_LOST: self._lose,
            _IS_BACK: self._regain,
            _OVERRUNS: self._prolong,
            _ARRIVES: self._arrive,
            _STARTS: self._start,
            _IS_IMPROVED: self._improve,
        }
        if self.trial.improves:
            heapq.heappush(self._events, (0, _IS_IMPROVED, ""))
        while self._events:
            now, kind, key = heapq.heappop(self._events)
            happens[kind](key, now)

    def _arrive(self, key: str, now: int) -> None:
        job = self._jobs[key].job
        work = self._work(key, now, job.at // _SLOT_TICKS + _SLACK)
        cost, waits = start_costs(self.reserved, work, self._sums(now), now, work.latest)
        if np.isfinite(cost).any():
            self.price.see(cost.min(axis=0), waits)
        self._plan([work], now, dict(self.reserved.plans))
        planned = self.reserved.plans.get(key)
        if planned is not None:
            self.price.waited(planned.start - job.at / _SLOT_TICKS)

    def _work(self, key: str, now: int, latest: int) -> TimedWork:
        progress = self._jobs[key]
        return TimedWork(key, progress.job.cores, progress.stated, now, latest)

    def _plan(self, works: list[TimedWork], now: int, before: dict[str, ReservedRun]) -> None:
        plan_work(self.reserved, works, self._outlook(now))
        self._note_starts(before)

    def _improve(self, _key: str, now: int) -> None:
        before = dict(self.reserved.plans)
        improve_plans(self.reserved, self._outlook(now))
        self._note_starts(before)
        if self._events:
            later = now + _IMPROVED_EVERY_HOURS * _SLOTS_PER_HOUR
            heapq.heappush(self._events, (later, _IS_IMPROVED, ""))

    def _outlook(self, now: int) -> Outlook:
        spare = self.trial.spare_hours * _SLOTS_PER_HOUR
        return Outlook(self._sums(now), now, self.price.price, spare)

    def _note_starts(self, before: dict[str, ReservedRun]) -> None:
        for key, run in self.reserved.plans.items():
            if before.get(key) != run:
                heapq.heappush(self._events, (run.start, _STARTS, key))

    def _start(self, key: str, now: int) -> None:
        planned = self.reserved.plans.get(key)
        if planned is None or planned.start != now:
            return  # it was planned again
        run = self.reserved.begin(key)
        progress = self._jobs[key]
        if not progress.done:
            wait = now - progress.job.at / _SLOT_TICKS
            self.waits.append(wait / _SLOTS_PER_HOUR)
        heapq.heappush(self._events, (now + progress.left, _ENDS, key))
        heapq.heappush(self._events, (run.end, _OVERRUNS, key))

    def _end(self, key: str, now: int) -> None:
        run = self.reserved.running.get(key)
        if run is None or now != run.start + self._jobs[key].left:
            return  # its cluster was lost
        self._emit(run, now)
        self.reserved.end(key, now)
        progress = self._jobs[key]
        allowed = progress.job.at // _SLOT_TICKS + _SLACK + _slots(progress.job.length)
        self.late += now > allowed

    def _prolong(self, key: str, now: int) -> None:
        run = self.reserved.running.get(key)
        if run is None or run.end != now:
            return
        until = now + max(1, ceil(_PROLONGED * self._jobs[key].stated))
        before = dict(self.reserved.plans)
        voided = self.reserved.prolong(key, until)
        heapq.heappush(self._events, (until, _OVERRUNS, key))
        self._plan(voided, now, before)

    def _lose(self, key: str, now: int) -> None:
        before = dict(self.reserved.plans)
        stopped, voided = self.reserved.lose(int(key), now)
        for run in stopped:
            self._emit(run, now)
            voided.append(self._stop(run, now))
        self._plan(sorted(voided, key=lambda work: work.latest), now, before)

    def _stop(self, run: ReservedRun, now: int) -> TimedWork:
        """What is left of a job whose cluster is lost, with the latest start that is in time."""
        progress = self._jobs[run.work.key]
        hours = (now - run.start) // _SLOTS_PER_HOUR if self.trial.resumes else 0
        kept = hours * _SLOTS_PER_HOUR
        progress.done += kept
        progress.left -= kept
        progress.stated = max(1, progress.stated - kept)
        if not self.trial.resumes:
            progress.left, progress.done = _slots(progress.job.length), 1
        latest = progress.job.at // _SLOT_TICKS + _SLACK + (progress.done if kept else 0)
        self.inevitable += latest < now
        return self._work(run.work.key, now, latest)

    def _regain(self, key: str, now: int) -> None:
        self.reserved.regain(int(key), now, self.trial.cores)

    def _emit(self, run: ReservedRun, now: int) -> None:
        sums = self.zones.real[run.place]
        self.grams += float(sums[now] - sums[run.start]) * run.work.cores

    def _sums(self, now: int) -> Floats:
        return self.zones.expected_at(now // _SLOTS_PER_HOUR)


_ENDS, _IS_LOST, _IS_BACK, _OVERRUNS, _ARRIVES, _IS_IMPROVED, _STARTS = range(7)
"""In the order in which they happen in one slot."""


def in_turn(zones: Zones, jobs: list[Job], cores: int) -> Run:
    """FIFO in rotation: each job runs at the next cluster, as soon as it has room."""
    run = Run(zones, Trial(cores))
    for number, job in enumerate(jobs):
        place, first, slots = number % len(_ZONES), _slots(job.at), _slots(job.length)
        work = TimedWork(str(number), job.cores, slots, first, 0)
        room = run.reserved.starts_with_room(work, first, run.reserved.used.shape[1])
        start = first + int(np.argmax(room[place]))
        run.reserved.reserve(work, place, start)
        sums = zones.real[place]
        run.grams += float(sums[start + slots] - sums[start]) * job.cores
        run.waits.append(start / _SLOTS_PER_HOUR - job.at / TICKS_PER_HOUR)
        run.late += run.waits[-1] > _SLACK_HOURS
    return run


def _slots(ticks: int) -> int:
    return -(-ticks // _SLOT_TICKS)


def rows(data: Path | None, seed: int) -> list[dict[str, object]]:
    """One row for each load and policy.

    Raises:
        FileNotFoundError: a data set is missing.
        ValueError: an hour or a job is wrong.
    """
    jobs = read_jobs(data)
    zones = zones_of([read_zone(data, zone) for zone in _ZONES])
    return [
        {**row, "inputs": _INPUTS} for load in _LOADS for row in _rows_of(zones, jobs, load, seed)
    ]


def zones_of(series: list[Floats]) -> Zones:
    """Zones of yearly series, of which the hours of the experiment are real."""
    real = np.array([_sums(each[_FIRST_HOUR : _FIRST_HOUR + _HOURS]) for each in series])
    return Zones(real, series)


def _trials(cores: int, seed: int) -> Iterator[tuple[str, Trial]]:
    yield "greedy", Trial(cores)
    yield "greedy-wait-12", Trial(cores, _AIM_HOURS)
    safe = Trial(cores, _AIM_HOURS, spare_hours=_SPARE_HOURS, improves=True)
    yield "safe-wait-12", safe
    wrong = replace(safe, wrong=_WRONG)
    yield "wrong-lengths", wrong
    chance = Random(seed)  # noqa: S311 - a simulation
    for place, zone in enumerate(_ZONES):
        at = chance.randrange(12, _TRACE_HOURS - 12) * _SLOTS_PER_HOUR
        lost = replace(wrong, lost=(place, at))
        yield f"wrong-lengths-lost-{zone}", lost
        yield f"wrong-lengths-lost-{zone}-begins-again", replace(lost, resumes=False)


def cores_for(jobs: list[Job], load: float) -> int:
    """The cores of each cluster with which the trace is a mean load."""
    work = sum(job.length * job.cores for job in jobs) / TICKS_PER_HOUR / _TRACE_HOURS
    return ceil(work / load / len(_ZONES))


def _rows_of(zones: Zones, jobs: list[Job], load: float, seed: int) -> Iterator[dict[str, object]]:
    cores = cores_for(jobs, load)
    rotation = in_turn(zones, jobs, cores)
    yield _row("round-robin", load, rotation, rotation)
    for name, trial in _trials(cores, seed):
        run = Run(zones, trial)
        run.all(jobs, Random(seed))  # noqa: S311 - a simulation
        yield _row(name, load, run, rotation)
    bound = 1 - least_grams(zones, jobs, cores) / rotation.grams
    yield {"policy": "bound", "load": load, "saving": round(bound, 4)}


def _row(name: str, load: float, run: Run, rotation: Run) -> dict[str, object]:
    return {
        "policy": name,
        "load": load,
        "cores_per_cluster": run.trial.cores,
        "saving": round(1 - run.grams / rotation.grams, 4),
        "mean_wait_hours": round(float(np.mean(run.waits)), 2),
        "misses": run.late,
        "inevitable": run.inevitable,
        "unfinished": len(run.reserved.running),
    }


def least_grams(zones: Zones, jobs: list[Job], cores: int) -> float:
    """No plan emits less: the Lagrangian bound of the linear program, by subgradient steps.

    A core in a slot has a price; each job takes its cheapest place at these prices, and what the
    capacity would earn is taken off. That is a lower bound at any prices that are not negative.
    """
    prices = np.zeros((len(_ZONES), _HOURS * _SLOTS_PER_HOUR))
    best = 0.0
    for turn in range(_ROUNDS):
        sums = zones.real + np.pad(np.cumsum(prices, axis=1), ((0, 0), (1, 0)))
        wanted, least = np.zeros_like(prices), 0.0
        for job in jobs:
            first, last = _slots(job.at), job.at // _SLOT_TICKS + _SLACK
            slots, starts = _slots(job.length), np.arange(first, last + 1)
            cost = sums[:, starts + slots] - sums[:, starts]
            zone, start = divmod(int(np.argmin(cost)), len(starts))
            least += float(cost[zone, start]) * job.cores
            wanted[zone, first + start : first + start + slots] += job.cores
        best = max(best, least - float(prices.sum()) * cores)
        step = _FIRST_STEP / _SLOTS_PER_HOUR / cores / (1 + turn / 5)
        prices = np.maximum(0.0, prices + step * (wanted - cores))
    return best
