"""What the loops count, and the page that Prometheus reads.

Counters and histograms are written by the loops through `Telemetry` and kept by prometheus-client.
What describes a state is taken as a snapshot on the event loop when somebody asks, and becomes text
on another thread.
"""

from collections.abc import Iterator

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

from scheduler.web.definitions import RECORDED_METRICS
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.state_text import format_state


class Metrics:
    """Implements `scheduler.control.ports.telemetry.Telemetry`, and renders everything."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, one in RECORDED_METRICS.items():
            if one.type == "histogram":
                self._histograms[name] = Histogram(
                    name, one.help_text, one.labels, buckets=one.buckets, registry=self._registry
                )
            elif one.type == "gauge":
                self._gauges[name] = Gauge(name, one.help_text, registry=self._registry)
            else:
                self._counters[name] = Counter(
                    name, one.help_text, one.labels, registry=self._registry
                )
            for value in one.values:
                (self._counters.get(name) or self._histograms[name]).labels(value)
        ProcessCollector(registry=self._registry)

    def render(self, snapshot: StateSnapshot) -> bytes:
        """The exposition text (format 0.0.4); may run on any thread."""
        return generate_latest(_WithoutCreated(self._registry)) + format_state(snapshot).encode()

    def count_bad_message(self, kind: str) -> None:
        """A message from the broker was refused."""
        self._count("kapok_bad_messages_total", kind)

    def count_message(self, kind: str) -> None:
        """A message was taken in."""
        self._count("kapok_messages_total", kind)

    def observe_attempt(self, result: str, seconds: float) -> None:
        """A workload was looked at."""
        self._count("kapok_schedule_attempts_total", result)
        self._observe("kapok_e2e_scheduling_duration_seconds", seconds, result)

    def observe_decision(self, seconds: float) -> None:
        """How long the decision alone took."""
        self._observe("kapok_scheduling_algorithm_duration_seconds", seconds)

    def observe_time_to_placed(self, seconds: float) -> None:
        """A spec was placed so long after it was first seen."""
        self._observe("kapok_admission_wait_time_seconds", seconds)

    def observe_time_to_running(self, seconds: float) -> None:
        """A spec runs, or has run, so long after it was first seen."""
        self._observe("kapok_ready_wait_time_seconds", seconds)

    def observe_batch(self, result: str, seconds: float) -> None:
        """A batch was taken."""
        self._count("kapok_batches_total", result)
        self._observe("kapok_batch_duration_seconds", seconds)

    def set_scarcity(self, *, number: int, workloads: int, prices: int, ratio: float) -> None:
        """The prices that count from now on."""
        self._gauges["kapok_batch_number"].set(number)
        self._gauges["kapok_batch_workloads"].set(workloads)
        self._gauges["kapok_scarcity_prices"].set(prices)
        self._gauges["kapok_batch_achieved_ratio"].set(ratio)

    def count_invalid_object(self, kind: str) -> None:
        """The hub holds an object of ours that does not decode."""
        self._count("kapok_invalid_objects_total", kind)

    def count_violation(self, reason: str, treatment: str) -> None:
        """What runs at a site breaks a right."""
        self._count("kapok_violations_total", reason, treatment)

    def count_order_published(self) -> None:
        """An order's content went out."""
        self._count("kapok_orders_published_total")

    def count_index_published(self) -> None:
        """A site's index went out."""
        self._count("kapok_indexes_published_total")

    def count_api_request(self, verb: str, code: str) -> None:
        """The hub was asked, and answered with this status code."""
        self._count("kapok_api_requests_total", verb, code)

    def observe_loop_lag(self, seconds: float) -> None:
        """The event loop came back so much later than asked."""
        self._observe("kapok_event_loop_lag_seconds", seconds)

    def _count(self, name: str, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc()

    def _observe(self, name: str, seconds: float, *labels: str) -> None:
        histogram = self._histograms[name]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)


class _WithoutCreated(Collector):
    """Leaves out OpenMetrics' `_created` series, which tell nobody anything in this format."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """All metrics of the registry."""
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric
