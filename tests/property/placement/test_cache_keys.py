"""A remembered answer depends on nothing that its cache key lacks.

Each rule is asked about a demand that records which of its fields are read. What the answer reads,
its key reads too; a new field that a rule reads and does not name fails here. What a fleet
remembers by site, by node profile, or as a figure, is computed again at every use and compared.
"""

from collections.abc import Callable, Hashable
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from benchmarks._city import NOW, MachineType, next_report, site
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.demand import Companion, Demand, PlacedReplicas
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.energy import EnergyLimit
from scheduler.model.kinds.fields import LabelSelector, Toleration
from scheduler.model.kinds.policy import DataAt, LatencyBound, SiteGroup, SiteWeight, Spread
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import NodeRequirement, PodShape
from scheduler.placement.choose import choose
from scheduler.placement.cost.site_costs import all_costs
from scheduler.placement.filter.rules import (
    NEVER_CACHED,
    Rule,
    all_rules,
    is_grant_rule,
    is_site_rule,
    rule_name,
)
from scheduler.placement.fleet.context import DecisionContext, decision_context
from scheduler.placement.fleet.fleet import Fleet

FORMS = (
    MachineType("amd64", "intel", 16, 65536, 0, ""),
    MachineType("arm64", "kunpeng", 32, 131072, 2, "T4"),
)
CONTEXT = decision_context(NOW, DEFAULT_TERMS)
PLAIN = PodShape(requests={"cpu": 1000, "memory": 2**30, "pods": 1})
TOLERATES = (Toleration(key="gpu", operator="Exists"),)


PLACES = tuple(site(number, 1, FORMS, Random(0)).name for number in range(2))  # noqa: S311


def pods_of(**asked: Any) -> tuple[Pods, ...]:  # noqa: ANN401 - fields of several types
    return (Pods(shape=replace(PLAIN, **asked), count=1),)


OTHER_VALUES: dict[str, list[Any]] = {
    "key": ["other/name"],
    "tenant": ["hospital"],
    "replicas": [7],
    "unit": [
        pods_of(node_selector={"cores": "16"}),
        pods_of(node_affinity=((NodeRequirement(key="cores", operator="Exists", values=()),),)),
        pods_of(gpu_models=("T4",), gpu_cards=1, gpu_milli=500),
        pods_of(tolerations=TOLERATES),
    ],
    "beside": [pods_of()],
    "per_node": [(PLAIN,)],
    "api_kinds": [("example.com/v1/Thing",), ("apps/v1/Deployment",)],
    "unknown_scope": [("apps/v1/Deployment",)],
    "data_class": ["general-3", None],
    "protection_level": [3],
    "network_zones": [("dedicated-network",)],
    "jurisdictions": [(("CN-GD",),)],
    "same_province": [True],
    "home": ["CN-GD"],
    "allow_list_only": [True],
    "class_not_allowed": [True],
    "cpu_vendors": [(("kunpeng",),)],
    "architectures": [("arm64", "amd64")],
    "strategy": ["Weighted"],
    "weights": [(SiteWeight(site=name, weight=2),) for name in PLACES],
    "site_selectors": [
        (LabelSelector(match_labels={"kapok.dev/tier": tier}),) for tier in ("edge", "central")
    ],
    "tenant_sites": [LabelSelector(match_labels={"kapok.dev/tier": "regional"})],
    "site_tolerations": [TOLERATES, (Toleration(operator="Exists"),)],
    "site_groups": [(SiteGroup(name="first", sites=(name,)),) for name in PLACES],
    "spread": [(Spread(by="province", min_groups=2),)],
    "latency": [
        (LatencyBound(from_=place, within_milliseconds=limit),)
        for place in ("hub-1", "nowhere")
        for limit in (1, 20)
    ],
    "companions": [
        (Companion(apart=apart, by="site", sites=PLACES[:1]),) for apart in (True, False)
    ],
    "data": [(DataAt(at=name, gibibytes=5),) for name in PLACES],
    "energy_limits": [
        (EnergyLimit(measure=measure, limit=limit),)
        for measure in ("pue", "wue")
        for limit in (1.2, 1.5)
    ],
    "placed": [(PlacedReplicas(site=PLACES[0], replicas=1),)],
    "evicted": [PLACES[:1]],
    "immovable": ["it is a job"],
    "moves_back_to": [PLACES[:1]],
}
NOT_READ_BY_RULES = {
    "uid", "priority", "mode", "gang", "preset", "preset_options", "prices", "schedule",
    "failover_mode", "failover_after_seconds", "last_group", "on_unmet_rules", "on_violation",
    "paused", "quota_left", "quota", "budget_left", "budget", "claims", "identity", "numbered_set",
    "plan", "first_ordinals", "evicted_keep", "unready", "preemption", "victims", "reclaim",
    "preempted",
    "budget_hold", "rollout", "rebalance",
}  # fmt: skip


class RecordingShape(PodShape, frozen=True, kw_only=True, dict=True):
    """A pod shape that records which of its fields are read."""

    reads: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - any field
        if name in PodShape.__struct_fields__:
            RecordingShape.reads.add(f"shape.{name}")
        return super().__getattribute__(name)


