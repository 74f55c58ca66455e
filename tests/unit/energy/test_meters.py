"""Totals of meters become joules by hour, and what they cannot say is unmeasured."""

from dataclasses import replace

import pytest

from scheduler.energy.accounts.meters import MeterReading, metered_hours

_BEGIN = 1_000_000 * 3600.0
_BEFORE = MeterReading(
    counter_id="a", at_seconds=_BEGIN + 1800, it_joules=1000.0, pv_joules=0.0, origin="measured"
)


def _after(seconds: float, joules: float | None, **changes: object) -> MeterReading:
    return replace(
        _BEFORE,
        at_seconds=_BEFORE.at_seconds + seconds,
        it_joules=joules,
        **changes,  # type: ignore[arg-type]
    )


def test_energy_is_divided_at_the_full_hour() -> None:
    hours, fault = metered_hours(_BEFORE, _after(3600, 8200.0, pv_joules=720.0))

    assert fault is None
    assert [one.hour for one in hours] == [1_000_000, 1_000_001]
    assert [one.it_joules for one in hours] == pytest.approx([3600.0, 3600.0])
    assert [one.pv_joules for one in hours] == pytest.approx([360.0, 360.0])
    assert {one.origin for one in hours} == {"measured"}


def test_a_gap_loses_no_energy_and_its_hours_are_estimated() -> None:
    hours, fault = metered_hours(_BEFORE, _after(10 * 3600, 73_000.0))

    assert fault is None
    assert sum(one.it_joules or 0 for one in hours) == pytest.approx(72_000)
    assert {one.origin for one in hours} == {"estimated"}


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        (_after(600, 900.0), "counter-fell"),
        (_after(600, 9000.0, counter_id="b"), "counter-changed"),
        (_after(600, None), "unknown"),
        (_after(600, float("nan")), "implausible"),
        (_after(600, 1e15), "implausible"),
        (_after(600, 1000.0, unmeasured_seconds=600.0), "unknown"),
    ],
)
def test_what_a_meter_cannot_say_is_unmeasured_and_never_zero(
    after: MeterReading, fault: str
) -> None:
    hours, found = metered_hours(_BEFORE, after)

    assert found == fault
    assert [one.it_joules for one in hours] == [None] * len(hours)
    assert sum(one.unmeasured_seconds for one in hours) == pytest.approx(600)
    assert {one.origin for one in hours} == {"unknown"}


def test_a_counter_that_wraps_goes_on() -> None:
    hours, fault = metered_hours(_BEFORE, _after(600, 100.0, wraps_at_joules=2000.0))

    assert fault is None
    assert sum(one.it_joules or 0 for one in hours) == pytest.approx(1100)


def test_a_measured_zero_is_a_zero() -> None:
    hours, fault = metered_hours(_BEFORE, _after(600, 1000.0))

    assert fault is None
    assert [one.it_joules for one in hours] == [0.0]
    assert hours[0].unmeasured_seconds == 0


def test_a_part_that_the_agent_did_not_measure_is_named() -> None:
    hours, _ = metered_hours(_BEFORE, _after(600, 5000.0, unmeasured_seconds=150.0))

    assert hours[0].unmeasured_seconds == pytest.approx(150)


@pytest.mark.parametrize("seconds", [-1.0, -3600.0, 400 * 86_400.0])
def test_a_clock_that_was_set_makes_no_energy(seconds: float) -> None:
    hours, fault = metered_hours(_BEFORE, _after(seconds, 5000.0))

    assert (hours, fault) == ([], "implausible")


def test_a_first_reading_and_a_doubled_one_count_nothing() -> None:
    assert metered_hours(None, _BEFORE) == ([], "first-reading")
    assert metered_hours(_BEFORE, _BEFORE) == ([], None)
