"""A decision follows a batch, says what that costs, and otherwise decides as usual."""

import msgspec
import pytest

from scheduler.model.decision import decision_bytes
from scheduler.model.demand.assignment import AssignedReplicas, BatchAssignment
from scheduler.model.demand.terms import ScarcityPrice, Terms
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, demand, fleet_of, nodes, site, workload

VERSION = "sha256:" + "ab" * 32


def assigned(**replicas: int) -> BatchAssignment:
    listed = tuple(AssignedReplicas(site=site, replicas=count) for site, count in replicas.items())
    return BatchAssignment(version=VERSION, sites=listed)


def two_sites(*, is_known: bool = True) -> Fleet:
    """Two sites that differ in the price of a core; of one the price of energy may be unknown."""
    both = []
    for name, price in (("cheap", 0.1), ("dear", 0.3)):
        prices = {"coreCnyPerHour": price, "energyCnyPerKwh": 0.5}
        one = site(name, nodes(4), spec={"prices": prices, "energy": {"pue": 1.2}})
        one["status"]["intensity"] = {"gco2PerKwh": 500.0, "origin": "yearly"}
        both.append(one)
    if not is_known:
        del both[0]["spec"]["energy"]
    return fleet_of(*both)


def test_the_assigned_site_is_taken_and_its_cost_above_the_cheapest_is_said() -> None:
    decision = choose(demand(workload(2)), two_sites(), now=NOW, assigned=assigned(dear=2))
    assert [(one.site, one.replicas) for one in decision.assignment] == [("dear", 2)]
    assert decision.batch is not None
    assert decision.batch.assignment == VERSION
    assert decision.batch.cny_above_cheapest_per_hour == pytest.approx(0.4)
    note = "assigned by batch sha256:abababababab to dear (2): 0.4 CNY/h above the cheapest sites"
    assert note in decision.notes
    assert not decision.optimal
    assert decision.gap


def test_the_kept_plan_for_a_loss_is_followed_by_the_same_rules_and_named() -> None:
    entry = msgspec.structs.replace(assigned(dear=2), loss="province=CN-GD")
    decision = choose(demand(workload(2)), two_sites(), now=NOW, assigned=entry)
    assert [(one.site, one.replicas) for one in decision.assignment] == [("dear", 2)]
    assert decision.batch is not None
    assert (decision.batch.assignment, decision.batch.loss) == (VERSION, "province=CN-GD")
    note = (
        "by the plan sha256:abababababab for the loss of province=CN-GD to dear (2): "
        "0.4 CNY/h above the cheapest sites"
    )
    assert note in decision.notes


def test_scarcity_prices_are_no_part_of_that_cost() -> None:
    price = ScarcityPrice(site="cheap", resource="cpu", cny_per_unit_hour=0.01)
    terms = Terms(scarcity=(price,), scarcity_version=VERSION)
    decision = choose(
        demand(workload(2)), two_sites(), now=NOW, terms=terms, assigned=assigned(dear=2)
    )
    assert decision.batch is not None
    assert decision.batch.cny_above_cheapest_per_hour == pytest.approx(0.4)
    assert decision.optimal  # with what others would pay for the cheap site


def test_the_cheapest_site_costs_nothing_more() -> None:
    decision = choose(demand(workload(2)), two_sites(), now=NOW, assigned=assigned(cheap=2))
    assert decision.batch is not None
    assert decision.batch.cny_above_cheapest_per_hour == 0
    assert decision.optimal
    assert "assigned by batch sha256:abababababab to cheap (2): no site is cheaper" in (
        decision.notes
    )


def test_an_unknown_cost_is_said_to_be_unknown() -> None:
    fleet = two_sites(is_known=False)
    decision = choose(demand(workload(2)), fleet, now=NOW, assigned=assigned(cheap=2))
    assert decision.batch is None  # an unknown figure never makes a site the better one
    decision = choose(demand(workload(4)), fleet, now=NOW, assigned=assigned(dear=2, cheap=2))
    assert decision.batch is None


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(assigned(dear=1), id="fewer than are missing"),
        pytest.param(assigned(dear=3), id="more than are missing"),
        pytest.param(assigned(gone=2), id="no such site"),
    ],
)
def test_an_entry_that_does_not_hold_changes_nothing(entry: BatchAssignment) -> None:
    fleet, asked = two_sites(), demand(workload(2))
    usual = choose(asked, fleet, now=NOW)
    assert decision_bytes(choose(asked, fleet, now=NOW, assigned=entry)) == decision_bytes(usual)


def test_room_is_counted_by_node() -> None:
    shape = {"cpu": "3", "memory": "1Gi"}
    fleet = fleet_of(site("m1", nodes(4)), site("m2", nodes(4), nodes(4), nodes(4)))
    asked = demand(workload(2, requests=shape))
    usual = choose(asked, fleet, now=NOW)
    decision = choose(asked, fleet, now=NOW, assigned=assigned(m1=2))
    assert decision_bytes(decision) == decision_bytes(usual)


@pytest.mark.parametrize("strategy", ["Balanced", "Aggregated", "Weighted", "Duplicated"])
def test_other_strategies_do_not_follow_a_batch(strategy: str) -> None:
    asked = demand(workload(2, placement={"strategy": strategy}))
    decision = choose(asked, two_sites(), now=NOW, assigned=assigned(dear=2))
    assert decision.batch is None
