"""Jobs that may wait, on one grid: the published policies of GAIA (ASPLOS'24), and ours.

Every policy sees the intensities of the hours ahead, as the published ones do. Only Ecovisor may
suspend; none but the bound knows the length of a job, but all know whether it is of the queue of up
to two hours, or of the other. Ours learns lengths from jobs that ran before, and a mean wait
is aimed at by a price of waiting that follows from the jobs so far.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._energy.traces import INPUT as JOBS_INPUT
from benchmarks._energy.traces import TICKS_PER_HOUR, Job, mean_lengths, read_jobs
from benchmarks._energy.zones import INPUT as ZONES_INPUT
from benchmarks._energy.zones import zone_hours
from scheduler.energy.forecasts.hourly import Floats
from scheduler.energy.forecasts.run_lengths import run_lengths, tempered_cost

Ticks = NDArray[np.int64]

ZONE, FIRST_HOUR, HOURS = "AU-SA", 7000, 720
_SHORT_HOURS = 2
_WAIT_HOURS = {True: 6, False: 24}
"""How long a job of the queue of short jobs may wait, and one of the other."""
_ADMITS_HOURS = {True: (1 / 12, 2.0), False: (2.0, 24.0)}
_STARTS_PER_HOUR = 4
_WINDOW_OF_ECOVISOR_HOURS, _QUANTILE_OF_ECOVISOR = 24, 0.3
_PRICED_FROM_JOBS, _PRICED_EVERY_JOBS, _SETTLED_OVER_JOBS, _HALVINGS = 300, 10, 100, 24
_BOUNDS_HOURS = (6.64, 4.73)
_PUBLISHED_CARBON = {
    "at-once": 1.0,
    "lowest-slot": 0.780037,
    "lowest-window": 0.683704,
    "carbon-time": 0.724888,
    "ecovisor": 0.639105,
}
"""On AU-SA from hour 7000 of 2022, as GAIA's notebook has it."""
_INPUTS = f"{ZONES_INPUT}; {JOBS_INPUT}; power: equal for every core (assumed)"


@dataclass(frozen=True, slots=True)
class Grid:
    """Intensity by tick, and its sum up to each tick."""

    by_tick: Floats
    sums: Floats

    def cost(self, starts: Ticks, lengths: Ticks | int) -> Floats:
        """Grams over kilowatts, in hours of ticks, of runs that are cut at the end."""
        last = len(self.sums) - 1
        cost: Floats = self.sums[np.minimum(starts + lengths, last)] - self.sums[starts]
        return cost


@dataclass(frozen=True, slots=True)
class Study:
    """What the policies are given: the grid, and mean lengths of both queues."""

    grid: Grid
    means: dict[bool, int]

    def starts(self, job: Job) -> Ticks:
        """The starts that the published policies try: every hour from the arrival on."""
        return np.arange(job.at, job.at + _wait(job) + 1, TICKS_PER_HOUR)


Policy = Callable[[Study, Job], int]


def rows(
    data: Path | None, *, zone: str = ZONE, first_hour: int = FIRST_HOUR
) -> list[dict[str, object]]:
    """One row for each policy; on the published hours those of GAIA beside the published figures.

    Raises:
        FileNotFoundError: a data set is missing.
        ValueError: an hour or a job is wrong, or the hours do not last.
    """
    jobs = read_jobs(data)
    found = zone_hours(data, zone)
    hours = found.hours[first_hour : first_hour + HOURS] if first_hour >= 0 else found.hours[:0]
    last = max(job.at + job.length + _wait(job) for job in jobs) // TICKS_PER_HOUR
    if len(hours) <= last:
        raise ValueError(f"{zone} from hour {first_hour} on: jobs need {last + 1} hours")
    by_tick = np.repeat(hours, TICKS_PER_HOUR)
    grid = Grid(by_tick, np.concatenate([[0.0], np.cumsum(by_tick)]))
    short, long = mean_lengths(data, _SHORT_HOURS * 3600)
    study = Study(grid, {True: int(short), False: int(long)})
    at_once = sum(_grams(grid, job, job.at) for job in jobs)
    made = [_row(name, study, jobs, policy, at_once) for name, policy in _PUBLISHED.items()]
    made.append({"policy": "ecovisor", "carbon": round(_ecovisor(study, jobs) / at_once, 6)})
    for bound in (None, *_BOUNDS_HOURS):
        name = "learned-lengths" + (f"-wait-{bound}" if bound else "")
        made.append(_row(name, study, jobs, LearnedLengths(bound), at_once))
    is_published = (zone, first_hour) == (ZONE, FIRST_HOUR)
    published = _PUBLISHED_CARBON if is_published else {}
    described = {"zone": zone, "flags": "; ".join(found.flags), "inputs": _INPUTS}
    return [{**row, "published": published.get(str(row["policy"])), **described} for row in made]


def _row(
    name: str, study: Study, jobs: Sequence[Job], policy: Policy, at_once: float
) -> dict[str, object]:
    starts = [policy(study, job) for job in jobs]
    grams = sum(_grams(study.grid, job, at) for job, at in zip(jobs, starts, strict=True))
    waits = [(at - job.at) / TICKS_PER_HOUR for job, at in zip(jobs, starts, strict=True)]
    late = sum(at > job.at + _wait(job) for job, at in zip(jobs, starts, strict=True))
    return {
        "policy": name,
        "carbon": round(grams / at_once, 6),
        "mean_wait_hours": round(float(np.mean(waits)), 3),
        "late": late,
    }


