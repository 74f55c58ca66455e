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
"""So many values of one facet may be chosen at once; the handler checks it."""
_MAX_ANSWERS: Final = 64
MAX_OFFSET: Final = 10_000_000
_FEW_ROWS: Final = 1000
"""So many rows are sorted for one answer; more are taken from the kept order of all rows."""


class WrongQuery(ValueError):
    """A query is not answered; the message says what to write."""


class ContradictingQuery(ValueError):
    """Values of a query contradict each other; the message names them."""


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
        if not 0 <= self.offset <= MAX_OFFSET:
            raise WrongQuery(f"offset: write a number from 0 to {MAX_OFFSET}")


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
    _selections: dict[tuple[TableQuery, _Reader], "_Selection"] = field(default_factory=dict)

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
            self._selections.clear()
        reader = _Reader(visible, language)
        known = self._answers.get((query, reader))
        if known is None:
            known = _page(self._rows, self._selection(query, reader), query, language)
            _keep(self._answers, (query, reader), known)
        return known | {"now": snapshot.at}

    def _selection(self, query: TableQuery, reader: _Reader) -> "_Selection":
        """What all pages of a question share, in whatever order and language."""
        asked = TableQuery(words=query.words, chosen=query.chosen)
        key = (asked, _Reader(reader.visible, "en"))
        known = self._selections.get(key)
        if known is None:
            known = _select_all(self._rows, asked, reader.visible)
            _keep(self._selections, key, known)
        return known


@dataclass(frozen=True, slots=True)
class _Selection:
    """The rows that match (None: all there are), how many may be seen, and the listed facets."""

    found: list[TableRow] | None
    total: int
    facets: dict[str, Any]


def _keep(
    kept: dict[tuple[TableQuery, _Reader], Any],
    key: tuple[TableQuery, _Reader],
    value: Any,  # noqa: ANN401 - JSON or a selection
) -> None:
    while len(kept) >= _MAX_ANSWERS:
        del kept[next(iter(kept))]
    kept[key] = value


def _select_all(rows: TableRows, query: TableQuery, visible: Collection[str] | None) -> _Selection:
    seen = _seen(rows, visible)
    if seen is None and not query.words and not query.chosen:
        found, counts, total = None, rows.counts, len(rows.by_key)
    else:
        seen = list(rows.by_key.values()) if seen is None else seen
        found, counts = _select(seen, query)
        total = len(seen)
    return _Selection(found, total, {name: _listed(counts[name]) for name in FACETS})


def _page(
    rows: TableRows, selection: _Selection, query: TableQuery, language: Language
) -> dict[str, Any]:
    found = selection.found
    page = islice(_ordered(rows, found, query), query.offset, query.offset + query.limit)
    return {
        "workloads": [one.encoded(language) for one in page],
        "offset": query.offset,
        "total": selection.total,
        "matching": selection.total if found is None else len(found),
        "facets": selection.facets,
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
