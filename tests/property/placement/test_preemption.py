"""Preemption on small fleets, against every set of victims and every assignment of their pods."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import PossibleVictim, VictimShare
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, Raw, demand, facts_of, grant, site, workload

OLDEST = datetime(2026, 1, 1, tzinfo=UTC)
FREE = dict[str, list[tuple[int, int]]]
"""Free (cores, GiB) of each node, by site."""


@dataclass
class Other:
    """A workload that runs: replicas by site, of so many cores and GiB."""

    name: str
    priority: int
    cpu: int
    memory: int
    replicas: dict[str, int]
    gang: bool = False
    budget_left: int | None = None
    age_days: int = 0


@dataclass
class Case:
    free: FREE
    others: list[Other]
    priority: int
    replicas: int
    cpu: int
    memory: int
    silent: set[str] = field(default_factory=set)


def some_case(random: Random) -> Case:
    sites = [f"s{number}" for number in range(random.randrange(1, 4))]
    free = {
        name: [
            (random.randrange(4), random.randrange(4)) for _ in range(random.choice((1, 1, 2, 3)))
        ]
        for name in sites
    }
    others = []
    for number in range(random.randrange(1, 4)):
        at = random.sample(sites, random.choice((1, 1, min(2, len(sites)))))
        others.append(
            Other(
                name=f"ns/v{number}",
                priority=random.choice((-5, 0, 10, 10, 20, 60)),
                cpu=random.randrange(1, 4),
                memory=random.randrange(4),
                replicas={name: random.choice((1, 1, 2)) for name in at},
                gang=random.random() < 0.25,
                budget_left=random.choice((None, None, 0, 1)),
                age_days=random.randrange(3),
            )
        )
    return Case(
        free=free,
        others=others,
        priority=random.choice((10, 50)),
        replicas=random.randrange(1, 4),
        cpu=random.randrange(1, 5),
        memory=random.randrange(1, 4),
        silent={name for name in sites if random.random() < 0.1},
    )


# ---------------------------------------------------------------- by brute force


def room_at(case: Case, name: str, freed: list[Other]) -> int:
    """The fewest replicas that the site takes, over every assignment of freed pods to nodes."""
    least = None
    for places in product(range(len(case.free[name])), repeat=len(freed)):
        nodes = [list(one) for one in case.free[name]]
        for place, other in zip(places, freed, strict=True):
            nodes[place][0] += other.cpu
            nodes[place][1] += other.memory
        taken = sum(min(cpu // case.cpu, memory // case.memory) for cpu, memory in nodes)
        least = taken if least is None else min(least, taken)
    return least or 0


def all_sets(case: Case) -> list[dict[tuple[int, str], int]]:
    ways = []
    for number, other in enumerate(case.others):
        if other.priority >= case.priority:
            continue
        if other.gang:
            if not case.silent & other.replicas.keys():
                whole = {(number, name): count for name, count in other.replicas.items()}
                ways.append([{}, whole])
            continue
        for name, count in other.replicas.items():
            if name not in case.silent:
                ways.append([{}] + [{(number, name): some} for some in range(1, count + 1)])
    return [
        {key: count for part in parts for key, count in part.items()} for parts in product(*ways)
    ]


def best_set(case: Case) -> dict[tuple[str, str], int] | None:
    """The least harmful set of victims with which all replicas fit; None: none does."""
    known: dict[tuple[str, tuple[int, ...]], int] = {}

    def room(name: str, freed: tuple[int, ...]) -> int:
        if (name, freed) not in known:
            known[name, freed] = room_at(case, name, [case.others[number] for number in freed])
        return known[name, freed]

    ranked = []
    for ended in all_sets(case):
        if not ended:
            continue
        totals: dict[int, int] = {}
        for (number, _), count in ended.items():
            totals[number] = totals.get(number, 0) + count
        victims = [case.others[number] for number in totals]
        beyond = sum(
            max(0, count - budget)
            for number, count in totals.items()
            if (budget := case.others[number].budget_left) is not None
        )
        rank = (
            beyond,
            max(one.priority for one in victims),
            sum(max(0, one.priority) for one in victims),
            sum(totals.values()),
            max(one.age_days for one in victims),
            sorted((case.others[n].name, name, count) for (n, name), count in ended.items()),
        )
        ranked.append((rank, ended))
    for _, ended in sorted(ranked, key=lambda each: each[0]):
        total = 0
        for name in case.free.keys() - case.silent:
            freed = [
                n for (n, where), count in ended.items() if where == name for _ in range(count)
            ]
            total += room(name, tuple(sorted(freed)))
        if total >= case.replicas:
            return {(case.others[n].name, name): count for (n, name), count in ended.items()}
    return None


# ---------------------------------------------------------------- by the engine


def fleet_of_case(case: Case) -> Fleet:
    all_facts = []
    for name, nodes in case.free.items():
        rows = [{"cpu": str(cpu), "memory": f"{memory}Gi", "pods": 110} for cpu, memory in nodes]
        status: Raw = {}
        if name in case.silent:
            status["conditions"] = [{"type": "Ready", "status": "False", "reason": "Silent"}]
        raw = site(name, {"architecture": "amd64", "free": rows}, **status)
        all_facts.append(facts_of(raw, grant(name)))
    return Fleet(all_facts)


def demand_of_case(case: Case) -> Demand:
    asked = {"cpu": str(case.cpu), "memory": f"{case.memory}Gi"}
    found = demand(workload(case.replicas, name="p", requests=asked, priority=case.priority))
    return msgspec.structs.replace(
        found, preemption="LowerPriority", victims=tuple(map(victim_of, case.others))
    )


def victim_of(other: Other) -> PossibleVictim:
    requests = {"cpu": other.cpu * 1000, "memory": other.memory << 30, "pods": 1}
    return PossibleVictim(
        workload=other.name,
        priority=other.priority,
        created_at=NOW - timedelta(days=other.age_days + 1),
        unit=(Pods(shape=PodShape(requests=requests), count=1),),
        shares=tuple(VictimShare(site=s, replicas=n) for s, n in other.replicas.items()),
        gang=other.gang,
        budget="b" if other.budget_left is not None else "",
        budget_left=other.budget_left,
    )


def decided(case: Case) -> Decision:
    return choose(demand_of_case(case), fleet_of_case(case), now=NOW)


def test_the_victims_are_those_of_least_harm_over_all_sets_and_assignments() -> None:
    random, preempted, hopeless = Random(7), 0, 0  # noqa: S311 - a test, seeded
    for number in range(250):
        case = some_case(random)
        decision = decided(case)
        best = best_set(case)
        if decision.phase != "Waiting":
            assert decision.preemption is None
            continue
        found = decision.preemption
        if found is None:
            assert best is None, (number, case, best)
            hopeless += 1
            continue
        preempted += 1
        ended = {(one.workload, one.site): one.replicas for one in found.victims}
        assert ended == best, (number, case)
        assert found.least
        assert sum(one.replicas for one in found.place) == case.replicas
    assert preempted > 30, preempted
    assert hopeless > 30, hopeless


def test_without_its_word_nothing_ends_for_a_workload() -> None:
    random = Random(8)  # noqa: S311 - a test, seeded
    for _ in range(40):
        case = some_case(random)
        never = msgspec.structs.replace(demand_of_case(case), preemption="Never")
        assert choose(never, fleet_of_case(case), now=NOW).preemption is None


def test_many_victims_are_enough_and_none_of_them_is_superfluous() -> None:
    random, seen = Random(9), 0  # noqa: S311 - a test, seeded
    for _ in range(12):
        case = some_case(random)
        case.silent.clear()
        case.others = [
            Other(f"ns/v{n}", random.randrange(40), random.randrange(1, 4), 1, {where: 2})
            for n in range(12)
            for where in [random.choice(sorted(case.free))]
        ]
        case.priority, case.replicas = 50, random.randrange(1, 6)
        decision = decided(case)
        if decision.preemption is None:
            continue
        seen += 1
        ended = {(one.workload, one.site): one.replicas for one in decision.preemption.victims}
        assert fits_with(case, ended)
        for key in ended:
            fewer = {k: count - (k == key) for k, count in ended.items()}
            assert not fits_with(case, fewer), (case, ended, key)
    assert seen > 3


def fits_with(case: Case, ended: dict[tuple[str, str], int]) -> bool:
    """Whether the engine places it with these victims, each of which must be used as it is."""
    by_name = {one.name: one for one in case.others}
    allowed = [
        msgspec.structs.replace(victim_of(by_name[name]), shares=(share,))
        for (name, where), count in ended.items()
        if count
        for share in [VictimShare(site=where, replicas=count)]
    ]
    asked = msgspec.structs.replace(demand_of_case(case), victims=tuple(allowed))
    decision = choose(asked, fleet_of_case(case), now=NOW)
    return decision.phase == "Placed" or decision.preemption is not None


# ---------------------------------------------------------------- pods that depend on each other


def test_a_set_of_pods_takes_the_room_of_others_on_a_site_of_few_nodes() -> None:
    one = site("s", {"architecture": "amd64", "free": [{"cpu": "0", "memory": "8Gi", "pods": 9}]})
    fleet = Fleet([facts_of(one, grant("s"))])
    other = Other("ns/v", 10, 2, 1, {"s": 3})
    asked = {"cpu": 1000, "memory": 1 << 30, "pods": 1}
    small, large = PodShape(requests=asked), PodShape(requests={**asked, "cpu": 3000})
    raw = workload(1, name="p", priority=50)
    of_two = msgspec.structs.replace(
        demand(raw),
        unit=(Pods(shape=small, count=1), Pods(shape=large, count=1)),
        preemption="LowerPriority",
        victims=(victim_of(other),),
    )
    found = choose(of_two, fleet, now=NOW).preemption
    assert found is not None
    assert [(each.replicas, each.keep) for each in found.victims] == [(2, 1)]
    nodes = [{"cpu": "0", "memory": "8Gi", "pods": 9}] * 2
    two = Fleet([facts_of(site("s", {"architecture": "amd64", "free": nodes}), grant("s"))])
    found = choose(of_two, two, now=NOW).preemption
    assert found is not None
    assert [(each.replicas, each.keep) for each in found.victims] == [(3, 0)], "wherever they run"


def test_where_it_is_not_known_what_pods_leave_free_none_ends() -> None:
    nodes = [{"cpu": "0", "memory": f"{9 + n}Gi", "pods": 9} for n in range(40)]
    many = Fleet([facts_of(site("s", {"architecture": "amd64", "free": nodes}), grant("s"))])
    other = Other("ns/v", 10, 2, 1, {"s": 8})
    asked = {"cpu": 1000, "memory": 1 << 30, "pods": 1}
    of_two = msgspec.structs.replace(
        demand(workload(1, name="p", priority=50)),
        unit=(
            Pods(shape=PodShape(requests=asked), count=1),
            Pods(shape=PodShape(requests={**asked, "cpu": 1500}), count=1),
        ),
        preemption="LowerPriority",
        victims=(victim_of(other),),
    )
    assert choose(of_two, many, now=NOW).preemption is None
