"""Own solar power is free only while there is a surplus, and is used only once."""

from itertools import pairwise

import pytest

from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import (
    NOW,
    OBSERVED,
    Raw,
    demand,
    facts_of,
    fleet_of,
    grant,
    nodes,
    site,
    workload,
)

MEASURED = {"watts": 1000.0, "pvWatts": 1204.44, "origin": "measured", "observedAt": OBSERVED}
"""4.44 W more than 1000 W * PUE 1.2: one replica of 3.7 W (a core, a GiB) * 1.2."""


def site_with_solar(name: str = "sunny", cny: float = 0.6, **power: object) -> Raw:
    spec = {
        "energy": {"pue": 1.2, "pvPeakWatts": 80_000},
        "prices": {"energyCnyPerKwh": cny, "coreCnyPerHour": 0.0},
    }
    intensity = {"gco2PerKwh": 500, "origin": "yearly"}
    figures = {key: value for key, value in (MEASURED | power).items() if value is not None}
    return site(name, nodes(9), spec=spec, intensity=intensity, power=figures)


def asked(replicas: int = 1, seconds: int = 1800, name: str = "app") -> Raw:
    return workload(replicas, name=name, schedule={"durationSeconds": seconds})


def cost(question: Raw, *sites: Raw) -> tuple[float, float]:
    found = choose(demand(question), fleet_of(*sites), now=NOW).cost
    assert found.cny_per_hour is not None
    assert found.gco2_per_hour is not None
    return found.cny_per_hour, found.gco2_per_hour


FULL = (0.00444 * (0.6 + 0.05), 0.00444 * 500)


def test_a_surplus_is_free_and_emits_nothing() -> None:
    assert cost(asked(), site_with_solar()) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_all_replicas_share_the_surplus() -> None:
    found = cost(asked(2), site_with_solar())
    assert found == pytest.approx((FULL[0], FULL[1]))  # two ask, and one of them is free


@pytest.mark.parametrize(
    "power",
    [
        {"pvWatts": 1200.0},
        {"pvWatts": None},
        {"watts": None},
        {"origin": "assumed"},
        {"origin": None},
        {"observedAt": "2026-11-23T07:00:00Z"},
        {"observedAt": "2026-11-23T09:00:00Z"},
    ],
    ids=["none-left", "no-pv", "no-draw", "assumed", "no-origin", "old", "future"],
)
def test_without_a_measured_and_fresh_surplus_all_is_paid(power: Raw) -> None:
    assert cost(asked(), site_with_solar(**power)) == pytest.approx(FULL)


@pytest.mark.parametrize("seconds", [0, 3601])
def test_long_work_is_not_attracted_by_a_sunny_hour(seconds: int) -> None:
    assert cost(asked(seconds=seconds), site_with_solar()) == pytest.approx(FULL)


def test_a_surplus_is_used_only_once() -> None:
    fleet = Fleet([facts_of(site_with_solar(), grant("sunny"))])
    paid = []
    for turn in range(2):
        question = demand(asked(name=f"app{turn}"))
        decision = choose(question, fleet, now=NOW)
        paid.append(decision.cost.gco2_per_hour)
        fleet.assume(question, decision)
    assert paid == pytest.approx([0.0, FULL[1]], abs=1e-9)


def test_a_negative_price_is_not_replaced_by_solar_power() -> None:
    paid = [
        cost(asked(), site_with_solar(cny=-0.5, pvWatts=watts))[0] for watts in (1200.0, 9000.0)
    ]
    assert all(less >= more for less, more in pairwise(paid))


def test_short_work_goes_where_the_sun_shines() -> None:
    cloudy = site_with_solar("cloudy", cny=0.1, pvWatts=0.0)
    chosen = choose(demand(asked()), fleet_of(site_with_solar(), cloudy), now=NOW)
    assert [each.site for each in chosen.assignment] == ["sunny"]
