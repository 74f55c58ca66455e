"""A site's grid zone in the loops: what feeds and official factors say of it enters decisions."""

from datetime import datetime, timedelta

import msgspec

from scheduler.control.ports.hub import SITES
from scheduler.control.sites.grid_zone import GridZoneMemory
from scheduler.energy.zone_outlook import ZoneOutlook
from scheduler.model.decode import decode_as
from scheduler.model.demand.kept_forecast import KeptForecast
from scheduler.model.kinds.kinds import Site, Workload
from scheduler.model.kinds.site import ForecastStep, Intensity, IntensityForecast
from tests.support.control_loops import ControlLoops
from tests.support.fake_clock import START
from tests.support.sites import Raw, nodes, site, workload


def forecast(clean_hour: int, issued: datetime = START) -> IntensityForecast:
    steps = tuple(
        ForecastStep(
            at=issued + timedelta(hours=hour),
            gco2_per_kwh=100.0 if hour == clean_hour else 600.0,
        )
        for hour in range(12)
    )
    return IntensityForecast(observed_at=issued, origin="modelled", steps=steps)


def outlook(grams: float, clean_hour: int = 3, at: datetime = START) -> ZoneOutlook:
    hourly = Intensity(gco2_per_kwh=grams, origin="measured", observed_at=at)
    return ZoneOutlook(hourly=hourly, forecast=forecast(clean_hour, at), source="feed (direct)")


def place(name: str = "m1", zone: str = "DE", **intensity: object) -> Raw:
    spec: Raw = {
        "energy": {"pue": 1.2, "gridZone": zone},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.0},
    }
    status = {"intensity": intensity} if intensity else {}
    return site(name, nodes(4), spec=spec, observedAt=START.isoformat(), **status)


def job() -> Raw:
    schedule = {
        "deadline": (START + timedelta(hours=10)).isoformat(),
        "durationSeconds": 3600,
    }
    return workload(1, name="job", placement={"preset": "green-batch"}, schedule=schedule)


async def test_what_a_feed_expects_of_the_zone_plans_a_start() -> None:
    loops, said = ControlLoops(), {"DE": outlook(600.0)}
    loops.sites.outlook_of = said.get
    async with loops.started(place(), job()):
        await loops.clock.advance(3)
        status = decode_as(await loops.workload("job"), Workload).status
        assert status.plan is not None
        assert status.plan.start_at == START + timedelta(hours=3)
        facts = loops.fleet.facts_of("m1")
        assert facts.zone_intensity is not None
        assert facts.zone_intensity.hourly == said["DE"].hourly
        assert facts.zone_intensity.source == "feed (direct)"
        assert facts.zone_forecast == said["DE"].forecast

        said["DE"] = outlook(700.0, clean_hour=5)
        loops.sites.refresh_zone("DE")
        again = loops.fleet.facts_of("m1").zone_intensity
        assert again is not None
        assert again.hourly is not None
        assert again.hourly.gco2_per_kwh == 700.0


async def test_a_site_of_no_zone_and_one_of_an_unknown_zone_have_no_such_facts() -> None:
    loops = ControlLoops()
    loops.sites.outlook_of = {"DE": outlook(600.0)}.get
    async with loops.started(place("m1", zone=""), place("m2", zone="ZZ")):
        for name in ("m1", "m2"):
            facts = loops.fleet.facts_of(name)
            assert (facts.zone_intensity, facts.zone_forecast) == (None, None)
            assert facts.kept_forecast is None


async def test_the_official_factor_of_a_zone_counts_without_a_feed() -> None:
    loops = ControlLoops()
    async with loops.started(place(zone="CN-GD")):
        known = loops.fleet.facts_of("m1").zone_intensity
        assert known is not None
        assert known.yearly_gco2_per_kwh is not None
        assert 300 < known.yearly_gco2_per_kwh < 600
        assert known.source.startswith("MEE")
        assert known.source.endswith("(direct)")
        assert loops.fleet.facts_of("m1").has_yearly_intensity


async def test_what_the_agent_reported_last_is_remembered_for_a_week() -> None:
    loops = ControlLoops()
    loops.sites.outlook_of = {"DE": outlook(500.0)}.get
    own = place(gco2PerKwh=900, origin="measured", observedAt=START.isoformat())
    async with loops.started(own):
        loops.report(place())
        known = loops.fleet.facts_of("m1").zone_intensity
        assert known is not None
        assert known.reported_gco2_per_kwh == 900.0
        await loops.clock.advance(8 * 86_400)
        loops.report(place())
        known = loops.fleet.facts_of("m1").zone_intensity
        assert known is not None
        assert known.reported_gco2_per_kwh is None


async def test_a_zone_that_is_no_longer_named_counts_for_a_week() -> None:
    loops = ControlLoops()
    loops.sites.outlook_of = {"DE": outlook(500.0)}.get
    async with loops.started(place()):
        loops.hub.take_events()
        await loops.hub.merge_patch(SITES, "m1", {"spec": {"energy": {"gridZone": ""}}})
        loops.read_hub()
        facts = loops.fleet.facts_of("m1")
        assert facts.spec.energy.grid_zone == ""
        assert facts.zone_intensity is not None
        assert facts.zone_forecast is None
        assert facts.kept_forecast == KeptForecast(forecast=forecast(3))
        await loops.clock.advance(8 * 86_400)
        loops.report(place())
        facts = loops.fleet.facts_of("m1")
        assert facts.kept_forecast is None
        assert facts.zone_intensity is None or facts.zone_intensity.hourly is None


def own_site(expected: IntensityForecast | None) -> Site:
    raw = place()
    one = decode_as(raw, Site)
    if expected is None:
        return one
    energy = msgspec.structs.replace(one.spec.energy, forecast=expected)
    return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, energy=energy))


def test_a_forecast_that_the_site_had_of_its_own_is_not_replaced_by_a_better_one_of_the_zone() -> (
    None
):
    memory, zone = GridZoneMemory(), {"DE": outlook(500.0, clean_hour=1)}
    own = forecast(9)
    memory.note(own_site(own), None, zone.get, START)
    assert (memory.forecast, memory.last_forecast) == (None, own)
    memory.note(own_site(None), None, zone.get, START + timedelta(hours=1))
    assert (memory.forecast, memory.last_forecast) == (None, own)
    later = START + timedelta(days=8)
    memory.note(own_site(None), None, zone.get, later)
    assert memory.forecast == zone["DE"].forecast
