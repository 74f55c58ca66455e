"""Jobs that may wait a day, on five clusters with little capacity, by forecasts from the past only.

Capacity is reserved over time: a planned start keeps its room until its end. Each hour forecasts
are made again; what was planned stays. Lengths are stated by the jobs, exactly or up to 20 % wrong;
wrong ones keep a quarter more room than stated, which is enough for the longest.
"""

from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from random import Random

import numpy as np

from benchmarks._energy.traces import TICK_SECONDS, TICKS_PER_HOUR, Job, read_jobs
from benchmarks._energy.zones import read_zone
from scheduler.energy.forecasts.hourly import Floats
from scheduler.energy.forecasts.learned_blend import LearnedBlend

_ZONES = ("DE", "NL", "ES", "GB", "PL")
_FIRST_HOUR, _HOURS, _TRACE_HOURS = 7000, 400, 168
_PAST_HOURS, _AHEAD_HOURS = 40 * 24, 96
_LOADS = (0.5, 0.8)
_SLACK_HOURS, _AIM_HOURS = 24, 11.5  # half an hour below the 12 that are allowed
_SLOT_TICKS = 300 // TICK_SECONDS
_SLOTS_PER_HOUR = TICKS_PER_HOUR // _SLOT_TICKS
_SLACK = _SLACK_HOURS * _SLOTS_PER_HOUR
_WRONG, _ROOM = 0.2, 1.25
_PRICED_FROM_JOBS, _PRICED_EVERY_JOBS, _SETTLED_OVER_JOBS, _HALVINGS = 300, 25, 100, 14
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


