"""Reads the nodes and pods of a trace from CSV; errors name file, line and column.

Columns are those of the Alibaba GPU trace `openb` (Weng et al., USENIX ATC 2023): a pod needs
`num_gpu` cards with `gpu_milli` thousandths free on each; times are seconds since the trace began.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

CARD_MILLI = 1000
"""Thousandths of one GPU card."""
_MAX_NUMBER = 10**12
_MAX_TIME_SECONDS = 315_360_000
_MAX_CARDS = 64
_NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
_POD_COLUMNS = (
    "name",
    "cpu_milli",
    "memory_mib",
    "num_gpu",
    "gpu_milli",
    "creation_time",
    "deletion_time",
)


class BadTrace(ValueError):
    """A trace is invalid; the message names file, line and column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One machine of the trace.

    Attributes:
        name: unique in the trace.
        cpu_milli: thousandths of a core.
        memory_mib: mebibytes.
        card_count: number of GPU cards.
        model: GPU model; empty: no GPU.
    """

    name: str
    cpu_milli: int
    memory_mib: int
    card_count: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePodShape:
    """Requests of a pod; pods of equal shape fit on the same nodes.

    Attributes:
        cpu_milli: thousandths of a core.
        memory_mib: mebibytes.
        card_count: number of different GPU cards.
        card_milli: thousandths needed on each of them.
        models: accepted GPU models; empty: any.
    """

    cpu_milli: int
    memory_mib: int
    card_count: int
    card_milli: int
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """One pod of the trace.

    Attributes:
        name: unique in the trace.
        shape: its requests.
        created_seconds: when it arrives.
        deleted_seconds: when it leaves, placed or not; None: never.
    """

    name: str
    shape: TracePodShape
    created_seconds: int
    deleted_seconds: int | None


_Record = TypeVar("_Record", NodeRecord, PodRecord)


def read_nodes(path: Path) -> list[NodeRecord]:
    """Reads the nodes of a trace, in the file's order.

    Raises:
        BadTrace: the file is invalid; the message names line and column.
    """
    return _parse_unique(path, _read_rows(path, _NODE_COLUMNS), "sn", _parse_node)


def read_pods(path: Path) -> list[PodRecord]:
    """Reads the pods of a trace, in the file's order.

    Raises:
        BadTrace: the file is invalid; the message names line and column.
    """
    return _parse_unique(path, _read_rows(path, _POD_COLUMNS), "name", _parse_pod)


class _Row:
    """One line of a file; its methods parse a column, or raise an error that names the place."""

    def __init__(self, path: Path, line: int, values: dict[str, str]) -> None:
        self._path = path
        self.line = line
        self._values = values

    def error(self, column: str, problem: str) -> BadTrace:
        return BadTrace(f"{self._path}, line {self.line}, column {column}: {problem}")

    def text(self, column: str) -> str:
        return (self._values.get(column) or "").strip()

    def name(self, column: str) -> str:
        found = self.text(column)
        if not found:
            raise self.error(column, "the name is empty")
        return found

    def number(self, column: str, *, largest: int = _MAX_NUMBER) -> int:
        found = self.text(column)
        if not (found.isascii() and found.isdigit()) or len(found) > len(str(_MAX_NUMBER)):
            raise self.error(
                column, f"invalid number {found[:40]!r}: expected a whole number, 0 or more"
            )
        if int(found) > largest:
            raise self.error(column, f"{found} is greater than the limit {largest}")
        return int(found)


def _parse_node(row: _Row) -> NodeRecord:
    return NodeRecord(
        name=row.name("sn"),
        cpu_milli=row.number("cpu_milli"),
        memory_mib=row.number("memory_mib"),
        card_count=row.number("gpu", largest=_MAX_CARDS),
        model=row.text("model"),
    )


def _parse_pod(row: _Row) -> PodRecord:
    created = row.number("creation_time", largest=_MAX_TIME_SECONDS)
    deleted = None
    if row.text("deletion_time"):
        deleted = row.number("deletion_time", largest=_MAX_TIME_SECONDS)
        if deleted < created:
            raise row.error("deletion_time", f"{deleted} is before creation_time {created}")
    return PodRecord(
        name=row.name("name"),
        shape=_parse_shape(row),
        created_seconds=created,
        deleted_seconds=deleted,
    )


def _parse_shape(row: _Row) -> TracePodShape:
    cards = row.number("num_gpu", largest=_MAX_CARDS)
    milli = row.number("gpu_milli", largest=CARD_MILLI)
    if (cards == 0) != (milli == 0):
        raise row.error(
            "gpu_milli", f"{milli} contradicts num_gpu {cards}; both must be 0, or neither"
        )
    models = tuple(sorted(model for model in row.text("gpu_spec").split("|") if model))
    return TracePodShape(
        cpu_milli=row.number("cpu_milli"),
        memory_mib=row.number("memory_mib"),
        card_count=cards,
        card_milli=milli,
        models=models,
    )


def _parse_unique(
    path: Path, rows: Iterable[_Row], column: str, parse: Callable[[_Row], _Record]
) -> list[_Record]:
    seen: dict[str, int] = {}
    found: list[_Record] = []
    for row in rows:
        one = parse(row)
        if one.name in seen:
            raise row.error(
                column, f"duplicate name {one.name}; it is also in line {seen[one.name]}"
            )
        seen[one.name] = row.line
        found.append(one)
    if not found:
        raise BadTrace(f"{path}: no rows below the header")
    return found


def _read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _parse_rows(path, csv.DictReader(file, strict=True), columns)
    except OSError as error:
        raise BadTrace(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadTrace(f"{path}: not UTF-8: invalid byte at position {error.start}") from error


def _parse_rows(
    path: Path, reader: "csv.DictReader[str]", columns: tuple[str, ...]
) -> Iterator[_Row]:
    try:
        header = reader.fieldnames or []
        _check_header(path, header, columns)
        for values in reader:
            line = reader.line_num
            if None in values or None in values.values():
                raise BadTrace(
                    f"{path}, line {line}: expected {len(header)} fields, as in the header"
                )
            yield _Row(path, line, values)
    except csv.Error as error:
        raise BadTrace(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def _check_header(path: Path, header: Iterable[str], columns: tuple[str, ...]) -> None:
    names = list(header)
    for column in columns:
        if names.count(column) != 1:
            problem = "missing" if column not in names else "duplicate"
            raise BadTrace(
                f"{path}, line 1, column {column}: {problem} column; the header has "
                f"{', '.join(names)[:200]}"
            )
