"""Deadlines hold over a day: runs take a fifth longer, forecasts were wrong, a site is lost.

Each run plays a day of the engine: at every half hour and at every planned start workloads are
decided again, in any order, on forecasts that have changed since.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import pytest

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import PlannedRun
from scheduler.model.demand.terms import Terms
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.in_flight import planned_runs, with_planned
from tests.support.counts import seeds
from tests.support.sites import NOW, Raw, demand, facts_of, grant, nodes, site, workload

TERMS = Terms(overrun_ratio=0.2)
STEP, DAY = timedelta(minutes=30), timedelta(hours=30)


@dataclass
class Job:
    """One job: what it asks, and what has become of it."""

    wanted: Demand
    arrives_at: datetime
    start_at: datetime | None = None
    is_promised: bool = False
    site: str = ""
    begun_at: datetime | None = None
    restarts: int = 0

    @property
    def longest(self) -> timedelta:
        return timedelta(seconds=(self.wanted.schedule.duration_seconds or 0) * 1.2)

    def is_running(self, now: datetime) -> bool:
        return self.begun_at is not None and now < self.begun_at + self.longest


@dataclass
class City:
    """Sites of single nodes, jobs of one core, and the plans between them."""

    chance: random.Random
    cores: dict[str, int]
    jobs: list[Job]
    lost: str = ""
    lost_from: datetime = NOW + 100 * DAY

    def __post_init__(self) -> None:
        self.planned: dict[str, tuple[PlannedRun, ...]] = dict.fromkeys(self.cores, ())

    def fleet_at(self, now: datetime) -> Fleet:
        """The sites as they are now; what they forecast is drawn again each time."""
        found = []
        for name, cores in self.cores.items():
            if name == self.lost and now >= self.lost_from:
                continue
            busy = sum(job.site == name and job.is_running(now) for job in self.jobs)
            assert busy <= cores, (name, now)
            facts = facts_of(self._raw_site(name, cores - busy, now), grant(name))
            found.append(msgspec.structs.replace(facts, planned=self.planned[name]))
        return Fleet(found)

    def _raw_site(self, name: str, free: int, now: datetime) -> Raw:
        steps = [
            {
                "at": (now + timedelta(hours=hour)).isoformat(),
                "gco2PerKwh": self.chance.choice([100.0, 300.0, 600.0, 900.0]),
            }
            for hour in range(30)
        ]
        observed = now.isoformat()
        spec = {
            "energy": {
                "pue": 1.2,
                "forecast": {"origin": "modelled", "observedAt": observed, "steps": steps},
            },
            "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.0},
        }
        intensity = {"gco2PerKwh": 600.0, "origin": "measured", "observedAt": observed}
        one = site(name, nodes(1, cpu=str(free), memory="64Gi"), spec=spec, intensity=intensity)
        one["status"]["observedAt"] = observed
        return one

    def play(self) -> None:
        now = NOW
        while now < NOW + DAY:
            self._lose(now)
            due = [job for job in self.jobs if job.begun_at is None and job.arrives_at <= now]
            for job in self.chance.sample(due, len(due)):
                self._decide(job, now)
            starts = [job.start_at for job in self.jobs if job.start_at and job.start_at > now]
            now = min([now + STEP, *starts])

    def _lose(self, now: datetime) -> None:
        if not self.lost or now < self.lost_from:
            return
        self.planned[self.lost] = ()
        for job in self.jobs:
            if job.site == self.lost and job.is_running(now):
                job.site, job.begun_at, job.start_at = "", None, None
                job.restarts += 1

    def _decide(self, job: Job, now: datetime) -> None:
        decision = choose(job.wanted, self.fleet_at(now), now=now, terms=TERMS)
        runs = planned_runs(job.wanted, decision.start_at, decision.planned)
        for name, there in self.planned.items():
            self.planned[name] = with_planned(there, job.wanted.key, runs.get(name))
        job.start_at = decision.start_at
        job.is_promised |= bool(runs)
        if decision.phase == "Placed":
            job.site, job.begun_at = decision.assignment[0].site, now


def jobs_of(chance: random.Random, count: int, least_slack: float) -> list[Job]:
    found = []
    for number in range(count):
        arrives_at = NOW + timedelta(minutes=30 * chance.randrange(20))
        hours = chance.choice([1, 1, 2, 3])
        deadline = arrives_at + timedelta(hours=hours * 1.2 + chance.uniform(least_slack, 12))
        schedule = {"deadline": deadline.isoformat(), "durationSeconds": hours * 3600}
        asked = workload(
            1, name=f"job-{number}", placement={"preset": "green-batch"}, schedule=schedule
        )
        found.append(Job(demand(asked), arrives_at))
    return found


def misses(jobs: list[Job]) -> list[tuple[str, datetime | None]]:
    """The jobs that had a planned start, and that do not end in time."""
    return [
        (job.wanted.key, job.begun_at)
        for job in jobs
        if job.is_promised
        and job.wanted.schedule.deadline is not None
        and (job.begun_at is None or job.begun_at + job.longest > job.wanted.schedule.deadline)
    ]


@pytest.mark.parametrize("seed", seeds(60, gate=3))
def test_whoever_has_a_plan_ends_in_time_on_sites_that_are_nearly_full(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test, seeded
    cores = {"m1": 1, "m2": chance.choice([1, 2])}
    city = City(chance, cores, jobs_of(chance, 14, least_slack=1.0))
    city.play()
    assert any(job.is_promised for job in city.jobs)
    assert misses(city.jobs) == []


@pytest.mark.parametrize("seed", seeds(60, gate=3))
def test_a_site_that_is_lost_for_a_day_costs_no_deadline_where_others_have_room(
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test, seeded
    jobs = jobs_of(chance, 10, least_slack=1.0)
    city = City(chance, {"m1": 10, "m2": 10}, jobs, lost="m1")
    city.lost_from = NOW + timedelta(hours=chance.randrange(1, 14))
    city.play()
    assert all(job.begun_at is not None for job in jobs if not job.restarts)
    assert misses([job for job in jobs if not job.restarts]) == []
    assert all(job.site == "m2" for job in jobs if job.restarts and job.begun_at)
