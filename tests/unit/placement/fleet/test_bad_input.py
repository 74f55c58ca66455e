"""Unusual demands and facts are refused clearly, or have a defined answer."""

from datetime import timedelta
from random import Random

import msgspec
import pytest

from benchmarks.fit import is_exact
from scheduler.model.demand.facts import InFlight, OrderGeneration, in_flight_of
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    facts_of,
    fleet_of,
    grant,
    nodes,
    site,
    site_with_capacity,
    workload,
)

MOMENT = decision_context(NOW, DEFAULT_TERMS)


def decided(asked: Raw, *sites: Raw) -> tuple[str, Raw, str]:
    decision = choose(demand(asked), fleet_of(*sites), now=NOW)
    return decision.phase, {str(name): n for name, n in decision.reasons.items()}, decision.line


def test_no_replicas_are_placed_nowhere() -> None:
    assert decided(workload(0), site_with_capacity("m1", 1)) == (
        "Placed",
        {},
        "no replicas requested, nothing to place",
    )


def test_a_pod_without_requests_only_needs_a_free_pod_slot() -> None:
    asked = workload(111, demand={"requests": {}})
    assert decided(asked, site("m1", nodes(1, pods=110)))[:2] == ("Waiting", {"full": 1})
    fits = workload(110, demand={"requests": {}})
    assert decided(fits, site("m1", nodes(1, pods=110)))[0] == "Placed"


def test_a_node_that_names_no_pods_takes_as_many_as_a_kubelet_does() -> None:
    row = {"cpu": "500", "memory": "1Ti"}
    silent = site("m1", {"architecture": "amd64", "free": [row]})
    assert decided(workload(110), silent)[0] == "Placed"
    assert decided(workload(111), silent)[0] == "Waiting"


def test_a_request_larger_than_any_node_is_fragmented_or_full() -> None:
    four = site("m1", nodes(4, cpu="4", memory="64Gi"))
    assert decided(workload(1, requests={"cpu": "6"}), four)[1] == {"fragmented": 1}
    assert decided(workload(1, requests={"cpu": "600"}), four)[1] == {"full": 1}


def test_capacity_in_flight_counts_as_full_and_not_as_fragmented() -> None:
    flying = InFlight(workload="ns/x", replicas=2, requests={"cpu": 1000, "pods": 1})
    fleet = Fleet([facts_of(site_with_capacity("m1", 3), grant("m1"), in_flight=(flying,))])
    assert choose(demand(workload(2)), fleet, now=NOW).reasons == {"full": 1}


def test_a_resource_that_no_node_reports_has_no_capacity() -> None:
    asked = workload(1, requests={"example.com/fpga": 1})
    assert decided(asked, site_with_capacity("m1", 4))[1] == {"full": 1}


def test_a_site_of_a_hundred_thousand_nodes_is_one_site() -> None:
    rows = [{"count": 1, "cpu": "2", "memory": "4Gi", "pods": 9} for _ in range(100_000)]
    huge = site("m1", {"architecture": "amd64", "free": rows})
    assert decided(workload(200_000), huge)[0] == "Placed"
    assert decided(workload(200_001), huge)[0] == "Waiting"


def test_an_empty_fleet_has_an_answer() -> None:
    decision = choose(demand(workload()), Fleet(), now=NOW)
    assert (decision.phase, decision.reasons, decision.line) == (
        "Refused",
        {},
        "there are no sites",
    )


def test_all_figures_stale_refuses_new_work_and_keeps_the_old() -> None:
    old = site_with_capacity("m1", 4)
    old["status"]["observedAt"] = "2020-01-01T00:00:00Z"
    assert decided(workload(), old)[:2] == ("Refused", {"stale": 1})
    assert decided(workload(1, placed={"m1": 1}), old)[0] == "Placed"


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf")])
def test_a_price_that_is_no_number_is_unknown_and_comes_last(price: float) -> None:
    spec = {"energy": {"pue": 1.2}, "prices": {"energyCnyPerKwh": 9.0, "coreCnyPerHour": 9.0}}
    expensive = site("expensive", nodes(9), spec=spec, intensity={"gco2PerKwh": 900.0})
    broken = facts_of(
        site("broken", nodes(9), spec=spec, intensity={"gco2PerKwh": 1.0}), grant("broken")
    )
    prices = msgspec.structs.replace(broken.spec.prices, energy_cny_per_kwh=price)
    broken = msgspec.structs.replace(
        broken, spec=msgspec.structs.replace(broken.spec, prices=prices)
    )
    fleet = Fleet([broken, facts_of(expensive, grant("expensive"))])
    assert [each.site for each in choose(demand(workload()), fleet, now=NOW).assignment] == [
        "expensive"
    ]


def test_a_measured_zero_is_not_unknown() -> None:
    spec = {"energy": {"pue": 1.0}, "prices": {"energyCnyPerKwh": 0.0, "coreCnyPerHour": 0.0}}
    free = site("free", nodes(9), spec=spec, intensity={"gco2PerKwh": 0.0})
    decision = choose(demand(workload()), fleet_of(free), now=NOW)
    assert (decision.cost.cny_per_hour, decision.cost.gco2_per_hour) == (0.0, 0.0)


def test_an_unknown_cost_is_not_a_number() -> None:
    decision = choose(demand(workload()), fleet_of(site_with_capacity("m1", 1)), now=NOW)
    assert (decision.cost.cny_per_hour, decision.cost.gco2_per_hour) == (None, None)


