"""Maintenance windows: which one is in the way, and which one a site is to be empty for."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.site import MAX_MAINTENANCE_WINDOWS, MaintenanceWindow
from scheduler.model.maintenance import (
    MAINTENANCE_LEAD_SECONDS,
    window_in_the_way,
    window_to_clear,
)

T0 = datetime(2026, 12, 1, tzinfo=UTC)
LEAD = MAINTENANCE_LEAD_SECONDS


def window(begins: float, ends: float) -> MaintenanceWindow:
    return MaintenanceWindow(
        from_=T0 + timedelta(seconds=begins), until=T0 + timedelta(seconds=ends)
    )


@pytest.mark.parametrize(
    ("begins", "duration", "is_movable", "is_in_the_way"),
    [
        (LEAD + 60, None, True, False),
        (LEAD + 60, None, False, True),
        (LEAD, None, True, True),
        (LEAD, LEAD, True, False),
        (LEAD, LEAD + 1, True, True),
        (1e6, 1e6, False, False),
        (1e6, 1e6 + 1, False, True),
        (-10, 1, True, True),
        (-100, 1, False, False),
    ],
)
def test_a_window_keeps_away_what_would_run_into_it(
    begins: float, duration: float | None, *, is_movable: bool, is_in_the_way: bool
) -> None:
    one = window(begins, begins + 50)
    found = window_in_the_way(
        [one], start_seconds=T0.timestamp(), duration_seconds=duration, is_movable=is_movable
    )
    assert found == (one if is_in_the_way else None)


def test_a_site_is_cleared_for_the_first_of_overlapping_windows_until_the_last_ends() -> None:
    first, second = window(LEAD, LEAD + 100), window(LEAD + 50, LEAD + 200)
    at = T0.timestamp()
    assert window_to_clear([second, first], at - 1) is None
    assert window_to_clear([second, first], at) == first
    assert window_to_clear([second, first], at + LEAD + 100) == second
    assert window_to_clear([second, first], at + LEAD + 200) is None


@pytest.mark.parametrize("length", [0, -1, -1e7])
def test_a_window_without_a_length_is_ignored(length: float) -> None:
    one = window(10, 10 + length)
    at = T0.timestamp()
    assert window_to_clear([one], at) is None
    assert (
        window_in_the_way([one], start_seconds=at, duration_seconds=None, is_movable=False) is None
    )


def test_there_are_so_many_windows_at_most() -> None:
    one = {"from": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}
    raw = {"kind": "Site", "metadata": {"name": "m1"}, "spec": {}}
    raw["spec"] = {"maintenance": [one] * MAX_MAINTENANCE_WINDOWS}
    assert len(decode_as(raw, Site).spec.maintenance) == MAX_MAINTENANCE_WINDOWS
    raw["spec"] = {"maintenance": [one] * (MAX_MAINTENANCE_WINDOWS + 1)}
    with pytest.raises(NotReadable):
        decode_as(raw, Site)


@pytest.mark.parametrize("wrong", [{"from": "2026-12-01T00:00:00Z"}, {"from": "now", "until": ""}])
def test_a_window_that_cannot_be_read_is_refused(wrong: dict[str, str]) -> None:
    raw = {"kind": "Site", "metadata": {"name": "m1"}, "spec": {"maintenance": [wrong]}}
    with pytest.raises(NotReadable):
        decode_as(raw, Site)
