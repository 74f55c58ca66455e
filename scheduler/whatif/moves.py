"""What moves between two states of a fleet, what starts and what ends, as rows of the answer."""

from collections.abc import Iterator, Mapping
from typing import Any

Running = Mapping[str, Mapping[str, int]]
"""Replicas by workload and site."""
Row = dict[str, Any]


def move_rows(before: Running, after: Running) -> list[Row]:
    """Replicas that leave a site and start at another one; in the order of the names."""
    return [row for row in _rows(before, after) if row["from"] is not None and row["to"]]


def start_rows(before: Running, after: Running) -> list[Row]:
    """Replicas that start and replace none."""
    return [
        {key: row[key] for key in ("workload", "to", "replicas")}
        for row in _rows(before, after)
        if row["from"] is None
    ]


def end_rows(before: Running, after: Running) -> list[Row]:
    """Replicas that end and are not replaced."""
    return [
        {key: row[key] for key in ("workload", "from", "replicas")}
        for row in _rows(before, after)
        if row["to"] is None
    ]


def _rows(before: Running, after: Running) -> Iterator[Row]:
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key, {}), after.get(key, {})
        if was == now:
            continue
        sites = sorted(was.keys() | now.keys())
        change = {site: now.get(site, 0) - was.get(site, 0) for site in sites}
        gained = {site: more for site, more in change.items() if more > 0}
        for site, more in change.items():
            left = -more
            for target in list(gained):
                moved = min(left, gained[target])
                if moved > 0:
                    yield {"workload": key, "from": site, "to": target, "replicas": moved}
                    left -= moved
                    gained[target] -= moved
            if left > 0:
                yield {"workload": key, "from": site, "to": None, "replicas": left}
        for target, more in gained.items():
            if more:
                yield {"workload": key, "from": None, "to": target, "replicas": more}
