"""What the loops hold, as the values that a scrape shows."""

from collections import Counter

from scheduler import __version__
from scheduler.clock import Clock
from scheduler.control.pending import PendingSites
from scheduler.control.queue import WorkQueue
from scheduler.control.registry import Registry
from scheduler.control.sites import Sites, SiteState
from scheduler.model.quantities import CPU, MILLI_PER_UNIT, NotAQuantity, free
from scheduler.model.site import NodeClass
from scheduler.web.metrics import SiteFigures, Snapshot

_SHOWN_RESOURCES = ("cpu", "memory", "pods", "nvidia.com/gpu")


def snapshot(
    *,
    registry: Registry,
    sites: Sites,
    queue: WorkQueue,
    pending: PendingSites,
    clock: Clock,
    epoch: int,
    is_broker_connected: bool,
    outbox: int,
) -> Snapshot:
    """The state now."""
    phases: Counter[str] = Counter()
    unplaced: Counter[str] = Counter()
    for workload in registry.workloads.values():
        phase = workload.status.phase or "Pending"
        phases[phase] += 1
    for reasons in queue.waiting_for():
        unplaced.update(reasons)
    return Snapshot(
        version=__version__,
        epoch=epoch,
        is_broker_connected=is_broker_connected,
        queue=queue.depths(),
        phases=dict(phases),
        unplaced=dict(unplaced),
        sites=tuple(_figures(name, one, clock) for name, one in sorted(sites.states.items())),
        pending_sites=len(pending),
        outbox=outbox,
    )


def _figures(name: str, state: SiteState, clock: Clock) -> SiteFigures:
    report = state.report
    return SiteFigures(
        name=name,
        is_ready=state.is_ready,
        report_age_seconds=clock.monotonic() - report.observed_seconds if report else None,
        in_flight_replicas=sum(one.replicas for one in state.in_flight()),
        free=_free(report.figures.node_classes) if report else {},
    )


def _free(classes: tuple[NodeClass, ...]) -> dict[str, float]:
    """Sums over nodes, cores for CPU and bytes for memory; a wrong figure counts as unknown."""
    total: dict[str, float] = {}
    for row in (row for one in classes for row in one.free):
        for name in _SHOWN_RESOURCES:
            if name in row:
                total[name] = total.get(name, 0) + _amount(name, row[name]) * int(
                    row.get("count", 1)
                )
    return total


def _amount(name: str, value: float | str) -> float:
    try:
        amount = free(name, value)
    except NotAQuantity:
        return 0.0
    return amount / MILLI_PER_UNIT if name == CPU else float(amount)
