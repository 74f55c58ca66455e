"""Every metric of the scheduler, defined once; a test compares the list with docs/metrics.md.

Metrics with the meaning of one of karmada-scheduler, Kueue or kube-scheduler have its name, with
`kapok_` in place of its prefix. Every label is bounded: a site, a word of a closed list, or an HTTP
status code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from scheduler.model.quantities import CPU, GPU, MEMORY, PODS
from scheduler.model.site_health import HEALTH_NAMES
from scheduler.model.storm import FREEZE_REASONS

MetricType = Literal["counter", "gauge", "histogram"]

_SHORT_BUCKETS_SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
_LONG_BUCKETS_SECONDS: Final = (
    0.1,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    900.0,
    3600.0,
    14400.0,
)


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """One metric.

    Attributes:
        type: the type of the metric in Prometheus.
        help_text: the help text; it explains every value of every label, or names the list.
        labels: the names of the labels.
        unit: the unit as docs/metrics.md writes it; "" for counts and for 0 or 1.
        buckets: of a histogram: upper bounds, in its unit.
        values: all values of the one label, if the list is closed: their series exist from the
            start, at 0, so that a rate counts the first event too.
    """

    type: MetricType
    help_text: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    values: tuple[str, ...] = ()


ATTEMPT_RESULTS: Final = (
    "placed",
    "waiting",
    "refused",
    "unchanged",
    "not-accepted",
    "withdrawing",
    "deleted",
    "error",
)
MESSAGE_KINDS: Final = ("report", "heartbeat", "status", "offline", "answer")
BAD_MESSAGE_KINDS: Final = (
    "malformed",
    "too-large",
    "too-deep",
    "algorithm",
    "unknown-key",
    "unknown-site",
    "signature",
    "wrong-site",
    "stale",
    "digest",
    "unknown-base",
    "unknown-order",
)
EPOCH_CLAIM_RESULTS: Final = ("proven", "unproven", "unasked", *BAD_MESSAGE_KINDS)
DROP_REASONS: Final = ("superseded", "no-room")
FAULT_PLACES: Final = (
    "message",
    "object",
    "workload",
    "batch",
    "dispatch",
    "site-status",
    "tenant-status",
    "pending-sites",
    "standards",
    "freeze",
    "event",
    "wake-up",
    "clock",
    "failover",
    "survival",
    "energy",
    "request",
    "publish",
    "session",
    "broker",
    "join",
    "ledger",
    "lease",
    "loop",
    "api-request",
    "api-watch",
    "api-storage",
    "api-listener",
    "api-load",
    "api-collector",
    "api-event-expiry",
)
_FREEZE_HELP: Final = (
    "operator (kapok freeze), unread (whether there is one is not known yet), session (with the "
    "broker: down or new), quiet (no site is received), stalled (this process stood still), fleet "
    "(too many sites fell silent together)"
)
HUB_PROBLEM_REASONS: Final = (
    "unreachable",
    "unauthorized",
    "forbidden",
    "not-served",
    "failing",
    "throttled",
)
_HUB_PROBLEMS_HELP = (
    "unreachable (no answer), unauthorized (401), forbidden (403), not-served (404 for a kind of "
    "ours), failing (5xx), throttled (429)"
)
BATCH_RESULTS: Final = ("scarce", "plentiful", "failed")
_RESULTS_HELP = (
    "placed, waiting (a site passes every rule, but lacks capacity now or the time has not come), "
    "refused (no site passes the rules), unchanged, not-accepted (the object cannot be read or "
    "contradicts itself), withdrawing, deleted, error (retried)"
)
_RESOURCES_HELP = "cpu in cores, memory in bytes, pods, nvidia.com/gpu in cards"

_UNITS_HELP: Final = (
    "kgco2e (of the location ledger), cny (energy by the hour's price). Of the first 500 tenants "
    "by name with such a budget."
)
_TENANTS_HELP: Final = (
    "A namespace that several tenants list counts for each; <none> stands for namespaces of no "
    "tenant, and <other> for all tenants after the first 500 by name."
)

RECORDED_METRICS: Final[Mapping[str, MetricDefinition]] = {
    "kapok_messages_total": MetricDefinition(
        "counter",
        "Accepted messages from sites, by kind: report, heartbeat, status, offline, answer.",
        ("kind",),
        values=MESSAGE_KINDS,
    ),
    "kapok_bad_messages_total": MetricDefinition(
        "counter",
        "Refused messages, by kind: malformed, too-large, too-deep, algorithm, unknown-key, "
        "unknown-site, signature, wrong-site, stale, digest, unknown-base, unknown-order; "
        "agents/protocol/errors.py explains them, unknown-site is a site that is not admitted, and "
        "energy-counter a report whose energy totals fell or are of two agents with one identity.",
        ("kind",),
        values=(*BAD_MESSAGE_KINDS, "energy-counter"),
    ),
    "kapok_epoch_claims_total": MetricDefinition(
        "counter",
        "Claims of sites to work by a later index than this hub has published, by result: proven "
        "(an index signed by this hub's key; a new epoch begins), unproven (the word alone; the "
        "site is asked for the index), unasked (a proof without a request), else why a proof "
        "was refused: unknown-key (not the hub's key), signature, wrong-site (of another site or "
        "uid), stale (not later), too-large (near the end of a counter), or another kind of "
        "kapok_bad_messages_total.",
        ("result",),
        values=EPOCH_CLAIM_RESULTS,
    ),
    "kapok_dropped_messages_total": MetricDefinition(
        "counter",
        "Messages of sites that were dropped before they were verified, by reason: superseded (a "
        "newer one of the same topic and key was accepted), no-room (the sender's part of the "
        "queue is full).",
        ("reason",),
        values=DROP_REASONS,
    ),
    "kapok_join_requests_total": MetricDefinition(
        "counter",
        "Requests of machines at the join port, by result: joined, renewed (a certificate), "
        "received (asked whether the site reports), asked (for the authority), or why it was "
        "refused: unknown-token, expired-token, used-token (by another machine), revoked (the site "
        "was, after the token was made), revoked-key, no-site, push-site, unknown-key (not "
        "listed), full (too many keys or certificates of a site), bad-request, busy, rate (of one "
        "address), connections (too many at once), error.",
        ("result",),
    ),
    "kapok_faults_total": MetricDefinition(
        "counter",
        "Faults that an edge caught and that ended nothing, by edge: message (one message of "
        "a site), object (one object of the hub), workload (one reconciliation), batch, "
        "dispatch (the orders of one site), site-status (one site), tenant-status (one tenant), "
        "pending-sites, "
        "standards (one object that other tools read), freeze (the word of an operator), "
        "event (one Kubernetes event), wake-up, clock (what the passing "
        "of time brings), failover, survival (a judgement of losses), energy (the totals of one "
        "site, or one feed), request (one web request), publish (one message to a site), "
        "session (with the broker), broker "
        "(the embedded one), join (a machine that joins), ledger (a record that cannot be "
        "written), lease, loop (any other fault of a loop, which starts again). Of the embedded "
        "hub: api-request, api-watch, "
        "api-storage (a write that did not reach the disk), api-listener (an index of writes), "
        "api-load (a stored object at the start), api-collector (garbage collection of one "
        "object), api-event-expiry.",
        ("where",),
        values=FAULT_PLACES,
    ),
    "kapok_schedule_attempts_total": MetricDefinition(
        "counter",
        f"Attempts to schedule a workload, by result: {_RESULTS_HELP}.",
        ("result",),
        values=ATTEMPT_RESULTS,
    ),
    "kapok_e2e_scheduling_duration_seconds": MetricDefinition(
        "histogram",
        "Time from taking a workload off the queue to writing its status, by result as in "
        "kapok_schedule_attempts_total.",
        ("result",),
        "seconds",
        _SHORT_BUCKETS_SECONDS,
        ATTEMPT_RESULTS,
    ),
    "kapok_scheduling_algorithm_duration_seconds": MetricDefinition(
        "histogram",
        "Time of the decision alone: filter, fit, cost, divide, choose.",
        (),
        "seconds",
        (0.0001, 0.00025, 0.0005, *_SHORT_BUCKETS_SECONDS),
    ),
    "kapok_admission_wait_time_seconds": MetricDefinition(
        "histogram",
        "Time from first seeing a new or changed spec to its placement.",
        (),
        "seconds",
        _LONG_BUCKETS_SECONDS,
    ),
    "kapok_ready_wait_time_seconds": MetricDefinition(
        "histogram",
        "Time from first seeing a new or changed spec to Running or Completed.",
        (),
        "seconds",
        _LONG_BUCKETS_SECONDS,
    ),
    "kapok_batches_total": MetricDefinition(
        "counter",
        "Batches of waiting workloads, by result: scarce (scarcity prices were found), plentiful "
        "(there is capacity for all), failed (decisions go on without prices).",
        ("result",),
        values=BATCH_RESULTS,
    ),
    "kapok_batch_duration_seconds": MetricDefinition(
        "histogram",
        "Time from collecting a batch to its prices, most of it outside the event loop.",
        (),
        "seconds",
        _LONG_BUCKETS_SECONDS,
    ),
    "kapok_batch_number": MetricDefinition(
        "gauge",
        "Number, in this process, of the batch that set the scarcity prices in force; 0 while "
        "there are none. The log has the version of its prices, which decisions record.",
    ),
    "kapok_batch_workloads": MetricDefinition(
        "gauge",
        "Workloads in the batch that set the scarcity prices in force; 0 while there are none.",
    ),
    "kapok_batch_achieved_ratio": MetricDefinition(
        "gauge",
        "Value less cost of what the batch that set the prices in force could place on nodes, "
        "divided by an upper bound of it; 0 while there are no prices.",
    ),
    "kapok_scarcity_prices": MetricDefinition(
        "gauge",
        "Scarcity prices in force, one for each scarce resource of a site; 0 while nothing is "
        "scarce.",
    ),
    "kapok_invalid_objects_total": MetricDefinition(
        "counter",
        "Objects in the hub that cannot be decoded, by kind of object.",
        ("kind",),
    ),
    "kapok_violations_total": MetricDefinition(
        "counter",
        "Decisions that found replicas at a site that may no longer be there, by the rule's reason "
        "and the authority's treatment: Report, Move, Stop.",
        ("reason", "treatment"),
    ),
    "kapok_orders_published_total": MetricDefinition(
        "counter", "Contents of orders published to sites."
    ),
    "kapok_indexes_published_total": MetricDefinition("counter", "Indexes published to sites."),
    "kapok_api_requests_total": MetricDefinition(
        "counter",
        "Requests to the hub's API by verb (GET, POST, PATCH, DELETE, WATCH) and HTTP status "
        "code; <error> when no response came.",
        ("verb", "code"),
    ),
    "kapok_hub_failed_requests_total": MetricDefinition(
        "counter",
        f"Requests to the hub that failed because it does not serve the scheduler: "
        f"{_HUB_PROBLEMS_HELP}.",
        ("reason",),
        values=HUB_PROBLEM_REASONS,
    ),
    "kapok_eviction_freezes_total": MetricDefinition(
        "counter",
        f"Freezes of evictions, by reason: {_FREEZE_HELP}.",
        ("reason",),
        values=FREEZE_REASONS,
    ),
    "kapok_site_health_changes_total": MetricDefinition(
        "counter",
        "Changes of the health of sites, by the state after the change: Reporting, Late, Silent, "
        "Lost, Unknown.",
        ("health",),
        values=HEALTH_NAMES,
    ),
    "kapok_evictions_total": MetricDefinition(
        "counter",
        "Replicas of one workload at one site that a decision moves or ends, by reason: "
        "silent (the site does not report), operator (kapok failover), unready (replicas at a site "
        "that reports stay not ready), drain (kapok site drain), maintenance (spec.maintenance of "
        "the site), preempted (they end for work of a higher priority), reclaimed (they end for "
        "the owner of the quota that they borrowed).",
        ("reason",),
        values=(
            "silent",
            "operator",
            "unready",
            "drain",
            "maintenance",
            "preempted",
            "reclaimed",
        ),
    ),
    "kapok_waiting_evictions": MetricDefinition(
        "gauge",
        "Replacements that are due and not ordered: held back, on their way, or without room.",
    ),
    "kapok_survived_losses": MetricDefinition(
        "gauge",
        "Sites with work whose loss can be survived: a plan places all of it elsewhere together.",
    ),
    "kapok_unsurvived_losses": MetricDefinition(
        "gauge",
        "Sites with work whose loss cannot be survived, as is proved; kapok survive says why.",
    ),
    "kapok_unknown_losses": MetricDefinition(
        "gauge",
        "Sites with work of whose loss neither is known, or that could not be judged.",
    ),
    "kapok_survival_duration_seconds": MetricDefinition(
        "histogram",
        "Time of a judgement of the loss of every site, outside the event loop.",
        (),
        "seconds",
        _LONG_BUCKETS_SECONDS,
    ),
    "kapok_hub_lost_leases_total": MetricDefinition(
        "counter",
        "Terms of this leader that ended because the lease was not renewed in time or another "
        "scheduler took it.",
    ),
    "kapok_hub_late_statuses_total": MetricDefinition(
        "counter",
        "Statuses of workloads that a former leader or another client wrote after this leader had "
        "begun; they are overwritten.",
    ),
    "kapok_standard_writes_total": MetricDefinition(
        "counter",
        "Writes of ClusterProfile and PlacementDecision objects, which other tools read: written, "
        "deleted, refused (the hub does not take it, or another client owns the object).",
        ("kind", "result"),
    ),
    "kapok_event_loop_lag_seconds": MetricDefinition(
        "histogram",
        "How much later than asked the event loop woke a task, sampled four times a second.",
        (),
        "seconds",
        _SHORT_BUCKETS_SECONDS,
    ),
}
"""Metrics that the loops write, through `scheduler.control.ports.telemetry.Telemetry`."""

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
        f"1 while the leader evicts nothing, by reason: {_FREEZE_HELP}.",
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
        f"1 while the hub does not serve the scheduler, by reason: {_HUB_PROBLEMS_HELP}; /readyz "
        "has the server, the request and since when.",
        ("reason",),
    ),
    "kapok_broker_connected": MetricDefinition("gauge", "1 while a session with the broker is up."),
    "kapok_outbox_messages": MetricDefinition("gauge", "Messages waiting to be published."),
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
        f"Workloads in the namespaces of a tenant, by phase as in kapok_workloads. {_TENANTS_HELP}",
        ("tenant", "phase"),
    ),
    "kapok_tenant_used": MetricDefinition(
        "gauge",
        f"What the placed workloads of a tenant use of its quota: {_RESOURCES_HELP}. "
        f"{_TENANTS_HELP}",
        ("tenant", "resource"),
        "by resource",
    ),
    "kapok_tenant_quota": MetricDefinition(
        "gauge",
        f"Quota of a tenant: {_RESOURCES_HELP}; absent where it has none. Of the first 500 tenants "
        "by name.",
        ("tenant", "resource"),
        "by resource",
    ),
    "kapok_tenant_month_used": MetricDefinition(
        "gauge",
        f"What a tenant has used of this month in China Standard Time, by unit: {_UNITS_HELP}",
        ("tenant", "unit"),
        "by unit",
    ),
    "kapok_tenant_month_expected": MetricDefinition(
        "gauge",
        f"What it will have used at the month's end at the same rate, by unit: {_UNITS_HELP}",
        ("tenant", "unit"),
        "by unit",
    ),
    "kapok_tenant_month_budget": MetricDefinition(
        "gauge",
        f"Budget of the month of a tenant, by unit: {_UNITS_HELP}",
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
        f"Free capacity of the last report, less headroom, summed over nodes: {_RESOURCES_HELP}. "
        "Whether a pod fits is decided node by node, not by this sum. Absent while the site is "
        "silent.",
        ("site", "resource"),
        "by resource",
    ),
    "kapok_site_used": MetricDefinition(
        "gauge",
        f"Requests of the replicas that Kapok has placed at the site: {_RESOURCES_HELP}. Other "
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

METRIC_RESOURCES: Final = (CPU, MEMORY, PODS, GPU)
"""The resources with series of their own; reports may name others."""
