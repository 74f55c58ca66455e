"""Data transfer: a site pays for what it must copy before it can work."""

from itertools import pairwise
from typing import Any

import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.kinds import PlacementPolicy, Workload
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from tests.support.sites import NOW, Raw, demand, fleet_of, nodes, site, workload

PAID = {"movingCnyPerGibibyte": 0.5, "carbonCnyPerKg": 0.0}


def there(name: str, metro: str = "", core: float = 0.05) -> Raw:
    spec = {
        "location": {"metro": metro},
        "energy": {"pue": 1.2},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": core},
    }
    return site(name, nodes(9), spec=spec)


def moving(asked: Raw, *sites: Raw) -> dict[str, float | None]:
    found = explain(demand(asked), fleet_of(*sites), now=NOW)
    return {
        each.name: term.cny_per_replica_hour
        for each in found.sites
        for term in each.costs
        if term.term == "moving"
    }


def asks(*data: tuple[str, float], replicas: int = 2, **spec: Any) -> Raw:  # noqa: ANN401 - fields of the spec
    entries = [{"at": at, "gibibytes": gibibytes} for at, gibibytes in data]
    return workload(replicas, placement={"data": entries, "prices": PAID}, **spec)


SITES = (there("m1", "gz"), there("m2", "gz"), there("m3", "sz"))


def test_a_copy_is_paid_once_and_spread_over_hours_and_replicas() -> None:
    schedule = {"durationSeconds": 7200}
    found = moving(asks(("m1", 100.0), schedule=schedule), *SITES)
    assert found == {"m1": 0.0, "m2": 12.5, "m3": 12.5}  # 100 GiB * 0.5 CNY / 2 h / 2 replicas


def test_work_of_unknown_length_is_taken_to_run_for_thirty_days() -> None:
    found = moving(asks(("m1", 720.0), replicas=1), *SITES)
    assert found["m2"] == pytest.approx(0.5)


def test_data_in_a_metro_is_at_all_its_sites_and_every_entry_counts() -> None:
    schedule = {"durationSeconds": 3600}
    found = moving(asks(("metro:gz", 10.0), ("m1", 4.0), replicas=1, schedule=schedule), *SITES)
    assert found == {"m1": 0.0, "m2": 2.0, "m3": 7.0}


@pytest.mark.parametrize("place", ["nowhere", "metro:nowhere"])
def test_an_unknown_place_makes_the_cost_unknown_and_never_zero(place: str) -> None:
    asked = asks((place, 10.0), ("m1", 4.0))
    assert set(moving(asked, *SITES).values()) == {None}
    decision = choose(demand(asked), fleet_of(*SITES), now=NOW)
    assert {each.site for each in decision.assignment} == {"m1"}  # the rest still ranks
    assert decision.cost.cny_per_hour is None


@pytest.mark.parametrize(
    "placement",
    [{}, {"data": [{"at": "m1", "gibibytes": 5}]}, {"prices": PAID}],
    ids=["neither", "no-price", "no-data"],
)
def test_without_data_or_price_there_is_no_transfer_cost(placement: Raw) -> None:
    assert moving(workload(1, placement=placement), *SITES) == {}


def test_work_goes_to_its_data_until_another_site_is_cheaper_by_more_than_the_copy() -> None:
    expensive, cheap = there("expensive", core=5.0), there("cheap", core=0.05)
    chosen = []
    for gibibytes in (1.0, 1000.0):
        asked = asks(("expensive", gibibytes), replicas=1, schedule={"durationSeconds": 36_000})
        decision = choose(demand(asked), fleet_of(expensive, cheap), now=NOW)
        chosen += [each.site for each in decision.assignment]
    assert chosen == ["cheap", "expensive"]


def test_more_data_elsewhere_never_costs_less() -> None:
    amounts = [moving(asks(("m1", each)), *SITES)["m2"] or 0.0 for each in (0.0, 1.0, 2.5, 1e8)]
    assert all(less <= more for less, more in pairwise(amounts))


def test_a_policy_may_name_the_data() -> None:
    raw = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "PlacementPolicy",
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"placement": {"data": [{"at": "m1", "gibibytes": 3}]}},
    }
    asked = workload(1)
    asked["spec"] |= {"policyRef": {"name": "p"}, "placement": None}
    found = demand_of(decode_as(asked, Workload), policies=[decode_as(raw, PlacementPolicy)])
    assert isinstance(found, Demand)
    assert [each.at for each in found.data] == ["m1"]
