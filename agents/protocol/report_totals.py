"""Bounds of a report in all: what its lists may hold together. Pure.

Each list has a bound of its own. Their product is far more than any site has, and a few kilobytes
inflate to it, so the sums are bounded too. A delta adds to its full report; what they give together
is bounded in the same way.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from agents.protocol.bounds import (
    MAX_NAMESPACE_AMOUNTS,
    MAX_NODE_AMOUNTS,
    MAX_NODE_DESCRIPTIONS,
    MAX_TOTAL_NODE_ROWS,
)
from agents.protocol.errors import WireError
from agents.protocol.report import ReportedNamespace, ReportedNodeClass, ReportSections

_NAMESPACE_MAPS: Final = (
    "quota_left",
    "container_min",
    "container_max",
    "container_default",
    "container_default_request",
    "pod_min",
    "pod_max",
)


def count_node_classes_within(classes: Sequence[ReportedNodeClass]) -> int:
    """How many of these node classes, from the first on, a report may have."""
    rows = accumulate(len(each.free) for each in classes)
    amounts = accumulate(sum(len(row.resources) for row in each.free) for each in classes)
    words = accumulate(len(each.labels) + len(each.taints) for each in classes)
    return sum(
        row <= MAX_TOTAL_NODE_ROWS and amount <= MAX_NODE_AMOUNTS and word <= MAX_NODE_DESCRIPTIONS
        for row, amount, word in zip(rows, amounts, words, strict=True)
    )


def count_namespaces_within(namespaces: Sequence[ReportedNamespace]) -> int:
    """How many of these namespaces, from the first on, a report may have."""
    amounts = accumulate(
        sum(len(getattr(each, name) or ()) for name in _NAMESPACE_MAPS) for each in namespaces
    )
    return sum(amount <= MAX_NAMESPACE_AMOUNTS for amount in amounts)


def check_totals(report: ReportSections) -> None:
    """Checks what the lists of a report hold together.

    Raises:
        WireError: "too-large": it is more than a report may have.
    """
    classes, namespaces = report.node_classes or (), report.namespaces or ()
    if count_node_classes_within(classes) < len(classes):
        raise WireError(
            "too-large",
            f"more than {MAX_TOTAL_NODE_ROWS} rows of nodes, {MAX_NODE_AMOUNTS} amounts in them, or"
            f" {MAX_NODE_DESCRIPTIONS} labels and taints in all",
            "nodeClasses",
        )
    if count_namespaces_within(namespaces) < len(namespaces):
        raise WireError(
            "too-large", f"more than {MAX_NAMESPACE_AMOUNTS} amounts in all", "namespaces"
        )
