"""What holds for each decision, over any small fleet."""

from collections.abc import Callable
from random import Random

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.model.canonical import canonical_json
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import examples
from tests.support.sites import NOW, OBSERVED, Raw, demand, facts_of, grant, nodes, site, workload

STRATEGIES = ["CostOptimal", "Aggregated", "Balanced", "Weighted", "Duplicated"]
ORIGINS = ["measured", "yearly"]
OLD = "2026-11-23T01:00:00Z"


def figures(draw: st.DrawFn) -> Raw:
    maybe = st.none() | st.integers(1, 9)
    price, core, pue, grams = (draw(maybe) for _ in range(4))
    spec: Raw = {"prices": {}, "energy": {}}
    if price is not None:
        spec["prices"]["energyCnyPerKwh"] = price / 10
    if core is not None:
        spec["prices"]["coreCnyPerHour"] = core / 100
    if pue is not None:
        spec["energy"]["pue"] = 1 + pue / 10
    intensity: Raw | None = None
    if grams is not None:
        intensity = {"gco2PerKwh": grams * 100.0, "origin": draw(st.sampled_from(ORIGINS))}
        if draw(st.integers(0, 3)):
            intensity["observedAt"] = OBSERVED
    return {"spec": spec, "intensity": intensity}


@st.composite
def sites(draw: st.DrawFn) -> list[Raw]:
    found = []
    for place in range(draw(st.integers(1, 5))):
        known = figures(draw)
        spec = known["spec"] | {"cordon": draw(st.sampled_from([False, False, False, True]))}
        one = site(f"m{place}", nodes(draw(st.integers(0, 6))), spec=spec)
        if known["intensity"]:
            one["status"]["intensity"] = known["intensity"]
        one["status"]["rtt"] = [{"to": "m0", "milliseconds": draw(st.integers(1, 40))}]
        found.append(one)
    return found


@st.composite
def asks(draw: st.DrawFn) -> Raw:
    placement: Raw = {
        "strategy": draw(st.sampled_from(STRATEGIES)),
        "mode": draw(st.sampled_from(["Steady", "Fresh"])),
    }
    if draw(st.booleans()):
        placement["latency"] = [{"from": "m0", "withinMilliseconds": 25}]
        placement["prices"] = {"latencyCnyPerMillisecondHour": 0.01}
    placed = draw(
        st.dictionaries(st.sampled_from(["m0", "m1", "m2", "gone"]), st.integers(1, 4), max_size=3)
    )
    return workload(draw(st.integers(0, 12)), placement=placement, placed=placed)


def known(raw: list[Raw]) -> list[SiteFacts]:
    granted = grant(*(each["metadata"]["name"] for each in raw))
    return [facts_of(each, granted) for each in raw]


@given(raw=sites(), asked=asks())
@settings(max_examples=examples(200), deadline=None)
def test_replicas_add_up_and_no_site_gets_more_than_its_capacity(
    raw: list[Raw], asked: Raw
) -> None:
    wanted = demand(asked)
    fleet = Fleet(known(raw))
    decision = choose(wanted, fleet, now=NOW)
    before = wanted.placed_replicas
    room = {each.name: each for each in explain(wanted, fleet, now=NOW).sites}
    for each in decision.assignment:
        had = before.get(each.site, 0)
        assert 0 < each.replicas <= had + room[each.site].room
        assert each.replicas <= had or room[each.site].admitted
    if decision.phase == "Placed" and wanted.strategy != "Duplicated":
        assert decision.replicas == wanted.replicas
    if decision.phase != "Placed":
        assert decision.reasons
        stays = {site: count for site, count in before.items() if site != "gone" and site in room}
        assert {each.site: each.replicas for each in decision.assignment} == stays


@given(raw=sites(), asked=asks(), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=examples(100), deadline=None)
def test_the_same_inputs_give_the_same_bytes_whatever_happened_before(
    raw: list[Raw], asked: Raw, shuffle: Random
) -> None:
    wanted = demand(asked)
    facts = known(raw)
    first = decision_bytes(choose(wanted, Fleet(facts), now=NOW))
    other = Fleet(facts)
    for each in shuffle.sample(facts, len(facts)):
        other.upsert(
            msgspec.structs.replace(
                each, status=msgspec.structs.replace(each.status, node_classes=())
            )
        )
        choose(wanted, other, now=NOW)
        other.remove(each.name)
        other.upsert(each)
    assert decision_bytes(choose(wanted, other, now=NOW)) == first
    stored = [
        msgspec.json.decode(canonical_json(each), type=SiteFacts) for each in other.all_facts()
    ]
    again = msgspec.json.decode(canonical_json(wanted), type=Demand)
    assert decision_bytes(choose(again, Fleet(stored), now=NOW)) == first


def without(path: str) -> Callable[[Raw], None]:
    """Deletes one figure of a site."""
    *parents, last = path.split(".")

    def delete(raw: Raw) -> None:
        for parent in parents:
            raw = raw.get(parent) or {}
        raw.pop(last, None)

    return delete


