"""The metrics that are computed at each scrape, and all metrics together."""

from collections.abc import Mapping
from typing import Final

from scheduler.web.metric_definitions.definition import (
    FREEZE_HELP,
    HUB_PROBLEMS_HELP,
    RESOURCES_HELP,
    TENANTS_HELP,
    UNITS_HELP,
    MetricDefinition,
)
from scheduler.web.metric_definitions.recorded import RECORDED_METRICS

STATE_METRICS: Final[Mapping[str, MetricDefinition]] = {
    "kapok_build_info": MetricDefinition(
        "gauge",
        "Always 1; the labels are the versions of Kapok and Python, and whether the kernel of "
        "decisions is compiled or interpreted (slower, with the same decisions).",
        ("version", "python", "kernel"),
    ),
    "kapok_leader": MetricDefinition("gauge", "1 while this replica holds the leader lease."),
    "kapok_epoch": MetricDefinition("gauge", "Epoch of this leader; 0 on standby."),
    "kapok_evictions_frozen": MetricDefinition(
        "gauge",
        f"1 while the leader evicts nothing, by reason: {FREEZE_HELP}.",
        ("reason",),
    ),
    "kapok_evictions_per_second": MetricDefinition(
        "gauge",
        "Replacements that may start each second because their site is lost; 0 in a freeze. It is "
        "lower while much of the fleet is away.",
    ),
    "kapok_evictions_held_domains": MetricDefinition(
        "gauge",
        "Provinces, cities, providers and stated failure domains that fell silent as a whole, and"
        " whose sites are held.",
    ),
    "kapok_sites_healthy_ratio": MetricDefinition(
        "gauge", "Share of the sites ever received that report; 0 while none is known."
    ),
    "kapok_hub_problem": MetricDefinition(
        "gauge",
        f"1 while the hub does not serve the scheduler, by reason: {HUB_PROBLEMS_HELP}; /readyz "
        "has the server, the request and since when.",
        ("reason",),
    ),
    "kapok_broker_connected": MetricDefinition("gauge", "1 while a session with the broker is up."),
    "kapok_outbox_messages": MetricDefinition("gauge", "Messages waiting to be published."),
    "kapok_unknown_orders": MetricDefinition(
        "gauge",
        "Orders that sites report, that the hub does not know since it was restored, and that run "
        "on until an operator has them withdrawn; /readyz names them.",
    ),
    "kapok_pending_sites": MetricDefinition("gauge", "Sites that report and are not admitted."),
    "kapok_pending_workloads": MetricDefinition(
        "gauge",
        "Workloads by queue: active (to be decided), backoff (retried after an error), "
        "unschedulable (no site can take them now).",
        ("queue",),
    ),
    "kapok_workloads": MetricDefinition(
        "gauge",
        "Workloads by phase: Pending, Waiting, Refused, Placed, Running, Completed, Degraded, "
        "Deleting.",
        ("phase",),
    ),
    "kapok_unplaced_workloads": MetricDefinition(
        "gauge",
        "Workloads that no site can take now, by reason; a workload with several reasons counts "
        "for each. docs/glossary.md explains the reasons.",
        ("reason",),
    ),
    "kapok_violating_workloads": MetricDefinition(
        "gauge",
        "Workloads with replicas at a site where they may no longer be, by reason; a workload with "
        "several reasons counts for each, and other stands for texts that are no reason.",
        ("reason",),
    ),
    "kapok_site_unplaced_workloads": MetricDefinition(
        "gauge",
        "Workloads that no site can take now, by site and by that site's first reason.",
        ("site", "reason"),
    ),
    "kapok_orders": MetricDefinition(
        "gauge",
        "Orders at all sites by phase, as agents report it: Fetching, Applying, Applied, Ready, "
        "Finished, Failed, Conflict, Refused, Withdrawing; other for phases that this version "
        "does not know.",
        ("phase",),
    ),
    "kapok_sites": MetricDefinition(
        "gauge",
        "Admitted sites by condition and status, true or false: Ready (reports), Fresh (its last "
        "report is recent enough to place new work), Executor (an agent there applies orders), "
        "FreshnessProven (all its agents carry the hub's nonces; false: one is of a version that "
        "knows none), Schedulable (neither cordoned nor drained).",
        ("condition", "status"),
    ),
    "kapok_site_health": MetricDefinition(
        "gauge",
        "Admitted sites by health: Reporting, Late (reports are missing, and nothing else "
        "changes), Silent, Lost (silent for long), Unknown (no report since this process began, "
        "and not enough time has passed).",
        ("health",),
    ),
    "kapok_tenant_workloads": MetricDefinition(
        "gauge",
        f"Workloads in the namespaces of a tenant, by phase as in kapok_workloads. {TENANTS_HELP}",
        ("tenant", "phase"),
    ),
    "kapok_tenant_used": MetricDefinition(
        "gauge",
        f"What the placed workloads of a tenant use of its quota: {RESOURCES_HELP}. {TENANTS_HELP}",
        ("tenant", "resource"),
        "by resource",
    ),
    "kapok_tenant_quota": MetricDefinition(
        "gauge",
        f"Quota of a tenant: {RESOURCES_HELP}; absent where it has none. Of the first 500 tenants "
        "by name.",
        ("tenant", "resource"),
        "by resource",
    ),
    "kapok_tenant_month_used": MetricDefinition(
        "gauge",
        f"What a tenant has used of this month in China Standard Time, by unit: {UNITS_HELP}",
        ("tenant", "unit"),
        "by unit",
    ),
    "kapok_tenant_month_expected": MetricDefinition(
        "gauge",
        f"What it will have used at the month's end at the same rate, by unit: {UNITS_HELP}",
        ("tenant", "unit"),
        "by unit",
    ),
    "kapok_tenant_month_budget": MetricDefinition(
        "gauge",
        f"Budget of the month of a tenant, by unit: {UNITS_HELP}",
        ("tenant", "unit"),
        "by unit",
    ),
    "kapok_site_info": MetricDefinition(
        "gauge",
        "Always 1; the labels are where an admitted site is and its tier (edge, regional, central),"
        " as operations state it; a place that is not stated is empty.",
        ("site", "province", "city", "tier"),
    ),
    "kapok_site_ready": MetricDefinition("gauge", "1 if the site reports.", ("site",)),
    "kapok_site_report_age_seconds": MetricDefinition(
        "gauge",
        "Time since the last observation of the site; absent before its first report.",
        ("site",),
        "seconds",
    ),
    "kapok_site_in_flight_replicas": MetricDefinition(
        "gauge", "Replicas that are ordered and not bound to a node in any report yet.", ("site",)
    ),
    "kapok_site_free": MetricDefinition(
        "gauge",
        f"Free capacity of the last report, less headroom, summed over nodes: {RESOURCES_HELP}. "
        "Whether a pod fits is decided node by node, not by this sum. Absent while the site is "
        "silent.",
        ("site", "resource"),
        "by resource",
    ),
    "kapok_site_used": MetricDefinition(
        "gauge",
        f"Requests of the replicas that Kapok has placed at the site: {RESOURCES_HELP}. Other "
        "pods there are not counted.",
        ("site", "resource"),
        "by resource",
    ),
    "kapok_site_power_watts": MetricDefinition(
        "gauge",
        "Power that the site's equipment draws, by origin of the figure: measured, estimated, "
        "modelled, yearly, assumed, unknown; absent when not known, and while the site is silent.",
        ("site", "origin"),
        "watts",
    ),
    "kapok_site_intensity_gco2_per_kwh": MetricDefinition(
        "gauge",
        "Location-based carbon intensity of the grid that feeds the site, by origin of the "
        "figure; absent when not known, and while the site is silent.",
        ("site", "origin"),
        "gCO2 per kWh",
    ),
    "kapok_site_emission_gco2_per_hour": MetricDefinition(
        "gauge",
        "Power of the equipment x PUE x carbon intensity; absent when one of them is not known, "
        "and while the site is silent.",
        ("site",),
        "gCO2 per hour",
    ),
}
"""Metrics that are computed from the state at each scrape."""

PROCESS_METRICS: Final[Mapping[str, MetricDefinition]] = {
    "process_cpu_seconds_total": MetricDefinition(
        "counter", "User and system CPU time of this process.", (), "seconds"
    ),
    "process_resident_memory_bytes": MetricDefinition(
        "gauge", "Resident memory of this process.", (), "bytes"
    ),
    "process_virtual_memory_bytes": MetricDefinition(
        "gauge", "Virtual memory of this process.", (), "bytes"
    ),
    "process_start_time_seconds": MetricDefinition(
        "gauge", "Start of this process since the epoch.", (), "seconds"
    ),
    "process_open_fds": MetricDefinition("gauge", "Open file descriptors."),
    "process_max_fds": MetricDefinition("gauge", "Most file descriptors that may be open."),
}
"""What every Prometheus client reports of its process; Linux only."""

ALL_METRICS: Final[Mapping[str, MetricDefinition]] = {
    **RECORDED_METRICS,
    **STATE_METRICS,
    **PROCESS_METRICS,
}
"""Every metric that a scrape can return; tests compare it with docs/metrics.md and a scrape."""
