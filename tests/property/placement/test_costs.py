"""For any small fleet, no cost rewards an unknown figure or depends on other sites."""

from copy import deepcopy
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import examples
from tests.support.sites import NOW, Raw, demand, facts_of, grant, nodes, site, workload

FRESH, OLD = "2026-11-23T07:59:00Z", "2026-11-22T01:00:00Z"
FIGURES = (
    ("spec", "prices", "energyCnyPerKwh"),
    ("spec", "prices", "tariff"),
    ("spec", "prices", "tariff", 0),
    ("spec", "prices", "coreCnyPerHour"),
    ("spec", "energy", "pue"),
    ("spec", "energy", "pueOrigin"),
    ("spec", "location", "metro"),
    ("status", "intensity"),
    ("status", "intensity", "gco2PerKwh"),
    ("status", "intensity", "origin"),
    ("status", "rtt"),
    ("status", "rtt", 0),
    ("status", "rtt", 0, "observedAt"),
    ("status", "rtt", 0, "origin"),
    ("status", "power"),
    ("status", "power", "watts"),
    ("status", "power", "pvWatts"),
    ("status", "power", "origin"),
    ("status", "observedAt"),
)
DATES = (
    ("status", "intensity", "observedAt"),
    ("status", "power", "observedAt"),
    ("status", "observedAt"),
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Raw]:
    """A map in which every field may be missing."""
    return st.fixed_dictionaries({}, optional=fields)


sites = st.lists(
    st.fixed_dictionaries(
        {
            "prices": some(
                energyCnyPerKwh=st.sampled_from([-0.3, 0.0, 0.3, 0.9, 40.0]),
                tariff=st.just([{"fromHour": 22, "toHour": 8, "energyCnyPerKwh": 0.2}]),
                coreCnyPerHour=st.sampled_from([-0.01, 0.0, 0.05, 30.0]),
            ),
            "energy": some(
                pue=st.sampled_from([1.0, 1.3, 9.0]), pueOrigin=st.sampled_from(["measured"])
            ),
            "location": some(metro=st.sampled_from(["here", "there"])),
            "intensity": st.none()
            | some(
                gco2PerKwh=st.sampled_from([0.0, 90.0, 500.0, 4000.0]),
                origin=st.sampled_from(["yearly", "measured", "modelled"]),
                observedAt=st.sampled_from([FRESH, OLD]),
            ),
            "power": some(
                watts=st.sampled_from([0.0, 1000.0]),
                pvWatts=st.sampled_from([0.0, 1305.0, 9000.0]),
                origin=st.just("measured"),
                observedAt=st.just(FRESH),
            ),
            "rtt": st.dictionaries(
                st.sampled_from(["m0", "m1"]), st.sampled_from([1.0, 30.0, 5000.0])
            ),
        }
    ),
    min_size=2,
    max_size=5,
)
asks = st.fixed_dictionaries(
    {
        "carbonCnyPerKg": st.sampled_from([0.0, 0.1, 1e6]),
        "latencyCnyPerMillisecondHour": st.sampled_from([0.0, 0.01]),
        "movingCnyPerGibibyte": st.sampled_from([0.0, 0.5]),
    }
)


DATA: list[Raw] = [{"at": "metro:here", "gibibytes": 50}, {"at": "m1", "gibibytes": 400}]


def raw_sites(drawn: list[Raw]) -> list[Raw]:
    found = []
    for place, each in enumerate(drawn):
        spec = {key: each[key] for key in ("prices", "energy", "location")}
        one = site(f"m{place}", nodes(3), spec=spec)
        if each["intensity"] is not None:
            one["status"]["intensity"] = each["intensity"]
        one["status"]["power"] = each["power"]
        one["status"]["rtt"] = [
            {"to": to, "milliseconds": ms, "observedAt": FRESH, "origin": "measured"}
            for to, ms in each["rtt"].items()
        ]
        found.append(one)
    return found


def asked(prices: Raw) -> Demand:
    bounds = [{"from": name, "withinMilliseconds": 9000} for name in ("m0", "m1")]
    placement = {"prices": prices, "latency": bounds, "data": DATA}
    return demand(workload(2, placement=placement, schedule={"durationSeconds": 1800}))


def order(wanted: Demand, raw: list[Raw]) -> list[str]:
    """All sites, cheapest first, whether a rule admits them or not."""
    granted = grant(*(each["metadata"]["name"] for each in raw))
    fleet = Fleet(facts_of(each, granted) for each in raw)
    price = prepare_cycle(wanted, fleet, decision_context(NOW, DEFAULT_TERMS)).costs
    everyone = np.array(sorted(fleet.slot_of.values()))
    return [fleet.name_at(slot) for slot in price.sort_cheapest_first(everyone).tolist()]


def without(raw: Raw, path: tuple[str | int, ...]) -> Raw:
    *parents, last = path
    left = deepcopy(raw)
    inside: Any = left
    try:
        for parent in parents:
            inside = inside[parent]
        del inside[last]
    except (KeyError, IndexError, TypeError):
        return raw
    return left


def aged(raw: Raw, path: tuple[str, ...]) -> Raw:
    *parents, last = path
    older = deepcopy(raw)
    inside: Any = older
    for parent in parents:
        inside = inside.get(parent) or {}
    if inside:  # a figure without a date is as old as its report; here it gets an older one
        inside[last] = OLD
    return older


ALL_UNKNOWN: Raw = {
    "prices": {},
    "energy": {},
    "location": {},
    "intensity": None,
    "power": {},
    "rtt": {},
}
WASTEFUL = ALL_UNKNOWN | {"energy": {"pue": 9.0}}
NOTHING_PAID = {
    "carbonCnyPerKg": 1e6,
    "latencyCnyPerMillisecondHour": 0.0,
}


@given(drawn=sites, prices=asks, figure=st.sampled_from(FIGURES), site_index=st.integers(0, 4))
@example(
    drawn=[ALL_UNKNOWN, WASTEFUL],
    prices=NOTHING_PAID,
    figure=("spec", "energy", "pue"),
    site_index=1,
)
@settings(max_examples=examples(250), deadline=None)
def test_deleting_any_figure_never_raises_a_sites_rank(
    drawn: list[Raw], prices: Raw, figure: tuple[str | int, ...], site_index: int
) -> None:
    raw, wanted = raw_sites(drawn), asked(prices)
    place = site_index % len(raw)
    before = order(wanted, raw).index(f"m{place}")
    raw[place] = without(raw[place], figure)
    assert order(wanted, raw).index(f"m{place}") >= before


@given(drawn=sites, prices=asks, date=st.sampled_from(DATES), site_index=st.integers(0, 4))
@settings(max_examples=examples(100), deadline=None)
def test_ageing_any_figure_never_raises_a_sites_rank(
    drawn: list[Raw], prices: Raw, date: tuple[str, ...], site_index: int
) -> None:
    raw, wanted = raw_sites(drawn), asked(prices)
    place = site_index % len(raw)
    before = order(wanted, raw).index(f"m{place}")
    raw[place] = aged(raw[place], date)
    assert order(wanted, raw).index(f"m{place}") >= before


@given(drawn=sites, prices=asks, site_index=st.integers(0, 4))
@settings(max_examples=examples(100), deadline=None)
def test_a_site_that_joins_does_not_change_the_order_of_the_others(
    drawn: list[Raw], prices: Raw, site_index: int
) -> None:
    raw, wanted = raw_sites(drawn), asked(prices)
    joins = f"m{site_index % len(raw)}"
    alone = order(wanted, [each for each in raw if each["metadata"]["name"] != joins])
    assert alone == [name for name in order(wanted, raw) if name != joins]
