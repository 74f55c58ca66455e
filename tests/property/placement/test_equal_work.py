"""Equal work decided in one step is decided as one after the other, byte for byte."""

from random import Random

import pytest
from msgspec.structs import replace

from benchmarks._city import NOW, MachineType, demands, next_report, site
from scheduler.model.decision import Subject, decision_bytes, expand
from scheduler.model.demand.assignment import AssignedReplicas, BatchAssignment
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.policy import PriceList, Schedule, Spread
from scheduler.model.kinds.site import Headroom, Power, SitePrices
from scheduler.model.kinds.tenant import Budget, BudgetLeft
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape, TopologySpreadConstraint
from scheduler.placement.choose import choose
from scheduler.placement.equal_work import (
    choose_equal,
    choose_moves,
    choose_together,
    is_whole_move,
)
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.in_flight import in_flight_pods
from tests.support.counts import seeds
from tests.support.tools import require_kernel

FORMS = (
    MachineType("amd64", "intel", 16, 65536, 0, ""),
    MachineType("amd64", "hygon", 32, 131072, 2, "T4"),
    MachineType("amd64", "intel", 96, 393216, 8, "A10"),
    MachineType("arm64", "kunpeng", 48, 131072, 0, ""),
)
SHAPES = [
    PodShape(
        requests={"cpu": cpu, "memory": gibibytes * 2**30, "pods": 1},
        gpu_cards=cards,
        gpu_milli=milli,
    )
    for cpu, gibibytes in ((100, 1), (1000, 2), (4000, 16), (11300, 48))
    for cards, milli in ((0, 0), (0, 0), (1, 300), (2, 1000))
]


def varied_site(facts: SiteFacts, random: Random) -> SiteFacts:
    """Some sites cost the same, keep headroom, have no price or make more power than they use."""
    prices = random.choice(
        (
            SitePrices(energy_cny_per_kwh=0.5, core_cny_per_hour=0.05),
            SitePrices(energy_cny_per_kwh=None, core_cny_per_hour=0.05),
            facts.spec.prices,
        )
    )
    energy = facts.spec.energy if random.random() < 0.5 else replace(facts.spec.energy, pue=1.5)
    ratio = random.choice((0.0, 0.0, 0.1))
    spec = replace(facts.spec, prices=prices, energy=energy, headroom=Headroom(ratio=ratio))
    grams = facts.status.intensity
    alike = grams if grams is None else replace(grams, gco2_per_kwh=500.0)
    status = replace(facts.status, intensity=random.choice((alike, alike, grams)))
    if random.random() < 0.3:
        power = Power(watts=100.0, pv_watts=2000.0, observed_at=NOW)
        status = replace(status, power=power)
    return replace(facts, spec=spec, status=status)


def varied_demand(demand: Demand, random: Random) -> Demand:
    """The same, seldom with what makes one decision depend on the one before."""
    shape = demand.unit[0].shape
    plain = replace(
        demand,
        key="team/job",
        spread=(),
        latency=(),
        replicas=random.choice((1, 1, 1, 2, 3, 7)),
        unit=(Pods(shape=replace(shape, one_per_node=random.random() < 0.1), count=1),),
    )
    skew = (TopologySpreadConstraint(topology_key="zone", max_skew=1),)
    changes: list[dict[str, object]] = [
        {"spread": (Spread(by="province", min_groups=2),)},
        {"schedule": Schedule(duration_seconds=600)},
        {"strategy": random.choice(("Aggregated", "Balanced", "Duplicated"))},
        {"mode": "Fresh"},
        {"paused": True},
        {"allow_list_only": True},
        {"replicas": 0},
        {"unit": (Pods(shape=replace(shape, skews=skew), count=1),)},
        {"unit": (Pods(shape=shape, count=2),)},
        {"unit": ()},
        {"quota_left": {"cpu": 5000}, "tenant": "t"},
        {"budget_left": BudgetLeft(cny_per_hour=0.5), "budget": Budget(cny_per_hour=0.5)},
        {"prices": PriceList(carbon_cny_per_kg=0.0)},
    ]
    return replace(plain, **random.choice(changes)) if random.random() < 0.3 else plain