def older(path: str) -> Callable[[Raw], None]:
    """Ages one figure of a site; a figure without a date cannot age."""
    *parents, last = path.split(".")

    def age(raw: Raw) -> None:
        for parent in parents:
            raw = raw.get(parent) or {}
        if last in raw:
            raw[last] = OLD

    return age


LOSSES = [
    without("spec.prices.energyCnyPerKwh"),
    without("spec.prices.coreCnyPerHour"),
    without("spec.energy.pue"),
    without("status.intensity"),
    without("status.intensity.gco2PerKwh"),
    without("status.intensity.observedAt"),
    without("status.intensity.origin"),
    without("status.rtt"),
    without("status.observedAt"),
    without("status.nodeClasses"),
    older("status.intensity.observedAt"),
    older("status.observedAt"),
]


def rank(wanted: Demand, facts: list[SiteFacts], name: str) -> tuple[int, int]:
    """Sort key of a site: admitted sites first, then by cost; (0, 0) is the best."""
    fleet = Fleet(facts)
    case = prepare_cycle(wanted, fleet, decision_context(NOW, DEFAULT_TERMS))
    slot = fleet.slot_of[name]
    cheapest_first = case.costs.sort_cheapest_first(np.array(sorted(fleet.slot_of.values())))
    return (0 if case.filter_result.admitted[slot] else 1, cheapest_first.tolist().index(slot))


@given(raw=sites(), asked=asks(), loss=st.sampled_from(LOSSES), site_index=st.integers(0, 4))
@settings(max_examples=examples(300), deadline=None)
def test_losing_or_ageing_a_figure_never_moves_a_site_forward(
    raw: list[Raw], asked: Raw, loss: Callable[[Raw], None], site_index: int
) -> None:
    wanted = demand(asked)
    name = f"m{site_index % len(raw)}"
    before = rank(wanted, known(raw), name)
    room_before = room_at(wanted, known(raw), name)
    loss(raw[site_index % len(raw)])
    assert rank(wanted, known(raw), name) >= before
    assert room_at(wanted, known(raw), name) <= room_before


def room_at(wanted: Demand, facts: list[SiteFacts], name: str) -> int:
    fleet = Fleet(facts)
    case = prepare_cycle(wanted, fleet, decision_context(NOW, DEFAULT_TERMS))
    return case.capacity.replicas_at_slot(fleet.slot_of[name])


@given(
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    replicas=st.integers(0, 40),
)
@settings(max_examples=examples(100), deadline=None)
def test_one_replica_more_takes_none_away_in_a_fresh_weighted_division(
    weights: list[int], replicas: int
) -> None:
    facts = known([site(f"m{place}", nodes(100)) for place in range(len(weights))])
    placement: Raw = {
        "strategy": "Weighted",
        "mode": "Fresh",
        "weights": [{"site": f"m{place}", "weight": each} for place, each in enumerate(weights)],
    }
    fleet = Fleet(facts)
    fewer = shares(demand(workload(replicas, placement=placement)), fleet)
    more = shares(demand(workload(replicas + 1, placement=placement)), fleet)
    assert all(more.get(name, 0) >= count for name, count in fewer.items())


@given(raw=sites(), asked=asks())
@settings(max_examples=examples(100), deadline=None)
def test_in_a_steady_scale_up_no_site_loses_a_replica(raw: list[Raw], asked: Raw) -> None:
    asked["spec"]["placement"]["mode"] = "Steady"
    asked["spec"]["placement"].pop("latency", None)
    fleet = Fleet(known(raw))
    before = demand(asked).placed_replicas
    asked["spec"]["demand"]["replicas"] = sum(before.values()) + 1
    wanted = demand(asked)
    after = shares(wanted, fleet)
    for name, count in before.items():
        if name in fleet.slot_of and wanted.strategy != "Duplicated":
            assert after.get(name, 0) >= count


def shares(wanted: Demand, fleet: Fleet) -> dict[str, int]:
    return {each.site: each.replicas for each in choose(wanted, fleet, now=NOW).assignment}


@given(raw=sites(), asked=asks())
@settings(max_examples=examples(60), deadline=None)
def test_no_decision_breaks_a_rule_even_one_after_the_other(raw: list[Raw], asked: Raw) -> None:
    fleet = Fleet(known(raw))
    free = {
        each["metadata"]["name"]: each["status"]["nodeClasses"][0]["free"][0]["count"]
        for each in raw
    }
    given_out: dict[str, int] = {}
    for number in range(4):
        asked["metadata"]["name"] = f"app{number}"
        asked["status"] = {}
        wanted = demand(asked)
        decision = choose(wanted, fleet, now=NOW)
        fleet.assume(wanted, decision)
        for each in decision.assignment:
            given_out[each.site] = given_out.get(each.site, 0) + each.replicas
    assert all(count <= free[name] for name, count in given_out.items())
    assert not any(
        raw[place]["spec"]["cordon"] for place in range(len(raw)) if f"m{place}" in given_out
    )
