"""A planned start keeps its room: no two plans share it, and new work sees it as taken."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.model.canonical import canonical_json
from scheduler.model.decision import Decision, decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import examples
from tests.support.sites import NOW, Raw, demand, fleet_of, nodes, site, workload

TERMS = Terms(overrun_ratio=0.2)
GRAMS = st.sampled_from([100.0, 300.0, 600.0, 900.0])


def in_hours(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def place(name: str, cores: Sequence[int], grams: Sequence[float]) -> Raw:
    """A site of nodes with so many free cores, and a forecast from this hour on."""
    steps = [{"at": in_hours(hour), "gco2PerKwh": each} for hour, each in enumerate(grams)]
    spec = {
        "energy": {
            "pue": 1.2,
            "forecast": {"origin": "modelled", "observedAt": in_hours(-1), "steps": steps},
        },
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.0},
    }
    intensity = {"gco2PerKwh": grams[0], "origin": "measured", "observedAt": in_hours(0)}
    classes = [nodes(1, cpu=str(each)) for each in cores]
    return site(name, *classes, spec=spec, intensity=intensity)


def job(
    number: int, *, cores: int = 1, replicas: int = 1, hours: int = 1, deadline: float = 12.0
) -> Demand:
    """A job that can wait; of 0 hours it is a service, which runs from now on."""
    schedule = {"deadline": in_hours(deadline), "durationSeconds": hours * 3600} if hours else {}
    raw = workload(
        replicas, name=f"job-{number}", placement={"preset": "green-batch"}, schedule=schedule
    )
    one = demand(raw)
    pods = one.unit[0]
    shape = msgspec.structs.replace(pods.shape, requests={"cpu": cores * 1000, "pods": 1})
    return msgspec.structs.replace(one, unit=(msgspec.structs.replace(pods, shape=shape),))


jobs = st.lists(
    st.fixed_dictionaries(
        {
            "cores": st.integers(1, 3),
            "replicas": st.integers(1, 2),
            "hours": st.sampled_from([0, 1, 1, 2, 3]),
            "deadline": st.sampled_from([4.0, 8.0, 12.0]),
        }
    ),
    min_size=2,
    max_size=8,
)
places = st.lists(
    st.fixed_dictionaries(
        {
            "cores": st.lists(st.integers(1, 4), min_size=1, max_size=2),
            "grams": st.lists(GRAMS, min_size=14, max_size=14),
        }
    ),
    min_size=1,
    max_size=2,
)


@dataclass(frozen=True)
class Run:
    """What one workload has at one site: pods of so many cores, from one second to another."""

    site: str
    pods: tuple[int, ...]
    begin: int
    end: int


FOR_EVER = 10**9


def runs_of(one: Demand, decision: Decision) -> list[Run]:
    """The runs of a decision, each as long as it may be; a service has no end."""
    cores = one.unit[0].shape.requests["cpu"] // 1000
    seconds = one.schedule.duration_seconds or 0
    longest = round(seconds * (1 + TERMS.overrun_ratio)) if seconds else FOR_EVER
    begin = 0 if decision.start_at is None else round((decision.start_at - NOW).total_seconds())
    return [
        Run(each.site, (cores,) * each.replicas, begin, begin + longest)
        for each in (*decision.assignment, *decision.planned)
        if each.replicas
    ]


def is_packed(pods: Iterable[int], free: Iterable[int]) -> bool:
    """Whether pods find nodes, by trying all ways."""
    sizes, rooms = sorted(pods, reverse=True), Counter(free)
    if not sizes:
        return True
    return any(
        is_packed(sizes[1:], (rooms - Counter([room]) + Counter([room - sizes[0]])).elements())
        for room in list(rooms)
        if rooms[room] > 0 and room >= sizes[0]
    )


@given(drawn=places, asked=jobs)
@settings(max_examples=examples(150), deadline=None)
def test_whatever_is_planned_and_placed_has_room_at_every_instant(
    drawn: list[Raw], asked: list[dict[str, Any]]
) -> None:
    fleet = fleet_of(
        *(place(f"m{number}", one["cores"], one["grams"]) for number, one in enumerate(drawn))
    )
    runs: list[Run] = []
    for number, one in enumerate(asked):
        wanted = job(number, **one)
        decision = choose(wanted, fleet, now=NOW, terms=TERMS)
        fleet.assume(wanted, decision)
        runs += runs_of(wanted, decision)
        if decision.start_at is not None:
            longest = timedelta(hours=one["hours"] * (1 + TERMS.overrun_ratio))
            assert wanted.schedule.deadline is not None
            assert decision.start_at + longest <= wanted.schedule.deadline
    for instant in {run.begin for run in runs}:
        for number, one in enumerate(drawn):
            pods = [
                size
                for run in runs
                if run.site == f"m{number}" and run.begin <= instant < run.end
                for size in run.pods
            ]
            assert is_packed(pods, one["cores"])


@given(
    grams=st.lists(GRAMS, min_size=14, max_size=14),
    cores=st.integers(1, 3),
    hours=st.lists(st.integers(1, 2), min_size=2, max_size=7),
)
@settings(max_examples=examples(100), deadline=None)
def test_each_plan_is_the_cleanest_start_that_the_plans_before_it_leave(
    grams: list[float], cores: int, hours: list[int]
) -> None:
    fleet, runs = fleet_of(place("m0", [cores], grams)), list[Run]()
    for number, each in enumerate(hours):
        wanted, length = job(number, hours=each), each * 3600
        decision = choose(wanted, fleet, now=NOW, terms=TERMS)
        fleet.assume(wanted, decision)
        longest = round(length * (1 + TERMS.overrun_ratio))
        last = 12 * 3600 - longest - 300
        hourly = range(3600, 14 * 3600, 3600)
        beside = [*(run.end for run in runs), *(run.begin - longest for run in runs)]
        cleanest = min(
            (
                mean_of(grams, start, length)
                for start in (0, last, *hourly, *(hour - length for hour in hourly), *beside)
                if 0 <= start <= last and has_core(runs, cores, start, start + longest)
            ),
            default=None,
        )
        # What is placed now is in flight in these facts, whatever the time.
        found = [
            replace(run, end=FOR_EVER) if decision.start_at is None else run
            for run in runs_of(wanted, decision)
        ]
        if cleanest is None:
            assert not found
            continue
        assert len(found) == 1
        # Waiting for less than 5 % is not worth it.
        assert mean_of(grams, found[0].begin, length) <= cleanest * 1.06
        runs += found


def mean_of(grams: Sequence[float], start: int, length: int) -> float:
    """The mean of the hours of a run, each in its share."""
    parts = [
        max(0, min(start + length, (hour + 1) * 3600) - max(start, hour * 3600)) * each
        for hour, each in enumerate(grams)
    ]
    return sum(parts) / length


def has_core(runs: Sequence[Run], cores: int, start: int, end: int) -> bool:
    """Whether a core is free from `start` to `end`."""
    instants = [start, *(run.begin for run in runs if start < run.begin < end)]
    return all(sum(run.begin <= instant < run.end for run in runs) < cores for instant in instants)


CLEAN_AT_3 = [600.0] * 3 + [100.0] + [600.0] * 10


def planned_fleet() -> Fleet:
    """A site of one core, whose only clean hour is planned for the first job."""
    fleet, first = fleet_of(place("m0", [1], CLEAN_AT_3)), job(0)
    decision = choose(first, fleet, now=NOW, terms=TERMS)
    assert decision.start_at == NOW + timedelta(hours=3)
    fleet.assume(first, decision)
    return fleet


def test_a_run_that_ends_before_a_planned_start_may_use_its_room_until_then() -> None:
    short = job(1, hours=2)
    schedule = msgspec.structs.replace(short.schedule, deadline=None)
    for hours, phase in ((2, "Placed"), (3, "Waiting")):
        timed = msgspec.structs.replace(schedule, duration_seconds=hours * 3600)
        asked = msgspec.structs.replace(short, schedule=timed)
        decision = choose(asked, planned_fleet(), now=NOW, terms=TERMS)
        assert decision.phase == phase
        assert decision.reasons == ({} if phase == "Placed" else {"full": 1})


def test_a_service_does_not_take_the_room_of_a_planned_start() -> None:
    fleet, service = planned_fleet(), job(1, hours=0)
    decision = choose(service, fleet, now=NOW, terms=TERMS)
    assert (decision.phase, decision.reasons) == ("Waiting", {"full": 1})
    fit = explain(service, fleet, now=NOW, terms=TERMS).sites[0].verdicts[-1]
    assert "room there is kept for the planned starts of 1 other workloads" in str(fit.sentence)


def test_work_of_a_higher_priority_does_not_see_the_plans_of_a_lower_one() -> None:
    urgent = msgspec.structs.replace(job(1, hours=0), priority=1)
    assert choose(urgent, planned_fleet(), now=NOW, terms=TERMS).phase == "Placed"


def test_work_that_finds_only_planned_room_gets_a_start_behind_it() -> None:
    decision = choose(job(1, hours=4), planned_fleet(), now=NOW, terms=TERMS)
    assert decision.start_at == NOW + timedelta(hours=3 + 1.2)
    assert decision.line == (
        "start planned at 2026-11-23T12:13:00Z on m0 (1): there is no room for it before;"
        " latest start 2026-11-23T16:01:00Z"
    )


def test_a_workload_does_not_stand_in_its_own_way() -> None:
    fleet, first = planned_fleet(), job(0)
    again = choose(first, fleet, now=NOW, terms=TERMS)
    assert again.start_at == NOW + timedelta(hours=3)
    fleet.assume(first, again)
    assert [one.workload for one in fleet.facts_of("m0").planned] == ["ns/job-0"]


@pytest.mark.parametrize("kind", ["job", "service"])
def test_a_decision_beside_plans_is_repeated_byte_for_byte_from_its_record(kind: str) -> None:
    fleet, asked = planned_fleet(), job(1, hours=4 if kind == "job" else 0)
    first = choose(asked, fleet, now=NOW, terms=TERMS)
    recorded = [canonical_json(each) for each in fleet.all_facts()]
    stored = Fleet([msgspec.json.decode(each, type=SiteFacts) for each in recorded])
    assert decision_bytes(choose(asked, stored, now=NOW, terms=TERMS)) == decision_bytes(first)