def decided_singly(
    demand: Demand, subjects: list[Subject], fleet: Fleet, terms: Terms
) -> list[bytes]:
    """What the single path decides, one after the other."""
    found = []
    for one in subjects:
        single = replace(demand, key=one.workload, uid=one.uid)
        decision = choose(single, fleet, now=NOW, terms=terms)
        fleet.assume(single, decision)
        found.append(decision_bytes(decision))
    return found


def subjects_of(number: int, count: int, random: Random) -> list[Subject]:
    """Workloads of one namespace, some without a UID."""
    return [
        Subject(
            workload=f"team/job-{number}-{index}",
            uid=random.choice(("", f"u-{random.randrange(10**9)}")),
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("seed", seeds(5, gate=2))
def test_each_of_several_equal_decisions_is_the_one_that_the_single_path_makes(seed: int) -> None:
    require_kernel()
    random = Random(seed)  # noqa: S311 - a test, seeded
    facts = [
        varied_site(site(number, 4, FORMS, random), random) for number in range(12 + 30 * seed)
    ]
    at_once, singly = Fleet(facts), Fleet(facts, may_compile=bool(seed % 3))
    outcomes: set[tuple[str, bool]] = set()
    for number, plain in enumerate(demands(SHAPES, 20, random)):
        demand = varied_demand(plain, random)
        is_slow_singly = (
            demand.strategy != "CostOptimal"
            or demand.spread
            or demand.budget_left
            or any(each.count > 1 for each in demand.unit)
        )
        count = 4 if is_slow_singly else random.choice((1, 3, 20, 60))
        subjects = subjects_of(number, count, random)
        equal = choose_equal(demand, subjects, at_once, now=NOW, terms=DEFAULT_TERMS)
        one_by_one = decided_singly(demand, subjects, singly, DEFAULT_TERMS)
        assert [decision_bytes(expand(equal, index)) for index in range(len(subjects))] == (
            one_by_one
        )
        assert list(at_once.all_facts()) == list(singly.all_facts())
        outcomes.update((each.phase, len(each.assignment) > 1) for each in equal.outcomes)
        for name in random.sample(sorted(at_once.slot_of), 3):
            report = next_report(at_once.facts_of(name), random)
            at_once.upsert(report)
            singly.upsert(report)
    assert {("Placed", False), ("Placed", True), ("Waiting", False)} <= outcomes


def test_sites_that_cost_the_same_are_ranked_by_each_name() -> None:
    require_kernel()
    random = Random(3)  # noqa: S311 - a test, seeded
    like = site(0, 4, FORMS[:1], random)
    facts = [replace(like, name=f"m-{number}") for number in range(40)]
    grants = [replace(each.spec, data_class="general-4") for each in like.grants]
    spec = replace(like.spec, taints=(), cordon=False)
    facts = [
        replace(one, spec=spec, grants=tuple(replace(like.grants[0], spec=g) for g in grants))
        for one in facts
    ]
    at_once, singly = Fleet(facts), Fleet(facts)
    shape = PodShape(requests={"cpu": 500, "memory": 2**30, "pods": 1})
    demand = Demand(
        key="team/copy", unit=(Pods(shape=shape, count=1),), replicas=2, data_class="general-1"
    )
    subjects = subjects_of(0, 400, random)
    equal = choose_equal(demand, subjects, at_once, now=NOW)
    found = [decision_bytes(expand(equal, index)) for index in range(len(subjects))]
    assert found == decided_singly(demand, subjects, singly, DEFAULT_TERMS)
    assert len({each.assignment[0].site for each in equal.outcomes if each.assignment}) == 40


def test_a_record_of_many_shares_is_small() -> None:
    require_kernel()
    random = Random(5)  # noqa: S311 - a test, seeded
    fleet = Fleet([site(number, 20, FORMS, random) for number in range(50)])
    shape = PodShape(requests={"cpu": 100, "memory": 2**20, "pods": 1})
    demand = Demand(key="team/job", unit=(Pods(shape=shape, count=1),), data_class="general-1")
    equal = choose_equal(demand, subjects_of(0, 500, random), fleet, now=NOW)
    assert {each.phase for each in equal.outcomes} == {"Placed"}
    assert len(equal.outcomes) == len(equal.runs) < 20


def test_what_is_decided_at_once_without_the_kernel_is_the_same() -> None:
    require_kernel()
    random = Random(7)  # noqa: S311 - a test, seeded
    facts = [varied_site(site(number, 4, FORMS, random), random) for number in range(20)]
    both = Fleet(facts), Fleet(facts, may_compile=False)
    for number, plain in enumerate(demands(SHAPES, 8, random)):
        demand = varied_demand(plain, random)
        subjects = subjects_of(number, 15, random)
        one, other = (choose_equal(demand, subjects, fleet, now=NOW) for fleet in both)
        assert one == other


def test_there_is_no_decision_beyond_the_last_or_before_the_first() -> None:
    fleet = Fleet()
    equal = choose_equal(Demand(key="a/b"), [Subject(workload="a/c")], fleet, now=NOW)
    assert expand(equal, 0).workload == "a/c"
    for index in (-1, 1):
        with pytest.raises(IndexError, match=f"decision {index} of 1"):
            expand(equal, index)
    assert not choose_equal(Demand(key="a/b"), [], fleet, now=NOW).outcomes


def test_the_kernel_counts_orders_only_behind_one_of_the_same_size() -> None:
    require_kernel()
    random = Random(3)  # noqa: S311 - a test, seeded
    fleet = Fleet([site(0, 2, FORMS[:1], random)])
    shape = PodShape(requests={"cpu": 10, "memory": 2**20, "pods": 1})
    demand = Demand(key="team/job", unit=(Pods(shape=shape, count=1),), replicas=2)
    (order,) = in_flight_pods(demand, 2, new_site=True)

    def repeated(slot: int, replicas: int) -> int:
        fit = SiteCapacity(fleet, demand).kernel_fit
        assert fit is not None
        return fit.repeated_orders(slot, replicas, 3)

    with pytest.raises(ValueError, match="the last row is not an order"):
        repeated(0, 2)
    fleet.assume_equal(0, order, ["team/a"])
    assert repeated(0, 2) == 3
    with pytest.raises(ValueError, match="the last row is not an order"):
        repeated(0, 1)
    for slot in (-1, 16):
        with pytest.raises(IndexError, match=f"slot {slot} of 16"):
            repeated(slot, 2)


@pytest.mark.parametrize("seed", seeds(4, gate=1))
def test_a_bounded_step_decides_the_first_ones_and_the_next_step_goes_on(seed: int) -> None:
    require_kernel()
    random = Random(seed)  # noqa: S311 - a test, seeded
    facts = [varied_site(site(number, 4, FORMS, random), random) for number in range(40)]
    bounded, at_once = Fleet(facts), Fleet(facts)
    steps = 0
    for number, plain in enumerate(demands(SHAPES, 12, random)):
        shape = plain.unit[0].shape
        demand = replace(
            plain, key="team/job", spread=(), replicas=random.choice((1, 1, 3, 30)), priority=0
        )
        demand = replace(demand, unit=(Pods(shape=shape, count=1),))
        subjects = subjects_of(number, 40, random)
        equal = choose_equal(demand, subjects, at_once, now=NOW)
        found: list[bytes] = []
        while len(found) < len(subjects):
            most = random.choice((1, 5, 16))
            rest = subjects[len(found) :]
            step = choose_together(demand, rest, bounded, now=NOW, most_shares=most)
            assert step is not None
            assert step.subjects == tuple(rest[: len(step.subjects)])
            shares = [len(expand(step, index).assignment) for index in range(len(step.subjects))]
            assert sum(shares[:-1]) < most or not sum(shares)
            found += [decision_bytes(expand(step, index)) for index in range(len(shares))]
            steps += 1
        assert found == [decision_bytes(expand(equal, index)) for index in range(len(subjects))]
        assert list(bounded.all_facts()) == list(at_once.all_facts())
    assert steps > 20


def moving(plain: Demand, leaves: str, random: Random) -> Demand:
    """The same, running at one site that it is to leave."""
    replicas = random.choice((1, 1, 2, 5))
    return replace(
        plain,
        key="team/job",
        spread=(),
        latency=(),
        replicas=replicas,
        unit=(Pods(shape=plain.unit[0].shape, count=1),),
        placed=(PlacedReplicas(site=leaves, replicas=replicas, phase="Running"),),
        evicted=(leaves,),
    )


def plan_of(subjects: list[Subject], replicas: int, random: Random) -> dict[str, BatchAssignment]:
    """The plan for the loss of a site, which puts each of them at one of a few others."""
    return {
        one.workload: BatchAssignment(
            version="sha256:" + "0" * 64,
            sites=(AssignedReplicas(site=f"m-{random.randint(1, 6)}", replicas=replicas),),
            loss="m-0",
        )
        for one in subjects
    }


@pytest.mark.parametrize("seed", seeds(4, gate=2))
def test_equal_moves_are_those_of_the_single_path_as_far_as_they_find_room(seed: int) -> None:
    require_kernel()
    random = Random(seed)  # noqa: S311 - a test, seeded
    facts = [
        replace(varied_site(site(number, 3, FORMS, random), random), name=f"m-{number}")
        for number in range(10)
    ]
    at_once, singly = Fleet(facts), Fleet(facts)
    counts, followed = set[bool](), 0
    for number, plain in enumerate(demands(SHAPES, 14, random)):
        demand = moving(plain, "m-0", random)
        assert is_whole_move(demand)
        subjects = subjects_of(number, 12, random)
        plan = plan_of(subjects, demand.replicas, random) if number % 2 else {}
        before = Fleet(list(at_once.all_facts()))
        moves = choose_moves(demand, subjects, at_once, now=NOW, assigned=plan)
        count = len(moves.subjects)
        assert moves.subjects == tuple(subjects[:count])
        for index, one in enumerate(subjects):
            single = replace(demand, key=one.workload, uid=one.uid)
            decision = choose(single, singly, now=NOW, assigned=plan.get(one.workload))
            if index == count:
                assert decision.phase != "Placed"
                break
            assert decision_bytes(expand(moves, index)) == decision_bytes(decision)
            followed += decision.batch is not None
            singly.assume(single, decision)
        assert list(at_once.all_facts()) == list(singly.all_facts())
        assert choose_equal(demand, moves.subjects, before, now=NOW, assigned=plan) == moves
        counts.add(count == len(subjects))
    assert counts == {True, False}
    assert followed


def test_work_that_moves_in_part_or_depends_on_others_is_no_whole_move() -> None:
    random = Random(1)  # noqa: S311 - a test, seeded
    whole = moving(next(iter(demands(SHAPES, 1, random))), "m-0", random)
    stays = PlacedReplicas(site="m-1", replicas=1)
    goes = PlacedReplicas(site="m-0", replicas=1, phase="Withdrawing")
    for other in (
        replace(whole, evicted=()),
        replace(whole, placed=()),
        replace(whole, placed=(*whole.placed, stays)),
        replace(whole, placed=(*whole.placed, goes)),
        replace(whole, evicted_keep={"m-0": 1}),
        replace(whole, quota_left={"cpu": 1}),
        replace(whole, preemption="LowerPriority"),
        replace(whole, paused=True),
    ):
        assert not is_whole_move(other)
