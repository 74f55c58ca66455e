"""Deltas: what changed since a full report, and back. Pure; both programs use these functions.

Cumulative: a delta says all that differs from the *named full report*, so any number of deltas may
    be
lost. Small sections are sent whole when they differ; node classes and orders, which are the bulk,
by their identity. `whole(base, delta(base, now)) == now` for reports in canonical order.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from agents.protocol.codec import Codec, dump_json, parse_json
from agents.protocol.errors import WireError
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    NodeClass,
    OrderBound,
    Report,
    ReportDelta,
    Sections,
)
from agents.protocol.shapes import Json, camel

Item = TypeVar("Item")

_CLASS: Final = Codec(NodeClass)
_ORIGIN: Final = ("agent", "boot_id", "boot_number", "sequence", "observed_seconds_ago", "site")
_KEYED: Final = frozenset({"node_classes", "orders"})
_SMALL: Final = tuple(each.name for each in dataclasses.fields(Sections) if each.name not in _KEYED)
_SECTIONS: Final = tuple(each.name for each in dataclasses.fields(Sections))


def class_identity(node_class: NodeClass) -> bytes:
    """What makes two node classes the same one: everything but what is free."""
    return dump_json(_CLASS.to_json(dataclasses.replace(node_class, free=())))


def canonical(report: Report) -> Report:
    """The report with its node classes and orders in the one order that deltas give back.

    Two entries of one identity would be ambiguous in a delta; classes are merged, of orders the
    last stays.
    """
    classes, orders = report.node_classes, report.orders
    return dataclasses.replace(
        report,
        node_classes=None if classes is None else _sorted_classes(classes),
        orders=None if orders is None else _sorted_orders(orders),
    )


def delta(base: Report, now: Report) -> ReportDelta:
    """What `now` says that `base` did not. Both in canonical order, of the same boot."""
    changes: dict[str, Any] = {}
    cleared = []
    for name in _SECTIONS:
        old, new = getattr(base, name), getattr(now, name)
        if new is None and old is not None:
            cleared.append(camel(name))
        elif new != old and name in _SMALL:
            changes[name] = new
    changes["node_classes"], changes["node_classes_gone"] = _class_changes(base, now)
    changes["orders"], changes["orders_gone"] = _order_changes(base, now)
    origin = {name: getattr(now, name) for name in _ORIGIN}
    return ReportDelta(**origin, **changes, base=base.sequence, cleared=tuple(cleared))


def whole(base: Report, change: ReportDelta) -> Report:
    """The full report that a delta stands for.

    Raises:
        WireError: "stale", the delta does not build on this report; ask for a full one.
    """
    same = ("site", "agent", "boot_id", "boot_number")
    if change.base != base.sequence or any(
        getattr(base, name) != getattr(change, name) for name in same
    ):
        raise WireError(
            "stale", f"builds on full report {change.base}, which is not the one at hand"
        )
    sections = {name: _section(name, base, change) for name in _SMALL}
    sections["node_classes"] = _classes(base, change)
    sections["orders"] = _orders(base, change)
    for name in _SECTIONS:
        if camel(name) in change.cleared:
            sections[name] = None
    origin = {name: getattr(change, name) for name in _ORIGIN}
    return Report(**origin, **sections)


def decode_report(data: bytes) -> Report | ReportDelta:
    """Reads either kind from the `report` topic.

    Raises:
        WireError: neither kind, or malformed.
    """
    tree = parse_json(data)
    if isinstance(tree, dict) and tree.get("kind") == "delta":
        return REPORT_DELTA.from_json(tree)
    return REPORT.from_json(tree)


def _section(name: str, base: Report, change: ReportDelta) -> Json:
    new = getattr(change, name)
    return getattr(base, name) if new is None else new


def _class_changes(
    base: Report, now: Report
) -> tuple[tuple[NodeClass, ...] | None, tuple[int, ...]]:
    if now.node_classes is None or now.node_classes == base.node_classes:
        return None, ()
    before = [(class_identity(each), each) for each in base.node_classes or ()]
    known, present = dict(before), {class_identity(each) for each in now.node_classes}
    changed = tuple(each for each in now.node_classes if known.get(class_identity(each)) != each)
    gone = tuple(at for at, (identity, _) in enumerate(before) if identity not in present)
    return changed, gone


def _order_changes(
    base: Report, now: Report
) -> tuple[tuple[OrderBound, ...] | None, tuple[str, ...]]:
    if now.orders is None or now.orders == base.orders:
        return None, ()
    before = {each.id: each for each in base.orders or ()}
    present = {each.id for each in now.orders}
    changed = tuple(each for each in now.orders if before.get(each.id) != each)
    return changed, tuple(sorted(before.keys() - present))


def _classes(base: Report, change: ReportDelta) -> tuple[NodeClass, ...] | None:
    if change.node_classes is None:
        return base.node_classes
    gone = frozenset(change.node_classes_gone)
    kept = (each for at, each in enumerate(base.node_classes or ()) if at not in gone)
    return _merged(kept, change.node_classes, class_identity)


def _orders(base: Report, change: ReportDelta) -> tuple[OrderBound, ...] | None:
    if change.orders is None:
        return base.orders
    gone = frozenset(change.orders_gone)
    kept = (each for each in base.orders or () if each.id not in gone)
    return _merged(kept, change.orders, lambda each: each.id)


def _merged(
    kept: Iterable[Item], changed: Iterable[Item], identity: Callable[[Item], Any]
) -> tuple[Item, ...]:
    items = {identity(each): each for each in kept}
    items.update((identity(each), each) for each in changed)
    return tuple(items[key] for key in sorted(items))


def _sorted_classes(classes: tuple[NodeClass, ...]) -> tuple[NodeClass, ...]:
    merged: dict[bytes, NodeClass] = {}
    for each in classes:
        identity = class_identity(each)
        known = merged.get(identity)
        free = each.free if known is None else known.free + each.free
        merged[identity] = dataclasses.replace(each, free=free)
    return tuple(merged[identity] for identity in sorted(merged))


def _sorted_orders(orders: tuple[OrderBound, ...]) -> tuple[OrderBound, ...]:
    return _merged((), orders, lambda each: each.id)