@dataclass(slots=True)
class Plan:
    """What is reserved, and what came of it.

    Attributes:
        zones: intensities.
        cores: of each cluster.
        aim_hours: the mean wait that is aimed at; None: the slack only.
        used: cores in each slot; [zones, slots].
        grams, waits, misses: of the jobs so far.
        price: of an hour of waiting; follows from `seen`, cost and wait of the starts so far.
        early: ends of jobs before their reservation ends, with its cluster, end and cores.
    """

    zones: Zones
    cores: int
    aim_hours: float | None = None
    used: Floats = field(default_factory=lambda: np.zeros((len(_ZONES), _HOURS * _SLOTS_PER_HOUR)))
    grams: float = 0.0
    waits: list[float] = field(default_factory=list)
    misses: int = 0
    price: float = 0.0
    seen: list[tuple[Floats, Floats]] = field(default_factory=list)
    early: list[tuple[int, int, int, int]] = field(default_factory=list)

    def in_turn(self, job: Job) -> None:
        """Runs a job at the next cluster in rotation, as soon as it has room."""
        zone, first, slots = len(self.waits) % len(_ZONES), _slots(job.at), _slots(job.length)
        room = self._room(job, first, slots, self.used.shape[1] - slots)
        self._reserve(job, zone, int(first + np.argmax(room[zone])), slots, slots)

    def greedy(self, job: Job, stated: int) -> None:
        """Runs a job where it is expected to emit least, of all clusters and starts with room."""
        first, last = _slots(job.at), (job.at // _SLOT_TICKS) + _SLACK
        real, slots = _slots(job.length), _slots(stated)
        self._release(job.at // _SLOT_TICKS)
        room = self._room(job, first, slots, last)
        if not room.any():  # late, but as early as can be
            room = self._room(job, first, slots, self.used.shape[1] - slots)
            zone = int(np.argmin(np.where(room.any(axis=1), room.argmax(axis=1), _HOURS * 1000)))
            self._reserve(job, zone, int(first + room[zone].argmax()), slots, real)
            return
        sums = self.zones.expected_at(job.at // TICKS_PER_HOUR)
        starts = np.arange(first, last + 1)
        cost = np.where(room, (sums[:, starts + slots] - sums[:, starts]) * job.cores, np.inf)
        waits = (starts - first) / _SLOTS_PER_HOUR
        self._price(cost.min(axis=0), waits)
        zone, start = divmod(int(np.argmin(cost + self.price * waits)), len(starts))
        self._reserve(job, zone, first + start, slots, real)

    def _release(self, now: int) -> None:
        """Frees the rest of what was reserved for jobs that have ended earlier than stated."""
        for ended, zone, until, cores in self.early:
            if ended <= now:
                self.used[zone, now:until] -= cores
        self.early = [each for each in self.early if each[0] > now]

    def _room(self, job: Job, first: int, slots: int, last: int) -> Floats:
        full = self.used[:, first : last + slots] + job.cores > self.cores
        counts = np.pad(np.cumsum(full, axis=1), ((0, 0), (1, 0)))
        room: Floats = counts[:, slots:] == counts[:, :-slots]
        return room

    def _price(self, cost: Floats, waits: Floats) -> None:
        """The price of an hour at which the last jobs would have waited as long as is aimed at."""
        self.seen = [*self.seen[1 - _PRICED_FROM_JOBS :], (cost, waits)]
        if self.aim_hours is None or len(self.waits) % _PRICED_EVERY_JOBS:
            return
        left = self.aim_hours * len(self.waits) - sum(self.waits)
        aim = max(0.0, self.aim_hours + left / _SETTLED_OVER_JOBS)
        low, high = 0.0, 1e4
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            chosen = [hours[np.argmin(cost + middle * hours)] for cost, hours in self.seen]
            low, high = (middle, high) if np.mean(chosen) > aim else (low, middle)
        self.price = high

    def _reserve(self, job: Job, zone: int, start: int, slots: int, real: int) -> None:
        self.used[zone, start : start + slots] += job.cores
        if slots > real:
            self.early.append((start + real, zone, start + slots, job.cores))
        sums = self.zones.real[zone]
        self.grams += float(sums[start + real] - sums[start]) * job.cores
        self.waits.append((start * _SLOT_TICKS - job.at) / TICKS_PER_HOUR)
        self.misses += self.waits[-1] > _SLACK_HOURS


def _slots(ticks: int) -> int:
    return -(-ticks // _SLOT_TICKS)


def rows(data: Path | None, seed: int) -> list[dict[str, object]]:
    """One row for each load and policy."""
    jobs = read_jobs(data)
    series = [read_zone(data, zone) for zone in _ZONES]
    real = np.array([_sums(each[_FIRST_HOUR : _FIRST_HOUR + _HOURS]) for each in series])
    zones = Zones(real, series)
    return [row for load in _LOADS for row in _rows_of(zones, jobs, load, seed)]


def _rows_of(zones: Zones, jobs: list[Job], load: float, seed: int) -> list[dict[str, object]]:
    work = sum(job.length * job.cores for job in jobs) / TICKS_PER_HOUR / _TRACE_HOURS
    cores = ceil(work / load / len(_ZONES))
    rotation = Plan(zones, cores)
    for job in jobs:
        rotation.in_turn(job)
    plans = {"round-robin": rotation}
    for name, aim, wrong in (
        ("greedy", None, False),
        ("greedy-wait-12", _AIM_HOURS, False),
        ("greedy-wait-12-wrong-lengths", _AIM_HOURS, True),
    ):
        plans[name] = Plan(zones, cores, aim)
        chance = Random(seed)  # noqa: S311 - a simulation
        for job in jobs:
            off = _ROOM * chance.uniform(1 - _WRONG, 1 + _WRONG) if wrong else 1.0
            plans[name].greedy(job, max(job.length, ceil(job.length * off)))
    found: list[dict[str, object]] = [
        {
            "policy": name,
            "load": load,
            "cores_per_cluster": cores,
            "saving": round(1 - plan.grams / rotation.grams, 4),
            "mean_wait_hours": round(float(np.mean(plan.waits)), 2),
            "misses": plan.misses,
        }
        for name, plan in plans.items()
    ]
    bound = 1 - _least_grams(zones, jobs, cores) / rotation.grams
    return [*found, {"policy": "bound", "load": load, "saving": round(bound, 4)}]


def _least_grams(zones: Zones, jobs: list[Job], cores: int) -> float:
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
