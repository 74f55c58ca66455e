"""Records are listed by site and by time."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.ledger.filter import RecordFilter
from scheduler.ledger.record import GENESIS, LedgerEntry, Record, chain_entry

START = datetime(2026, 11, 23, 8, tzinfo=UTC)


def _record(seq: int, subject: str, *sites: str) -> Record:
    placed = [{"site": name, "replicas": 1} for name in sites]
    entry = LedgerEntry(
        kind="decision",
        subject=subject,
        epoch=1,
        at=START + timedelta(minutes=seq),
        content={"decision": {"assignment": placed}},
    )
    return chain_entry(entry, seq=seq, previous=GENESIS)


RECORDS = [
    _record(1, "ns/a", "m1"),
    _record(2, "ns/b", "m2"),
    _record(3, "ns/a", "m2"),
    _record(4, "ns/b"),
]


def _pages(after: int, limit: int) -> list[Record]:
    return [record for record in RECORDS if record.seq > after][: min(limit, 2)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RecordFilter(), [1, 2, 3, 4]),
        (RecordFilter(site="m2"), [2, 3]),
        (RecordFilter(site="m"), []),
        (RecordFilter(since=START + timedelta(minutes=3)), [3, 4]),
        (RecordFilter(at=START + timedelta(minutes=3)), [2, 3]),
        (RecordFilter(at=START + timedelta(minutes=3), site="m1"), []),
        (RecordFilter(at=START), []),
    ],
    ids=str,
)
def test_only_what_matches_is_listed(wanted: RecordFilter, found: list[int]) -> None:
    assert [record.seq for record in wanted.select(_pages, 0, 9)] == found


def test_a_list_goes_on_where_it_ended() -> None:
    wanted = RecordFilter(site="m2")
    assert [record.seq for record in wanted.select(_pages, 0, 1)] == [2]
    assert [record.seq for record in wanted.select(_pages, 2, 1)] == [3]
