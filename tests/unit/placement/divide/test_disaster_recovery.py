"""The preset two-places-three-centres: an active pair in one metro, a standby far away."""

import pytest

from scheduler.placement.choose import choose
from scheduler.placement.divide.disaster_recovery import total_replicas_of
from tests.support.sites import NOW, Raw, demand, fleet_of, nodes, site, workload


def at(name: str, province: str, metro: str, replicas: int = 9, **rtt: float) -> Raw:
    return site(
        name,
        nodes(replicas),
        spec={"location": {"province": province, "city": metro, "metro": metro}},
        rtt=[{"to": to, "milliseconds": value} for to, value in rtt.items()],
    )


PAIR = [at("gz1", "CN-GD", "gz", gz2=1.5, gz3=9), at("gz2", "CN-GD", "gz", gz1=1.8, gz3=1)]
FAR = at("gy1", "CN-GZ", "gy")


def shares(asked: Raw, *sites: Raw) -> dict[str, int]:
    decision = choose(demand(asked), fleet_of(*sites), now=NOW)
    return {each.site: each.replicas for each in decision.assignment}


def two_places(replicas: int, placed: dict[str, int] | None = None, **options: float) -> Raw:
    placement = {"preset": "two-places-three-centres", "presetOptions": options}
    return workload(replicas, placement=placement, placed=placed)


def test_two_places_three_centres_is_a_near_pair_and_a_far_standby() -> None:
    third = at("gz3", "CN-GD", "gz", gz1=9, gz2=9)
    found = shares(two_places(6, standbyRatio=0.34), *PAIR, third, FAR)
    assert found == {"gz1": 3, "gz2": 3, "gy1": 3}
    assert shares(two_places(6, standbyRatio=0.0), *PAIR, FAR) == {"gz1": 3, "gz2": 3}


def test_a_workload_without_its_standby_is_incomplete() -> None:
    wanted = demand(two_places(6, standbyRatio=0.34))
    assert total_replicas_of(wanted) == sum(
        shares(two_places(6, standbyRatio=0.34), *PAIR, FAR).values()
    )
    assert total_replicas_of(wanted) == 9
    assert total_replicas_of(demand(workload(6))) == 6


@pytest.mark.parametrize(("replicas", "ratio", "standby"), [(100, 0.07, 7), (25, 0.28, 7)])
def test_a_standby_is_the_share_as_it_is_written(replicas: int, ratio: float, standby: int) -> None:
    raw = [
        at("gz1", "CN-GD", "gz", 60, gz2=1),
        at("gz2", "CN-GD", "gz", 60, gz1=1),
        at("gy1", "CN-GZ", "gy", 60),
    ]
    assert shares(two_places(replicas, standbyRatio=ratio), *raw)["gy1"] == standby


@pytest.mark.parametrize(
    ("sites", "options"),
    [
        (PAIR, {}),  # no other province
        ([PAIR[0], FAR], {}),  # no pair
        ([*PAIR, FAR], {"pairWithinMilliseconds": 1.7}),  # one end says 1.8 ms
        (
            [at("gz1", "CN-GD", "gz", gz2=1), at("gz2", "CN-GD", "gz"), FAR],
            {},
        ),  # one end reports no round trip
        ([*PAIR, at("gy1", "CN-GZ", "gy", 2)], {}),  # no capacity for the standby
    ],
    ids=["no-standby", "no-pair", "too-far", "unknown", "no-room"],
)
def test_a_pair_is_placed_whole_or_not_at_all(sites: list[Raw], options: Raw) -> None:
    decision = choose(demand(two_places(6, **options)), fleet_of(*sites), now=NOW)
    assert (decision.phase, list(decision.reasons)) == ("Waiting", ["spread"])


def test_a_pair_keeps_its_running_replicas() -> None:
    more = [
        at("gz4", "CN-GD", "gz", gz5=1),
        at("gz5", "CN-GD", "gz", gz4=1),
        at("cd1", "CN-SC", "cd"),
    ]
    runs = {"gz4": 3, "gz5": 3, "cd1": 3}
    assert shares(two_places(6, runs), *PAIR, FAR, *more) == runs


RUNS = {"gz1": 3, "gz2": 3, "gy1": 3}


def test_a_running_pair_is_not_separated() -> None:
    """A cordon, a lost round trip or a cheaper site does not move it; more go beside it."""
    pair = [at("gz1", "CN-GD", "gz", gz2=1), at("gz2", "CN-GD", "gz", gz1=1)]
    others = [at("gz3", "CN-GD", "gz", gz4=1), at("gz4", "CN-GD", "gz", gz3=1), FAR]
    cordoned = [{**pair[0], "spec": {**pair[0]["spec"], "cordon": True}}, pair[1]]
    mute = [at("gz1", "CN-GD", "gz"), pair[1]]
    for one in (pair, cordoned, mute):
        assert shares(two_places(6, RUNS), *one, *others) == RUNS
    assert shares(two_places(8, RUNS), *pair, *others) == {"gz1": 4, "gz2": 4, "gy1": 4}
    assert shares(two_places(5, RUNS), *pair, *others) == {"gz1": 3, "gz2": 2, "gy1": 3}
    full = [at("gz1", "CN-GD", "gz", 0, gz2=1), at("gz2", "CN-GD", "gz", 0, gz1=1)]
    assert shares(two_places(8, RUNS), *full, *others) == RUNS


def test_a_pair_meets_the_spread_constraints_too() -> None:
    asked = two_places(6)
    asked["spec"]["placement"]["spread"] = [{"by": "site", "maxPerGroup": 2}]
    assert shares(asked, *PAIR, FAR) == {}
    asked["spec"]["placement"]["spread"] = [{"by": "province", "minGroups": 2, "maxPerGroup": 6}]
    assert shares(asked, *PAIR, FAR) == {"gz1": 3, "gz2": 3, "gy1": 3}


def test_same_city_active_active_uses_two_sites_of_one_city() -> None:
    found = shares(workload(4, placement={"preset": "same-city-active-active"}), *PAIR, FAR)
    assert sorted(found) == ["gz1", "gz2"]
    assert sum(found.values()) == 4


def test_edge_everywhere_runs_at_every_edge_site() -> None:
    core = site("core", nodes(9), spec={"tier": "central"})
    found = shares(workload(2, placement={"preset": "edge-everywhere"}), *PAIR, core)
    assert found == {"gz1": 2, "gz2": 2}


def test_green_batch_pays_more_for_clean_power() -> None:
    def powered(name: str, cny: float, grams: float) -> Raw:
        spec = {"energy": {"pue": 1.2}, "prices": {"energyCnyPerKwh": cny, "coreCnyPerHour": 0.0}}
        return site(name, nodes(9), spec=spec, intensity={"gco2PerKwh": grams, "origin": "yearly"})

    cheap, clean = powered("cheap", 0.3, 900), powered("clean", 0.5, 100)
    assert set(shares(workload(2), cheap, clean)) == {"cheap"}
    assert set(shares(workload(2, placement={"preset": "green-batch"}), cheap, clean)) == {"clean"}
