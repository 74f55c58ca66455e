"""Two ledgers that are never mixed, money with its peak, equipment and water."""

import msgspec
import pytest

from scheduler.energy.accounts.equipment import (
    embodied_gco2e,
    software_carbon_intensity,
    water_litres,
)
from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.accounts.ledgers import location_emission, market_emission
from scheduler.energy.accounts.money import energy_price_in_hour, peak_cost
from scheduler.energy.accounts.month import month_report
from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.factors.official_china import official_factor, residual_factor
from scheduler.model.kinds.site import SitePrices, TariffHours

_KWH = 3_600_000
_ROW = EnergyHour(
    site="gz-core",
    hour=500_000,
    seconds=3600,
    it_joules=100 * _KWH,
    origin="measured",
    pue=1.5,
    pue_origin="measured",
    location=official_factor("CN-GD", year=2026),
    residual=residual_factor("CN-GD", year=2026),
    energy_cny_per_kwh=0.6,
    users={"health": 60 * _KWH, "": 40 * _KWH},
)


def _row(**changes: object) -> EnergyHour:
    return msgspec.structs.replace(_ROW, **changes)


def test_both_ledgers_have_their_own_factor() -> None:
    assert location_emission(_ROW).grams == pytest.approx(150 * 441.9)
    assert market_emission(_ROW).grams == pytest.approx(150 * 609.6)


def test_a_green_share_counts_in_the_market_ledger_and_only_with_evidence() -> None:
    declared = _row(green_share=0.5)
    evidenced = _row(green_share=0.5, green_evidence="GEC 2026-0815")

    assert market_emission(declared).grams == market_emission(_ROW).grams
    assert market_emission(evidenced).grams == pytest.approx(75 * 609.6)
    assert location_emission(evidenced).grams == location_emission(_ROW).grams
    assert "GEC 2026-0815" in market_emission(evidenced).source


def test_without_a_residual_factor_the_market_ledger_is_unknown_and_not_the_location_one() -> None:
    assert market_emission(_row(residual=None, green_share=1.0, green_evidence="x")).grams is None


@pytest.mark.parametrize("pue", [None, 0.8, float("nan")])
def test_a_pue_below_one_or_missing_makes_grams_unknown(pue: float | None) -> None:
    assert location_emission(_row(pue=pue)).grams is None
    total = month_report([_row(pue=pue)]).total
    assert total.location.kilograms is None
    assert total.location.kwh_without_factor == pytest.approx(100)
    assert total.pue is None


def test_own_sun_is_given_once_and_never_makes_less_than_nothing() -> None:
    assert location_emission(_row(pv_joules=50.0 * _KWH)).grams == pytest.approx(100 * 441.9)
    assert location_emission(_row(pv_joules=500.0 * _KWH)).grams == 0


def test_direct_and_life_cycle_factors_are_never_one_number() -> None:
    cycle = EmissionFactor(gco2_per_kwh=480, origin="estimated", boundary="life-cycle")
    report = month_report([_ROW, _row(hour=500_001, location=cycle)])

    location = report.total.location
    assert location.kilograms is None
    assert location.boundary is None
    assert set(location.grams) == {"direct", "life-cycle"}


def test_with_a_yearly_factor_no_saving_by_time_is_claimed() -> None:
    hourly = EmissionFactor(gco2_per_kwh=480, origin="estimated", boundary="direct")

    assert not month_report([_ROW]).total.claims_time_savings
    assert month_report([_row(location=hourly)]).total.claims_time_savings
    assert not month_report([_ROW, _row(hour=500_001, location=hourly)]).total.claims_time_savings


def test_the_departments_of_a_site_share_what_it_used() -> None:
    report = month_report([_ROW])

    by_name = {one.department: one for one in report.departments}
    assert by_name["health"].it_kwh == pytest.approx(60)
    assert by_name["health"].cny == pytest.approx(150 * 0.6 * 0.6)
    assert by_name["health"].location.kilograms == pytest.approx(150 * 441.9 * 0.6 / 1000)
    assert report.total.pue == pytest.approx(1.5)


def test_the_highest_hour_is_paid_by_those_who_drew_in_it() -> None:
    quiet = _row(peak_cny_per_kilowatt_month=40.0)
    busy = _row(
        hour=500_001,
        it_joules=200 * _KWH,
        users={"tax": 200 * _KWH},
        peak_cny_per_kilowatt_month=40.0,
    )

    peak = peak_cost([quiet, busy])

    assert (peak.hour, peak.cny) == (500_001, 12_000)
    assert peak.kilowatts == pytest.approx(300)
    report = month_report([quiet, busy])
    by_name = {one.department: one for one in report.departments}
    assert by_name["tax"].cny == pytest.approx(300 * 0.6 + 12_000)
    assert by_name["health"].cny == pytest.approx(150 * 0.6 * 0.6)


def test_two_rows_of_one_hour_are_one_peak() -> None:
    half = _row(seconds=1800, it_joules=50 * _KWH, users={}, peak_cny_per_kilowatt_month=40.0)

    assert peak_cost([half, half]).kilowatts == pytest.approx(150)


def test_an_hour_has_the_price_of_the_tariff_in_china_standard_time() -> None:
    prices = SitePrices(
        energy_cny_per_kwh=0.9,
        tariff=(TariffHours(from_hour=22, to_hour=8, energy_cny_per_kwh=0.3),),
    )

    by_hour = {hour: energy_price_in_hour(prices, 24 * 20_000 + hour) for hour in (0, 13, 14, 23)}
    # 00 UTC is 08 in China, 13 UTC is 21, 14 UTC is 22
    assert by_hour == {0: 0.9, 13: 0.9, 14: 0.3, 23: 0.3}
    assert energy_price_in_hour(SitePrices(), 0) is None


def test_money_without_a_price_is_unknown_and_not_free() -> None:
    total = month_report([_row(energy_cny_per_kwh=None)]).total

    assert total.known_cny is None
    assert total.kwh_without_price == pytest.approx(100)


def test_equipment_and_water_are_one_number_each() -> None:
    year = 8_766 * 3600.0
    assert embodied_gco2e(1000.0, 4.0, year) == pytest.approx(250_000)
    assert embodied_gco2e(None, 4.0, year) is None
    assert embodied_gco2e(1000.0, 0.0, year) is None
    assert water_litres(100.0, 1.8) == pytest.approx(180)
    assert water_litres(100.0, None) is None
    total = month_report([_row(embodied_grams=500.0, wue_litres_per_kwh=1.8)]).total
    assert total.known_embodied_kgco2e == pytest.approx(0.5)
    assert total.known_litres == pytest.approx(180)
    assert month_report([_ROW]).total.known_embodied_kgco2e is None
    assert month_report([_ROW]).total.known_litres is None


def test_sci_is_operation_and_making_per_unit() -> None:
    assert software_carbon_intensity(900.0, 100.0, 50.0) == pytest.approx(20)
    assert software_carbon_intensity(900.0, None, 50.0) is None
    assert software_carbon_intensity(900.0, 100.0, 0.0) is None


def test_hours_without_a_meter_are_counted_as_such() -> None:
    report = month_report(
        [_ROW, _row(hour=500_001, it_joules=0, unmeasured_seconds=3600, users={})]
    )

    assert report.total.unmeasured_hours == pytest.approx(1)
    assert report.total.covered_hours == pytest.approx(2)
    assert report.total.it_kwh == pytest.approx(100)
