"""Work that can wait still starts in time, and no site ranks better for knowing less."""

from copy import deepcopy
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.model.canonical import canonical_json
from scheduler.model.decision import Decision, decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import examples
from tests.support.sites import NOW, Raw, demand, facts_of, fleet_of, grant, nodes, site, workload

GRAMS = st.sampled_from([0.0, 100.0, 300.0, 600.0, 900.0])
LATEST = NOW + timedelta(hours=6)

forecasts = st.none() | st.fixed_dictionaries(
    {
        "grams": st.lists(GRAMS | st.none(), min_size=1, max_size=10),
        "origin": st.sampled_from(["modelled", "modelled", "yearly"]),
        "issued": st.sampled_from([-1, -1, -30]),
    }
)
hours = st.fixed_dictionaries(
    {
        "fromHour": st.integers(0, 23),
        "toHour": st.sampled_from([1, 9, 20, 24]),
        "energyCnyPerKwh": st.sampled_from([-0.1, 0.1, 0.4]),
    }
)
places = st.lists(
    st.fixed_dictionaries(
        {
            "now": GRAMS | st.none(),
            "origin": st.sampled_from(["measured", "measured", "yearly"]),
            "forecast": forecasts,
            "core": st.sampled_from([0.0, 0.0001, 0.01]),
            "pue": st.sampled_from([1.1, 1.5]),
            "tariff": st.lists(hours, max_size=2),
        }
    ),
    min_size=1,
    max_size=4,
)


