"""The rows of the table of workloads, kept from one state to the next.

Workloads are immutable values: one that is the same object as before shows the same. So a state
with one other workload costs one row, its counts and its place in each order that is kept.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress, count, groupby
from operator import is_not, itemgetter
from typing import Any, Final

import msgspec

from scheduler.model.figures import share_figures
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.words.sentence import json_bytes
from scheduler.web.answers.language import in_language
from scheduler.web.search import text_of
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.views import workload_row
from scheduler.words.languages import Language

FACETS: Final = ("tenant", "namespace", "phase", "site", "class", "reason")
NOT_GIVEN: Final = "-"
"""Stands for the value of a workload that has none."""
_MAX_ROW_SITES: Final = 12
_MAX_ORDERS: Final = 4
"""So many orders of all rows are kept; one that is not kept is made when it is asked for."""
_FEW_CHANGES: Final = 64
"""More changed rows at once cost less when an order is made from nothing."""


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
    _encoded: dict[Language, msgspec.Raw] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> WorkKey:
        """Namespace and name."""
        return _key(self.workload)

    def encoded(self, language: Language) -> msgspec.Raw:
        """The row as JSON; made once for each language."""
        known = self._encoded.get(language)
        if known is None:
            body = json_bytes(in_language(_shown(self), language))
            known = self._encoded[language] = msgspec.Raw(body)
        return known


def _of_status(name: str) -> Callable[[TableRow], Any]:
    return lambda row: getattr(row.workload.status, name)


def _decided_at(row: TableRow) -> Any:  # noqa: ANN401 - an instant or None
    decision = row.workload.status.decision
    return decision.decided_at if decision else None


SORTS: Final[Mapping[str, Callable[[TableRow], Any]]] = {
    "namespace": lambda row: row.key,
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

_Place = tuple[Any, WorkKey, TableRow]
"""Where a row stands in an order: keys are unique, so no two rows are compared."""

_VALUE: Final = itemgetter(0)


class RowOrder:
    """Rows in the order of one column; rows without a value are last in both directions.

    Args:
        sort: a key of `SORTS`.
        rows: the rows.
    """

    def __init__(self, sort: str, rows: Iterable[TableRow]) -> None:
        self._value_of = SORTS[sort]
        places = [self._place(row) for row in rows]
        self._known = sorted(one for one in places if one[0] is not None)
        self._unknown = sorted(one for one in places if one[0] is None)

    def _place(self, row: TableRow) -> _Place:
        value = self._value_of(row)
        return (None if value in ("", NOT_GIVEN) else value, row.key, row)

    def replace(self, gone: Iterable[TableRow], fresh: Iterable[TableRow]) -> None:
        """Takes rows out and puts others in."""
        for row in gone:
            held, place = self._list_of(row)
            del held[bisect_left(held, place[:2])]  # a pair stands just before its triple
        for row in fresh:
            held, place = self._list_of(row)
            insort(held, place)

    def _list_of(self, row: TableRow) -> tuple[list[Any], _Place]:
        place = self._place(row)
        return (self._unknown if place[0] is None else self._known), place

    def rows(self, *, descending: bool) -> Iterator[TableRow]:
        """All rows; of equal values the first by namespace and name is first."""
        if descending:
            for _, equal in groupby(reversed(self._known), key=_VALUE):
                yield from (row for _, _, row in reversed(list(equal)))
        else:
            yield from (row for _, _, row in self._known)
        yield from (row for _, _, row in self._unknown)


@dataclass(slots=True)
class TableRows:
    """All rows, how many have each value of each facet, and the orders that are asked for.

    Attributes:
        by_key: the rows.
        counts: rows by value, by facet.
    """

    by_key: dict[WorkKey, TableRow] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in FACETS}
    )
    _last: StateSnapshot | None = None
    _tenants: dict[str, str] = field(default_factory=dict)
    _orders: dict[str, RowOrder] = field(default_factory=dict)

    def take(self, snapshot: StateSnapshot) -> bool:
        """Takes in a state; says whether any row is another one now."""
        before, self._last = self._last, snapshot
        if before is None or before.tenants != snapshot.tenants:
            self._tenants = tenants_by_namespace(snapshot)
            gone, fresh = list(self.by_key.values()), list(map(self._row, snapshot.workloads))
        else:
            gone, fresh = self._changes(before, snapshot)
        if not gone and not fresh:
            return False
        for row in gone:
            del self.by_key[row.key]
        self.by_key.update((row.key, row) for row in fresh)
        self._count(gone, -1)
        self._count(fresh, 1)
        if len(gone) + len(fresh) > _FEW_CHANGES:
            self._orders.clear()
        for order in self._orders.values():
            order.replace(gone, fresh)
        return True

    def _changes(
        self, before: StateSnapshot, after: StateSnapshot
    ) -> tuple[list[TableRow], list[TableRow]]:
        """The rows that are gone, and those that are others or new."""
        last, now = before.workloads, after.workloads
        if len(last) == len(now):
            # Most states have few others, each at its place; at C speed.
            places = list(compress(count(), map(is_not, last, now)))
            changed = {_key(last[at]): None for at in places} | {
                _key(now[at]): now[at] for at in places
            }
        else:
            kept = {id(one) for one in last}
            there = {id(one) for one in now}
            changed = {_key(one): None for one in last if id(one) not in there}
            changed |= {_key(one): one for one in now if id(one) not in kept}
        if before.reasons_by_workload != after.reasons_by_workload:
            changed = self._with_other_reasons(changed, after)
        gone = [self.by_key[key] for key in changed if key in self.by_key]
        return gone, [self._row(one) for one in changed.values() if one is not None]

    def _with_other_reasons(
        self, changed: dict[WorkKey, Workload | None], after: StateSnapshot
    ) -> dict[WorkKey, Workload | None]:
        reasons: Mapping[WorkKey, Mapping[str, int]] = after.reasons_by_workload
        for key, row in self.by_key.items():
            if key not in changed and reasons.get(key, {}) != row.reasons:
                changed[key] = row.workload
        return changed

    def _row(self, workload: Workload) -> TableRow:
        key = _key(workload)
        reasons = self._last.reasons_by_workload.get(key, {}) if self._last else {}
        return _row_of(workload, self._tenants.get(key[0], ""), reasons)

    def _count(self, rows: Iterable[TableRow], sign: int) -> None:
        for row in rows:
            for name, values in zip(FACETS, row.values, strict=True):
                counts = self.counts[name]
                for value in values:
                    counts[value] += sign
                    if not counts[value]:
                        del counts[value]

    def ordered(self, sort: str, *, descending: bool) -> Iterator[TableRow]:
        """All rows in an order."""
        order = self._orders.pop(sort, None) or RowOrder(sort, self.by_key.values())
        self._orders[sort] = order  # the one that was asked for last is last
        while len(self._orders) > _MAX_ORDERS:
            del self._orders[next(iter(self._orders))]
        return order.rows(descending=descending)


def tenants_by_namespace(snapshot: StateSnapshot) -> dict[str, str]:
    """The tenant of each namespace; of several the first by name, as decisions take it."""
    return {
        namespace: tenant.metadata.name
        for tenant in sorted(snapshot.tenants, key=lambda one: one.metadata.name, reverse=True)
        for namespace in tenant.spec.namespaces
    }


def _shown(row: TableRow) -> dict[str, Any]:
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


def _key(workload: Workload) -> WorkKey:
    return (workload.metadata.namespace, workload.metadata.name)
