"""Checks the CSV of `kapok simulate` against the trace; shares no code with the package.

It finds every time at which a node or a card is over-committed, and every placement that does not
meet the requests of the pod.
"""

import csv
from collections import defaultdict
from pathlib import Path

CARD = 1000
FOREVER = 10**12


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def find_problems(nodes_csv: Path, pods_csv: Path, assignments_csv: Path) -> list[str]:
    """All problems of the placements; empty: none."""
    nodes = {row["sn"]: row for row in read(nodes_csv)}
    pods = {row["name"]: row for row in read(pods_csv)}
    found: list[str] = []
    rows = read(assignments_csv)
    names = [row["pod"] for row in rows]
    if len(set(names)) != len(names):
        found.append("a pod is placed twice")
    site_of: dict[str, str] = {}
    for row in rows:
        found += _check_placement(row, pods, nodes)
        if site_of.setdefault(row["node"], row["site"]) != row["site"]:
            found.append(f"{row['node']} stands at two sites")
    return found or _check_over_time(rows, pods, nodes)


def _check_placement(
    row: dict[str, str], pods: dict[str, dict[str, str]], nodes: dict[str, dict[str, str]]
) -> list[str]:
    """Checks each placement by itself."""
    name = row["pod"]
    pod, node = pods.get(name), nodes.get(row["node"])
    if pod is None or node is None:
        return [f"{name} on {row['node']}: unknown"]
    found = []
    cards = [int(card) for card in row["gpus"].split(";") if card]
    if len(set(cards)) != len(cards) or len(cards) != int(pod["num_gpu"]):
        found.append(f"{name}: {row['gpus']!r} are not {pod['num_gpu']} different cards")
    if any(not 0 <= card < int(node["gpu"]) for card in cards):
        found.append(f"{name}: {row['node']} has no card {row['gpus']}")
    if int(row["start"]) < int(pod["creation_time"]):
        found.append(f"{name}: starts before it exists")
    if (row["end"] or "") != (pod["deletion_time"] or ""):
        found.append(f"{name}: ends at {row['end']}, not {pod['deletion_time']}")
    if row["end"] and int(row["end"]) < int(row["start"]):
        found.append(f"{name}: ends before it starts")
    return found


def _check_over_time(
    rows: list[dict[str, str]], pods: dict[str, dict[str, str]], nodes: dict[str, dict[str, str]]
) -> list[str]:
    """Checks all placements in time: capacity is taken at `start` and free again at `end`."""
    changes = []
    for row in rows:
        start, end = int(row["start"]), int(row["end"] or FOREVER)
        if end > start:
            changes += [(end, 0, row), (start, 1, row)]
    changes.sort(key=lambda change: change[:2])
    used: dict[tuple[str, str], int] = defaultdict(int)
    found = []
    for moment, begins, row in changes:
        pod, node = pods[row["pod"]], row["node"]
        sign = 1 if begins else -1
        used[node, "cpu_milli"] += sign * int(pod["cpu_milli"])
        used[node, "memory_mib"] += sign * int(pod["memory_mib"])
        cards = [card for card in row["gpus"].split(";") if card]
        for card in cards:
            used[node, card] += sign * int(pod["gpu_milli"])
        found += [
            f"at {moment} {node} holds {used[node, what]} {what}"
            for what in ("cpu_milli", "memory_mib")
            if used[node, what] > int(nodes[node][what])
        ]
        found += [
            f"at {moment} card {card} of {node} holds {used[node, card]}"
            for card in cards
            if used[node, card] > CARD
        ]
    return found
