"""The answer to a what-if as text for people."""

from collections.abc import Iterable, Sequence
from typing import Any

from scheduler.cli.support.output import format_table, said_rows
from scheduler.words.catalogue import reader_catalogue

Answer = dict[str, Any]

_MAX_ROWS = 20
_GIBIBYTE = 2**30
_MAX_RESOURCES = 6


def format_whatif(answer: Answer) -> str:
    """First what is lost, then before and after side by side, then what would help."""
    parts = [
        _headline(answer),
        *_freeze(answer),
        *(line for one in answer["grid"] for line in one["lines"]),
        _table(_side_by_side(answer["before"], answer["after"])),
        *_unplaced(answer),
        *_changes(answer["smallestChange"]),
        *_moves(answer),
        *_gives_way(answer["givesWay"]),
        *(f"note: {one}" for one in answer["notes"]),
    ]
    return "\n".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table in the language of the reader, also the names of its rows."""
    words = reader_catalogue()
    named = [(words.label(first), *rest) for first, *rest in said_rows(rows)]
    return "".join(format_table(named)).rstrip("\n")


def _headline(answer: Answer) -> str:
    left, moved = len(answer["unplaced"]), _replicas(answer["moves"])
    tail = f"{moved} replicas move, {_replicas(answer['starts'])} start, "
    tail += f"{_replicas(answer['ends'])} end"
    if left:
        by = ", ".join(f"{n} {name}" for name, n in answer["unplacedBy"]["reason"].items())
        what = "1 workload is" if left == 1 else f"{left} workloads are"
        return f"{what} left without a place ({by}); {tail}"
    return f"all is placed as before; {tail}"


def _replicas(rows: Iterable[Answer]) -> int:
    return sum(one["replicas"] for one in rows)


def _freeze(answer: Answer) -> list[str]:
    return [f"frozen: {answer['freeze']['why']}"] if answer["freeze"]["frozen"] else []


def _side_by_side(before: Answer, after: Answer) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("", "BEFORE", "AFTER")]
    for title, key in (
        ("sites reporting", "sitesReporting"),
        ("workloads placed", "placed"),
        ("workloads not placed", "notPlaced"),
        ("replicas", "replicas"),
    ):
        rows.append((title, str(before[key]), str(after[key])))
    for title, key in (("CNY per hour", "cnyPerHour"), ("gCO2e per hour", "gco2PerHour")):
        rows.append((title, *(f"{one['cost'][key]:.4g}" for one in (before, after))))
    rows.append(("hottest site", *(_hottest(one["hottestSite"]) for one in (before, after))))
    for name in list(after["headroom"])[:_MAX_RESOURCES]:
        cells = (_amount(name, one["headroom"].get(name)) for one in (before, after))
        rows.append((f"free {name}", *cells))
    return rows


def _hottest(site: Answer) -> str:
    if not site["name"]:
        return "none"
    ratio = "more than it has" if site["ratio"] is None else f"{site['ratio']:.0%}"
    return f"{site['name']} {ratio}"


def _amount(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / _GIBIBYTE:.1f} GiB" if name == "memory" else f"{value:g}"


def _unplaced(answer: Answer) -> list[str]:
    """The workloads that are left over, the first ones of those that waited anyway besides."""
    found: list[str] = []
    for title, rows in (("left without a place", answer["unplaced"]), ("", answer["waiting"])):
        if not rows:
            continue
        if not title:
            found.append(f"waiting without the scenario too: {len(rows)}")
            continue
        cells: list[Sequence[str]] = [("PRIORITY", "WORKLOAD", "MISSING", "WHY")]
        cells += [
            (
                str(one["priority"]),
                one["workload"],
                str(one["missing"]),
                reader_catalogue().say(one["line"]),
            )
            for one in rows[:_MAX_ROWS]
        ]
        found += ["", _table(cells), *_more(rows)]
    return found


def _changes(changes: Sequence[Answer]) -> list[str]:
    found: list[str] = []
    for one in changes[:_MAX_ROWS]:
        step = f"{one['from']} → {one['to'] or '(none)'}" if one["from"] else one["to"]
        places = f"places {len(one['workloads'])} of them" if len(one["workloads"]) > 1 else ""
        who = f"by the {one['who']}" + ("" if one["verified"] else ", not tried")
        aside = ", ".join(filter(None, (places or f"for {one['workloads'][0]}", who)))
        found.append(f"would help: {one['kind']} {one['target']}: {step} ({aside})")
    return found


def _moves(answer: Answer) -> list[str]:
    rows = answer["moves"]
    lines = [
        f"{one['workload']}: {one['replicas']} from {one['from']} to {one['to']}"
        for one in rows[:_MAX_ROWS]
    ]
    return [*lines, *_more(rows)]


def _gives_way(rows: Sequence[Answer]) -> list[str]:
    lines = [
        f"{one['replicas']} replicas of {one['workload']} at {one['site']} end, so that "
        f"{one['for']} finds room"
        for one in rows[:_MAX_ROWS]
    ]
    return [*lines, *_more(rows)]


def _more(rows: Sequence[object]) -> list[str]:
    left = len(rows) - _MAX_ROWS
    return [f"and {left} more; -o json lists all"] if left > 0 else []
