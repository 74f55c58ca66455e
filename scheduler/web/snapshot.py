"""The state of the control loops as a value that another thread may read.

A snapshot is taken on the event loop and must be quick: NumPy sums the arrays, and everything else
is a reference to an immutable value. Slower work is done later, in `state_text` and `views`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from scheduler.control.ports.agents import OrderStatusReport
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.sites.sites import Sites
from scheduler.control.sites.unadmitted_sites import UnadmittedSites
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.usage import Amounts
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.energy.budgets import TenantMonth
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload
from scheduler.model.site_health import HealthName
from scheduler.model.storm import StormState
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.web.metric_definitions.definition import METRIC_RESOURCES

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot:
    """The state at one instant. Sequences and arrays over sites are in the order of `facts`.

    Attributes:
        at: when it was taken.
        epoch: the epoch of this leader; 0 on standby.
        hub_problem: why the hub does not serve the scheduler; None while it does.
        is_broker_connected: whether a session with the broker is up.
        queue_depths: number of workloads by queue.
        unschedulable_reasons: the reasons of each unschedulable workload.
        workloads: all workloads.
        unadmitted_site_count: sites that report and are not admitted.
        outbox_messages: messages waiting to be published.
        unknown_orders: orders at sites that the hub does not know and leaves running.
        facts: the facts of each admitted site, by name.
        is_ready: whether the site reports; by site.
        healths: whether the site's messages come in time; by site.
        health_changed_at: since when it is so; by site.
        ages_seconds: age of the last report; NaN before the first; by site.
        free_by_resource: free capacity by resource, summed over nodes; [sites]; millicores for
            cpu, whole units for all else.
        order_statuses: the last order status of each site that has sent one.
        used_by_resource: requests of placed replicas by resource, by site; units as in
            `free_by_resource`.
        refusals: see `Refusals.answer_counts`.
        reasons_by_workload: of each unplaced workload, the number of sites by first reason.
        names_by_slot: site names by slot of the fleet, for `refusals`; "" for a free slot.
        stale_after_seconds: age from which a report no longer lets a site take work.
        lacks_nonces: for each of `facts`, whether an agent there knows no nonces.
        storm: what holds evictions back.
        evictions: the same for /api/v1/evictions.
        tenants: all tenants.
        quota_used: what placed workloads use of quotas, by namespace and resource; millicores for
            cpu, whole units for all else.
        requested: what the replicas of each workload request, by site and resource.
        months: the month of each tenant with a budget of it.
        losses: the condition `SurvivesLoss` of each site that has it.
    """

    at: datetime
    epoch: int
    hub_problem: str | None
    is_broker_connected: bool
    queue_depths: dict[str, int]
    unschedulable_reasons: list[frozenset[str]]
    workloads: list[Workload]
    unadmitted_site_count: int
    outbox_messages: int
    unknown_orders: int
    facts: list[SiteFacts]
    is_ready: list[bool]
    healths: list[HealthName]
    health_changed_at: list[datetime | None]
    ages_seconds: list[float]
    free_by_resource: dict[str, Floats]
    order_statuses: list[OrderStatusReport]
    used_by_resource: dict[str, list[int]]
    refusals: list[tuple[bytes, int]]
    reasons_by_workload: dict[WorkKey, Mapping[str, int]]
    names_by_slot: list[str]
    stale_after_seconds: float
    lacks_nonces: list[bool]
    storm: StormState = field(default_factory=StormState)
    evictions: Mapping[str, object] = field(default_factory=dict)
    tenants: list[Tenant] = field(default_factory=list)
    quota_used: dict[str, dict[str, int]] = field(default_factory=dict)
    requested: Mapping[WorkKey, Mapping[str, Amounts]] = field(default_factory=dict)
    months: Mapping[str, TenantMonth] = field(default_factory=dict)
    losses: Mapping[str, Condition] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSources:
    """The objects that a snapshot is taken of.

    Attributes:
        registry: the hub's objects.
        sites: reports and order status of the admitted sites.
        fleet: the arrays that decisions use.
        queue: the workloads to decide.
        unadmitted_sites: sites that report and are not admitted.
        workload_stats: usage and refusals, as the loops count them.
        clock: the clock for ages.
        stale_after_seconds: age from which a report no longer lets a site take work.
        agents_without_nonce: gives the agents of a site that know no nonces.
        storm: gives what holds evictions back.
        evictions: gives the same for /api/v1/evictions.
        quota_totals: gives what placed workloads use of quotas, by namespace.
        months: gives the month of each tenant with a budget of it.
        losses: gives the condition `SurvivesLoss` of each site that has it.
    """

    registry: HubObjects
    sites: Sites
    fleet: Fleet
    queue: SchedulingQueue
    unadmitted_sites: UnadmittedSites
    workload_stats: WorkloadStats
    clock: Clock
    stale_after_seconds: float
    agents_without_nonce: Callable[[str], Sequence[str]] = lambda _site: ()
    storm: Callable[[], StormState] = StormState
    evictions: Callable[[], Mapping[str, object]] = dict
    quota_totals: Callable[[], Mapping[str, Mapping[str, int]]] = dict
    months: Callable[[], Mapping[str, TenantMonth]] = dict
    losses: Callable[[], Mapping[str, Condition]] = dict


def take_snapshot(
    sources: SnapshotSources,
    *,
    epoch: int,
    is_broker_connected: bool,
    outbox_messages: int,
    hub_problem: str | None = None,
    unknown_orders: int = 0,
) -> StateSnapshot:
    """Takes the state now; call it on the event loop."""
    fleet, states = sources.fleet, sources.sites.states
    names = sorted(name for name in fleet.slot_of if name in states)
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    now = sources.clock.monotonic()
    reports = [states[name].report for name in names]
    return StateSnapshot(
        at=sources.clock.now(),
        epoch=epoch,
        hub_problem=hub_problem,
        is_broker_connected=is_broker_connected,
        queue_depths=sources.queue.depths(),
        unschedulable_reasons=sources.queue.unschedulable_reasons(),
        workloads=list(sources.registry.workloads.values()),
        unadmitted_site_count=len(sources.unadmitted_sites),
        outbox_messages=outbox_messages,
        unknown_orders=unknown_orders,
        facts=[fleet.facts_of(name) for name in names],
        is_ready=[states[name].is_ready for name in names],
        healths=[states[name].health.name for name in names],
        health_changed_at=[states[name].health_changed_at for name in names],
        ages_seconds=[now - one.observed_seconds if one else float("nan") for one in reports],
        free_by_resource=_free_by_resource(fleet, slots),
        order_statuses=[
            status for status in (states[name].order_status for name in names) if status is not None
        ],
        used_by_resource=_used_by_resource(sources.workload_stats, names),
        refusals=sources.workload_stats.refusals.answer_counts(),
        reasons_by_workload=dict(sources.workload_stats.refusals.reasons),
        names_by_slot=_names_by_slot(fleet),
        stale_after_seconds=sources.stale_after_seconds,
        lacks_nonces=[bool(sources.agents_without_nonce(name)) for name in names],
        storm=sources.storm(),
        evictions=sources.evictions(),
        tenants=list(sources.registry.tenants.values()),
        quota_used={name: dict(used) for name, used in sources.quota_totals().items()},
        requested=sources.workload_stats.usage.requested_by_workload(),
        months=sources.months(),
        losses=sources.losses(),
    )


def _free_by_resource(fleet: Fleet, slots: NDArray[np.int64]) -> dict[str, Floats]:
    rows = fleet.nodes.rows
    columns = fleet.nodes.column_numbers_of(METRIC_RESOURCES)  # first: may replace the matrix
    index = rows.row_indices(slots)
    nodes = fleet.nodes.node_counts(index)
    return {
        name: rows.sum_by_site(slots, rows.matrix[number].take(index) * nodes)
        for name, number in zip(METRIC_RESOURCES, columns, strict=True)
    }


def _used_by_resource(workload_stats: WorkloadStats, names: list[str]) -> dict[str, list[int]]:
    """Lists of numbers: a copied dict per site would trigger the garbage collector."""
    totals, nothing = workload_stats.usage.totals, Counter[str]()
    return {
        resource: [totals.get(name, nothing)[resource] for name in names]
        for resource in METRIC_RESOURCES
    }


def _names_by_slot(fleet: Fleet) -> list[str]:
    return [facts.name if facts else "" for facts in fleet.facts]
