"""The agent's metrics, rendered in Prometheus' text form (exposition format 0.0.4).

Rendered by hand: prometheus-client would add a fifth to the agent's memory for ten lines of text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.protocol.errors import WIRE_ERROR_REASONS
from agents.protocol.status import ORDER_PHASES

_SENSORS: Final = "kubernetes, namespaces, host, static, replay, rtt, exporter-NAME"

METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "kapok_agent_bad_messages_total": (
        "counter",
        (
            "Messages from the broker that could not be used, by reason: "
            f"{', '.join(WIRE_ERROR_REASONS)}; agents/protocol/errors.py says what each means"
        ),
    ),
    "kapok_agent_messages_total": (
        "counter",
        (
            "Messages by kind: desired, desired/delta, orders, hub (received); report, heartbeat, "
            "status, answer (sent)"
        ),
    ),
    "kapok_agent_empty_messages_total": (
        "counter",
        "Messages with an empty payload, which the agent ignores",
    ),
    "kapok_agent_journal_errors_total": (
        "counter",
        (
            "Messages that were dropped because the journal could not be written (disk full, "
            "read-only or failing)"
        ),
    ),
    "kapok_agent_faults_total": (
        "counter",
        (
            "Exceptions that the barrier of an edge caught, by where: message (from the broker), "
            "session (with the broker), fetch (of order contents), report, status, lease, pass "
            "(over all orders), order, inventory (one kind of the cluster's objects), sensor, "
            "question (of the hub), energy, journal (it cannot be read or written), boot (its new "
            "number cannot be written), certificate (its renewal), metrics (this page), memory "
            "(giving back what is not needed), push (a round of a push process, or the agent of "
            "one of its members)"
        ),
    ),
    "kapok_agent_connects_total": ("counter", "Connections with the broker that were established"),
    "kapok_agent_connected": ("gauge", "1 while the agent is connected with the broker"),
    "kapok_agent_executing": (
        "gauge",
        "1 while this agent holds the site's lease and applies orders",
    ),
    "kapok_agent_orders": (
        "gauge",
        (
            f"Orders by phase: {', '.join(ORDER_PHASES)}; "
            "agents/protocol/status.py says what each means"
        ),
    ),
    "kapok_agent_sensor_errors_total": (
        "counter",
        (
            f"Observations that failed, by sensor: {_SENSORS}, "
            "energy (the energy totals could not be saved)"
        ),
    ),
    "kapok_agent_sensor_seconds_total": (
        "counter",
        f"Time that observations took, by sensor: {_SENSORS}",
    ),
    "kapok_agent_sensor_missing_seconds": (
        "gauge",
        f"Time since a sensor's facts are missing, 0 while they are there, by sensor: {_SENSORS}",
    ),
    "kapok_agent_member_requests_total": (
        "counter",
        (
            "Requests to the cluster's API by verb (get, list, apply, create, update, delete, "
            "watch) and class of the response code: 2xx to 5xx, none (no response)"
        ),
    ),
    "kapok_agent_index_sequence": ("gauge", "Sequence of the index that the agent applies"),
    "kapok_agent_index_epoch": ("gauge", "Epoch of the index that the agent applies"),
    "kapok_agent_resident_memory_bytes": ("gauge", "Resident memory of this process (VmRSS)"),
    "kapok_agent_power_watts": ("gauge", "Power that the site's equipment draws, as last observed"),
    "kapok_agent_intensity_gco2_per_kwh": (
        "gauge",
        "Carbon intensity of the site's electricity, as last observed",
    ),
    "kapok_agent_it_energy_joules_total": (
        "counter",
        "Energy that the equipment has drawn since the counters on disk began",
    ),
    "kapok_agent_certificate_remaining_seconds": (
        "gauge",
        "Time until the certificate of a machine that has joined ends; negative: it has ended",
    ),
    "kapok_agent_certificate_renewals_total": (
        "counter",
        "Tries to renew the certificate, by result: renewed, failed (tried again)",
    ),
    "kapok_agent_build_info": ("gauge", "Always 1; the label is the version that runs"),
}
"""Every metric: name to (type, help text). The help text explains every label value."""

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Counters:
    """The values of all metrics of one agent."""

    _values: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Adds to a counter; `name` without the `kapok_agent_` prefix."""
        key = self._series_key(name, labels)
        self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Sets a gauge; `name` without the `kapok_agent_` prefix."""
        self._values[self._series_key(name, labels)] = value

    def clear(self, name: str) -> None:
        """Removes a metric's series: its value is unknown, which is not 0."""
        for key in [key for key in self._values if key[0] == f"kapok_agent_{name}"]:
            del self._values[key]

    def replace(self, name: str, label: str, values: Mapping[str, int]) -> None:
        """Sets a gauge for every given value of its label, and removes its other series."""
        full = f"kapok_agent_{name}"
        for key in [key for key in self._values if key[0] == full]:
            del self._values[key]
        for word, value in values.items():
            self.set(name, value, **{label: word})

    def bad_messages(self) -> dict[str, int]:
        """Number of bad messages by reason; reasons that did not occur are left out."""
        found: dict[str, int] = {}
        for reason in WIRE_ERROR_REASONS:
            value = self._values.get(self._series_key("bad_messages_total", {"reason": reason}))
            if value:
                found[reason] = int(value)
        return found

    def render(self) -> str:
        """The page of `/metrics`."""
        return render_page({"": self})

    def series_of(self, name: str) -> list[tuple[Labels, float]]:
        """The labels and values of one metric, by its full name."""
        # A copy: worker threads add to the counters meanwhile.
        values = list(self._values.items())
        return sorted((key[1], value) for key, value in values if key[0] == name)

    def _series_key(self, name: str, labels: Mapping[str, str]) -> tuple[str, Labels]:
        full = f"kapok_agent_{name}"
        if full not in METRICS:
            raise KeyError(full)  # every metric has to be in METRICS
        return full, tuple(sorted(labels.items()))


def render_page(by_site: Mapping[str, Counters]) -> str:
    """The page of `/metrics` of one agent or several.

    Args:
        by_site: the counters by the value of the label `site`; without that label for "".
    """
    lines: list[str] = []
    for name, (kind, purpose) in METRICS.items():
        lines += [f"# HELP {name} {purpose}", f"# TYPE {name} {kind}"]
        for site, counters in by_site.items():
            first: Labels = (("site", site),) if site else ()
            for labels, value in counters.series_of(name):
                lines.append(f"{name}{_format_labels((*first, *labels))} {value:.17g}")
    return "\n".join(lines) + "\n"


def _format_labels(labels: Iterable[tuple[str, str]]) -> str:
    inner = ",".join(f'{name}="{_escape_label_value(value)}"' for name, value in labels)
    return f"{{{inner}}}" if inner else ""


def _escape_label_value(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