class RecordingDemand(Demand, frozen=True, kw_only=True, dict=True):
    """A demand that records which of its fields are read, and of its pods' shapes."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - any field
        if name in Demand.__struct_fields__:
            RecordingShape.reads.add(name)
        return super().__getattribute__(name)


def reads_of(demand: Demand, ask: Callable[[Demand], object]) -> set[str]:
    """The fields that a question reads of a demand of which nothing is remembered yet."""
    unit = tuple(replace(each, shape=RecordingShape(**asdict(each.shape))) for each in demand.unit)
    recording = RecordingDemand(**{**asdict(demand), "unit": unit})
    RecordingShape.reads = set()
    ask(recording)
    return RecordingShape.reads


def random_demand(random: Random) -> Demand:
    changed = random.sample(sorted(OTHER_VALUES), random.randrange(5))
    values = {name: random.choice(OTHER_VALUES[name]) for name in changed}
    return Demand(**{"key": "a/b", "data_class": "general-1", "unit": pods_of(), **values})


def city(random: Random) -> Fleet:
    return Fleet(site(number, 2, FORMS, random) for number in range(8))


def answer(rule: Rule, fleet: Fleet, demand: Demand) -> object:
    if is_grant_rule(rule):
        return [[rule.allows(each, demand) for each in one.grants] for one in fleet.all_facts()]
    assert is_site_rule(rule)
    return rule.admits(fleet, demand, CONTEXT).tolist()


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - arrays, or tuples of arrays
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    if isinstance(one, dict):
        return bool(one == other)
    return all(_same(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)


class CheckedFleet(Fleet):
    """A fleet that computes each remembered answer again, and compares."""

    def description_column(self, cache_key, value_of, dtype):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        return self._checked(super().description_column(cache_key, value_of, dtype), value_of)

    def report_column(self, cache_key, value_of, dtype):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        return self._checked(super().report_column(cache_key, value_of, dtype), value_of)

    def _checked(self, found: NDArray[Any], value_of: Callable[[Any], Any]) -> NDArray[Any]:
        expected = [0 if each is None else value_of(each) for each in self.facts]
        assert found[: len(expected)].tolist() == pytest.approx(expected, nan_ok=True) or (
            found.dtype == object
        )
        return found

    def cached_figure(self, cache_key, context, compute, *, version=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        found = super().cached_figure(cache_key, context, compute, version=version)
        assert _same(found, compute(self, context)[0]), cache_key
        return found


def test_every_field_of_a_demand_is_tried() -> None:
    assert OTHER_VALUES.keys() | NOT_READ_BY_RULES == set(Demand.__struct_fields__)


@pytest.mark.parametrize("rule", all_rules(), ids=rule_name)
def test_the_key_of_a_rule_reads_each_field_that_its_answer_reads(rule: Rule) -> None:
    random = Random(1)  # noqa: S311 - a test, seeded
    if rule.cache_key(Demand(key="")) is NEVER_CACHED:
        return
    sites = list(city(random).all_facts())[:4]
    in_answer: set[str] = set()
    in_key: set[str] = set()
    for demand in [random_demand(random) for _ in range(30)]:
        fleet = Fleet(sites)  # one that remembers nothing
        in_key |= reads_of(demand, rule.cache_key)
        in_answer |= reads_of(demand, lambda asked, fleet=fleet: answer(rule, fleet, asked))  # type: ignore[misc]
    assert in_answer - in_key == set()
    assert not in_answer & NOT_READ_BY_RULES


@pytest.mark.parametrize("rule", all_rules(), ids=rule_name)
def test_demands_with_equal_keys_get_equal_answers_of_a_rule(rule: Rule) -> None:
    random = Random(3)  # noqa: S311 - a test, seeded
    if rule.cache_key(Demand(key="")) is NEVER_CACHED:
        return
    fleet = CheckedFleet(city(random).all_facts())
    answers: dict[Hashable, object] = {}
    for demand in [random_demand(random) for _ in range(120)]:
        found = answer(rule, fleet, demand)
        assert answers.setdefault(rule.cache_key(demand), found) == found


@pytest.mark.parametrize("seed", range(2))
def test_what_a_fleet_remembers_is_what_it_would_compute_again(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)  # noqa: S311 - a test, seeded
    fleet = CheckedFleet(city(random).all_facts())
    matching = fleet.nodes.profiles.matching

    def checked_matching(
        cache_key: Hashable, find: Callable[[], NDArray[np.bool_]]
    ) -> tuple[NDArray[np.bool_], bool]:
        found = matching(cache_key, find)
        again = find()
        profiles = fleet.nodes.profiles
        for number in range(1, len(profiles)):
            if profiles.slots_of([number]):
                assert found[0][number] == again[number]
        return found

    monkeypatch.setattr(fleet.nodes.profiles, "matching", checked_matching)
    for _ in range(50):
        demand = random_demand(random)
        decision = choose(demand, fleet, now=NOW)
        again = choose(demand, Fleet(fleet.all_facts()), now=NOW)
        assert decision_bytes(decision) == decision_bytes(again)
        name = random.choice(sorted(fleet.slot_of))
        fleet.upsert(next_report(fleet.facts_of(name), random))


@pytest.mark.parametrize("cost", all_costs(), ids=lambda cost: cost.term)
def test_what_a_unit_costs_is_the_same_in_a_fleet_that_remembers(cost: Any) -> None:  # noqa: ANN401 - a protocol
    random = Random(5)  # noqa: S311 - a test, seeded
    fleet = city(random)
    context: DecisionContext = CONTEXT
    for demand in [random_demand(random) for _ in range(40)]:
        fresh = Fleet([fact for fact in fleet.facts if fact is not None])
        found = cost.per_unit(fleet, demand, context)
        assert _same(found, cost.per_unit(fresh, demand, context))
