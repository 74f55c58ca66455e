"""The counters of the control loops, and the text that Prometheus scrapes.

The loops write counters and histograms through the port `Telemetry`; prometheus-client keeps them.
Metrics that describe state are made when a client scrapes: from a snapshot that is taken on the
event loop, rendered on another thread.
"""

from collections.abc import Callable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from scheduler.runtime.clock import Clock
from scheduler.web.metric_definitions.recorded import RECORDED_METRICS
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.state_text import format_state

_LAG_SAMPLE_SECONDS = 0.25
_MAX_SERIES = 256  # of one counter; a further combination of labels is counted as "other"


class Metrics:
    """Implements `scheduler.control.ports.telemetry.Telemetry`, and renders all metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._label_sets: dict[str, set[tuple[str, ...]]] = {}
        self._counter_series: dict[tuple[str, ...], Counter] = {}
        self._histogram_series: dict[tuple[str, ...], Histogram] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, one in RECORDED_METRICS.items():
            if one.type == "histogram":
                self._histograms[name] = Histogram(
                    name, one.help_text, one.labels, buckets=one.buckets, registry=self._registry
                )
            elif one.type == "gauge":
                self._gauges[name] = Gauge(name, one.help_text, one.labels, registry=self._registry)
            else:
                self._counters[name] = Counter(
                    name, one.help_text, one.labels, registry=self._registry
                )
            for value in one.values:  # series of closed lists exist from the start, at 0
                self._series(name).labels(value)
        ProcessCollector(registry=self._registry)

    def _series(self, name: str) -> Counter | Gauge | Histogram:
        return self._counters.get(name) or self._gauges.get(name) or self._histograms[name]

    def render(self, snapshot: StateSnapshot) -> bytes:
        """The exposition text (format 0.0.4); may run on any thread."""
        return generate_latest(_WithoutCreated(self._registry)) + format_state(snapshot).encode()

    def count_bad_message(self, kind: str) -> None:
        """Counts a refused message from the broker."""
        self._count("kapok_bad_messages_total", kind)

    def count_epoch_claim(self, result: str) -> None:
        """Counts a site's claim of a later index than ours."""
        self._count("kapok_epoch_claims_total", result)

    def count_dropped_messages(self, reason: str, count: int) -> None:
        """Counts messages that were dropped before they were verified."""
        self._counters["kapok_dropped_messages_total"].labels(reason).inc(count)

    def count_message(self, kind: str) -> None:
        """Counts an accepted message from a site."""
        self._count("kapok_messages_total", kind)

    def count_health_change(self, health: str) -> None:
        """Counts a change of a site's health."""
        self._count("kapok_site_health_changes_total", health)

    def count_freeze(self, reason: str) -> None:
        """Counts a freeze of evictions."""
        self._count("kapok_eviction_freezes_total", reason)

    def count_fault(self, where: str) -> None:
        """Counts a fault that an edge caught."""
        self._count("kapok_faults_total", where)

    def count_join(self, result: str) -> None:
        """Counts a request of a machine that joins."""
        self._count("kapok_join_requests_total", result)

    def observe_attempt(self, result: str, seconds: float) -> None:
        """Counts an attempt to schedule a workload, and its duration."""
        self._count("kapok_schedule_attempts_total", result)
        self._observe("kapok_e2e_scheduling_duration_seconds", seconds, result)

    def observe_decision(self, seconds: float) -> None:
        """Observes the duration of a decision alone."""
        self._observe("kapok_scheduling_algorithm_duration_seconds", seconds)

    def observe_time_to_placed(self, seconds: float) -> None:
        """Observes the time from first seeing a spec to its placement."""
        self._observe("kapok_admission_wait_time_seconds", seconds)

    def observe_time_to_running(self, seconds: float) -> None:
        """Observes the time from first seeing a spec to Running or Completed."""
        self._observe("kapok_ready_wait_time_seconds", seconds)

    def observe_batch(self, result: str, seconds: float) -> None:
        """Counts a batch and observes its duration."""
        self._count("kapok_batches_total", result)
        self._observe("kapok_batch_duration_seconds", seconds)

    def set_scarcity(self, *, number: int, workloads: int, prices: int, ratio: float) -> None:
        """Sets the gauges of the scarcity prices in force; all are 0 while there are none."""
        self._gauges["kapok_batch_number"].set(number)
        self._gauges["kapok_batch_workloads"].set(workloads)
        self._gauges["kapok_scarcity_prices"].set(prices)
        self._gauges["kapok_batch_achieved_ratio"].set(ratio)

    def count_eviction(self, reason: str) -> None:
        """Counts a replacement that failover decided."""
        self._count("kapok_evictions_total", reason)

    def observe_survival(
        self, seconds: float, *, survived: int, not_survived: int, unknown: int
    ) -> None:
        """Observes a judgement of the loss of every site."""
        self._histograms["kapok_survival_duration_seconds"].observe(seconds)
        self._gauges["kapok_survived_losses"].set(survived)
        self._gauges["kapok_unsurvived_losses"].set(not_survived)
        self._gauges["kapok_unknown_losses"].set(unknown)

    def set_domain_losses(self, of: str, *, survived: int, not_survived: int, unknown: int) -> None:
        """Sets for how many provinces, cities or providers what is known of their loss."""
        self._gauges["kapok_survived_domain_losses"].labels(of).set(survived)
        self._gauges["kapok_unsurvived_domain_losses"].labels(of).set(not_survived)
        self._gauges["kapok_unknown_domain_losses"].labels(of).set(unknown)

    def set_waiting_evictions(self, count: int) -> None:
        """Sets how many replacements are due and not ordered yet."""
        self._gauges["kapok_waiting_evictions"].set(count)

    def count_invalid_object(self, kind: str) -> None:
        """Counts an object of ours in the hub that cannot be decoded."""
        self._count("kapok_invalid_objects_total", kind)

    def count_violation(self, reason: str, treatment: str) -> None:
        """Counts replicas at a site that break a rule about rights."""
        self._count("kapok_violations_total", reason, treatment)

    def count_order_published(self) -> None:
        """Counts a published order content."""
        self._count("kapok_orders_published_total")

    def count_index_published(self) -> None:
        """Counts a published index of a site."""
        self._count("kapok_indexes_published_total")

    def count_api_request(self, verb: str, code: str) -> None:
        """Counts a request to the hub's API by its status code."""
        self._count("kapok_api_requests_total", verb, code)

    def count_hub_problem(self, reason: str) -> None:
        """Counts a request that the hub did not serve."""
        self._count("kapok_hub_failed_requests_total", reason)

    def count_lost_lease(self) -> None:
        """Counts a term that ended because the lease was lost."""
        self._count("kapok_hub_lost_leases_total")

    def count_late_status(self) -> None:
        """Counts a status that a former leader wrote."""
        self._count("kapok_hub_late_statuses_total")

    def count_standard_write(self, kind: str, result: str) -> None:
        """Counts a write of an object that other tools read."""
        self._count("kapok_standard_writes_total", kind, result)

    def observe_loop_lag(self, seconds: float) -> None:
        """Observes how much later than asked the event loop woke a task."""
        self._observe("kapok_event_loop_lag_seconds", seconds)

    def _count(self, name: str, *labels: str) -> None:
        # Each step of each workload counts something; to look a series up by its labels costs
        # several times what counting does.
        series = self._counter_series.get((name, *labels))
        if series is None:
            series = self._counter_of(name, labels)
            if not labels or labels in self._label_sets[name]:
                self._counter_series[name, *labels] = series
        series.inc()

    def _counter_of(self, name: str, labels: tuple[str, ...]) -> Counter:
        """The series of a counter; of too many labels the one that stands for the others."""
        counter = self._counters[name]
        if not labels:
            return counter
        known = self._label_sets.setdefault(name, set())
        if labels not in known:
            if len(known) >= _MAX_SERIES:
                labels = ("other",) * len(labels)
            known.add(labels)
        return counter.labels(*labels)

    def _observe(self, name: str, seconds: float, *labels: str) -> None:
        series = self._histogram_series.get((name, *labels))
        if series is None:
            histogram = self._histograms[name]
            series = histogram.labels(*labels) if labels else histogram
            self._histogram_series[name, *labels] = series
        series.observe(seconds)


class _WithoutCreated(Collector):
    """Leaves out the `_created` series of OpenMetrics, which format 0.0.4 does not have."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """All metrics of the registry."""
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


async def watch_loop_lag(clock: Clock, observe: Callable[[float], None]) -> None:
    """Observes four times a second how much too late the event loop wakes a task.

    Runs until cancelled.
    """
    while True:
        wake_at = clock.monotonic() + _LAG_SAMPLE_SECONDS
        await clock.sleep(_LAG_SAMPLE_SECONDS)
        observe(max(0.0, clock.monotonic() - wake_at))
