"""What feeds and official factors say of a grid zone counts, and no site gains by a loss of it."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.model.canonical import canonical_json
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.kept_forecast import (
    ZoneIntensity,
    kept_forecast,
    known_zone,
    last_forecast,
)
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.site import ForecastStep, Intensity, IntensityForecast
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.cost.energy import carbon_intensity
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import examples
from tests.support.sites import NOW, demand, facts_of, grant, nodes, site, workload

GRAMS = st.sampled_from([0.0, 100.0, 500.0, 900.0, 1500.0])
FRESH, OLD = NOW - timedelta(minutes=30), NOW - timedelta(hours=5)

figures = st.builds(
    Intensity,
    gco2_per_kwh=st.none() | GRAMS,
    origin=st.sampled_from(["measured", "modelled", "yearly", "unknown", "assumed"]),
    observed_at=st.sampled_from([None, FRESH, OLD]),
)
feeds = st.builds(
    Intensity,
    gco2_per_kwh=GRAMS,
    origin=st.sampled_from(["measured", "estimated"]),
    observed_at=st.sampled_from([FRESH, OLD]),
)
zones = st.builds(
    ZoneIntensity,
    hourly=st.none() | feeds,
    yearly_gco2_per_kwh=st.none() | GRAMS,
    source=st.just("feed"),
)


def facts(
    name: str, reported: Intensity | None, zone: ZoneIntensity | None, p90: float | None = None
) -> SiteFacts:
    spec = {
        "energy": {"pue": 1.2},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.01},
    }
    bare = facts_of(site(name, nodes(9), spec=spec), grant(name))
    return replace(
        bare,
        status=replace(bare.status, intensity=reported),
        zone_intensity=zone,
        p90={} if p90 is None else {"gco2PerKwh": p90},
    )


def cost_of(one: SiteFacts) -> tuple[int, float]:
    """How a site ranks: figures that are missing, then CNY."""
    fleet, asked = Fleet([one]), demand(workload(2, schedule={"durationSeconds": 3600}))
    costs = prepare_cycle(asked, fleet, decision_context(NOW, DEFAULT_TERMS)).costs
    slot = fleet.slot_of[one.name]
    return int(costs.unknown[slot]), float(costs.cny[slot])


def losses_of_report(reported: Intensity) -> list[Intensity | None]:
    return [
        None,
        replace(reported, gco2_per_kwh=None),
        replace(reported, origin="unknown"),
        replace(reported, observed_at=OLD),
    ]


def losses_of_zone(zone: ZoneIntensity) -> list[ZoneIntensity | None]:
    old = zone.hourly and replace(zone.hourly, observed_at=OLD)
    return [
        None,
        replace(zone, hourly=None),
        replace(zone, yearly_gco2_per_kwh=None),
        replace(zone, hourly=old),
    ]


@given(reported=st.none() | figures, zone=st.none() | zones, p90=st.none() | GRAMS)
@example(
    reported=Intensity(gco2_per_kwh=900.0, origin="measured", observed_at=FRESH),
    zone=ZoneIntensity(
        hourly=Intensity(gco2_per_kwh=100.0, origin="measured", observed_at=FRESH),
        yearly_gco2_per_kwh=500.0,
    ),
    p90=None,
)
@settings(max_examples=examples(300), deadline=None)
def test_no_site_ranks_better_for_a_figure_that_is_lost_or_old(
    reported: Intensity | None, zone: ZoneIntensity | None, p90: float | None
) -> None:
    known = known_zone(zone, None, reported)
    before = cost_of(facts("m0", reported, known, p90))
    for lost in losses_of_report(reported) if reported else []:
        after = facts("m0", lost, known_zone(zone, known, lost), p90)
        assert cost_of(after) >= before, (lost, after.zone_intensity)
    for left in losses_of_zone(zone) if zone else []:
        after = facts("m0", reported, known_zone(left, known, reported), p90)
        assert cost_of(after) >= before, (left, after.zone_intensity)


@given(reported=st.none() | figures, zone=zones, p90=st.none() | GRAMS)
@settings(max_examples=examples(100), deadline=None)
def test_a_second_loss_gains_nothing_either(
    reported: Intensity | None, zone: ZoneIntensity, p90: float | None
) -> None:
    known = known_zone(zone, None, reported)
    for left in losses_of_zone(zone):
        once = known_zone(left, known, reported)
        before = cost_of(facts("m0", reported, once, p90))
        for lost in losses_of_report(reported) if reported else []:
            after = facts("m0", lost, known_zone(left, once, lost), p90)
            assert cost_of(after) >= before


def intensity_of(one: SiteFacts) -> float | None:
    found = carbon_intensity(fleet := Fleet([one]), decision_context(NOW, DEFAULT_TERMS))
    slot = fleet.slot_of[one.name]
    return float(found.value[slot]) if found.known[slot] else None


HOURLY = Intensity(gco2_per_kwh=600.0, origin="measured", observed_at=FRESH)


@pytest.mark.parametrize(
    ("reported", "zone", "expected"),
    [
        (None, ZoneIntensity(hourly=HOURLY), 600.0),
        (None, ZoneIntensity(hourly=replace(HOURLY, observed_at=OLD)), 1000.0),
        (None, ZoneIntensity(yearly_gco2_per_kwh=430.0), 430.0),
        (
            None,
            ZoneIntensity(hourly=replace(HOURLY, observed_at=OLD), yearly_gco2_per_kwh=430.0),
            600.0,
        ),
        (
            Intensity(gco2_per_kwh=350.0, origin="measured", observed_at=FRESH),
            ZoneIntensity(hourly=HOURLY),
            350.0,
        ),
        (Intensity(gco2_per_kwh=350.0, origin="yearly"), ZoneIntensity(hourly=HOURLY), 600.0),
        (
            Intensity(gco2_per_kwh=350.0, origin="yearly"),
            ZoneIntensity(yearly_gco2_per_kwh=430.0),
            350.0,
        ),
        (
            Intensity(gco2_per_kwh=750.0, origin="measured", observed_at=OLD),
            ZoneIntensity(hourly=HOURLY),
            750.0,
        ),
        (None, None, None),
    ],
    ids=[
        "feed",
        "old-feed",
        "official",
        "old-feed-and-official",
        "own-first",
        "feed-before-own-yearly",
        "own-yearly-before-official",
        "old-own-is-the-least",
        "nothing",
    ],
)
def test_the_best_figure_that_is_fresh_counts(
    reported: Intensity | None, zone: ZoneIntensity | None, expected: float | None
) -> None:
    assert intensity_of(facts("m0", reported, zone)) == expected


def test_explain_shows_origin_and_age_of_the_feeds_figure() -> None:
    fleet = Fleet([facts("m0", None, ZoneIntensity(hourly=HOURLY))])
    costs = explain(demand(workload(1)), fleet, now=NOW).sites[0].costs
    carbon = next(one for one in costs if one.term == "carbon")
    # The PUE has no origin, which is the worse of the two.
    assert (carbon.origin, carbon.age_seconds) == ("assumed", 1800.0)


def forecast(*grams: float) -> IntensityForecast:
    steps = [
        ForecastStep(at=NOW + timedelta(hours=hour), gco2_per_kwh=each)
        for hour, each in enumerate(grams)
    ]
    return IntensityForecast(observed_at=NOW, origin="modelled", steps=tuple(steps))


def test_the_forecast_of_a_zone_plans_a_start_and_its_loss_takes_it_away() -> None:
    asked = demand(
        workload(
            1,
            placement={"preset": "green-batch"},
            schedule={
                "deadline": (NOW + timedelta(hours=8)).isoformat(),
                "durationSeconds": 3600,
            },
        )
    )
    expected = forecast(600, 600, 100, 600, 600)
    zone = ZoneIntensity(hourly=HOURLY)
    with_it = replace(
        facts("m0", None, zone), zone_forecast=expected, kept_forecast=kept_forecast(expected, None)
    )
    decision = choose(asked, Fleet([with_it]), now=NOW)
    assert decision.start_at == NOW + timedelta(hours=2)
    lost = replace(
        with_it,
        zone_forecast=None,
        kept_forecast=kept_forecast(None, last_forecast(expected, None)),
    )
    after = choose(asked, Fleet([lost]), now=NOW)
    assert (after.phase, after.start_at) == ("Placed", None)
    stored = Fleet([msgspec.json.decode(canonical_json(with_it), type=SiteFacts)])
    assert decision_bytes(choose(asked, stored, now=NOW)) == decision_bytes(decision)


def test_a_yearly_official_factor_allows_no_claim_whatever_the_forecast_says() -> None:
    asked = demand(
        workload(
            1,
            placement={"preset": "green-batch"},
            schedule={
                "deadline": (NOW + timedelta(hours=8)).isoformat(),
                "durationSeconds": 3600,
            },
        )
    )
    one = facts("m0", None, ZoneIntensity(yearly_gco2_per_kwh=430.0))
    one = replace(one, zone_forecast=forecast(600, 600, 100, 600))
    assert choose(asked, Fleet([one]), now=NOW).phase == "Placed"


def test_a_zone_changes_nothing_for_sites_without_one() -> None:
    reported = Intensity(gco2_per_kwh=350.0, origin="measured", observed_at=OLD)
    alone = Fleet([facts("m0", reported, None)])
    beside = Fleet([facts("m0", reported, None), facts("m1", None, ZoneIntensity(hourly=HOURLY))])
    context = decision_context(NOW, DEFAULT_TERMS)
    one = carbon_intensity(alone, context).value[alone.slot_of["m0"]]
    other = carbon_intensity(beside, context).value[beside.slot_of["m0"]]
    assert np.array_equal(one, other)
