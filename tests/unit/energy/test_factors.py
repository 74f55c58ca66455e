"""Official factors, and what is refused as an intensity."""

import csv
import os
from pathlib import Path

import pytest

from scheduler.energy.factors.factor import FactorError, checked_gco2_per_kwh
from scheduler.energy.factors.official_china import (
    known_zones,
    official_factor,
    residual_factor,
)

_DATA = os.environ.get("KAPOK_DATA_DIR", "")


def test_a_province_has_the_factor_of_its_year_with_document_and_boundary() -> None:
    found = official_factor("CN-GD", year=2023)

    assert found is not None
    assert (found.gco2_per_kwh, found.origin, found.boundary) == (441.9, "yearly", "direct")
    assert found.source == "MEE 2025 No. 47, CN-GD, 2023"
    assert not found.distinguishes_hours


def test_the_newest_published_factor_counts_in_later_years_and_says_its_own() -> None:
    found = official_factor("CN-SC", year=2026)

    assert found is not None
    assert (found.gco2_per_kwh, found.year) == (156.4, 2023)


@pytest.mark.parametrize("zone", ["", "HK", "MO", "CN-XZ", "cn-gd", "DE"])
def test_a_zone_without_a_published_factor_is_unknown_and_not_green(zone: str) -> None:
    assert official_factor(zone, year=2023) is None
    assert residual_factor(zone, year=2023) is None


def test_nothing_is_in_force_before_the_first_publication() -> None:
    assert official_factor("CN-GD", year=2020) is None


def test_the_residual_is_above_the_national_mean() -> None:
    residual, mean = residual_factor("CN-GD", year=2023), official_factor("CN", year=2023)

    assert residual is not None
    assert mean is not None
    assert (residual.gco2_per_kwh, mean.gco2_per_kwh) == (609.6, 530.6)


@pytest.mark.skipif(not _DATA, reason="KAPOK_DATA_DIR names no public data")
def test_every_figure_is_that_of_the_published_table() -> None:
    path = Path(_DATA, "china-grid-factors", "provinces.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert {row["iso_3166_2"] for row in rows} | {"CN"} == known_zones()
    for row in rows:
        for year in (2021, 2022, 2023):
            found = official_factor(row["iso_3166_2"], year=year)
            assert found is not None
            expected = float(row[f"ef_{year}_kgco2_per_kwh"]) * 1000
            assert found.gco2_per_kwh == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "no number"),
        (float("inf"), "no number"),
        (-1.0, "below zero"),
        (0.4419, "kg/kWh"),
        (441_900.0, "implausibly high"),
    ],
)
def test_what_is_no_intensity_is_refused_by_name(value: float, why: str) -> None:
    with pytest.raises(FactorError, match=why) as refused:
        checked_gco2_per_kwh(value, what="CN-GD 2026-11-01T00:00Z")
    assert "CN-GD 2026-11-01T00:00Z" in str(refused.value)


def test_zero_is_a_figure_like_any_other() -> None:
    assert checked_gco2_per_kwh(0.0, what="the roof") == 0.0