def _is_short(job: Job) -> bool:
    return job.length < _SHORT_HOURS * TICKS_PER_HOUR


def _wait(job: Job) -> int:
    return _WAIT_HOURS[_is_short(job)] * TICKS_PER_HOUR


def _grams(grid: Grid, job: Job, at: int) -> float:
    return float(grid.sums[at + job.length] - grid.sums[at]) * job.cores


def _lowest_slot(study: Study, job: Job) -> int:
    return job.at + int(np.argmin(study.grid.by_tick[job.at : job.at + _wait(job) + 1]))


def _lowest_window(study: Study, job: Job) -> int:
    starts = study.starts(job)
    return int(starts[np.argmin(study.grid.cost(starts, study.means[_is_short(job)]))])


def _carbon_time(study: Study, job: Job) -> int:
    starts, length = study.starts(job), study.means[_is_short(job)]
    cost = study.grid.cost(starts, length)
    return int(starts[np.argmax((cost[0] - cost) / (starts - job.at + length))])


def _lengths_known(study: Study, job: Job) -> int:
    starts = study.starts(job)
    return int(starts[np.argmin(study.grid.cost(starts, job.length))])


_PUBLISHED: dict[str, Policy] = {
    "at-once": lambda _study, job: job.at,
    "lowest-slot": _lowest_slot,
    "lowest-window": _lowest_window,
    "carbon-time": _carbon_time,
    "bound-lengths-known": _lengths_known,
}


def _ecovisor(study: Study, jobs: Sequence[Job]) -> float:
    """Runs below a quantile of the day ahead, and always once it has waited its time."""
    grid, total = study.grid, 0.0
    day = _WINDOW_OF_ECOVISOR_HOURS * TICKS_PER_HOUR
    for job in jobs:
        limit = np.quantile(grid.by_tick[job.at : job.at + day], _QUANTILE_OF_ECOVISOR)
        ahead = grid.by_tick[job.at : job.at + job.length + _wait(job)]
        runs = ahead < limit
        waited = np.cumsum(~runs)
        runs |= (waited > _wait(job)) | ((waited == _wait(job)) & runs)
        total += float(ahead[np.flatnonzero(runs)[: job.length]].sum()) * job.cores
    return total


@dataclass(slots=True)
class LearnedLengths:
    """Starts where the carbon of the lengths that the queue has shown is least.

    Attributes:
        bound_hours: the mean wait that is aimed at; None: the limits of the queues only.
        begun: start and length of the jobs of both queues so far; a length is read only as far
            as it has run.
        seen: costs and waits of the starts of all jobs so far, to price waiting by.
        price: of an hour of waiting.
        waited: hours of all jobs so far.
    """

    bound_hours: float | None
    begun: dict[bool, list[tuple[int, int]]] = field(default_factory=lambda: {True: [], False: []})
    seen: list[tuple[Floats, Floats]] = field(default_factory=list)
    price: float = 0.0
    waited: float = 0.0

    def __call__(self, study: Study, job: Job) -> int:
        """The start of a job."""
        starts = _quarters(job, len(study.grid.by_tick))
        cost = self._cost(study, job, starts)
        waits = (starts - job.at) / TICKS_PER_HOUR
        self.seen.append((cost, waits))
        if self.bound_hours is not None and len(self.seen) % _PRICED_EVERY_JOBS == 0:
            left = self.bound_hours * len(self.seen) - self.waited
            target = max(0.0, self.bound_hours + left / _SETTLED_OVER_JOBS)
            self.price = _price(self.seen[-_PRICED_FROM_JOBS:], target)
        start = int(starts[np.argmin(cost + self.price * waits)])
        self.waited += (start - job.at) / TICKS_PER_HOUR
        self.begun[_is_short(job)].append((start, job.length))
        return start

    def _cost(self, study: Study, job: Job, starts: Ticks) -> Floats:
        begun = [each for each in self.begun[_is_short(job)] if each[0] < job.at]
        ran = np.array([min(length, job.at - start) for start, length in begun], np.float64)
        ended = np.array([start + length <= job.at for start, length in begun], np.bool_)
        shortest, longest = _ADMITS_HOURS[_is_short(job)]
        admits = (shortest * TICKS_PER_HOUR, longest * TICKS_PER_HOUR)
        lengths = run_lengths(ran, ended, admits=admits)
        ticks = lengths.seconds.astype(np.int64)
        return tempered_cost(study.grid.cost(starts[:, None], ticks), lengths)


def _quarters(job: Job, ticks: int) -> Ticks:
    """The arrival, each quarter of an hour, and the last start that the queue allows."""
    step, last = TICKS_PER_HOUR // _STARTS_PER_HOUR, min(job.at + _wait(job), ticks - 1)
    return np.unique([job.at, *range(-(-job.at // step) * step, last + 1, step), last])


def _price(seen: Sequence[tuple[Floats, Floats]], bound_hours: float) -> float:
    """The lowest price of an hour with which the jobs so far wait no more than the bound."""

    def mean_wait(price: float) -> float:
        return float(np.mean([waits[np.argmin(cost + price * waits)] for cost, waits in seen]))

    if mean_wait(0.0) <= bound_hours:
        return 0.0
    low, high = 0.0, max(float(cost.max() - cost.min()) for cost, _ in seen) * TICKS_PER_HOUR
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_wait(middle) > bound_hours else (low, middle)
    return high
