"""Brings a report within the bounds of messages, so that the hub never refuses it. Pure.

Sensors already report what the hub can read. This is the last check before a report is signed: the
hub would refuse the whole report for one field, and the site would be silent. What does not fit is
left out, which is always the cautious side: an absent node has no room, an absent figure is
unknown. The report then says so by a fault.
"""

import dataclasses
import typing
from typing import Any, Final

from agents.protocol.bounds import MAX_FAULTS, AtMost
from agents.protocol.errors import WireError
from agents.protocol.report import Report, ReportSections
from agents.protocol.report_totals import count_namespaces_within, count_node_classes_within
from agents.protocol.shapes import reader_of, writer_of

FAULT_OUT_OF_BOUNDS: Final = "figures-out-of-bounds"
"""Something that a sensor observed cannot be in a report."""

FAULT_TOO_LARGE: Final = "report-too-large"
"""The report has fewer nodes than the cluster, because a message holds no more."""

_SECTION_HINTS: Final[dict[str, Any]] = typing.get_type_hints(ReportSections, include_extras=True)
_SHRINKABLE_SECTIONS: Final = ("node_classes", "namespaces", "api_kinds", "cluster_kinds", "rtt")


def bring_within_bounds(report: Report) -> Report:
    """Leaves out what no reader accepts; adds a fault if there was any."""
    changes: dict[str, Any] = {}
    for name, hint in _SECTION_HINTS.items():
        value = getattr(report, name)
        if value is not None and not _is_readable(hint, value):
            changes[name] = _readable_part(hint, value)
    if changes:
        report = _with_fault(dataclasses.replace(report, **changes), FAULT_OUT_OF_BOUNDS)
    return _within_totals(report)


def _within_totals(report: Report) -> Report:
    """The report with as many node classes and namespaces as their sums allow."""
    classes, namespaces = report.node_classes or (), report.namespaces or ()
    class_count, namespace_count = (
        count_node_classes_within(classes),
        count_namespaces_within(namespaces),
    )
    changes: dict[str, Any] = {}
    if class_count < len(classes):
        changes["node_classes"] = classes[:class_count]
    if namespace_count < len(namespaces):
        changes["namespaces"] = namespaces[:namespace_count]
    return (
        _with_fault(dataclasses.replace(report, **changes), FAULT_TOO_LARGE) if changes else report
    )


def halve_report(report: Report) -> Report | None:
    """The report with half of its longest section; None if no section can be shorter."""
    sizes = {name: len(getattr(report, name) or ()) for name in _SHRINKABLE_SECTIONS}
    longest = max(sizes, key=lambda name: sizes[name])
    if not sizes[longest]:
        return None
    half = getattr(report, longest)[: sizes[longest] // 2]
    return _with_fault(dataclasses.replace(report, **{longest: half}), FAULT_TOO_LARGE)


def _with_fault(report: Report, fault: str) -> Report:
    others = [each for each in report.faults or () if each != fault]
    return dataclasses.replace(report, faults=(*others[: MAX_FAULTS - 1], fault))


def _is_readable(hint: Any, value: object) -> bool:  # noqa: ANN401 - a type expression
    try:
        reader_of(hint)(writer_of(hint)(value))
    except (WireError, ValueError, TypeError, AttributeError):  # also a value of another type
        return False
    return True


def _readable_part(hint: Any, value: object) -> object:  # noqa: ANN401 - a type expression
    """The items of a list that can be read, as many as it may hold; of anything else nothing."""
    if not isinstance(value, tuple):
        return None
    item, limit = _item_and_limit_of(hint)
    return tuple(each for each in value if _is_readable(item, each))[:limit]


def _item_and_limit_of(hint: Any) -> tuple[Any, int]:  # noqa: ANN401 - a type expression
    """Item type and longest length of `Annotated[tuple[X, ...], AtMost(n)] | None`."""
    listed = next(each for each in typing.get_args(hint) if each is not type(None))
    limit = next(mark.count for mark in listed.__metadata__ if isinstance(mark, AtMost))
    return typing.get_args(listed.__origin__)[0], limit
