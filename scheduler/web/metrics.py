"""Every metric of the scheduler, in one file; docs/metrics.md lists them and a test compares.

Counters and histograms are written by the loops through `Telemetry`. What describes a state (sites,
queue, placements) is read when Prometheus asks, by a collector over a snapshot function.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFigures:
    """What one site's series show; None is unknown and has no series."""

    name: str
    is_ready: bool
    report_age_seconds: float | None
    in_flight_replicas: int
    free: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state that a scrape shows.

    Attributes:
        version: of Kapok.
        epoch: of this leader.
        is_broker_connected: whether the session stands.
        queue: workloads by pool: active, backoff, unschedulable.
        phases: workloads by phase.
        unplaced: workloads that are not placed, by reason.
        sites: one per admitted site.
        pending_sites: strangers that report and are not admitted.
        outbox: messages that wait to be published.
    """

    version: str
    epoch: int
    is_broker_connected: bool
    queue: dict[str, int]
    phases: dict[str, int]
    unplaced: dict[str, int]
    sites: tuple[SiteFigures, ...]
    pending_sites: int
    outbox: int


class Metrics:
    """Implements `scheduler.control.telemetry.Telemetry`, and renders everything."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._take = snapshot
        self._state = _StateCollector()
        self._registry = CollectorRegistry()
        self._messages = Counter(
            "kapok_messages",
            "Messages taken in from sites, by kind: report, status, offline.",
            ["kind"],
            registry=self._registry,
        )
        self._bad_messages = Counter(
            "kapok_bad_messages",
            "Messages that were refused, by kind: malformed, too-large, too-deep, algorithm, "
            "unknown-key, unknown-site, signature, wrong-site, stale, digest.",
            ["kind"],
            registry=self._registry,
        )
        self._attempts = Counter(
            "kapok_schedule_attempts",
            "Looks at a workload, by result: placed, waiting, refused, completed, unchanged, "
            "not-accepted, deleted, error.",
            ["result"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "kapok_decision_duration_seconds",
            "From taking a workload off the queue to its status written, by result.",
            ["result"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._invalid = Counter(
            "kapok_invalid_objects",
            "Objects in the hub that do not decode, by kind.",
            ["kind"],
            registry=self._registry,
        )
        self._orders = Counter(
            "kapok_orders_published", "Contents of orders sent to sites.", registry=self._registry
        )
        self._indexes = Counter(
            "kapok_indexes_published", "Indexes sent to sites.", registry=self._registry
        )
        self._registry.register(self._state)

    def look(self) -> None:
        """Takes the snapshot that the next `render` shows; on the event loop, where state lives."""
        self._state.now = self._take()

    def render(self) -> bytes:
        """The exposition text; may run on any thread."""
        return generate_latest(self._registry)

    def bad_message(self, kind: str) -> None:
        """A message from the broker was refused."""
        self._bad_messages.labels(kind).inc()

    def message(self, kind: str) -> None:
        """A message was taken in."""
        self._messages.labels(kind).inc()

    def attempt(self, result: str, seconds: float) -> None:
        """A workload was looked at."""
        self._attempts.labels(result).inc()
        self._durations.labels(result).observe(seconds)

    def invalid_object(self, kind: str) -> None:
        """The hub holds an object of ours that does not decode."""
        self._invalid.labels(kind).inc()

    def order_published(self) -> None:
        """An order's content went out."""
        self._orders.inc()

    def index_published(self) -> None:
        """A site's index went out."""
        self._indexes.inc()


class _StateCollector:
    """Gauges over the last snapshot."""

    def __init__(self) -> None:
        self.now: Snapshot | None = None

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the snapshot may not exist yet."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """All gauges."""
        now = self.now
        if now is None:
            return
        yield InfoMetricFamily("kapok_build", "What runs.", {"version": now.version})
        yield _one("kapok_epoch", "Epoch of this leader.", now.epoch)
        yield _one("kapok_broker_connected", "1 while the session stands.", now.is_broker_connected)
        yield _one("kapok_outbox_messages", "Messages that wait to be published.", now.outbox)
        yield _one("kapok_pending_sites", "Strangers that report, not admitted.", now.pending_sites)
        yield _by(
            "kapok_queue_workloads",
            "Workloads by queue: active, backoff, unschedulable.",
            "queue",
            now.queue,
        )
        yield _by("kapok_workloads", "Workloads by phase.", "phase", now.phases)
        yield _by(
            "kapok_unplaced_workloads",
            "Workloads that are not placed, by reason (docs/glossary.md lists the slugs).",
            "reason",
            now.unplaced,
        )
        yield from _site_series(now.sites)


def _site_series(sites: tuple[SiteFigures, ...]) -> Iterator[Metric]:
    ready = GaugeMetricFamily("kapok_site_ready", "1 if the site reports.", labels=["site"])
    age = GaugeMetricFamily(
        "kapok_site_report_age_seconds", "Age of the site's last report.", labels=["site"]
    )
    flight = GaugeMetricFamily(
        "kapok_site_in_flight_replicas", "Ordered, and in no report yet.", labels=["site"]
    )
    free = GaugeMetricFamily(
        "kapok_site_free", "Free capacity, summed over nodes.", labels=["site", "resource"]
    )
    for site in sites:
        ready.add_metric([site.name], float(site.is_ready))
        flight.add_metric([site.name], site.in_flight_replicas)
        if site.report_age_seconds is not None:
            age.add_metric([site.name], site.report_age_seconds)
        for resource, amount in site.free.items():
            free.add_metric([site.name, resource], amount)
    yield from (ready, age, flight, free)


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _by(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
