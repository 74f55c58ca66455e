"""A fleet caches much between decisions; none of it may change a decision.

Many sites are full here, much is in flight, and demands differ in size: so full sites are skipped,
cached sums and capacities are updated, and blocks of rows move.
"""

from collections.abc import Callable
from functools import partial
from random import Random

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks._check import is_confirmed, room_of
from benchmarks._city import NOW, MachineType, demands, next_report, site
from scheduler.model.canonical import canonical_json
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.fields import Condition, Taint, Toleration
from scheduler.model.kinds.site import Headroom, Intensity, SiteSpec, SiteStatus
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.fit.full_sites import FullSitesCache
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import seeds

FORMS = (
    MachineType("amd64", "intel", 16, 65536, 0, ""),
    MachineType("amd64", "intel", 32, 131072, 2, "T4"),
    MachineType("amd64", "intel", 96, 393216, 8, "A10"),
)
SHAPES = [
    PodShape(
        requests={"cpu": cpu, "memory": gibibytes * 2**30, "pods": 1},
        gpu_cards=cards,
        gpu_milli=milli,
    )
    for cpu, gibibytes in ((1000, 2), (4000, 16), (11300, 48), (700, 30), (30000, 4))
    for cards, milli in ((0, 0), (1, 300), (1, 1000), (2, 1000))
]


