"""The table of workloads: search, facets with counts, sort and pages over all of them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from scheduler.web.answers.table_rows import FACETS, SORTS, RowOrder, TableRow, TableRows
from scheduler.web.search import Words
from scheduler.web.snapshot import StateSnapshot
from scheduler.words.languages import Language

MAX_FACET_VALUES: Final = 200
"""So many values of a facet are listed, those with most workloads first."""
MAX_PAGE_ROWS: Final = 1000
MAX_CHOSEN: Final = 64
"""So many values of all facets may be chosen at once."""
_MAX_ANSWERS: Final = 64
_MAX_OFFSET: Final = 10_000_000
_FEW_ROWS: Final = 1000
"""So many rows are sorted for one answer; more are taken from the kept order of all rows."""


class WrongQuery(ValueError):
    """A query is not answered; the message says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableQuery:
    """What is asked of the table.

    Attributes:
        words: what a row must have, in any place.
        chosen: the values of a facet of which a row must have one, by the facet.
        sort: a key of `SORTS`.
        descending: the largest first.
        offset: rows before the page.
        limit: rows of the page.
    """

    words: Words = ()
    chosen: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    sort: str = "namespace"
    descending: bool = False
    offset: int = 0
    limit: int = 200

    def __post_init__(self) -> None:
        """Checks the bounds.

        Raises:
            WrongQuery: a value is out of its bounds.
        """
        if self.sort not in SORTS:
            raise WrongQuery(f"sort: write one of {', '.join(SORTS)}")
        if not 1 <= self.limit <= MAX_PAGE_ROWS:
            raise WrongQuery(f"limit: write a number from 1 to {MAX_PAGE_ROWS}")
        if not 0 <= self.offset <= _MAX_OFFSET:
            raise WrongQuery(f"offset: write a number from 0 to {_MAX_OFFSET}")
        if sum(map(len, self.chosen.values())) > MAX_CHOSEN:
            raise WrongQuery(f"at most {MAX_CHOSEN} values of facets may be chosen")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who asks: the namespaces that may be seen (None: all) and the language."""

    visible: frozenset[str] | None
    language: Language


@dataclass(slots=True)
class WorkloadTable:
    """Answers queries; what an unchanged workload shows is computed once. One thread at a time.

    Many readers ask the same: as long as no workload changes, each question is answered once.
    """

    _rows: TableRows = field(default_factory=TableRows)
    _answers: dict[tuple[TableQuery, _Reader], dict[str, Any]] = field(default_factory=dict)

    def answer(
        self,
        snapshot: StateSnapshot,
        query: TableQuery,
        visible: frozenset[str] | None,
        language: Language = "en",
    ) -> dict[str, Any]:
        """One page, with the number of workloads by facet; the rows are encoded.

        The counts of a facet are of the rows that the other facets and the search leave, so that
        they say what choosing a value would give.

        Args:
            snapshot: the state.
            query: what is asked.
            visible: the namespaces that may be seen; None: all.
            language: of the reader.
        """
        if self._rows.take(snapshot):
            self._answers.clear()
        reader = _Reader(visible, language)
        known = self._answers.get((query, reader))
        if known is None:
            while len(self._answers) >= _MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            known = self._answers[query, reader] = _answer(self._rows, query, reader)
        return known | {"now": snapshot.at}


def _answer(rows: TableRows, query: TableQuery, reader: _Reader) -> dict[str, Any]:
    seen = _seen(rows, reader.visible)
    if seen is None and not query.words and not query.chosen:
        found, counts, total = None, rows.counts, len(rows.by_key)
    else:
        seen = list(rows.by_key.values()) if seen is None else seen
        found, counts = _select(seen, query)
        total = len(seen)
    page = islice(_ordered(rows, found, query), query.offset, query.offset + query.limit)
    return {
        "workloads": [one.encoded(reader.language) for one in page],
        "offset": query.offset,
        "total": total,
        "matching": total if found is None else len(found),
        "facets": {name: _listed(counts[name]) for name in FACETS},
    }


def _seen(rows: TableRows, visible: Collection[str] | None) -> list[TableRow] | None:
    """The rows that may be seen; None: all."""
    if visible is None:
        return None
    return [row for (namespace, _), row in rows.by_key.items() if namespace in visible]


def _ordered(
    rows: TableRows, found: list[TableRow] | None, query: TableQuery
) -> Iterable[TableRow]:
    """Rows by the sort; unknown values last in either direction. None: all rows."""
    if found is None:
        return rows.ordered(query.sort, descending=query.descending)
    if len(found) <= _FEW_ROWS:
        return RowOrder(query.sort, found).rows(descending=query.descending)
    wanted = {id(one) for one in found}
    every = rows.ordered(query.sort, descending=query.descending)
    return (row for row in every if id(row) in wanted)


def _select(
    rows: list[TableRow], query: TableQuery
) -> tuple[list[TableRow], dict[str, Counter[str]]]:
    """The rows that match, and the counts by facet."""
    for word in query.words:
        rows = [row for row in rows if word in row.text]
    asked = [
        (index, query.chosen[name]) for index, name in enumerate(FACETS) if name in query.chosen
    ]
    misses = {index: list[TableRow]() for index, _ in asked}
    found = [] if asked else rows
    for row in rows if asked else ():
        missed = [index for index, wanted in asked if wanted.isdisjoint(row.values[index])]
        if not missed:
            found.append(row)
        elif len(missed) == 1:
            misses[missed[0]].append(row)
    counts = {
        name: Counter(
            value
            for counted in (found, misses.get(index, ()))
            for row in counted
            for value in row.values[index]
        )
        for index, name in enumerate(FACETS)
    }
    return found, counts


def _listed(counts: Counter[str]) -> dict[str, Any]:
    """The values with most workloads, and how many values there are more."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "values": [{"value": value, "count": count} for value, count in ordered[:MAX_FACET_VALUES]],
        "leftOut": max(0, len(ordered) - MAX_FACET_VALUES),
    }
