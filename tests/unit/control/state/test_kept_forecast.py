"""What the forecast of a Site last said stays known, for a week from its issue."""

from datetime import datetime, timedelta

from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.kept_forecast import KeptForecast, last_forecast
from scheduler.model.kinds.fields import Origin
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import ForecastStep, IntensityForecast, SiteEnergy, SiteSpec
from tests.support.fake_clock import START, FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

DAYS = 86_400


def forecast(
    *grams: float, issued: datetime = START, first_hour: int = 0, origin: Origin = "modelled"
) -> IntensityForecast:
    steps = tuple(
        ForecastStep(at=START + timedelta(hours=first_hour + hour), gco2_per_kwh=each)
        for hour, each in enumerate(grams)
    )
    return IntensityForecast(observed_at=issued, origin=origin, steps=steps)


def hours_of(found: IntensityForecast | None) -> dict[int, float]:
    steps = found.steps if found else ()
    return {round((each.at - START).total_seconds() / 3600): each.gco2_per_kwh for each in steps}


def sites_with(clock: FakeClock) -> Sites:
    return Sites(
        objects=HubObjects(NullTelemetry(), lambda *_: None, make_faults()),
        clock=clock,
        silent_after_seconds=45.0,
        facts_sink=lambda *_: None,
    )


def facts_after(sites: Sites, written: IntensityForecast | None) -> SiteFacts:
    spec = SiteSpec(energy=SiteEnergy(forecast=written))
    sites.objects.sites["m1"] = Site(metadata=Metadata(name="m1"), spec=spec)
    sites.admit("m1")
    return sites.facts_of("m1")


async def test_a_forecast_that_is_deleted_is_kept_for_a_week() -> None:
    clock = FakeClock()
    sites, whole = sites_with(clock), forecast(900, 800)
    assert facts_after(sites, None).kept_forecast is None, "it never had one"
    assert facts_after(sites, whole).kept_forecast == KeptForecast(), "the spec says it all"
    assert facts_after(sites, None).kept_forecast == KeptForecast(forecast=whole)
    await clock.advance(7 * DAYS - 1)
    assert facts_after(sites, None).kept_forecast == KeptForecast(forecast=whole)
    await clock.advance(2)
    assert sites.facts_of("m1").kept_forecast is None


async def test_a_new_forecast_takes_the_place_of_a_lost_one() -> None:
    sites = sites_with(FakeClock())
    facts_after(sites, forecast(900, 800))
    facts_after(sites, None)
    assert facts_after(sites, forecast(100, 100)).kept_forecast == KeptForecast()


def test_steps_that_are_left_out_are_kept_until_they_are_past() -> None:
    later = forecast(1, 2, first_hour=2, issued=START + timedelta(hours=1))
    found = last_forecast(later, forecast(900, 800, 700))
    assert hours_of(found) == {1: 800, 2: 1, 3: 2}, "hour 0 ended when the new one was issued"
    much_later = forecast(5, first_hour=9, issued=START + timedelta(hours=9))
    assert last_forecast(much_later, found) == much_later


def test_what_cannot_be_used_takes_no_ones_place() -> None:
    whole = forecast(900, 800)
    for useless in (None, forecast(), forecast(1, 1, origin="yearly")):
        assert last_forecast(useless, whole) == whole
        assert last_forecast(useless, None) is None


def test_no_more_steps_are_kept_than_a_forecast_may_have() -> None:
    full, other = forecast(*[1.0] * 200, first_hour=200), forecast(*[2.0] * 200)
    assert len(hours_of(last_forecast(full, other))) == 200
