"""What one site has reported, and what is ordered and reserved there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from scheduler.control.ports.agents import OrderStatusReport, SiteReport
from scheduler.control.sites.grid_zone import GridZoneMemory
from scheduler.control.sites.intensity_history import IntensityHistory
from scheduler.control.sites.unschedulable import UnschedulablePods, pods_without_room
from scheduler.model.demand.facts import InFlight, OrderGeneration, PlannedRun, in_flight_of
from scheduler.model.kinds.fields import Taint
from scheduler.model.site_health import HealthState


class CountedInFlight(NamedTuple):
    """What the orders of a site have in flight.

    Attributes:
        by_order: those that have something, by order id; None: not counted yet.
        stuck_after_seconds: room is kept this long for a pod that its cluster cannot schedule.
    """

    by_order: dict[str, tuple[InFlight, ...]] | None
    stuck_after_seconds: float


@dataclass(slots=True)
class SiteState:
    """What one site has reported, and what is ordered and reserved there.

    Attributes:
        report: the last report; None before the first one of this process.
        order_status: the last status of its orders.
        admitted_seconds: monotonic time at which the Site was taken in.
        health: whether messages of the site come in time.
        health_changed_at: since when it is in that state.
        is_ready: whether the site reports, and its cluster answers its agent.
        is_cluster_reachable: whether the cluster answered the agent at the last report; of a site
            that does not report it is not known, and True.
        ready_changed_at: when `is_ready` changed last.
        ordered: generations of each order that no report shows as bound yet, by order id.
        last_heard_seconds: monotonic time at which the last message of any kind was made, at the
            latest.
        intensity_history: carbon intensities of the last week.
        zone: what its grid zone and its forecasts said last.
        reserved: capacity kept for workloads that have waited long; for all others in flight.
        kept_for_preemptors: capacity kept for workloads for which others end; in flight as well.
        planned: what is planned to start there later, by workload.
        unschedulable: pods that have no node in the last report, by order id.
        taint_first_seen_at: when each NoExecute taint without `timeAdded` was seen first.
    """

    report: SiteReport | None = None
    order_status: OrderStatusReport | None = None
    admitted_seconds: float = float("-inf")
    health: HealthState = field(default_factory=HealthState)
    health_changed_at: datetime | None = None
    is_ready: bool = False
    is_cluster_reachable: bool = True
    ready_changed_at: datetime | None = None
    ordered: dict[str, tuple[OrderGeneration, ...]] = field(default_factory=dict)
    last_heard_seconds: float = float("-inf")
    intensity_history: IntensityHistory = field(default_factory=IntensityHistory)
    zone: GridZoneMemory = field(default_factory=GridZoneMemory)
    reserved: tuple[InFlight, ...] = ()
    kept_for_preemptors: tuple[InFlight, ...] = ()
    planned: dict[str, PlannedRun] = field(default_factory=dict)
    unschedulable: dict[str, UnschedulablePods] = field(default_factory=dict)
    taint_first_seen_at: dict[Taint, datetime] = field(default_factory=dict)
    _counted: dict[str, tuple[InFlight, ...]] | None = field(
        default=None, init=False, compare=False
    )
    _counted_after_seconds: float = field(default=0.0, init=False, compare=False)

    def in_flight(self, stuck_after_seconds: float) -> tuple[InFlight, ...]:
        """Pods that are ordered and not bound in any report yet, and what is reserved.

        Pods that the cluster could not schedule for `stuck_after_seconds` are left out. What most
        orders have in flight is nothing, so only the others are walked through.
        """
        if self._counted is None or self._counted_after_seconds != stuck_after_seconds:
            self._counted, self._counted_after_seconds = {}, stuck_after_seconds
            for order_id in self.ordered:
                self._count(order_id)
        counted = (one for _, each in sorted(self._counted.items()) for one in each)
        return (*counted, *self.reserved, *self.kept_for_preemptors)

    def set_ordered(self, order_id: str, ordered: tuple[OrderGeneration, ...]) -> bool:
        """Sets the generations of an order; returns whether that changes what is in flight."""
        if ordered:
            self.ordered[order_id] = ordered
        else:
            self.ordered.pop(order_id, None)
        return self._counted is None or self._count(order_id)

    def count(self) -> CountedInFlight:
        """What each order has in flight, as far as it is counted."""
        return CountedInFlight(self._counted, self._counted_after_seconds)

    def take_count(self, before: CountedInFlight, order_ids: Iterable[str]) -> None:
        """Takes over a count from before a report, and counts these orders again.

        Of all others nothing may have changed that the count depends on.
        """
        if before.by_order is None:
            return
        self._counted = before.by_order.copy()
        self._counted_after_seconds = before.stuck_after_seconds
        for order_id in order_ids:
            self._count(order_id)

    def _count(self, order_id: str) -> bool:
        """Counts again what an order has in flight; returns whether it is something else."""
        counted: dict[str, tuple[InFlight, ...]] = self._counted or {}
        before, found = counted.pop(order_id, ()), self._in_flight_of(order_id)
        if found:
            counted[order_id] = found
        self._counted = counted
        return before != found

    def _in_flight_of(self, order_id: str) -> tuple[InFlight, ...]:
        ordered = self.ordered.get(order_id, ())
        generation, count = self.report.bound.get(order_id, (0, 0)) if self.report else (0, 0)
        known = self.unschedulable.get(order_id)
        if known:
            given_up = pods_without_room(
                {order_id: known}, self.report, self._counted_after_seconds
            )
            count += given_up.get(order_id, 0)
        return in_flight_of(ordered, {generation: count})


def not_superseded(
    order_id: str, ordered: tuple[OrderGeneration, ...], bound: Mapping[str, tuple[int, int]]
) -> tuple[OrderGeneration, ...]:
    """Drops generations older than the one that the site has applied; the newest always stays."""
    applied, _ = bound.get(order_id, (0, 0))
    return tuple(one for one in ordered if one.generation >= applied) or ordered[-1:]
