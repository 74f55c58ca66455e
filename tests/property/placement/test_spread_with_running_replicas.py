"""Spread with running replicas: limits count what stays, and scaling down always succeeds."""

from collections.abc import Iterator
from itertools import product, repeat

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.model.demand.demand import NotAccepted
from scheduler.placement.choose import choose
from tests.support.counts import examples
from tests.support.sites import NOW, Raw, demand_or_refusal, fleet_of, grant, nodes, site, workload

Place = tuple[int, int, float, str, str]
"""Running replicas, capacity for more, cost, province (empty: unknown) and provider of a site."""


def a_site(index: int, place: Place) -> Raw:
    _, room, cny, province, provider = place
    return site(
        f"m{index}",
        nodes(room),
        spec={
            "provider": provider,
            "location": {"province": province} if province else {},
            "energy": {"pue": 1.0},
            "prices": {"energyCnyPerKwh": 0.0, "coreCnyPerHour": cny},
        },
    )


places = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 4),
        st.integers(1, 20).map(lambda cents: cents / 100),
        st.sampled_from(["CN-GD", "CN-GX", "CN-HN", ""]),
        st.sampled_from(["a", "b"]),
    ),
    min_size=1,
    max_size=4,
)
rules = st.lists(
    st.builds(
        lambda by, least, more, each: {
            "by": by,
            "minGroups": least,
            **({"maxGroups": least + more} if more is not None else {}),
            **({"maxPerGroup": each} if each is not None else {}),
        },
        st.sampled_from(["province", "provider", "site"]),
        st.integers(1, 3),
        st.none() | st.integers(0, 1),
        st.none() | st.integers(1, 4),
    ),
    min_size=1,
    max_size=2,
)


def totals(division: tuple[int, ...], found: list[Place], by: str) -> dict[str, int]:
    """Replicas by group; sites of unknown place are one group without a name."""
    total: dict[str, int] = {}
    for index, (count, place) in enumerate(zip(division, found, strict=True)):
        group = {"province": place[3], "provider": place[4], "site": f"m{index}"}[by]
        if count:
            total[group] = total.get(group, 0) + count
    return total


def allows(division: tuple[int, ...], found: list[Place], rule: Raw) -> bool:
    """Whether additional replicas meet one level; running replicas never exceed it."""
    runs = tuple(each[0] for each in found)
    after, before = totals(division, found, rule["by"]), totals(runs, found, rule["by"])
    if after.pop("", 0) > before.pop("", 0):
        return False
    fullest = rule.get("maxPerGroup", 99)
    return rule["minGroups"] <= len(after) <= max(rule.get("maxGroups", 99), len(before)) and all(
        count <= max(fullest, before.get(group, 0)) for group, count in after.items()
    )


def scaled_up(found: list[Place], replicas: int, asked: list[Raw]) -> Iterator[float]:
    """The costs of all divisions that keep running replicas and meet every level."""
    for division in product(*(range(runs, runs + room + 1) for runs, room, *_ in found)):
        if sum(division) == replicas and all(allows(division, found, rule) for rule in asked):
            yield sum(count * place[2] for count, place in zip(division, found, strict=True))


def exceeds(rule: Raw, found: list[Place]) -> bool:
    """Whether running replicas break a level: they stay, though no new division could do so."""
    runs = totals(tuple(each[0] for each in found), found, rule["by"])
    at_unknown_places = runs.pop("", 0)
    return (
        at_unknown_places > 0
        or len(runs) > rule.get("maxGroups", 99)
        or any(count > rule.get("maxPerGroup", 99) for count in runs.values())
    )


