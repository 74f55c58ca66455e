"""Every metric of the scheduler, defined once; docs/metrics.md lists the same and a test compares.

Names follow karmada-scheduler, Kueue and kube-scheduler where they mean the same: what comes after
`kapok_` is then what comes after their prefix. No label is unbounded: a site, a closed list of
words, or an HTTP status code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

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
        type: as Prometheus names it.
        help_text: the help text; every value of every label is explained, or the list is named.
        labels: their names.
        unit: one of `units`; "" for plain counts and yes or no.
        buckets: of a histogram, upper bounds in its unit.
        values: all values of its one label, if the list is closed: they are there from the start,
            at 0, so that a rate sees the first event too.
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
MESSAGE_KINDS: Final = ("report", "status", "offline")
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
)
BATCH_RESULTS: Final = ("scarce", "plentiful", "failed")
_RESULTS_HELP = (
    "placed, waiting (a site passes every rule; room or time is missing), refused (no site passes "
    "the rules), unchanged, not-accepted (the object cannot be read or breaks a rule of its own), "
    "withdrawing, deleted, error (tried again)"
)
_RESOURCES_HELP = "cpu in cores, memory in bytes, pods, nvidia.com/gpu in cards"

RECORDED_METRICS: Final[Mapping[str, MetricDefinition]] = {
    "kapok_messages_total": MetricDefinition(
        "counter",
        "Messages taken in from sites, by kind: report, status, offline.",
        ("kind",),
        values=MESSAGE_KINDS,
    ),
    "kapok_bad_messages_total": MetricDefinition(
        "counter",
        "Messages that were refused, by kind: malformed, too-large, too-deep, algorithm, "
        "unknown-key, unknown-site, signature, wrong-site, stale, digest; "
        "agents/protocol/errors.py says what each means, unknown-site is a site that nobody "
        "admitted.",
        ("kind",),
        values=BAD_MESSAGE_KINDS,
    ),
    "kapok_schedule_attempts_total": MetricDefinition(
        "counter",
        f"Looks at a workload, by result: {_RESULTS_HELP}.",
        ("result",),
        values=ATTEMPT_RESULTS,
    ),
    "kapok_e2e_scheduling_duration_seconds": MetricDefinition(
        "histogram",
        "From taking a workload off the queue to its status written, by result as in "
        "kapok_schedule_attempts_total.",
        ("result",),
        "seconds",
        _SHORT_BUCKETS_SECONDS,
        ATTEMPT_RESULTS,
    ),
    "kapok_scheduling_algorithm_duration_seconds": MetricDefinition(
        "histogram",
        "The decision alone: admit, fit, cost, divide, choose.",
        (),
        "seconds",
        (0.0001, 0.00025, 0.0005, *_SHORT_BUCKETS_SECONDS),
    ),
    "kapok_admission_wait_time_seconds": MetricDefinition(
        "histogram",
        "From the first sight of a new or changed spec to its placement.",
        (),
        "seconds",
        _LONG_BUCKETS_SECONDS,
    ),
    "kapok_ready_wait_time_seconds": MetricDefinition(
        "histogram",
        "End to end: from the first sight of a new or changed spec to Running or Completed.",
        (),
        "seconds",
        _LONG_BUCKETS_SECONDS,
    ),
    "kapok_batches_total": MetricDefinition(
        "counter",
        "Batches of waiting workloads that were solved, by result: scarce (prices were found), "
        "plentiful (there is room for all), failed (decisions go on without).",
        ("result",),
        values=BATCH_RESULTS,
    ),
    "kapok_batch_duration_seconds": MetricDefinition(
        "histogram",
        "From collecting a batch to its prices, most of it beside the event loop.",
        (),
        "seconds",
        _LONG_BUCKETS_SECONDS,
    ),
    "kapok_batch_number": MetricDefinition(
        "gauge",
        "Which batch of this process set the prices that count; 0 while none count. The log names "
        "the version of its prices, as decisions record it.",
    ),
    "kapok_batch_workloads": MetricDefinition(
        "gauge", "Workloads in the batch whose prices count; 0 while none count."
    ),
    "kapok_batch_achieved_ratio": MetricDefinition(
        "gauge",
        "Value less cost that the batch whose prices count would place, down to nodes, over a "
        "bound that no division can exceed; 0 while none count.",
    ),
    "kapok_scarcity_prices": MetricDefinition(
        "gauge",
        "Prices of a resource at a site that are a cost of decisions now; 0 while nothing is "
        "scarce.",
    ),
    "kapok_invalid_objects_total": MetricDefinition(
        "counter",
        "Objects in the hub that do not decode, by kind of object.",
        ("kind",),
    ),
    "kapok_violations_total": MetricDefinition(
        "counter",
        "Placed shares that a decision found to break a right at their site, by the rule's reason "
        "and by the authority's treatment: Report, Move, Stop.",
        ("reason", "treatment"),
    ),
    "kapok_orders_published_total": MetricDefinition(
        "counter", "Contents of orders sent to sites."
    ),
    "kapok_indexes_published_total": MetricDefinition("counter", "Indexes sent to sites."),
    "kapok_api_requests_total": MetricDefinition(
        "counter",
        "Requests to the hub's API by verb (GET, POST, PATCH, DELETE, WATCH) and HTTP status "
        "code; <error> when no answer came.",
        ("verb", "code"),
    ),
    "kapok_event_loop_lag_seconds": MetricDefinition(
        "histogram",
        "How much later than asked the event loop came back, looked at four times a second.",
        (),
        "seconds",
        _SHORT_BUCKETS_SECONDS,
    ),
}
"""Written by the loops, through `scheduler.control.ports.telemetry.Telemetry`."""

STATE_METRICS: Final[Mapping[str, MetricDefinition]] = {
    "kapok_build_info": MetricDefinition(
        "gauge",
        "Always 1; says which version of Kapok and of Python runs, and whether the kernel of "
        "decisions is compiled or interpreted (slower, the same answers).",
        ("version", "python", "kernel"),
    ),
    "kapok_leader": MetricDefinition("gauge", "1 while this replica holds the lease."),
    "kapok_epoch": MetricDefinition("gauge", "Epoch of this leader; 0 while it stands by."),
    "kapok_broker_connected": MetricDefinition(
        "gauge", "1 while there is a session with the broker."
    ),
    "kapok_outbox_messages": MetricDefinition("gauge", "Messages that wait to be published."),
    "kapok_pending_sites": MetricDefinition("gauge", "Strangers that report and are not admitted."),
    "kapok_pending_workloads": MetricDefinition(
        "gauge",
        "Workloads by queue: active (to be decided), backoff (failed, tried again), unschedulable "
        "(no site can take it now).",
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
        "Workloads that no site can take now, by reason; one with several reasons counts for each. "
        "docs/glossary.md explains the reasons.",
        ("reason",),
    ),
    "kapok_violating_workloads": MetricDefinition(
        "gauge",
        "Workloads that run where they break a right, by reason; one that breaks several counts "
        "for each.",
        ("reason",),
    ),
    "kapok_site_unplaced_workloads": MetricDefinition(
        "gauge",
        "Workloads that no site can take now, by site and the first reason of that site.",
        ("site", "reason"),
    ),
    "kapok_orders": MetricDefinition(
        "gauge",
        "Orders at all sites by phase, as their agents say: Fetching, Applying, Applied, Ready, "
        "Finished, Failed, Conflict, Refused, Withdrawing; other for words "
        "that this version does not know.",
        ("phase",),
    ),
    "kapok_sites": MetricDefinition(
        "gauge",
        "Admitted sites by condition and status true or false: Ready (reports), Fresh (figures "
        "young enough to place by), Executor (an agent there applies orders), Schedulable (not "
        "cordoned).",
        ("condition", "status"),
    ),
    "kapok_site_ready": MetricDefinition("gauge", "1 if the site reports.", ("site",)),
    "kapok_site_report_age_seconds": MetricDefinition(
        "gauge",
        "Time since the site was observed last; absent before its first report.",
        ("site",),
        "seconds",
    ),
    "kapok_site_in_flight_replicas": MetricDefinition(
        "gauge", "Replicas that were ordered and that no report shows on a node yet.", ("site",)
    ),
    "kapok_site_free": MetricDefinition(
        "gauge",
        f"Free capacity by the last report, less headroom, summed over nodes: {_RESOURCES_HELP}. "
        "Sums lie: what fits is decided node by node.",
        ("site", "resource"),
        "by resource",
    ),
    "kapok_site_used": MetricDefinition(
        "gauge",
        f"What the replicas that Kapok has placed there ask for: {_RESOURCES_HELP}. Others' "
        "work is "
        "not in it.",
        ("site", "resource"),
        "by resource",
    ),
    "kapok_site_power_watts": MetricDefinition(
        "gauge",
        "What the site's equipment draws, by origin of the figure: measured, estimated, modelled, "
        "yearly, assumed, unknown; absent when not known.",
        ("site", "origin"),
        "watts",
    ),
    "kapok_site_intensity_gco2_per_kwh": MetricDefinition(
        "gauge",
        "Location-based carbon intensity of the grid that feeds the site, by origin of the "
        "figure; absent when not known.",
        ("site", "origin"),
        "gCO2 per kWh",
    ),
    "kapok_site_emission_gco2_per_hour": MetricDefinition(
        "gauge",
        "Power of the equipment x PUE x intensity; absent when one of them is not known.",
        ("site",),
        "gCO2 per hour",
    ),
}
"""Read from the state when somebody scrapes."""

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
"""What every Prometheus client tells of its process; Linux only."""

ALL_METRICS: Final[Mapping[str, MetricDefinition]] = {
    **RECORDED_METRICS,
    **STATE_METRICS,
    **PROCESS_METRICS,
}

METRIC_RESOURCES: Final = ("cpu", "memory", "pods", "nvidia.com/gpu")
"""The resources that have series; a report may name any."""
