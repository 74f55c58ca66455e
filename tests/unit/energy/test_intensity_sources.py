"""Each source of intensity, with good and bad answers."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduler.energy.intensity import carbon_aware_sdk, electricity_maps
from scheduler.energy.intensity.csv_series import parse_csv
from scheduler.energy.intensity.series import ParsedSeries, SourceError, hour_of

_DATA = os.environ.get("KAPOK_DATA_DIR", "")
_H0 = hour_of(datetime(2026, 11, 1, tzinfo=UTC))


def _grams(points: object) -> list[float]:
    return [one.gco2_per_kwh for _, one in sorted(points.items())]  # type: ignore[attr-defined]


def test_a_csv_has_grams_or_kilograms_by_the_name_of_its_column() -> None:
    grams = parse_csv("time,gco2_per_kwh\n2026-11-01T00:00Z,400\n", name="a.csv")
    kilograms = parse_csv("time,kgco2_per_kwh\n2026-11-01T00:00Z,0.4\n", name="a.csv")

    assert _grams(grams.points) == _grams(kilograms.points) == [400.0]
    assert (grams.problems, list(grams.points)) == ((), [_H0])


def test_a_column_without_a_unit_is_refused() -> None:
    with pytest.raises(SourceError, match="the unit of the figures is not known"):
        parse_csv("time,intensity\n2026-11-01T00:00Z,400\n", name="a.csv")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("2026-11-01T00:00Z,NaN", "is no number"),
        ("2026-11-01T00:00Z,", "is no number"),
        ("2026-11-01T00:00Z,-5", "below zero"),
        ("2026-11-01T00:00Z,0.4", "kg/kWh"),
        ("2026-11-01T00:00Z,99999", "implausibly high"),
        ("2026-11-01T00:00,400", "a time without a zone"),
        ("yesterday,400", "is no time"),
        ("2026-11-01T00:00Z", "columns are too few"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_is_no_zero(row: str, why: str) -> None:
    found = parse_csv(f"time,gco2_per_kwh\n{row}\n", name="广东.csv")

    assert found.points == {}
    assert len(found.problems) == 1
    assert why in found.problems[0]
    assert found.problems[0].startswith("广东.csv")


def test_missing_hours_are_counted_and_not_filled() -> None:
    text = "time,gco2_per_kwh\n2026-11-01T00:00Z,400\n2026-11-01T03:00Z,410\n"

    found = parse_csv(text, name="a.csv")

    assert sorted(found.points) == [_H0, _H0 + 3]
    assert "2 hours are missing, the first is 2026-11-01T01:00:00Z" in found.problems[0]


def test_an_hour_that_summer_time_shows_twice_is_two_hours_with_offsets() -> None:
    text = (
        "time,gco2_per_kwh\n2026-10-25T02:00+02:00,400\n2026-10-25T02:00+01:00,410\n"
        "2026-10-25T03:00+01:00,420\n"
    )

    found = parse_csv(text, name="a.csv")

    assert _grams(found.points) == [400.0, 410.0, 420.0]
    assert found.problems == ()


def test_an_hour_that_stands_there_twice_is_named() -> None:
    text = "time,gco2_per_kwh\n2026-11-01T00:00Z,400\n2026-11-01T08:00+08:00,800\n"

    found = parse_csv(text, name="a.csv")

    assert _grams(found.points) == [400.0]
    assert "for the second time" in found.problems[0]


@pytest.mark.skipif(not _DATA, reason="KAPOK_DATA_DIR names no public data")
def test_a_year_of_public_data_is_read_whole() -> None:
    path = Path(_DATA, "electricitymaps-2022-hourly/ci_lca_gco2eq_per_kwh_2022_11zones.csv")

    found = parse_csv(path.read_text(), name="em", zone="DE", boundary="life-cycle")

    assert (len(found.points), found.problems) == (8760, ())


def _history(*entries: dict[str, object]) -> dict[str, object]:
    return {"zone": "DE", "history": list(entries)}


def test_electricity_maps_says_what_is_measured_estimated_and_forecast() -> None:
    at = "2026-11-01T00:00:00.000Z"
    measured = {"datetime": at, "carbonIntensity": 302, "emissionFactorType": "lifecycle"}
    estimated = {**measured, "isEstimated": True, "estimationMethod": "TIME_SLICER_AVERAGE"}
    direct = {**measured, "emissionFactorType": "direct"}

    origins = [
        electricity_maps.parse(_history(one), zone="DE").points[_H0]
        for one in (measured, estimated, direct)
    ]
    forecast = electricity_maps.parse({"zone": "DE", "forecast": [measured]}, zone="DE")
    latest = electricity_maps.parse({"zone": "DE", **measured}, zone="DE")

    assert [one.origin for one in origins] == ["measured", "estimated", "measured"]
    assert [one.boundary for one in origins] == ["life-cycle", "life-cycle", "direct"]
    assert forecast.points[_H0].origin == "modelled"
    assert latest.points[_H0].gco2_per_kwh == 302


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"error": "No data for zone"},
        {"zone": "FR", "carbonIntensity": 50, "datetime": "2026-11-01T00:00Z"},
        {"zone": "DE", "history": "none"},
    ],
)
def test_another_answer_of_electricity_maps_is_refused_with_its_zone(answer: object) -> None:
    with pytest.raises(SourceError, match="electricity-maps DE"):
        electricity_maps.parse(answer, zone="DE")


@pytest.mark.parametrize("value", [None, "302", True, -3, 0.3])
def test_a_figure_of_electricity_maps_that_is_none_is_refused(value: object) -> None:
    entry = {"datetime": "2026-11-01T00:00Z", "carbonIntensity": value}

    found = electricity_maps.parse(_history(entry), zone="DE")

    assert found.points == {}
    assert "electricity-maps DE" in found.problems[0]


def test_steps_of_the_carbon_aware_sdk_become_the_mean_of_their_hour() -> None:
    answer = [
        {"location": "westeurope", "time": f"2026-11-01T00:{minute:02}:00+00:00", "rating": rating}
        for minute, rating in ((0, 400), (30, 500))
    ]

    found = carbon_aware_sdk.parse(answer, zone="westeurope")

    assert _grams(found.points) == [450.0]
    assert found.points[_H0].boundary == "unstated"


def test_a_forecast_of_the_carbon_aware_sdk_is_modelled() -> None:
    answer = [
        {
            "location": "westeurope",
            "generatedAt": "2026-10-31T23:00:00+00:00",
            "forecastData": [
                {"location": "westeurope", "timestamp": "2026-11-01T00:00:00Z", "value": 388.1}
            ],
        }
    ]

    found = carbon_aware_sdk.parse(answer, zone="westeurope")

    assert found.points[_H0].origin == "modelled"


@pytest.mark.parametrize(
    "answer", [{}, "no", [{"location": "eastus", "time": "2026-11-01T00:00Z", "rating": 1}]]
)
def test_another_answer_of_the_carbon_aware_sdk_is_refused(answer: object) -> None:
    with pytest.raises(SourceError, match="carbon-aware-sdk westeurope"):
        carbon_aware_sdk.parse(answer, zone="westeurope")


def test_each_source_asks_for_its_zone_as_a_query_and_not_as_a_path() -> None:
    for source in (electricity_maps, carbon_aware_sdk):
        for path in source.paths_of("../x&y=1"):
            assert path.endswith("..%2Fx%26y%3D1")


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("2026-11-01T00:00Z", 10**400),
        ("2026-11-01T00:00Z", "5"),
        ("0001-01-01T00:00:00+14:00", 5),
        ("9999-12-31T23:59:59-14:00", 5),
        ("2026-11-01T00:00", 5),
        ("x" * 1_000_000, 5),
        (["x"] * 100_000, 5),
    ],
)
def test_a_point_that_no_hour_or_figure_can_be_read_of_costs_no_other(
    at: object, value: object
) -> None:
    good = "2026-11-01T01:00Z"

    def answers() -> list[ParsedSeries]:
        history = [
            {"datetime": at, "carbonIntensity": value},
            {"datetime": good, "carbonIntensity": 7},
        ]
        emissions = [
            {"location": "DE", "time": at, "rating": value},
            {"location": "DE", "time": good, "rating": 7},
        ]
        return [
            electricity_maps.parse({"zone": "DE", "history": history}, zone="DE"),
            carbon_aware_sdk.parse(emissions, zone="DE"),
        ]

    for one in answers():
        assert _grams(one.points) == [7.0]
        assert len(one.problems) == 1
        assert len(one.problems[0]) < 250, "what a source says is not repeated at any length"


def test_a_source_that_names_another_zone_at_any_length_is_refused_in_few_words() -> None:
    with pytest.raises(SourceError, match="is about zone") as refused:
        electricity_maps.parse({"zone": "x" * 1_000_000}, zone="DE")
    assert len(str(refused.value)) < 250


def test_missing_hours_of_a_century_are_counted_and_not_listed() -> None:
    text = "time,gco2_per_kwh\n1970-01-01T00:00Z,400\n2100-12-31T23:00Z,400\n"
    found = parse_csv(text, name="a.csv")
    assert found.problems == (
        "a.csv: 1148326 hours are missing, the first is 1970-01-01T01:00:00Z",
    )


def test_a_file_with_a_cell_without_end_is_refused() -> None:
    for text in ('"' + "x" * 200_000, 'time,gco2_per_kwh\n"' + "x" * 200_000):
        with pytest.raises(SourceError, match="no CSV: field larger"):
            parse_csv(text, name="a.csv")