@pytest.mark.parametrize("seed", seeds(3, gate=2))
def test_a_fleet_with_caches_decides_as_a_new_fleet(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.placement.divide.divide.MIN_SITES_TO_CACHE_FULL", 16)
    random = Random(seed)  # noqa: S311 - a test, seeded
    sites = [site(number, 3, FORMS, random) for number in range(140)]
    fleet = Fleet(sites, may_compile=seed == 0)
    phases = set()
    for number, demand in enumerate(demands(SHAPES, 160, random)):
        decision = choose(demand, fleet, now=NOW)
        if number % 4 == 0:
            again = choose(demand, Fleet(fleet.all_facts()), now=NOW)
            assert decision_bytes(decision) == decision_bytes(again)
            assert is_confirmed(fleet, demand, decision)
        fleet.assume(demand, decision)
        phases.add(decision.phase)
        if number % 10 == 9:
            name = random.choice(list(fleet.slot_of))
            fleet.upsert(next_report(fleet.facts_of(name), random))
    assert phases == {"Placed", "Waiting", "Refused"}
    # Otherwise the test would not cover sites that are skipped.
    assert fleet.cache(FullSitesCache).cells, "no site was ever known to be full"


def test_capacity_is_what_brute_force_counts_and_sums_are_never_below_it() -> None:
    random = Random(7)  # noqa: S311 - a test, seeded
    fleet = Fleet(site(number, 4, FORMS, random) for number in range(40))
    for demand in demands(SHAPES, 120, random):
        case = prepare_cycle(demand, fleet, decision_context(NOW, DEFAULT_TERMS))
        slots = case.filter_result.admitted_slots
        room, summed = case.capacity.replicas_at(slots), case.capacity.replicas_by_sums(slots)
        names = [fleet.name_at(slot) for slot in slots.tolist()]
        # Where more fits than is asked, how much more is only a lower bound.
        true_rooms = [room_of(fleet.facts_of(name), demand) for name in names]
        assert np.minimum(room, demand.replicas).tolist() == [
            min(true_room, demand.replicas) for true_room in true_rooms
        ]
        assert (room <= true_rooms).all()
        free = [not fleet.facts_of(name).in_flight for name in names]
        assert (summed >= room)[np.array(free, bool)].all()
        fleet.assume(demand, choose(demand, fleet, now=NOW))


def test_the_log_of_changed_sites_starts_again_and_no_change_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scheduler.placement.fleet.node_table._MAX_LOG_LENGTH", 3)
    random = Random(5)  # noqa: S311 - a test, seeded
    fleet = Fleet(site(number, 3, FORMS, random) for number in range(12))
    for demand in demands(SHAPES, 60, random):
        case = prepare_cycle(demand, fleet, decision_context(NOW, DEFAULT_TERMS))
        again = prepare_cycle(
            demand, Fleet(fleet.all_facts()), decision_context(NOW, DEFAULT_TERMS)
        )
        summed = dict(
            zip(
                map(again.fleet.name_at, again.filter_result.admitted_slots.tolist()),
                again.capacity.replicas_by_sums(again.filter_result.admitted_slots).tolist(),
                strict=True,
            )
        )
        slots = case.filter_result.admitted_slots
        for slot, cached in zip(
            slots.tolist(), case.capacity.replicas_by_sums(slots).tolist(), strict=True
        ):
            assert cached == summed[fleet.name_at(slot)]
        fleet.assume(demand, choose(demand, fleet, now=NOW))
        name = random.choice(sorted(fleet.slot_of))
        fleet.upsert(next_report(fleet.facts_of(name), random))
    assert len(fleet.nodes.changed_slots) <= 3


def _next_facts(facts: SiteFacts, random: Random) -> SiteFacts:
    """The next facts of a site: mostly one field changes, often none does."""
    spec, status = facts.spec, facts.status
    labels = random.choice(({}, {"pool": "gold"}, {"pool": "blue"}))
    taints = random.choice(((), (Taint(key="gpu", value="yes", effect="NoSchedule"),)))
    changes: list[Callable[[], SiteFacts]] = [
        lambda: next_report(facts, random),
        lambda: replace(facts, in_flight=facts.in_flight[1:]),  # an order is settled
        lambda: replace(facts, labels=labels),
        lambda: replace(facts, grants=facts.grants[random.randrange(2) :]),
        lambda: replace(facts, p90={"gco2PerKwh": random.choice((400.0, 800.0))}),
        lambda: msgspec.json.decode(canonical_json(facts), type=SiteFacts),
        *(
            partial(_with_spec, facts, each)
            for each in (
                replace(spec, headroom=Headroom(ratio=random.choice((0.0, 0.25)))),
                replace(spec, cordon=random.choice((True, False))),
                replace(spec, taints=taints),
                replace(spec, provider=random.choice(("provider-0", "provider-1"))),
            )
        ),
        *(
            partial(_with_status, facts, each)
            for each in (
                _with_intensity(status, random),
                replace(status, executor=random.choice((True, False))),
                replace(status, api_kinds=random.choice((None, ("apps/v1/Deployment",)))),
                replace(status, rtt=status.rtt[1:]),
                replace(status, conditions=random.choice(((), _SILENT))),
                # What changes alike on all nodes of a site.
                _with_pool(status, labels),
                *(
                    _with_kind(status, **change)
                    for change in (
                        {"taints": taints},
                        {"gpu_model": random.choice(("", "A10"))},
                        {"architecture": random.choice(("amd64", "arm64"))},
                        {"cpu_vendor": random.choice(("intel", "hygon"))},
                    )
                ),
            )
        ),
    ]
    return random.choice(changes)()


_SILENT = (Condition(type="Ready", status="False", reason="Silent", last_transition_time=NOW),)


def _with_spec(facts: SiteFacts, spec: SiteSpec) -> SiteFacts:
    return replace(facts, spec=spec)


def _with_status(facts: SiteFacts, status: SiteStatus) -> SiteFacts:
    return replace(facts, status=status)


def _with_intensity(status: SiteStatus, random: Random) -> SiteStatus:
    grams = random.choice((None, 0.0, 550.0))
    figures = [Intensity(gco2_per_kwh=grams, origin="yearly")]
    figures.append(Intensity(gco2_per_kwh=grams, origin="measured"))
    return replace(status, intensity=random.choice(figures))


def _with_kind(status: SiteStatus, **kind: object) -> SiteStatus:
    """The same free capacity on nodes that differ in what a class has in common."""
    return replace(
        status, node_classes=tuple(replace(each, **kind) for each in status.node_classes)
    )


def _with_pool(status: SiteStatus, pool: dict[str, str]) -> SiteStatus:
    """The same nodes in another pool, or in none."""
    classes = [
        replace(each, labels={"cores": each.labels["cores"], **pool})
        for each in status.node_classes
    ]
    return replace(status, node_classes=tuple(classes))


def _asking_of_nodes(demand: Demand, random: Random) -> Demand:
    """The demand, often with something that it asks of the labels, taints or models of nodes."""
    asked = random.choice(
        (
            {},
            {},
            {"node_selector": {"pool": random.choice(("gold", "blue"))}},
            {"gpu_models": ("A10",)},
            {"tolerations": (Toleration(key="gpu", operator="Exists"),)},
        )
    )
    unit = tuple(replace(each, shape=replace(each.shape, **asked)) for each in demand.unit)
    return replace(demand, unit=unit)


@pytest.mark.parametrize("seed", seeds(3, gate=1))
def test_after_any_change_of_a_site_the_fleet_decides_as_a_new_fleet(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test, seeded
    fleet = Fleet(site(number, 3, FORMS, random) for number in range(20))
    for plain in demands(SHAPES, 90, random):
        demand = _asking_of_nodes(plain, random)
        for name in random.sample(sorted(fleet.slot_of), 3):
            facts = _next_facts(fleet.facts_of(name), random)
            if random.randrange(20) == 0:
                fleet.remove(name)
            fleet.upsert(facts)
            assert fleet.facts_of(name) is facts
        decision = choose(demand, fleet, now=NOW)
        again = choose(demand, Fleet(fleet.all_facts()), now=NOW)
        assert decision_bytes(decision) == decision_bytes(again)
        fleet.assume(demand, decision)


def test_a_repeated_report_is_no_change() -> None:
    random = Random(3)  # noqa: S311 - a test, seeded
    fleet = Fleet(site(number, 3, FORMS, random) for number in range(5))
    for demand in demands(SHAPES, 20, random):
        fleet.assume(demand, choose(demand, fleet, now=NOW))
    versions = (fleet.row_version.tolist(), fleet.figure_version, fleet.version_at(0.0))
    for facts in list(fleet.all_facts()):
        fleet.upsert(msgspec.json.decode(canonical_json(facts), type=SiteFacts))
    assert versions == (fleet.row_version.tolist(), fleet.figure_version, fleet.version_at(0.0))