def instant(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def raw_site(name: str, drawn: Raw, observed_hours: float = 0.0) -> Raw:
    spec: Raw = {
        "energy": {"pue": drawn["pue"]},
        "prices": {
            "energyCnyPerKwh": 0.5,
            "coreCnyPerHour": drawn["core"],
            "tariff": drawn["tariff"],
        },
    }
    expected = drawn["forecast"]
    if expected:
        steps = [
            {"at": instant(hour), "gco2PerKwh": grams}
            for hour, grams in enumerate(expected["grams"])
            if grams is not None
        ]
        issued = {"origin": expected["origin"], "observedAt": instant(expected["issued"])}
        spec["energy"]["forecast"] = issued | {"steps": steps}
    seen = instant(observed_hours)
    intensity: Raw = {"origin": drawn["origin"], "observedAt": seen}
    if drawn["now"] is not None:
        intensity["gco2PerKwh"] = drawn["now"]
    found = site(name, nodes(4), spec=spec, intensity=intensity)
    found["status"]["observedAt"] = seen
    return found


def asked(replicas: int, waiting: float) -> Raw:
    schedule = {"deadline": instant(8), "durationSeconds": 7200}
    placement = {"preset": "green-batch", "prices": {"waitingCnyPerHour": waiting}}
    return workload(replicas, placement=placement, schedule=schedule)


@given(
    drawn=places,
    replicas=st.integers(1, 3),
    waiting=st.sampled_from([0.0, 0.0001]),
    later=st.lists(GRAMS, min_size=16, max_size=16),
    delay=st.integers(0, 240),
)
@settings(max_examples=examples(60), deadline=None)
def test_work_starts_in_time_whatever_the_figures_become_while_there_is_capacity(
    drawn: list[Raw], replicas: int, waiting: float, later: list[float], delay: int
) -> None:
    wanted, now = demand(asked(replicas, waiting)), NOW
    figures = iter(later)
    while True:
        hours = (now - NOW).total_seconds() / 3600
        fleet = fleet_of(*(raw_site(f"m{at}", one, hours) for at, one in enumerate(drawn)))
        decision = choose(wanted, fleet, now=now)
        if decision.phase == "Placed":
            assert now <= LATEST
            return
        assert decision.start_at is not None
        assert now < decision.start_at <= LATEST
        now = decision.start_at + timedelta(seconds=delay)  # the queue may be a little late
        for one in drawn:
            one["now"] = next(figures, 900.0)


def chosen(decision: Decision) -> set[str]:
    return {each.site for each in (*decision.assignment, *decision.planned)}


LOSSES = (
    "spec.prices.tariff",
    "spec.prices.tariff.*",
    "spec.prices.energyCnyPerKwh",
    "spec.prices.coreCnyPerHour",
    "spec.energy.pue",
    "spec.energy.forecast",
    "spec.energy.forecast.origin",
    "spec.energy.forecast.observedAt",
    "spec.energy.forecast.steps.*",
    "status.intensity.gco2PerKwh",
    "status.intensity.origin",
)


def lose(raw: Raw, path: str, which: int) -> None:
    """Deletes a figure, or one of several; the date of a forecast grows old instead."""
    *parents, last = path.split(".")
    inside: Any = raw
    for parent in parents:
        inside = inside.get(parent) or {}
    if last == "*" and inside:
        inside.pop(which % len(inside))
    elif last == "observedAt" and inside:
        inside[last] = instant(-48)
    elif last != "*":
        inside.pop(last, None)


SURE: Raw = {
    "now": 0.0,
    "origin": "measured",
    "forecast": {"grams": [0.0, 0.0, 0.0], "origin": "modelled", "issued": -1},
    "core": 0.0,
    "pue": 1.1,
    "tariff": [],
}
DAY_LONG = [{"fromHour": 1, "toHour": 1, "energyCnyPerKwh": -0.1}]
UNSURE = SURE | {"now": None, "tariff": DAY_LONG}


def dirty_later(**figures: object) -> Raw:
    """A site that is at 600 g now, and at 900 g by its forecast."""
    forecast = {"grams": [900.0] * 8, "origin": "modelled", "issued": -1}
    return SURE | {"now": 600.0, "forecast": forecast, "core": 0.0001} | figures


STEADY = SURE | {"now": 900.0, "forecast": None, "core": 0.0}


@example(
    drawn=[dirty_later(), STEADY], loss="spec.energy.forecast", which=0, site_index=0, waiting=0.0
)
@example(
    drawn=[dirty_later(), STEADY],
    loss="spec.energy.forecast.observedAt",
    which=0,
    site_index=0,
    waiting=0.0,
)
@example(
    drawn=[dirty_later(), STEADY],
    loss="spec.energy.forecast.origin",
    which=0,
    site_index=0,
    waiting=0.0,
)
@example(
    drawn=[dirty_later(), STEADY], loss="status.intensity.origin", which=0, site_index=0, waiting=0
)
@example(
    drawn=[dirty_later(now=0.0), STEADY],
    loss="spec.energy.forecast.steps.*",
    which=0,
    site_index=0,
    waiting=0.0,
)
@example(
    drawn=[dirty_later(tariff=[{"fromHour": 13, "toHour": 20, "energyCnyPerKwh": -0.1}]), STEADY],
    loss="spec.energy.forecast",
    which=0,
    site_index=0,
    waiting=0.0,
)
@example(drawn=[UNSURE, SURE], loss="spec.energy.forecast", which=0, site_index=1, waiting=0.0)
@given(
    drawn=places,
    loss=st.sampled_from(LOSSES),
    which=st.integers(0, 9),
    site_index=st.integers(0, 3),
    waiting=st.sampled_from([0.0, 0.0001]),
)
@settings(max_examples=examples(200), deadline=None, derandomize=True)
def test_a_site_is_not_chosen_for_having_lost_or_aged_a_figure(
    drawn: list[Raw], loss: str, which: int, site_index: int, waiting: float
) -> None:
    raw = [raw_site(f"m{at}", one) for at, one in enumerate(drawn)]
    name = f"m{site_index % len(raw)}"
    wanted = demand(asked(1, waiting))
    before = choose(wanted, fleet_of(*raw), now=NOW)
    less = deepcopy(raw)
    lose(less[site_index % len(raw)], loss, which)
    after = choose(wanted, fleet_that_remembers(raw, less), now=NOW)
    assert name in chosen(before) or name not in chosen(after)


def fleet_that_remembers(earlier: list[Raw], now: list[Raw]) -> Fleet:
    """The sites as the scheduler knows them once it has seen two states of them."""
    grants = grant(*(each["metadata"]["name"] for each in now))
    return Fleet(
        facts_of(each, grants, last_forecast=facts_of(before).spec.energy.forecast)
        for before, each in zip(earlier, now, strict=True)
    )


@given(drawn=places)
@settings(max_examples=examples(40), deadline=None)
def test_a_recorded_start_is_planned_again_byte_for_byte(drawn: list[Raw]) -> None:
    fleet = fleet_of(*(raw_site(f"m{at}", one) for at, one in enumerate(drawn)))
    wanted = demand(asked(2, 0.0001))
    first = decision_bytes(choose(wanted, fleet, now=NOW))
    stored = [
        msgspec.json.decode(canonical_json(each), type=SiteFacts) for each in fleet.all_facts()
    ]
    again = msgspec.json.decode(canonical_json(wanted), type=Demand)
    assert decision_bytes(choose(again, Fleet(reversed(stored)), now=NOW)) == first
