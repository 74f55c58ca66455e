"""Which records are listed: by workload, site and time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from scheduler.ledger.record import NOT_CARRIED_OUT_KIND, Record, share_id, share_of, undone_ids

_PAGE_RECORDS = 256

RecordPages = Callable[[int, int], list[Record]]
"""Up to so many records (second argument) that follow a sequence (first), oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """What a record must be.

    Attributes:
        since: not older than this; None: any age.
        at: the newest of its subject that is not younger than this, so what was in force then;
            None: any.
        site: decisions that placed replicas at this site; None: any.
    """

    since: datetime | None = None
    at: datetime | None = None
    site: str | None = None

    def select(self, pages: RecordPages, after: int, limit: int) -> list[Record]:
        """Up to `limit` records that match and follow sequence `after`, oldest first."""
        if self.at is not None:
            return self._in_force(pages)[:limit]
        found: list[Record] = []
        for record in _each(pages, after):
            if self._matches(record):
                found.append(record)
                if len(found) == limit:
                    break
        return found

    def _in_force(self, pages: RecordPages) -> list[Record]:
        """The newest record of each subject that took effect at the time `at`, by sequence."""
        newest: dict[str, Record] = {}
        undone = undone_ids(_each(pages, 0))
        for record in _each(pages, 0):
            took_effect = record.kind != NOT_CARRIED_OUT_KIND and record.id not in undone
            if self.at is None or not took_effect or _instant(record) > self.at:
                continue
            subjects = record.share_subjects
            for index, subject in enumerate(subjects):
                if share_id(record.id, index) not in undone:
                    newest[subject] = share_of(record, index)
            if not subjects:
                newest[record.subject] = record
        found = filter(self._matches, newest.values())
        return sorted(found, key=lambda record: (record.seq, record.index or 0))

    def _matches(self, record: Record) -> bool:
        if self.since is not None and _instant(record) < self.since:
            return False
        return self.site is None or self.site in sites_of(record.content)


def sites_of(content: Mapping[str, Any]) -> list[str]:
    """The sites that the decisions of a record placed replicas at."""
    equal = content.get("decisions")
    outcomes = equal.get("outcomes", ()) if isinstance(equal, Mapping) else ()
    return [
        str(one.get("site"))
        for decision in (content.get("decision"), *outcomes)
        if isinstance(decision, Mapping)
        for one in decision.get("assignment") or ()
        if isinstance(one, Mapping)
    ]


def _each(pages: RecordPages, after: int) -> Iterator[Record]:
    while page := pages(after, _PAGE_RECORDS):
        yield from page
        after = page[-1].seq


def _instant(record: Record) -> datetime:
    instant = datetime.fromisoformat(record.at)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
