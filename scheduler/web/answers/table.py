"""The table of workloads: search, facets with counts, sort and pages over all of them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.model.figures import share_figures
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.web.search import Words, text_of
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.views import workload_row

FACETS: Final = ("tenant", "namespace", "phase", "site", "class", "reason")
MAX_FACET_VALUES: Final = 200
"""So many values of a facet are listed, those with most workloads first."""
MAX_PAGE_ROWS: Final = 1000
MAX_CHOSEN: Final = 64
"""So many values of all facets may be chosen at once."""
_MAX_ANSWERS: Final = 64
_MAX_ROW_SITES: Final = 12
_MAX_OFFSET: Final = 10_000_000
NOT_GIVEN: Final = "-"
"""Stands for the value of a workload that has none."""


class WrongQuery(ValueError):
    """A query is not answered; the message says what to write."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One workload as the table reads it.

    Attributes:
        workload: the workload.
        tenant: the tenant of its namespace; "": none.
        values: its values by facet, in the order of `FACETS`.
        text: what a search looks at, in lower case.
        reasons: of an unplaced one, the number of sites by first reason.
    """

    workload: Workload
    tenant: str
    values: tuple[tuple[str, ...], ...]
    text: str
    reasons: Mapping[str, int]


SortValue = tuple[bool, Any]
"""Whether the value is unknown, which sorts last, and the value."""


def _of_status(name: str) -> Callable[[TableRow], Any]:
    return lambda row: getattr(row.workload.status, name)


def _decided_at(row: TableRow) -> Any:  # noqa: ANN401 - an instant or None
    decision = row.workload.status.decision
    return decision.decided_at if decision else None


SORTS: Final[Mapping[str, Callable[[TableRow], Any]]] = {
    "namespace": lambda row: (row.workload.metadata.namespace, row.workload.metadata.name),
    "name": lambda row: row.workload.metadata.name,
    "tenant": lambda row: row.tenant,
    "phase": lambda row: row.values[2][0],
    "class": lambda row: row.workload.spec.data_class,
    "priority": lambda row: row.workload.spec.priority,
    "replicas": _of_status("replicas"),
    "ready": _of_status("ready"),
    "sites": lambda row: len(row.values[3]),
    "reason": lambda row: row.values[5][0],
    "decided": _decided_at,
    "created": lambda row: row.workload.metadata.creation_timestamp,
}
"""What a column is sorted by; rows with equal values stand by namespace and name."""


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


@dataclass(slots=True)
class WorkloadTable:
    """Answers queries; what an unchanged workload shows is computed once. One thread at a time.

    Many readers ask the same: as long as no workload changes, each question is answered once.
    """

    _known: dict[WorkKey, TableRow] = field(default_factory=dict)
    _snapshot: StateSnapshot | None = None
    _rows: list[TableRow] = field(default_factory=list)
    _answers: dict[tuple[TableQuery, frozenset[str] | None], dict[str, Any]] = field(
        default_factory=dict
    )

    def answer(
        self, snapshot: StateSnapshot, query: TableQuery, visible: frozenset[str] | None
    ) -> dict[str, Any]:
        """One page, with the number of workloads by facet.

        The counts of a facet are of the rows that the other facets and the search leave, so that
        they say what choosing a value would give.

        Args:
            snapshot: the state.
            query: what is asked.
            visible: the namespaces that may be seen; None: all.
        """
        self._take(snapshot)
        known = self._answers.get((query, visible))
        if known is None:
            while len(self._answers) >= _MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            known = self._answers[query, visible] = _answer(self._rows, query, visible)
        return known | {"now": snapshot.at}

    def _take(self, snapshot: StateSnapshot) -> None:
        before, self._snapshot = self._snapshot, snapshot
        if before is not None and _shows_the_same(before, snapshot):
            return
        rows = dict(self._updated(snapshot, tenants_by_namespace(snapshot)))
        self._known, self._rows = rows, [rows[key] for key in sorted(rows)]
        self._answers.clear()

    def _updated(
        self, snapshot: StateSnapshot, tenants: Mapping[str, str]
    ) -> Iterator[tuple[WorkKey, TableRow]]:
        for workload in snapshot.workloads:
            key = (workload.metadata.namespace, workload.metadata.name)
            reasons = snapshot.reasons_by_workload.get(key, {})
            tenant, known = tenants.get(key[0], ""), self._known.get(key)
            if (
                known is None
                or known.workload is not workload
                or known.reasons != reasons
                or known.tenant != tenant
            ):
                known = _row_of(workload, tenant, reasons)
            yield key, known


def _shows_the_same(before: StateSnapshot, after: StateSnapshot) -> bool:
    """Whether nothing that the table shows has changed; equal objects are mostly the same one."""
    return (
        before.workloads == after.workloads
        and before.reasons_by_workload == after.reasons_by_workload
        and before.tenants == after.tenants
    )


def _answer(
    rows: list[TableRow], query: TableQuery, visible: frozenset[str] | None
) -> dict[str, Any]:
    found, counts, total = _select(rows, query, visible)
    found = _sorted(found, query)
    page = found[query.offset : query.offset + query.limit]
    return {
        "workloads": [table_row(one) for one in page],
        "offset": query.offset,
        "total": total,
        "matching": len(found),
        "facets": {name: _listed(counts[name]) for name in FACETS},
    }


def tenants_by_namespace(snapshot: StateSnapshot) -> dict[str, str]:
    """The tenant of each namespace; of several the first by name, as decisions take it."""
    return {
        namespace: tenant.metadata.name
        for tenant in sorted(snapshot.tenants, key=lambda one: one.metadata.name, reverse=True)
        for namespace in tenant.spec.namespaces
    }


def table_row(row: TableRow) -> dict[str, Any]:
    """The row of a workload as every surface shows it, with its tenant and few of its sites."""
    shown = workload_row(row.workload, row.reasons)
    return shown | {
        "tenant": row.tenant,
        "priority": row.workload.spec.priority,
        "sites": shown["sites"][:_MAX_ROW_SITES],
        "siteCount": len(shown["sites"]),
    }


def _row_of(workload: Workload, tenant: str, reasons: Mapping[str, int]) -> TableRow:
    status, meta = workload.status, workload.metadata
    sites = sorted({one.site for one in share_figures(status) if one.replicas})
    values = (
        (tenant or NOT_GIVEN,),
        (meta.namespace,),
        (status.phase or "Pending",),
        tuple(sites) or (NOT_GIVEN,),
        (workload.spec.data_class or NOT_GIVEN,),
        tuple(sorted(reasons, key=lambda slug: (-reasons[slug], slug))) or (NOT_GIVEN,),
    )
    text = f"{text_of(workload, reasons)}\n{tenant.lower()}"
    return TableRow(workload, tenant, values, text, dict(reasons))


def _select(
    rows: list[TableRow], query: TableQuery, visible: Collection[str] | None
) -> tuple[list[TableRow], dict[str, Counter[str]], int]:
    """The rows that match, the counts by facet, and how many may be seen in all."""
    found: list[TableRow] = []
    counts: dict[str, Counter[str]] = {name: Counter() for name in FACETS}
    asked = [
        (index, query.chosen[name]) for index, name in enumerate(FACETS) if name in query.chosen
    ]
    total = 0
    for row in rows:
        if visible is not None and row.workload.metadata.namespace not in visible:
            continue
        total += 1
        if query.words and not all(word in row.text for word in query.words):
            continue
        missed = [index for index, wanted in asked if wanted.isdisjoint(row.values[index])]
        if not missed:
            found.append(row)
        for index in range(len(FACETS)) if not missed else missed if len(missed) == 1 else ():
            counts[FACETS[index]].update(row.values[index])
    return found, counts, total


def _sorted(rows: list[TableRow], query: TableQuery) -> list[TableRow]:
    """By the sort; unknown values last in either direction."""
    value_of = SORTS[query.sort]
    known, unknown = list[tuple[Any, TableRow]](), list[TableRow]()
    for row in rows:
        value = value_of(row)
        if value is None or value in ("", NOT_GIVEN):
            unknown.append(row)
        else:
            known.append((value, row))
    known.sort(key=lambda pair: pair[0], reverse=query.descending)
    return [row for _, row in known] + unknown


def _listed(counts: Counter[str]) -> dict[str, Any]:
    """The values with most workloads, and how many values there are more."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "values": [{"value": value, "count": count} for value, count in ordered[:MAX_FACET_VALUES]],
        "leftOut": max(0, len(ordered) - MAX_FACET_VALUES),
    }