def test_an_unknown_cost_never_counts_as_zero() -> None:
    """Where every site lacks a figure, the worst of what is known of it decides."""
    terms = {"energyCnyPerKwh": 0.5, "coreCnyPerHour": 0.05}
    known = {"energy": {"pue": 1.2}, "prices": terms}
    for lost in ("energy", "prices"):
        spec = {name: part for name, part in known.items() if name != lost}
        price = [
            prepare_cycle(
                demand(workload()), fleet_of(site("m1", nodes(1), spec=each)), MOMENT
            ).costs.cny[0]
            for each in (known, spec)
        ]
        assert price[1] > price[0] > 0


def test_an_old_figure_counts_as_the_worst_of_it_and_the_fall_back() -> None:
    old = {"observedAt": "2026-11-20T00:00:00Z", "origin": "measured"}
    prices = []
    for grams in (1.0, 2000.0):
        raw = site("m1", nodes(1), intensity={"gco2PerKwh": grams, **old})
        prices.append(prepare_cycle(demand(workload()), fleet_of(raw), MOMENT).costs.cny[0])
    assert prices[0] < prices[1]


@pytest.mark.parametrize(("ahead", "is_old"), [(60, False), (61, True), (86400 * 365, True)])
def test_an_intensity_from_the_future_counts_as_old(ahead: int, *, is_old: bool) -> None:
    prices = []
    for seconds in (0, ahead):
        seen = (NOW + timedelta(seconds=seconds)).isoformat()
        grams = {"gco2PerKwh": 1.0, "origin": "measured", "observedAt": seen}
        raw = site("m1", nodes(1), intensity=grams)
        prices.append(prepare_cycle(demand(workload()), fleet_of(raw), MOMENT).costs.cny[0])
    assert (prices[1] > prices[0]) == is_old


def test_an_intensity_from_the_future_is_cached_only_until_its_time() -> None:
    seen = (NOW + timedelta(seconds=120)).isoformat()
    grams = {"gco2PerKwh": 1.0, "origin": "measured", "observedAt": seen}
    fleet, wanted = fleet_of(site("m1", nodes(1), intensity=grams)), demand(workload())
    prices = [
        prepare_cycle(
            wanted, fleet, decision_context(NOW + timedelta(seconds=wait), DEFAULT_TERMS)
        ).costs.cny[0]
        for wait in (0, 59, 60)
    ]
    assert prices[0] == prices[1] > prices[2]


def test_ties_between_sites_depend_on_the_workload_and_are_always_broken_alike() -> None:
    fleet = fleet_of(*(site_with_capacity(f"m{index}", 9) for index in range(4)))

    def chosen(uid: str) -> str:
        raw = workload()
        raw["metadata"]["uid"] = uid
        return choose(demand(raw), fleet, now=NOW).assignment[0].site

    first = [chosen(f"uid-{number}") for number in range(40)]
    assert set(first) == {"m0", "m1", "m2", "m3"}
    assert [chosen(f"uid-{number}") for number in range(40)] == first


def test_in_a_spread_a_known_cost_comes_before_an_unknown_one() -> None:
    spec = {"energy": {"pue": 2.0}, "prices": {"energyCnyPerKwh": 9.0, "coreCnyPerHour": 9.0}}
    grams = {"gco2PerKwh": 900.0, "origin": "yearly"}
    places = [("CN-GD", "a"), ("CN-GX", "b"), ("CN-GD", "b")]  # crossed
    expensive, silent = (
        [
            site(
                f"{name}{number}",
                nodes(1),
                spec={**more, "provider": provider, "location": {"province": province}},
                **status,
            )
            for number, (province, provider) in enumerate(places)
        ]
        for name, more, status in (("expensive", spec, {"intensity": grams}), ("silent", {}, {}))
    )
    crossed = [{"by": by, "minGroups": 2, "maxPerGroup": 1} for by in ("province", "provider")]
    asked = workload(2, placement={"spread": crossed})
    decision = choose(demand(asked), fleet_of(*silent, *expensive), now=NOW)
    assert [each.site for each in decision.assignment] == ["expensive0", "expensive1"]


def test_replicas_in_flight_count_at_their_worst_places() -> None:
    raw, granted = site("m1", nodes(2, cpu="4", memory="64Gi")), grant("m1")
    for flying, fits in ((0, 8), (1, 6), (2, 4)):  # each of 1.5 cores may cost two of one core
        flight = InFlight(workload="ns/x", replicas=1, requests={"cpu": 1500, "pods": 1})
        fleet = Fleet([facts_of(raw, granted, in_flight=(flight,) * flying)])
        assert choose(demand(workload(fits)), fleet, now=NOW).phase == "Placed"
        assert choose(demand(workload(fits + 1)), fleet, now=NOW).phase == "Waiting"


def test_in_flight_ends_by_a_report_only() -> None:
    pod = InFlight(workload="ns/x", replicas=1, requests={"cpu": 1})
    ordered = [OrderGeneration(generation=generation, replicas=3, pod=pod) for generation in (1, 2)]
    assert [each.replicas for each in in_flight_of(ordered, {})] == [3, 3]
    assert [each.replicas for each in in_flight_of(ordered, {1: 3, 2: 1})] == [2]
    assert in_flight_of(ordered, {1: 9, 2: 3}) == ()


def test_headroom_is_not_used() -> None:
    tight = site("m1", nodes(1, cpu="10", memory="64Gi"), spec={"headroom": {"ratio": 0.1}})
    assert decided(workload(9), tight)[0] == "Placed"
    assert decided(workload(10), tight)[0] == "Waiting"


def test_exact_fit_agrees_with_brute_force() -> None:
    random = Random(7)  # noqa: S311 - a test, seeded
    assert all(is_exact(random) for _ in range(500))
