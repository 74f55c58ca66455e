"""The intensity history of a site: its 90th percentile is a lower bound for an old figure."""

import msgspec

from scheduler.control.sites.intensity_history import IntensityHistory
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.site import Intensity
from scheduler.placement.cost.energy import carbon_intensity
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, facts_of, nodes, site

HOUR = 3600.0


def measured(grams: float | None) -> Intensity:
    return Intensity(gco2_per_kwh=grams, origin="measured")


def test_the_percentile_is_at_least_nine_tenths_of_the_hours() -> None:
    history = IntensityHistory()
    for hour in range(10):
        history = history.with_intensity(measured(100.0 * (hour + 1)), hour * HOUR)
    assert history.p90() == {"gco2PerKwh": 900.0}


def test_an_hour_counts_once_at_its_highest() -> None:
    history = IntensityHistory()
    for minute, grams in enumerate((100.2, 700.2, 300.2)):
        history = history.with_intensity(measured(grams), minute * 60.0)
    assert history.p90() == {"gco2PerKwh": 701.0}


def test_a_week_of_hours_is_kept() -> None:
    history = IntensityHistory()
    for hour in range(400):
        history = history.with_intensity(measured(1000.0 - hour), hour * HOUR)
    assert history.p90()["gco2PerKwh"] < 1000.0 - 232


def test_what_is_unknown_or_yearly_is_no_history() -> None:
    history = IntensityHistory()
    history = history.with_intensity(None, 0.0)
    history = history.with_intensity(measured(None), 0.0)
    history = history.with_intensity(Intensity(gco2_per_kwh=441.9, origin="yearly"), 0.0)
    assert history.p90() == {}


def test_an_old_figure_counts_at_the_worst_of_fall_back_last_value_and_history() -> None:
    old = {"gco2PerKwh": 90.0, "origin": "measured", "observedAt": "2026-11-20T00:00:00Z"}
    facts = facts_of(site("m1", nodes(1), intensity=old))
    for p90, expected in ((400.0, 1000.0), (1400.0, 1400.0)):
        known = msgspec.structs.replace(facts, p90={"gco2PerKwh": p90})
        found = carbon_intensity(Fleet([known]), decision_context(NOW, DEFAULT_TERMS))
        assert found.value[0] == expected