ONE_FULL: tuple[list[Place], int, list[Raw]] = (
    [(0, 2, 0.02, "CN-GD", "a"), (3, 4, 0.18, "CN-GD", "a")],
    3,
    [{"by": "site", "minGroups": 1, "maxPerGroup": 3}],
)
ONE_OPEN: tuple[list[Place], int, list[Raw]] = (
    [(1, 3, 0.19, "CN-GD", "a"), (0, 4, 0.07, "CN-GX", "a")],
    2,
    [
        {"by": "provider", "minGroups": 1, "maxGroups": 1},
        {"by": "province", "minGroups": 1, "maxGroups": 1},
    ],
)
ONE_AT_AN_UNKNOWN_PLACE: tuple[list[Place], int, list[Raw]] = (
    [(0, 1, 0.01, "CN-GD", "a"), (1, 0, 0.01, "", "a")],
    1,
    [{"by": "province", "minGroups": 1, "maxGroups": 1, "maxPerGroup": 1}],
)
"""Not accepted: the level allows one replica in all, whatever runs at unknown places."""


@given(found=places, more=st.integers(1, 5), asked=rules)
@example(*ONE_AT_AN_UNKNOWN_PLACE)
@example(*ONE_FULL)
@example(*ONE_OPEN)
@settings(max_examples=examples(150), deadline=None)
def test_replicas_beside_running_ones_meet_every_level_at_the_least_cost(
    found: list[Place], more: int, asked: list[Raw]
) -> None:
    runs = {f"m{index}": place[0] for index, place in enumerate(found) if place[0]}
    replicas = sum(runs.values()) + more
    division, phase = divided(found, replicas, {"spread": asked, "prices": {"carbonCnyPerKg": 0}})
    best = min(scaled_up(found, replicas, asked), default=None)
    if phase == "not accepted":
        assert best is None or any(map(exceeds, asked, repeat(found)))
        return
    if best is None:
        assert (phase, division) == ("Waiting", tuple(each[0] for each in found))
        return
    assert phase == "Placed"
    assert all(count >= place[0] for count, place in zip(division, found, strict=True))
    assert all(allows(division, found, rule) for rule in asked)
    cost = sum(count * place[2] for count, place in zip(division, found, strict=True))
    assert cost == pytest.approx(best)


@given(
    found=places,
    less=st.integers(1, 9),
    asked=rules,
    strategy=st.sampled_from(["CostOptimal", "Aggregated", "Balanced", "Weighted"]),
)
@settings(max_examples=examples(150), deadline=None)
def test_fewer_replicas_add_up_whatever_the_spread_and_zero_is_zero(
    found: list[Place], less: int, asked: list[Raw], strategy: str
) -> None:
    runs = [place[0] for place in found]
    replicas = max(0, sum(runs) - less)
    asked = [
        {"by": each["by"], "minGroups": min(each["minGroups"], replicas or 1)} for each in asked
    ]
    division, phase = divided(found, replicas, {"strategy": strategy, "spread": asked})
    assert (phase, sum(division)) == ("Placed", min(replicas, sum(runs)))
    assert all(count <= had for count, had in zip(division, runs, strict=True))
    # With several levels the division need not meet all: scaling down always succeeds.
    if replicas and len(asked) == 1:
        can_meet = any(
            sum(left) == replicas and allows(left, found, asked[0])
            for left in product(*(range(had + 1) for had in runs))
        )
        assert not can_meet or allows(division, found, asked[0])


def divided(found: list[Place], replicas: int, placement: Raw) -> tuple[tuple[int, ...], str]:
    sites = [a_site(index, place) for index, place in enumerate(found)]
    names = [each["metadata"]["name"] for each in sites]
    runs = {name: place[0] for name, place in zip(names, found, strict=True) if place[0]}
    asked = workload(replicas, placement=placement, placed=runs)
    wanted = demand_or_refusal(asked)
    if isinstance(wanted, NotAccepted):
        return (), "not accepted"
    decision = choose(wanted, fleet_of(*sites, grants=(grant(*names),)), now=NOW)
    shares = {each.site: each.replicas for each in decision.assignment}
    return tuple(shares.get(name, 0) for name in names), decision.phase
