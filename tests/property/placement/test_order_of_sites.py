"""The order in which sites joined is no input: the workload breaks ties of equal sites."""

from itertools import permutations
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.model.decision import decision_bytes
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import choose
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.fleet.context import decision_context
from tests.support.counts import examples
from tests.support.sites import (
    NOW,
    OBSERVED,
    Raw,
    demand,
    fleet_of,
    grant,
    site_with_capacity,
    workload,
)

LEVELS = ["province", "city", "label:rack", "site"]
NAMES = ["m1", "a", "zz", "m10", "b-2"]


@st.composite
def sites(draw: st.DrawFn) -> list[Raw]:
    """Sites of few places and prices, so that many are equal."""
    few = st.integers(1, 2)
    found = []
    for name in NAMES[: draw(st.integers(2, 5))]:
        where = {"province": f"CN-G{draw(few)}", "city": f"c{draw(few)}"}
        spec = {"location": where, "prices": {"coreCnyPerHour": draw(few) / 10}}
        labels = {"rack": f"r{draw(few)}"}
        found.append(site_with_capacity(name, draw(st.integers(1, 6)), spec=spec, labels=labels))
    return found


@st.composite
def rules(draw: st.DrawFn) -> list[Raw]:
    found = []
    for by in draw(st.lists(st.sampled_from(LEVELS), max_size=3, unique=True)):
        least = draw(st.integers(1, 2))
        rule: Raw = {"by": by, "minGroups": least, "maxGroups": draw(st.integers(2, 3))}
        if draw(st.booleans()):
            rule["maxPerGroup"] = draw(st.integers(5, 6))
        found.append(rule)
    return found


@st.composite
def asks(draw: st.DrawFn) -> Raw:
    strategy = draw(st.sampled_from(["CostOptimal", "Aggregated", "Balanced", "Weighted"]))
    placed = draw(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), max_size=3))
    placement = {"strategy": strategy, "spread": draw(rules())}
    return workload(draw(st.integers(2, 9)), placement=placement, placed=placed)


@given(raw=sites(), asked=asks(), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=examples(100), deadline=None)
def test_the_order_in_which_sites_joined_decides_nothing(
    raw: list[Raw], asked: Raw, shuffle: Random
) -> None:
    other = list(raw)
    shuffle.shuffle(other)
    first, again = (
        decision_bytes(choose(demand(asked), fleet_of(*order, grants=(grant(*NAMES),)), now=NOW))
        for order in (raw, other)
    )
    assert first == again


def test_what_all_replicas_cost_is_added_up_in_one_order() -> None:
    raw = [
        priced(name, cny) for name, cny in zip(NAMES, (0.02, 0.05, 0.06, 0.07, 0.11), strict=True)
    ]
    wanted = demand(workload(3, placement={"strategy": "Duplicated"}))
    made = set()
    for order in permutations(raw):
        fleet = fleet_of(*order, grants=(grant(*NAMES),))
        decision = choose(wanted, fleet, now=NOW)
        assert decision.cost.cny_per_hour
        spend = spend_of(
            wanted, fleet, decision_context(NOW, DEFAULT_TERMS), dict.fromkeys(NAMES, 3)
        )
        made.add((decision_bytes(decision), spend.cny_per_hour, spend.gco2_per_hour))
    assert len(made) == 1


def priced(name: str, cny: float) -> Raw:
    """A site with all figures known."""
    spec = {
        "prices": {"coreCnyPerHour": cny, "energyCnyPerKwh": 0.6 + cny},
        "energy": {"pue": 1.1 + cny, "pueOrigin": "measured"},
    }
    one = site_with_capacity(name, 6, spec=spec)
    one["status"]["intensity"] = {
        "gco2PerKwh": 100 * cny,
        "origin": "measured",
        "observedAt": OBSERVED,
    }
    return one
