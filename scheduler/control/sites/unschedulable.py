"""Pods of orders for which the cluster of a site finds no node, and since when. Pure.

The cluster's own scheduler keeps no room for such a pod. Room is kept for it here for a stated
time, so that it may start when something ends; then the room is given to other work. What counts
is only what reports say, together with the free capacity of the same observation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.control.ports.agents import SiteReport


@dataclass(frozen=True, slots=True)
class UnschedulablePods:
    """Pods of one order that have no node.

    Attributes:
        generation: the applied generation of the order.
        pods: how many the last report named.
        since_seconds: observation of the report since which every one named at least so many.
    """

    generation: int
    pods: int
    since_seconds: float


def unschedulable_after(
    before: Mapping[str, UnschedulablePods], report: SiteReport
) -> dict[str, UnschedulablePods]:
    """What is known of unschedulable pods after a report, by order id.

    The time of an order begins again with more pods or another generation: no report says
    which pods of an order have waited longest, and room is given away only for pods that have.
    """
    after: dict[str, UnschedulablePods] = {}
    for order_id, pods in report.unschedulable.items():
        generation, _ = report.bound.get(order_id, (0, 0))
        known = before.get(order_id)
        is_known = known is not None and known.generation == generation and pods <= known.pods
        since = known.since_seconds if known is not None and is_known else report.observed_seconds
        if pods > 0:
            after[order_id] = UnschedulablePods(generation, pods, since)
    return after


def pods_without_room(
    known: Mapping[str, UnschedulablePods], report: SiteReport | None, after_seconds: float
) -> dict[str, int]:
    """Pods for which no room is kept any more, by order id.

    Args:
        known: what reports have said until now.
        report: the last report.
        after_seconds: room is kept for an unschedulable pod this long.
    """
    if report is None:
        return {}
    now = report.observed_seconds
    return {
        order_id: one.pods
        for order_id, one in known.items()
        if now - one.since_seconds >= after_seconds
    }
