"""Formats a snapshot as exposition text (Prometheus' format 0.0.4).

It does not use prometheus-client, which takes five microseconds per series: 1,000 sites have about
15,000 series. Label values are names of sites (DNS names) and words of closed lists, which need no
escaping.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Final

from scheduler import __version__
from scheduler.control.stats.refusals import count_refusals
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.quantities import CPU, MILLI_PER_UNIT
from scheduler.model.reasons import REASONS
from scheduler.model.units import WATTS_PER_KILOWATT
from scheduler.placement.kernel import loader as compiled
from scheduler.web.definitions import METRIC_RESOURCES, STATE_METRICS
from scheduler.web.snapshot import StateSnapshot

KNOWN_ORDER_PHASES: Final = frozenset(
    {
        "Fetching",
        "Applying",
        "Applied",
        "Ready",
        "Finished",
        "Failed",
        "Conflict",
        "Refused",
        "Withdrawing",
    }
)
"""Phases of orders in the wire schema; a newer agent may send others."""


def format_state(snapshot: StateSnapshot) -> str:
    """The series of all `STATE_METRICS` that have a value now, with HELP and TYPE lines."""
    lines: list[str] = []
    for name, series in _metric_families(snapshot).items():
        definition = STATE_METRICS[name]
        lines.append(f"# HELP {name} {definition.help_text}")
        lines.append(f"# TYPE {name} {definition.type}")
        lines += [name + one for one in series]
    return "\n".join(lines) + "\n"


Series = Iterable[str]
"""Labels in braces, and the value. Strings: 15,000 tuples would trigger the garbage collector."""


def _metric_families(snapshot: StateSnapshot) -> dict[str, Series]:
    python = platform.python_version()
    build = f'{{version="{__version__}",python="{python}",kernel="{compiled.MODE}"}}'
    return {
        "kapok_build_info": [build + " 1"],
        "kapok_leader": [f" {int(snapshot.epoch > 0)}"],
        "kapok_epoch": [f" {snapshot.epoch}"],
        "kapok_broker_connected": [f" {int(snapshot.is_broker_connected)}"],
        "kapok_outbox_messages": [f" {snapshot.outbox_messages}"],
        "kapok_pending_sites": [f" {snapshot.unadmitted_site_count}"],
        "kapok_pending_workloads": _label_series("queue", snapshot.queue_depths),
        "kapok_workloads": _label_series(
            "phase", Counter(one.status.phase or "Pending" for one in snapshot.workloads)
        ),
        "kapok_unplaced_workloads": _label_series(
            "reason",
            Counter(reason for reasons in snapshot.unschedulable_reasons for reason in reasons),
        ),
        "kapok_violating_workloads": _label_series("reason", _count_violations(snapshot)),
        "kapok_site_unplaced_workloads": _refusal_series(snapshot),
        "kapok_orders": _label_series("phase", _count_order_phases(snapshot)),
        "kapok_sites": _condition_series(snapshot),
        "kapok_site_ready": _site_series(snapshot, [int(one) for one in snapshot.is_ready]),
        "kapok_site_report_age_seconds": _site_series(
            snapshot, [round(one, 3) for one in snapshot.ages_seconds]
        ),
        "kapok_site_in_flight_replicas": _site_series(
            snapshot, [facts.replicas_in_flight for facts in snapshot.facts]
        ),
        "kapok_site_free": _free_series(snapshot),
        "kapok_site_used": _used_series(snapshot),
        "kapok_site_power_watts": _power_series(snapshot),
        "kapok_site_intensity_gco2_per_kwh": _intensity_series(snapshot),
        "kapok_site_emission_gco2_per_hour": _site_series(
            snapshot, [emission_gco2_per_hour(one) for one in snapshot.facts]
        ),
    }


def emission_gco2_per_hour(facts: SiteFacts) -> float | None:
    """The site's emission in gCO2 per hour; None when power, PUE or intensity is unknown.

    Location-based: power x PUE x average intensity (GHG Protocol, Scope 2 Guidance).
    """
    power, intensity, pue = facts.status.power, facts.status.intensity, facts.spec.energy.pue
    if power is None or power.watts is None or pue is None:
        return None
    if intensity is None or intensity.gco2_per_kwh is None:
        return None
    return power.watts * pue * intensity.gco2_per_kwh / WATTS_PER_KILOWATT


def to_metric_units(resource: str, value: float) -> float:
    """Converts an amount of the model to the units of metrics: cores instead of millicores."""
    return value / MILLI_PER_UNIT if resource == CPU else value


def _label_series(label: str, values: Mapping[str, int]) -> Series:
    return [f'{{{label}="{word}"}} {value}' for word, value in sorted(values.items())]


def _site_series(snapshot: StateSnapshot, values: Iterable[float | None]) -> Series:
    return [
        f'{{site="{facts.name}"}} {value}'
        for facts, value in zip(snapshot.facts, values, strict=True)
        if value is not None and isfinite(value)
    ]


def _refusal_series(snapshot: StateSnapshot) -> Series:
    for slot, reason, workloads in count_refusals(snapshot.refusals):
        name = snapshot.names_by_slot[slot] if slot < len(snapshot.names_by_slot) else ""
        if name:
            yield f'{{site="{name}",reason="{reason}"}} {workloads}'


def _count_violations(snapshot: StateSnapshot) -> Counter[str]:
    found = ({g.violates for g in one.status.placement.groups} for one in snapshot.workloads)
    words = (reason for reasons in found for reason in reasons if reason)
    # A status is written by every client with that right, and holds any text.
    return Counter(word if word in REASONS else "other" for word in words)


def _count_order_phases(snapshot: StateSnapshot) -> Counter[str]:
    counts = Counter(
        order.phase for status in snapshot.order_statuses for order in status.orders.values()
    )
    counts_by_phase = Counter({phase: counts.pop(phase, 0) for phase in sorted(KNOWN_ORDER_PHASES)})
    counts_by_phase["other"] = counts.total()
    return counts_by_phase


def _condition_series(snapshot: StateSnapshot) -> Iterator[str]:
    holds = {
        "Ready": sum(snapshot.is_ready),
        "Fresh": sum(age <= snapshot.stale_after_seconds for age in snapshot.ages_seconds),
        "Executor": sum(facts.has_executor for facts in snapshot.facts),
        "FreshnessProven": snapshot.lacks_nonces.count(False),
        "Schedulable": sum(not facts.spec.cordon for facts in snapshot.facts),
    }
    for condition, count in holds.items():
        yield f'{{condition="{condition}",status="true"}} {count}'
        yield f'{{condition="{condition}",status="false"}} {len(snapshot.facts) - count}'


def _free_series(snapshot: StateSnapshot) -> Iterator[str]:
    """A resource that no node row of a site names is unknown there, so it has no series."""
    reported = [reported_resources(facts) for facts in snapshot.facts]
    for resource in METRIC_RESOURCES:
        sums = snapshot.free_by_resource.get(resource)
        if sums is None:
            continue
        for facts, names, value in zip(snapshot.facts, reported, sums.tolist(), strict=True):
            if resource in names:
                shown = to_metric_units(resource, value)
                yield f'{{site="{facts.name}",resource="{resource}"}} {shown}'


def reported_resources(facts: SiteFacts) -> set[str]:
    """The resources that the node rows of a site's last report name."""
    return {name for one in facts.status.node_classes for row in one.free for name in row}


def _used_series(snapshot: StateSnapshot) -> Iterator[str]:
    """Every site has a series: usage is never unknown, without replicas it is 0."""
    for resource, amounts in snapshot.used_by_resource.items():
        for facts, value in zip(snapshot.facts, amounts, strict=True):
            amount = to_metric_units(resource, value)
            yield f'{{site="{facts.name}",resource="{resource}"}} {amount}'


def _power_series(snapshot: StateSnapshot) -> Iterator[str]:
    for facts in snapshot.facts:
        power = facts.status.power
        if power is not None and power.watts is not None:
            yield f'{{site="{facts.name}",origin="{power.origin}"}} {power.watts}'


def _intensity_series(snapshot: StateSnapshot) -> Iterator[str]:
    for facts in snapshot.facts:
        intensity = facts.status.intensity
        if intensity is not None and intensity.gco2_per_kwh is not None:
            labels = f'site="{facts.name}",origin="{intensity.origin}"'
            yield f"{{{labels}}} {intensity.gco2_per_kwh}"
