"""What the loops hold, as a value that another thread may read.

Taken on the event loop in the time of a few copies: arrays are summed by NumPy, everything else is
a reference to a value that never changes. What takes longer is left to `state_text`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from scheduler.control.ports.agents import OrderStatusReport
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.sites import Sites
from scheduler.control.state.unadmitted_sites import UnadmittedSites
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.web.definitions import METRIC_RESOURCES

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot:
    """The state that a scrape shows. Sequences and arrays about sites follow `facts`.

    Attributes:
        at: when it was taken.
        epoch: of this leader; 0 while it stands by.
        is_broker_connected: whether the session stands.
        queue_depths: workloads by pool.
        unschedulable_reasons: the reasons of each unschedulable workload.
        workloads: all of them.
        unadmitted_site_count: strangers that report and are not admitted.
        outbox_messages: messages that wait to be published.
        facts: what is known of each admitted site, by name.
        is_ready: whether it reports.
        ages_seconds: of its last report; NaN before the first.
        free_by_resource: by resource, summed over nodes: millicores for cpu, whole units for all
        else.
        order_statuses: what sites said of their orders last.
        used_by_resource: what placed replicas ask for, by resource; units as in `free_by_resource`.
        refusals: see `Refusals.answers`.
        reasons_by_workload: of each unplaced workload, how many sites said no for which reason
        first.
        names_by_slot: of the fleet, for `refusals`.
        stale_after_seconds: figures older than this place nothing.
    """

    at: datetime
    epoch: int
    is_broker_connected: bool
    queue_depths: dict[str, int]
    unschedulable_reasons: list[frozenset[str]]
    workloads: list[Workload]
    unadmitted_site_count: int
    outbox_messages: int
    facts: list[SiteFacts]
    is_ready: list[bool]
    ages_seconds: list[float]
    free_by_resource: dict[str, Floats]
    order_statuses: list[OrderStatusReport]
    used_by_resource: dict[str, list[int]]
    refusals: list[tuple[bytes, int]]
    reasons_by_workload: dict[WorkKey, Mapping[str, int]]
    names_by_slot: list[str]
    stale_after_seconds: float


@dataclass(frozen=True, slots=True)
class SnapshotSources:
    """What a snapshot is taken of.

    Attributes:
        registry: the hub's objects.
        sites: what was heard of sites.
        fleet: the arrays that decisions stand on.
        queue: of workloads.
        unadmitted_sites: strangers.
        workload_stats: what the loops counted.
        clock: for ages.
        stale_after_seconds: figures older than this place nothing.
    """

    registry: HubObjects
    sites: Sites
    fleet: Fleet
    queue: SchedulingQueue
    unadmitted_sites: UnadmittedSites
    workload_stats: WorkloadStats
    clock: Clock
    stale_after_seconds: float


def take_snapshot(
    sources: SnapshotSources, *, epoch: int, is_broker_connected: bool, outbox_messages: int
) -> StateSnapshot:
    """The state now."""
    fleet, states = sources.fleet, sources.sites.states
    names = sorted(name for name in fleet.slot_of if name in states)
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    now = sources.clock.monotonic()
    reports = [states[name].report for name in names]
    return StateSnapshot(
        at=sources.clock.now(),
        epoch=epoch,
        is_broker_connected=is_broker_connected,
        queue_depths=sources.queue.depths(),
        unschedulable_reasons=sources.queue.unschedulable_reasons(),
        workloads=list(sources.registry.workloads.values()),
        unadmitted_site_count=len(sources.unadmitted_sites),
        outbox_messages=outbox_messages,
        facts=[fleet.facts_of(name) for name in names],
        is_ready=[states[name].is_ready for name in names],
        ages_seconds=[now - one.observed_seconds if one else float("nan") for one in reports],
        free_by_resource=_free_by_resource(fleet, slots),
        order_statuses=[
            word for word in (states[name].order_status for name in names) if word is not None
        ],
        used_by_resource=_used_by_resource(sources.workload_stats, names),
        refusals=sources.workload_stats.refusals.answer_counts(),
        reasons_by_workload=dict(sources.workload_stats.refusals.reasons),
        names_by_slot=_names_by_slot(fleet),
        stale_after_seconds=sources.stale_after_seconds,
    )


def _free_by_resource(fleet: Fleet, slots: NDArray[np.int64]) -> dict[str, Floats]:
    rows = fleet.nodes.rows
    index = rows.row_indices(slots)
    nodes = fleet.nodes.node_counts(index)
    return {
        name: rows.sum_by_site(slots, rows.column(name)[index] * nodes) for name in METRIC_RESOURCES
    }


def _used_by_resource(workload_stats: WorkloadStats, names: list[str]) -> dict[str, list[int]]:
    """Lists of numbers, not a copy per site: a thousand new dicts would set the collector off."""
    totals, nothing = workload_stats.usage.totals, Counter[str]()
    return {
        resource: [totals.get(name, nothing)[resource] for name in names]
        for resource in METRIC_RESOURCES
    }


def _names_by_slot(fleet: Fleet) -> list[str]:
    return [facts.name if facts else "" for facts in fleet.facts]
