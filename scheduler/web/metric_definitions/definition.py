"""What defines a metric, and the words that several of them have for labels and help texts.

Metrics with the meaning of one of karmada-scheduler, Kueue or kube-scheduler have its name, with
`kapok_` in place of its prefix. Every label is bounded: a site, a word of a closed list, or an HTTP
status code.
"""

from dataclasses import dataclass
from typing import Final, Literal

from scheduler.model.quantities import CPU, GPU, MEMORY, PODS

MetricType = Literal["counter", "gauge", "histogram"]

SHORT_BUCKETS_SECONDS: Final = (
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
LONG_BUCKETS_SECONDS: Final = (
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
LOST_DOMAINS: Final = ("province", "city", "provider")
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
    "rebalance",
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
FREEZE_HELP: Final = (
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
HUB_PROBLEMS_HELP = (
    "unreachable (no answer), unauthorized (401), forbidden (403), not-served (404 for a kind of "
    "ours), failing (5xx), throttled (429)"
)
BATCH_RESULTS: Final = ("scarce", "plentiful", "failed")
RESULTS_HELP = (
    "placed, waiting (a site passes every rule, but lacks capacity now or the time has not come), "
    "refused (no site passes the rules), unchanged, not-accepted (the object cannot be read or "
    "contradicts itself), withdrawing, deleted, error (retried)"
)
RESOURCES_HELP = "cpu in cores, memory in bytes, pods, nvidia.com/gpu in cards"

UNITS_HELP: Final = (
    "kgco2e (of the location ledger), cny (energy by the hour's price). Of the first 500 tenants "
    "by name with such a budget."
)
TENANTS_HELP: Final = (
    "A namespace that several tenants list counts for each; <none> stands for namespaces of no "
    "tenant, and <other> for all tenants after the first 500 by name."
)

METRIC_RESOURCES: Final = (CPU, MEMORY, PODS, GPU)
"""The resources with series of their own; reports may name others."""
