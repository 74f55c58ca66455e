"""No verdict's sentence says the opposite of its flag, and each suggested change holds."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.model.decision import Verdict
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.fields import DATA_CLASSES
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.need import by_need
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import examples
from tests.support.sites import NOW, Raw, demand_or_refusal, fleet_of, grant, nodes, site, workload

Sites = list[tuple[list[Raw], list[Raw], bool, bool]]
SAYS_YES = re.compile(
    r"has the grant|is valid until|serves every|is not cordoned|within the limits of|needs no|"
    r"labels of \S+ match|has an agent|whose taints are tolerated|has the weight|every taint|"
    r"with the required labels|workload names no|bounds no|is in group|not known to be silent|"
    r"Ready=True"
)
SAYS_NO = re.compile(
    r"has no grant|no valid grant|not valid now|may not|does not|is not tolerated|has no agent|"
    r"must state|must hold|no node at|has no weight|is in none|never scheduled|not looked at|"
    r"has no data class|no single grant|names no place:|are not tolerated|takes 0 more|no nodes"
)
_RANKS = {name: rank for rank, name in enumerate((*DATA_CLASSES, *map(str, range(6))))}
COMPARED = re.compile(r"(?:may hold up to|certified for level) (\S+); this (?:is|needs) (\S+)")

_classes = st.sampled_from(["general-1", "general-2", "general-3", "general-4", "important"])
_grants = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "dataClass": _classes,
            "protectionLevel": st.integers(1, 5),
            "jurisdiction": st.sampled_from(["CN-GD", "CN-SH", "CN-XX", "HK"]),
            "networkZones": st.lists(st.sampled_from(["public-network"]), max_size=1),
            "dedicatedPool": st.booleans(),
            "allowList": st.sampled_from([[], ["ns/app"]]),
            "cpuVendors": st.lists(st.sampled_from(["hygon", "kunpeng"]), max_size=1),
            "validUntil": st.just("2020-01-01T00:00:00Z"),
        },
    ),
    max_size=3,
)
_nodes = st.lists(
    st.builds(
        lambda count, arch, vendor, system, cpu: {
            **nodes(count, cpu=cpu),
            "architecture": arch,
            "cpuVendor": vendor,
            "labels": {"kubernetes.io/os": system},
        },
        st.integers(1, 3),
        st.sampled_from(["amd64", "arm64"]),
        st.sampled_from(["hygon", "kunpeng", ""]),
        st.sampled_from(["linux", "windows"]),
        st.sampled_from(["1", "8"]),
    ),
    max_size=2,
)
_sites = st.lists(st.tuples(_nodes, _grants, st.booleans(), st.booleans()), min_size=1, max_size=3)
_demands = st.fixed_dictionaries(
    {"dataClass": st.none() | _classes},
    optional={
        "protectionLevel": st.integers(1, 4),
        "jurisdictions": st.sampled_from([["CN"], ["CN-GD"]]),
        "networkZones": st.just(["public-network"]),
        "imagePlatforms": st.sampled_from([["linux/arm64"], ["windows/amd64"]]),
    },
)
_placements = st.fixed_dictionaries(
    {},
    optional={
        "cpuVendors": st.just(["kunpeng"]),
        "latency": st.just([{"from": "m0", "withinMilliseconds": 5}]),
        "siteSelector": st.just({"matchLabels": {"kapok.dev/tier": "edge"}}),
        "siteTolerations": st.just([{"key": "x", "operator": "Exists"}]),
    },
)


def check_verdict(verdict: Verdict) -> None:
    said = f"{verdict.rule} {verdict.passed}: {verdict.sentence}"
    if verdict.passed is None:
        assert verdict.sentence.startswith("not looked at: "), said
        return
    opposite = SAYS_NO if verdict.passed else SAYS_YES
    assert not opposite.search(verdict.sentence), said
    if found := COMPARED.search(verdict.sentence):
        assert (_RANKS[found[1]] >= _RANKS[found[2]]) is verdict.passed, said


def check_explanation(
    sites: Sites,
    asked: Raw,
    placement: Raw,
    replicas: int,
) -> None:
    demand = demand_or_refusal(workload(replicas, placement=placement, **asked))
    if not isinstance(demand, Demand):
        return
    fleet = fleet_with(sites)
    for each in explain(demand, fleet, now=NOW).sites:
        for verdict in each.verdicts:
            check_verdict(verdict)
        refused = any(one.passed is False and one.rule != "fit" for one in each.verdicts)
        assert each.admitted is not refused
    changes = suggest_changes(demand, fleet, decision_context(NOW, DEFAULT_TERMS))
    kinds = [each.kind for each in changes]
    assert len(kinds) == len(set(kinds))
    for change in changes:
        assert change.verified
        assert change.who in ("tenant", "operator", "authority")
        assert "workload.dataClass" not in change.kinds
        assert "workload.protectionLevel" not in change.kinds
        if any(kind.startswith("grant.") for kind in change.kinds):
            assert change.who == "authority"


def fleet_with(sites: Sites) -> Fleet:
    """The fleet of these sites and their grants."""
    raw_sites, grants = [], []
    for index, (node_classes, rights, cordon, tainted) in enumerate(sites):
        raw = site(f"m{index}", *node_classes)
        raw["spec"]["cordon"] = cordon
        raw["spec"]["taints"] = [{"key": "x", "effect": "NoSchedule"}] if tainted else []
        raw_sites.append(raw)
        grants += [
            grant(f"m{index}", name=f"g{index}{number}", **each)
            for number, each in enumerate(rights)
        ]
    return fleet_of(*raw_sites, grants=tuple(grants))


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(_sites, _demands, _placements, st.integers(1, 4))
def test_no_sentence_says_the_opposite_of_its_flag(
    sites: Sites, asked: Raw, placement: Raw, replicas: int
) -> None:
    check_explanation(sites, asked, placement, replicas)


@pytest.mark.soak
@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(_sites, _demands, _placements, st.integers(1, 4))
def test_no_sentence_of_many_says_the_opposite_of_its_flag(
    sites: Sites, asked: Raw, placement: Raw, replicas: int
) -> None:
    check_explanation(sites, asked, placement, replicas)


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.too_slow])
@given(_sites, _demands, _placements)
def test_a_page_explains_its_sites_as_the_whole_does_and_the_needed_come_first(
    sites: Sites, asked: Raw, placement: Raw
) -> None:
    demand = demand_or_refusal(workload(2, placement=placement, **asked))
    if not isinstance(demand, Demand):
        return
    fleet = fleet_with(sites)
    whole = {one.name: one for one in explain(demand, fleet, now=NOW).sites}
    decision = explain(demand, fleet, now=NOW).decision
    shares = {one.site: one.replicas for one in decision.assignment}
    context = decision_context(NOW, DEFAULT_TERMS)
    ordered = by_need(demand, fleet, context, list(whole), shares)
    assert sorted(ordered) == sorted(whole)
    page = explain(demand, fleet, now=NOW, decision=decision, sites=ordered[:2])
    assert {one.name: one for one in page.sites} == {name: whole[name] for name in ordered[:2]}
    admitted = [whole[name].admitted for name in ordered if not shares.get(name)]
    assert admitted == sorted(admitted, reverse=True), "what refuses is behind what admits"
