"""A budget of carbon steers the division, and the budget that is offered is the least."""

from itertools import product
from random import Random

import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.kinds import API_VERSION, Tenant
from scheduler.placement.choose import choose
from scheduler.placement.cost.energy import carbon_intensity_with_pue, replica_kwh_per_hour
from scheduler.placement.cost.site_costs import site_costs_of
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, Raw, demand, fleet_of, nodes, site, workload

CONTEXT = decision_context(NOW, DEFAULT_TERMS)


def place(name: str, room: int, grams: float, price: float, city: str = "A") -> Raw:
    spec: Raw = {
        "energy": {"pue": 1.2},
        "prices": {"energyCnyPerKwh": price, "coreCnyPerHour": 0.05},
        "location": {"province": "CN-GD", "city": city, "metro": city},
    }
    return site(name, nodes(room), spec=spec, intensity={"gco2PerKwh": grams, "origin": "yearly"})


def asked(replicas: int, placement: Raw | None = None, **budget: float) -> Demand:
    raw: Raw = {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": {"name": "a"},
        "spec": {"namespaces": ["ns"], "budget": budget},
    }
    wanted = workload(replicas, placement={"prices": {"carbonCnyPerKg": 0}, **(placement or {})})
    return demand(wanted, tenants=[decode_as(raw, Tenant)])


def figures(fleet: Fleet, wanted: Demand) -> tuple[list[float], list[float]]:
    """CNY and grams per replica-hour of the sites s0, s1, …"""
    cny = site_costs_of(wanted, fleet, CONTEXT).cny
    grams = carbon_intensity_with_pue(fleet, CONTEXT).value
    kwh = replica_kwh_per_hour(wanted, CONTEXT)
    slots = [fleet.slot_of[name] for name in sorted(fleet.slot_of)]
    return [float(cny[slot]) for slot in slots], [float(grams[slot]) * kwh for slot in slots]


@pytest.mark.parametrize("strategy", ["CostOptimal", "Balanced"])
@pytest.mark.parametrize("seed", range(25))
def test_the_division_within_both_budgets_is_found_and_is_the_cheapest(
    seed: int, strategy: str
) -> None:
    chance = Random(seed)  # noqa: S311 - no secret
    rooms = [chance.randint(0, 3) for _ in range(4)]
    cities = [chance.choice("AB") for _ in range(4)]
    fleet = fleet_of(
        *(
            place(f"s{n}", rooms[n], chance.randint(20, 900), chance.uniform(0.2, 2), cities[n])
            for n in range(4)
        )
    )
    spread = {"spread": [{"by": "city", "minGroups": 2}]} if seed % 2 else {}
    free = asked(4, {"strategy": strategy, **spread})
    cny, grams = figures(fleet, free)
    possible = [
        (sum(c * n for c, n in zip(cny, each, strict=True)), sum(map(_times, grams, each)))
        for each in product(*(range(room + 1) for room in rooms))
        if sum(each) == 4
        and (not spread or len({cities[n] for n, count in enumerate(each) if count}) > 1)
    ]
    if not possible:
        return
    money, carbon = chance.choice(possible)
    slack = 1.000001
    wanted = asked(
        4,
        {"strategy": strategy, **spread},
        cnyPerHour=money * slack,
        kgco2ePerHour=carbon * slack / 1000,
    )
    found = choose(wanted, fleet, now=NOW)
    assert found.phase == "Placed", found.line
    spent = found.cost.cny_per_hour or 0.0
    assert spent <= money * slack
    assert (found.cost.gco2_per_hour or 0.0) <= carbon * slack
    if any("cleaner" in note for note in found.notes):
        best = min(c for c, g in possible if c <= money * slack and g <= carbon * slack)
        assert spent == pytest.approx(best, rel=1e-6)


def _times(one: float, other: float) -> float:
    return one * other


def test_a_large_fleet_meets_a_budget_of_carbon_by_a_price() -> None:
    fleet = fleet_of(*(place(f"s{n:03}", 1, 900 - 8 * n, 0.2 + n * 0.01) for n in range(100)))
    cheapest = choose(asked(10), fleet, now=NOW)
    most = (cheapest.cost.gco2_per_hour or 0.0) / 2
    found = choose(asked(10, kgco2ePerHour=most / 1000), fleet, now=NOW)
    assert (found.phase, found.replicas) == ("Placed", 10)
    assert 0.9 * most <= (found.cost.gco2_per_hour or 0.0) <= most
    assert found.optimal == (found.gap == 0)


def test_a_budget_comes_before_the_order_of_site_groups() -> None:
    fleet = fleet_of(place("s0", 4, 800, 0.3), place("s1", 4, 50, 1.0))
    groups = [{"name": "first", "sites": ["s0"]}, {"name": "next", "sites": ["s1"]}]
    found = choose(asked(1, {"siteGroups": groups}, kgco2ePerHour=0.001), fleet, now=NOW)
    assert [each.site for each in found.assignment] == ["s1"]


@pytest.mark.parametrize("budget", [0.0001, 0.00013, 1e-9, 0.0])
def test_the_budget_that_is_offered_is_the_least_of_two_digits_that_suffices(
    budget: float,
) -> None:
    fleet = fleet_of(place("s0", 4, 800, 0.3), place("s1", 4, 50, 1.0))
    wanted = asked(2, kgco2ePerHour=budget)
    assert choose(wanted, fleet, now=NOW).phase == "Waiting"
    (offer,) = [
        each for each in suggest_changes(wanted, fleet, CONTEXT) if each.kind == "tenant.budget"
    ]
    offered = float(offer.to.removeprefix("kgco2ePerHour: "))
    _, grams = figures(fleet, wanted)
    least = 2 * min(grams) / 1000
    assert least <= offered <= least * 1.1
    assert float(f"{offered:.1e}") == offered
