"""Texts that many messages share."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from scheduler.model.formatters import (
    format_epoch_seconds,
    format_list,
    format_replicas,
    format_rfc3339,
    format_rfc3339_exact,
    format_rfc3339_micros,
)

BEIJING = timezone(timedelta(hours=8))
AT = datetime(2026, 11, 23, 16, 0, 0, 250_000, tzinfo=BEIJING)


def test_an_instant_is_written_in_utc() -> None:
    assert format_rfc3339(AT) == "2026-11-23T08:00:00Z"
    assert format_rfc3339_micros(AT) == "2026-11-23T08:00:00.250000Z"
    assert format_rfc3339_exact(AT) == "2026-11-23T08:00:00.250000Z"
    assert format_rfc3339_exact(AT.replace(microsecond=0)) == "2026-11-23T08:00:00Z"
    assert format_epoch_seconds(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) == (
        "2026-01-01T00:00:00Z"
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ""), (1, "m0"), (2, "m0, m1"), (3, "m0, m1 and 1 more"), (5, "m0, m1 and 3 more")],
)
def test_a_long_list_says_how_many_it_leaves_out(count: int, expected: str) -> None:
    assert format_list([f"m{number}" for number in range(count)], 2) == expected


def test_sites_are_written_with_their_replicas() -> None:
    assert format_replicas([("m2", 1), ("m1", 3)]) == ["m2 (1)", "m1 (3)"]
