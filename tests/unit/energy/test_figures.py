"""The figures of a Site object that reach the rows of energy."""

import msgspec
import pytest

from scheduler.control.energy.users import modelled_watts
from scheduler.energy.accounts.figures import energy_hour_of, hardware_of
from scheduler.energy.factors.official_china import official_factor
from scheduler.energy.placement_power import marginal_watts_per_core
from scheduler.energy.site_supply import Figure
from scheduler.model.kinds.site import Site, SiteEnergy

_HOUR = 498_600  # in 2026


def _site(**spec: object) -> Site:
    return msgspec.convert({"metadata": {"name": "gz-core"}, "spec": spec}, Site)


def test_a_row_holds_price_peak_water_and_making_of_its_site() -> None:
    site = _site(
        energy={
            "gridZone": "CN-GD",
            "pue": 1.4,
            "pueOrigin": "assumed",
            "wueLitresPerKwh": 1.8,
            "embodiedKilograms": 8766.0,
            "lifetimeYears": 1.0,
            "greenShare": 0.3,
            "greenEvidence": "GEC",
        },
        prices={"energyCnyPerKwh": 0.7, "peakCnyPerKilowattMonth": 38.0},
    )

    row = energy_hour_of(
        site, _HOUR, location=official_factor("CN-GD", year=2026), reported_pue=Figure(None)
    )

    assert (row.pue, row.pue_origin) == (1.4, "assumed")
    assert (row.energy_cny_per_kwh, row.peak_cny_per_kilowatt_month) == (0.7, 38.0)
    assert row.wue_litres_per_kwh == 1.8
    assert row.embodied_grams == pytest.approx(1000.0)  # a kilogram an hour
    assert (row.green_share, row.green_evidence) == (0.3, "GEC")
    assert row.residual is not None
    assert row.residual.year == 2023


def test_a_site_that_says_nothing_has_no_figure_and_no_zero() -> None:
    row = energy_hour_of(_site(), _HOUR, location=None, reported_pue=Figure(None))

    assert {row.pue, row.location, row.residual, row.energy_cny_per_kwh} == {None}
    assert {row.wue_litres_per_kwh, row.embodied_grams, row.peak_cny_per_kilowatt_month} == {None}


def test_the_agents_measured_pue_comes_before_the_declared_one() -> None:
    site = _site(energy={"pue": 1.2, "pueOrigin": "assumed"})

    row = energy_hour_of(
        site, _HOUR, location=None, reported_pue=Figure(1.37, "measured", "agent of gz-core")
    )

    assert (row.pue, row.pue_origin) == (1.37, "measured")


def test_a_measured_power_curve_comes_before_the_microarchitecture() -> None:
    table = SiteEnergy(microarchitecture="epyc-2")
    curve = msgspec.convert(
        {
            "microarchitecture": "epyc-2",
            "powerCurve": [{"busyCores": 0, "watts": 900}, {"busyCores": 100, "watts": 1400}],
        },
        SiteEnergy,
    )

    assert marginal_watts_per_core(hardware_of(table)) == pytest.approx(1.22)
    assert marginal_watts_per_core(hardware_of(curve)) == pytest.approx(5.0)
    amounts = {"cpu": 4000, "memory": 2**31}
    assert modelled_watts(amounts, hardware_of(curve)) == pytest.approx(4 * 5 * 0.5 + 2 * 0.4)
