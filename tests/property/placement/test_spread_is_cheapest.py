"""On small fleets no division is cheaper than that of CostOptimal with spread."""

from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.model.demand.demand import NotAccepted
from scheduler.placement.choose import choose
from tests.support.brute_force import cheapest_cost, spread_allows
from tests.support.counts import examples
from tests.support.sites import NOW, Raw, demand_or_refusal, fleet_of, grant, nodes, site, workload

PROVINCES = ("CN-GD", "CN-GX", "CN-HN")


def priced(index: int, room: int, cny: float, province: str, provider: str) -> Raw:
    return site(
        f"m{index}",
        nodes(room),
        spec={
            "provider": provider,
            "location": {"province": province},
            "energy": {"pue": 1.0},
            "prices": {"energyCnyPerKwh": 0.0, "coreCnyPerHour": cny},
        },
    )


levels = st.builds(
    lambda by, least, more, each: {
        "by": by,
        "minGroups": least,
        **({"maxGroups": least + more} if more is not None else {}),
        **({"maxPerGroup": each} if each is not None else {}),
    },
    st.sampled_from(["province", "provider", "site"]),
    st.integers(1, 3),
    st.none() | st.integers(0, 2),
    st.none() | st.integers(1, 4),
)
sites = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(1, 20).map(lambda cents: cents / 100),
        st.sampled_from(PROVINCES),
        st.sampled_from(["a", "b"]),
    ),
    min_size=1,
    max_size=5,
)


CROSSED = [
    (1, 0.01, "CN-GD", "a"),
    (1, 0.02, "CN-GD", "b"),
    (1, 0.02, "CN-GX", "a"),
    (1, 0.10, "CN-GX", "b"),
]
"""Here the cheapest site first forces the most expensive one beside it."""
ONE_EACH = [{"by": by, "minGroups": 1, "maxPerGroup": 1} for by in ("province", "provider")]


@example(sites=CROSSED, replicas=2, rules=ONE_EACH)
@given(sites=sites, replicas=st.integers(1, 7), rules=st.lists(levels, min_size=1, max_size=2))
@settings(max_examples=examples(150), deadline=None)
def test_nothing_is_cheaper_than_the_spread_that_is_chosen(
    sites: list[tuple[int, float, str, str]], replicas: int, rules: list[Raw]
) -> None:
    raw = [priced(place, *each) for place, each in enumerate(sites)]
    fleet = fleet_of(*raw, grants=(grant(*(f"m{place}" for place in range(len(sites)))),))
    asked = workload(replicas, placement={"spread": rules, "prices": {"carbonCnyPerKg": 0}})
    wanted = demand_or_refusal(asked)
    groups = {
        "province": [each[2] for each in sites],
        "provider": [each[3] for each in sites],
        "site": [str(place) for place in range(len(sites))],
    }
    checks = [
        partial(
            spread_allows,
            groups=groups[rule["by"]],
            min_groups=rule["minGroups"],
            max_groups=rule.get("maxGroups", 99),
            max_per_group=rule.get("maxPerGroup", 99),
        )
        for rule in rules
    ]
    best = cheapest_cost(
        replicas,
        [each[0] for each in sites],
        [each[1] for each in sites],
        lambda division: all(check(division) for check in checks),
    )
    if isinstance(wanted, NotAccepted):
        assert best is None, wanted.message
        return
    decision = choose(wanted, fleet, now=NOW)
    if best is None:
        assert decision.phase == "Waiting"
        assert set(decision.reasons) <= {"spread", "full"}
        return
    assert decision.phase == "Placed", decision.line
    shares = {each.site: each.replicas for each in decision.assignment}
    division = tuple(shares.get(f"m{place}", 0) for place in range(len(sites)))
    assert all(check(division) for check in checks)
    cost = sum(count * each[1] for count, each in zip(division, sites, strict=True))
    assert cost == pytest.approx(best)
    assert decision.optimal
