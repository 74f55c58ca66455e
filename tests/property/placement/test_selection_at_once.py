"""Selectors, affinities, taints and groups asked of all sites at once, as of one at a time."""

from random import Random
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks._city import NOW, MachineType, site
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.fields import LabelSelector, Requirement, Taint, Toleration
from scheduler.model.kinds.policy import SiteGroup
from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import (
    HOSTNAME_LABEL,
    NODE_NAME_FIELD,
    NodeRequirement,
    PodShape,
)
from scheduler.placement.filter.constraints import node_selector, node_taint, selector, site_group
from scheduler.placement.fit.node_fit import NodeFit
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import is_in_group, sites_in_group
from scheduler.placement.fleet.nodes import label_index
from tests.support.counts import seeds
from tests.support.slow_rules import (
    may_run_on,
    passes_node_selector,
    passes_node_taint,
    passes_selector,
    passes_site_group,
)

CONTEXT = decision_context(NOW, DEFAULT_TERMS)
FORMS = (MachineType("amd64", "intel", 16, 65536, 0, ""), MachineType("amd64", "x", 8, 9, 1, "T4"))
KEYS = ("zone", "pool", "generation", HOSTNAME_LABEL, "kubernetes.io/os", "kubernetes.io/arch")
VALUES = ("a", "b", "7", "-3", "+12", "1e3", "", "999999999999999999", "linux", "amd64")
TAINTS = ("gpu", "team", "spot")
RULES = (
    (node_selector.RULE, passes_node_selector),
    (node_taint.RULE, passes_node_taint),
    (selector.RULE, passes_selector),
    (site_group.RULE, passes_site_group),
)


def some_of(random: Random, values: tuple[str, ...], most: int) -> tuple[str, ...]:
    return tuple(random.sample(values, random.randrange(min(most, len(values)) + 1)))


def labels_of(random: Random) -> dict[str, str]:
    return {key: random.choice(VALUES) for key in some_of(random, KEYS[:4], 3)}


def varied_nodes(nodes: NodeClass, random: Random) -> NodeClass:
    taints = tuple(
        Taint(
            key=random.choice(TAINTS),
            value=random.choice(VALUES[:3]),
            effect=random.choice(("NoSchedule", "NoExecute", "PreferNoSchedule")),
        )
        for _ in range(random.randrange(3))
    )
    return replace(
        nodes,
        labels={**labels_of(random), "cores": "8"},
        taints=taints,
        labels_left_out=some_of(random, KEYS, 2),
        has_more_labels=random.random() < 0.2,
    )


def varied_site(facts: SiteFacts, random: Random) -> SiteFacts:
    classes = [varied_nodes(each, random) for each in facts.status.node_classes]
    kept = tuple(classes[: random.choice((0, 1, 2, 2))])
    return replace(facts, labels=labels_of(random), status=replace(facts.status, node_classes=kept))


def requirement(random: Random) -> NodeRequirement:
    operators = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gt", "Lt", "Odd")
    return NodeRequirement(
        key=random.choice((*KEYS, "nobody-has-it", NODE_NAME_FIELD)),
        operator=random.choice(operators),
        values=tuple(random.choice(VALUES) for _ in range(random.choice((0, 1, 1, 1, 2)))),
    )


def shape_of(random: Random) -> PodShape:
    tolerations = tuple(
        Toleration(
            key=random.choice((*TAINTS, "")),
            operator=random.choice(("Exists", "Equal")),
            value=random.choice(VALUES[:3]),
            effect=random.choice(("", "NoSchedule", "NoExecute")),
        )
        for _ in range(random.choice((0, 1, 2)))
    )
    terms = tuple(
        tuple(requirement(random) for _ in range(random.randrange(1, 3)))
        for _ in range(random.choice((0, 0, 1, 2)))
    )
    return PodShape(
        requests={"cpu": 100, "pods": 1},
        node_selector=labels_of(random) if random.random() < 0.3 else {},
        node_affinity=terms,
        tolerations=tolerations,
        gpu_models=random.choice(((), (), ("T4",), ("T4", ""))),
    )


def selector_of(random: Random) -> LabelSelector:
    operators: tuple[Any, ...] = ("In", "NotIn", "Exists", "DoesNotExist")
    expressions = tuple(
        Requirement(
            key=random.choice((*KEYS[:3], "kapok.dev/province", "kapok.dev/tier", "nobody")),
            operator=random.choice(operators),
            values=some_of(random, (*VALUES, "CN-GD", "CN-SC", "edge"), 4),
        )
        for _ in range(random.randrange(3))
    )
    return LabelSelector(
        match_labels=labels_of(random) if random.random() < 0.3 else {},
        match_expressions=expressions,
    )


