"""Deltas between reports: computed by the agent, applied by the hub. Pure.

A delta is cumulative: it holds everything that differs from the full report that it names, so any
number of deltas may be lost. Small sections are sent whole when they differ. Node classes and
orders, which make up most of a report, are sent item by item. For reports in canonical order,
`apply_delta(base, compute_delta(base, current)) == current`.
"""

import dataclasses
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final, TypeVar

from agents.protocol.codec import Codec, dump_json, parse_json
from agents.protocol.errors import WireError
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    OrderBoundPods,
    Report,
    ReportDelta,
    ReportedNodeClass,
    ReportSections,
)
from agents.protocol.shapes import to_camel_case

Item = TypeVar("Item")

_NODE_CLASS_CODEC: Final = Codec(ReportedNodeClass)
_HEADER_FIELDS: Final = (
    "agent",
    "boot_id",
    "boot_number",
    "sequence",
    "observed_seconds_ago",
    "nonces",
    "site",
    "interval_seconds",
    "heartbeats",
)
_KEYED_SECTIONS: Final = frozenset({"node_classes", "orders"})
_UNKEYED_SECTIONS: Final = tuple(
    each.name for each in dataclasses.fields(ReportSections) if each.name not in _KEYED_SECTIONS
)
_boot_of: Final = attrgetter("site", "agent", "boot_id", "boot_number")
_header_of: Final = attrgetter(*_HEADER_FIELDS)
_unkeyed_of: Final = attrgetter(*_UNKEYED_SECTIONS)
SECTION_NAMES: Final = tuple(each.name for each in dataclasses.fields(ReportSections))
"""Field names of a report's sections."""

_SECTION_OF_KEY: Final = {to_camel_case(name): name for name in SECTION_NAMES}


def node_class_key(node_class: ReportedNodeClass) -> bytes:
    """The identity of a node class: its canonical JSON without the free capacity."""
    return dump_json(_NODE_CLASS_CODEC.to_json(dataclasses.replace(node_class, free=())))


def canonicalise_report(report: Report) -> Report:
    """Sorts node classes and orders by identity, as `apply_delta` returns them.

    Two items of one identity would be ambiguous in a delta: node classes of one identity are
    merged, and of orders with one id the last is kept.
    """
    classes, orders = report.node_classes, report.orders
    return dataclasses.replace(
        report,
        node_classes=None if classes is None else _merge_and_sort_classes(classes),
        orders=None if orders is None else _merge_and_sort_orders(orders),
    )


def compute_delta(base: Report, current: Report) -> ReportDelta:
    """The changes from `base` to `current`, two canonical reports of the same boot."""
    changes: dict[str, Any] = {}
    cleared = []
    for name in SECTION_NAMES:
        old, new = getattr(base, name), getattr(current, name)
        if new is None and old is not None:
            cleared.append(to_camel_case(name))
        elif new != old and name in _UNKEYED_SECTIONS:
            changes[name] = new
    changes["node_classes"], changes["node_classes_gone"] = _diff_node_classes(base, current)
    changes["orders"], changes["orders_gone"] = _diff_orders(base, current)
    origin = {name: getattr(current, name) for name in _HEADER_FIELDS}
    return ReportDelta(**origin, **changes, base=base.sequence, cleared=tuple(cleared))


def apply_delta(
    base: Report,
    change: ReportDelta,
    identity: Callable[[ReportedNodeClass], bytes] = node_class_key,
) -> Report:
    """The full report that a delta describes.

    Args:
        base: the full report that it builds on.
        change: the delta.
        identity: `node_class_key`, or what remembers its results.

    Raises:
        WireError: "stale": the delta builds on another report than `base`; a full report is needed.
    """
    if change.base != base.sequence or _boot_of(base) != _boot_of(change):
        raise WireError(
            "stale",
            f"the delta builds on full report {change.base}, the last one is {base.sequence}",
        )
    # Absent from a delta means unchanged; a section that became unknown is listed in `cleared`.
    sections: dict[str, Any] = {
        name: old if new is None else new
        for name, old, new in zip(
            _UNKEYED_SECTIONS, _unkeyed_of(base), _unkeyed_of(change), strict=True
        )
    }
    sections["node_classes"] = _node_classes_after(base, change, identity)
    sections["orders"] = _orders_after(base, change)
    for name in change.cleared:
        if name in _SECTION_OF_KEY:
            sections[_SECTION_OF_KEY[name]] = None
    sections.update(zip(_HEADER_FIELDS, _header_of(change), strict=True))
    return Report(**sections)


def decode_report(data: bytes) -> Report | ReportDelta:
    """Decodes a message of the `report` topic: a full report or a delta.

    Raises:
        WireError: the data is neither.
    """
    tree = parse_json(data)
    if isinstance(tree, dict) and tree.get("kind") == "delta":
        return REPORT_DELTA.from_json(tree)
    return REPORT.from_json(tree)


def _diff_node_classes(
    base: Report, current: Report
) -> tuple[tuple[ReportedNodeClass, ...] | None, tuple[int, ...]]:
    if current.node_classes is None or current.node_classes == base.node_classes:
        return None, ()
    before = [(node_class_key(each), each) for each in base.node_classes or ()]
    known, present = dict(before), {node_class_key(each) for each in current.node_classes}
    changed = tuple(
        each for each in current.node_classes if known.get(node_class_key(each)) != each
    )
    gone = tuple(at for at, (identity, _) in enumerate(before) if identity not in present)
    return changed, gone


def _diff_orders(
    base: Report, current: Report
) -> tuple[tuple[OrderBoundPods, ...] | None, tuple[str, ...]]:
    if current.orders is None or current.orders == base.orders:
        return None, ()
    before = {each.id: each for each in base.orders or ()}
    present = {each.id for each in current.orders}
    changed = tuple(each for each in current.orders if before.get(each.id) != each)
    return changed, tuple(sorted(before.keys() - present))


def _node_classes_after(
    base: Report, change: ReportDelta, identity: Callable[[ReportedNodeClass], bytes]
) -> tuple[ReportedNodeClass, ...] | None:
    if change.node_classes is None:
        return base.node_classes
    gone = frozenset(change.node_classes_gone)
    kept = (each for at, each in enumerate(base.node_classes or ()) if at not in gone)
    return _merge_by_identity(kept, change.node_classes, identity)


def _orders_after(base: Report, change: ReportDelta) -> tuple[OrderBoundPods, ...] | None:
    if change.orders is None:
        return base.orders
    gone = frozenset(change.orders_gone)
    kept = (each for each in base.orders or () if each.id not in gone)
    return _merge_by_identity(kept, change.orders, lambda each: each.id)


def _merge_by_identity(
    kept: Iterable[Item], changed: Iterable[Item], identity: Callable[[Item], Any]
) -> tuple[Item, ...]:
    items = {identity(each): each for each in kept}
    items.update((identity(each), each) for each in changed)
    return tuple(items[key] for key in sorted(items))


def _merge_and_sort_classes(
    classes: tuple[ReportedNodeClass, ...],
) -> tuple[ReportedNodeClass, ...]:
    merged: dict[bytes, ReportedNodeClass] = {}
    for each in classes:
        identity = node_class_key(each)
        known = merged.get(identity)
        merged[identity] = (
            each if known is None else dataclasses.replace(each, free=known.free + each.free)
        )
    return tuple(merged[identity] for identity in sorted(merged))


def _merge_and_sort_orders(orders: tuple[OrderBoundPods, ...]) -> tuple[OrderBoundPods, ...]:
    return _merge_by_identity((), orders, lambda each: each.id)
