"""The metrics that the loops write."""

from collections.abc import Mapping
from typing import Final

from scheduler.model.site_health import HEALTH_NAMES
from scheduler.model.storm import FREEZE_REASONS
from scheduler.web.metric_definitions.definition import (
    ATTEMPT_RESULTS,
    BAD_MESSAGE_KINDS,
    BATCH_RESULTS,
    DROP_REASONS,
    EPOCH_CLAIM_RESULTS,
    FAULT_PLACES,
    FREEZE_HELP,
    HUB_PROBLEM_REASONS,
    HUB_PROBLEMS_HELP,
    LONG_BUCKETS_SECONDS,
    LOST_DOMAINS,
    MESSAGE_KINDS,
    RESULTS_HELP,
    SHORT_BUCKETS_SECONDS,
    MetricDefinition,
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
        "of time brings), failover, rebalance (moves that save cost), survival (a judgement of "
        "losses), energy (the totals of one "
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
        f"Attempts to schedule a workload, by result: {RESULTS_HELP}.",
        ("result",),
        values=ATTEMPT_RESULTS,
    ),
    "kapok_e2e_scheduling_duration_seconds": MetricDefinition(
        "histogram",
        "Time from taking a workload off the queue to writing its status, by result as in "
        "kapok_schedule_attempts_total.",
        ("result",),
        "seconds",
        SHORT_BUCKETS_SECONDS,
        ATTEMPT_RESULTS,
    ),
    "kapok_scheduling_algorithm_duration_seconds": MetricDefinition(
        "histogram",
        "Time of the decision alone: filter, fit, cost, divide, choose.",
        (),
        "seconds",
        (0.0001, 0.00025, 0.0005, *SHORT_BUCKETS_SECONDS),
    ),
    "kapok_admission_wait_time_seconds": MetricDefinition(
        "histogram",
        "Time from first seeing a new or changed spec to its placement.",
        (),
        "seconds",
        LONG_BUCKETS_SECONDS,
    ),
    "kapok_ready_wait_time_seconds": MetricDefinition(
        "histogram",
        "Time from first seeing a new or changed spec to Running or Completed.",
        (),
        "seconds",
        LONG_BUCKETS_SECONDS,
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
        LONG_BUCKETS_SECONDS,
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
        f"{HUB_PROBLEMS_HELP}.",
        ("reason",),
        values=HUB_PROBLEM_REASONS,
    ),
    "kapok_eviction_freezes_total": MetricDefinition(
        "counter",
        f"Freezes of evictions, by reason: {FREEZE_HELP}.",
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
    "kapok_survived_domain_losses": MetricDefinition(
        "gauge",
        "Provinces, cities and providers with work whose loss, of all their sites together, can "
        "be survived; by what is lost.",
        ("of",),
        values=LOST_DOMAINS,
    ),
    "kapok_unsurvived_domain_losses": MetricDefinition(
        "gauge",
        "Provinces, cities and providers with work whose loss cannot be survived, as is proved; "
        "kapok survive 'province=*' names them.",
        ("of",),
        values=LOST_DOMAINS,
    ),
    "kapok_unknown_domain_losses": MetricDefinition(
        "gauge",
        "Provinces, cities and providers with work of whose loss neither is known, or that could "
        "not be judged.",
        ("of",),
        values=LOST_DOMAINS,
    ),
    "kapok_survival_duration_seconds": MetricDefinition(
        "histogram",
        "Time of a judgement of the loss of every site, outside the event loop.",
        (),
        "seconds",
        LONG_BUCKETS_SECONDS,
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
        SHORT_BUCKETS_SECONDS,
    ),
}
"""Metrics that the loops write, through `scheduler.control.ports.telemetry.Telemetry`."""
