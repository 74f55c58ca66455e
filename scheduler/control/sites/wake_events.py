"""What a report changes that could help waiting workloads. Pure."""

from math import inf

import msgspec

from scheduler.model.kinds.site import FreeRow, NodeClass, SiteStatus
from scheduler.model.quantities import free_amount
from scheduler.placement.filter.rules import WakeEvent


def wake_events_of(before: SiteStatus, after: SiteStatus) -> frozenset[WakeEvent]:
    """The events that a report's figures are, compared with those of the report before."""
    events: set[WakeEvent] = set()
    if _without_free(before) != _without_free(after):
        events.update(("report", "capacity"))
    elif _has_more_free(before, after):
        events.add("capacity")
    if before.namespaces != after.namespaces:
        events.add("capacity")
    if _rule_inputs(before) != _rule_inputs(after):
        events.add("report")
    if before.rtt != after.rtt and _has_shorter_rtt(before, after):
        events.add("latency")
    return frozenset(events)


def _rule_inputs(figures: SiteStatus) -> SiteStatus:
    """The figures that rules read; power and intensity change costs, never feasibility."""
    return msgspec.structs.replace(
        figures, node_classes=(), namespaces=(), rtt=(), power=None, intensity=None
    )


def _has_shorter_rtt(before: SiteStatus, after: SiteStatus) -> bool:
    """Whether a round trip is shorter than before, or known for the first time."""
    known = {each.to: each.milliseconds for each in before.rtt}
    return any(each.milliseconds < known.get(each.to, inf) for each in after.rtt)


def _without_free(figures: SiteStatus) -> list[NodeClass]:
    return [msgspec.structs.replace(one, free=()) for one in figures.node_classes]


def _has_more_free(before: SiteStatus, after: SiteStatus) -> bool:
    """Whether a node has more of a resource free; both reports have the same node classes."""
    for old, new in zip(before.node_classes, after.node_classes, strict=True):
        if old.free == new.free:
            continue
        if len(old.free) != len(new.free):
            return True
        if any(_is_more_free(*rows) for rows in zip(old.free, new.free, strict=True)):
            return True
    return False


def _is_more_free(old: FreeRow, new: FreeRow) -> bool:
    return old != new and any(
        free_amount(name, amount) > free_amount(name, old.get(name, 0))
        for name, amount in new.items()
        if amount != old.get(name)
    )