def demand_of(random: Random, names: list[str]) -> Demand:
    groups = tuple(
        SiteGroup(
            name=f"g{number}",
            sites=some_of(random, (*names, "gone"), 3),
            site_selector=selector_of(random) if random.random() < 0.7 else None,
        )
        for number in range(random.choice((0, 1, 3)))
    )
    return Demand(
        key="ns/app",
        unit=tuple(Pods(shape=shape_of(random), count=1) for _ in range(random.choice((1, 1, 2)))),
        architectures=random.choice((("amd64",), ("amd64", "arm64"), ("windows/amd64",))),
        cpu_vendors=random.choice(((), (), (("intel",),), (("intel", "x"), ("x",)))),
        site_selectors=tuple(selector_of(random) for _ in range(random.randrange(3))),
        tenant_sites=selector_of(random) if random.random() < 0.3 else LabelSelector(),
        site_groups=groups,
    )


def assert_same(fleet: Fleet, demand: Demand) -> None:
    """Every answer of the engine is that of the slow way."""
    for rule, slow in RULES:
        found = rule.admits(fleet, demand, CONTEXT)
        expected = [facts is not None and slow(facts, demand) for facts in fleet.facts]
        assert found[: len(expected)].tolist() == expected, rule
        assert not found[len(expected) :].any()
    chosen, are_all = NodeFit(fleet, demand, None).suitable_profiles(demand.unit[0].shape)
    profiles = fleet.nodes.profiles
    used = [number for number in range(1, len(profiles)) if profiles.slots_of([number])]
    unused = [number for number in range(len(profiles)) if number not in used]
    assert [bool(chosen[each]) for each in used] == [
        may_run_on(demand, profiles[each]) for each in used
    ]
    assert chosen[unused].all()
    assert are_all == chosen.all()
    for group in demand.site_groups:
        assert np.flatnonzero(sites_in_group(fleet, group)).tolist() == [
            slot
            for slot, facts in enumerate(fleet.facts)
            if facts is not None and is_in_group(group, facts)
        ]


def compare(seed: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 3 == 1:  # columns and answers are dropped all the time
        monkeypatch.setattr(label_index, "_MAX_BYTES", 300)
        monkeypatch.setattr("scheduler.placement.fleet.nodes.profiles._MAX_CACHED_BYTES", 600)
    if seed % 3 == 2:  # the log of changes starts again all the time
        monkeypatch.setattr(label_index, "_MAX_LOG_LENGTH", 3)
    random = Random(seed)  # noqa: S311 - a test, seeded
    plain = [site(number, 2, FORMS, random) for number in range(20)]
    fleet = Fleet([varied_site(each, random) for each in plain], may_compile=seed % 2 == 0)
    for _ in range(steps):
        assert_same(fleet, demand_of(random, [each.name for each in plain]))
        for each in random.sample(plain, random.randrange(3)):
            if random.randrange(4) == 0:
                fleet.remove(each.name)
            else:
                fleet.upsert(varied_site(each, random))


@pytest.mark.parametrize("seed", seeds(6, gate=2))
def test_the_whole_fleet_answers_as_each_site_does(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(seed, 80, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6, 30))
def test_the_whole_fleet_answers_as_each_site_does_many_times(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(seed, 1000, monkeypatch)


def test_what_is_asked_and_reported_never_makes_the_index_grow_without_bound() -> None:
    random = Random(1)  # noqa: S311 - a test, seeded
    plain = [site(number, 2, FORMS, random) for number in range(20)]
    fleet = Fleet(plain)
    profiles, hostile = fleet.nodes.profiles, plain[3]
    before = len(profiles)
    for number in range(40):
        classes = tuple(
            replace(
                hostile.status.node_classes[0],
                labels={f"key-{kind}": f"{number}-{kind}", "zone": f"z-{number}-{kind}"},
                taints=(Taint(key=f"t-{kind}", value=str(number)),),
            )
            for kind in range(200)
        )
        fleet.upsert(replace(hostile, status=replace(hostile.status, node_classes=classes)))
        for asked in range(20):
            shape = PodShape(
                node_affinity=(
                    (NodeRequirement(key=f"key-{asked}", operator="Exists"),),
                    (NodeRequirement(key="zone", operator="NotIn", values=(f"q-{asked}",)),),
                ),
                tolerations=(Toleration(key=f"t-{asked}", operator="Exists"),),
            )
            demand = Demand(key="ns/app", unit=(Pods(shape=shape, count=1),))
            NodeFit(fleet, demand, None).suitable_profiles(shape)
    assert profiles.labels.size <= label_index._MAX_BYTES  # noqa: SLF001 - a test
    zone = profiles.labels._column("zone", len(profiles))  # noqa: SLF001 - a test
    assert zone is not None
    assert len(zone.numbers) <= 2 * len(profiles) + 300
    fleet.upsert(hostile)
    assert len(profiles) <= before
    assert len(profiles.labels._with_key) < 20  # noqa: SLF001 - a test
    assert len(profiles.taints._code_of) == 1  # noqa: SLF001 - a test
