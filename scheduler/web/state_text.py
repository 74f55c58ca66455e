"""Formats a snapshot as exposition text (Prometheus' format 0.0.4).

It does not use prometheus-client, which takes five microseconds per series: 1,000 sites have about
15,000 series. Label values are names of sites (DNS names) and words of closed lists, which need no
escaping; names of places are free text, and are escaped.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Final

from scheduler import __version__
from scheduler.control.stats.refusals import count_refusals
from scheduler.model.figures import SiteFigures, site_figures
from scheduler.model.quantities import CPU, MILLI_PER_UNIT
from scheduler.model.reasons import REASONS
from scheduler.model.site_health import HEALTH_NAMES
from scheduler.model.storm import FREEZE_REASONS
from scheduler.placement.kernel import loader as compiled
from scheduler.runtime.printable import printable
from scheduler.web.metric_definitions.all_metrics import STATE_METRICS
from scheduler.web.metric_definitions.definition import HUB_PROBLEM_REASONS, METRIC_RESOURCES
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.tenant_series import tenant_series

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
    figures = figures_of(snapshot)
    python = platform.python_version()
    build = f'{{version="{__version__}",python="{python}",kernel="{compiled.MODE}"}}'
    return {
        "kapok_build_info": [build + " 1"],
        "kapok_leader": [f" {int(snapshot.epoch > 0)}"],
        "kapok_epoch": [f" {snapshot.epoch}"],
        "kapok_hub_problem": _label_series(
            "reason", {one: int(one == snapshot.hub_problem) for one in HUB_PROBLEM_REASONS}
        ),
        **_storm_series(snapshot),
        "kapok_broker_connected": [f" {int(snapshot.is_broker_connected)}"],
        "kapok_outbox_messages": [f" {snapshot.outbox_messages}"],
        "kapok_unknown_orders": [f" {snapshot.unknown_orders}"],
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
        "kapok_site_health": _label_series(
            "health", {name: snapshot.healths.count(name) for name in HEALTH_NAMES}
        ),
        **tenant_series(snapshot),
        "kapok_site_info": _info_series(snapshot),
        "kapok_site_ready": _site_series(snapshot, [int(one) for one in snapshot.is_ready]),
        "kapok_site_report_age_seconds": _site_series(
            snapshot, [round(one, 3) for one in snapshot.ages_seconds]
        ),
        "kapok_site_in_flight_replicas": _site_series(
            snapshot, [facts.replicas_in_flight for facts in snapshot.facts]
        ),
        "kapok_site_free": _free_series(snapshot, figures),
        "kapok_site_used": _used_series(snapshot),
        "kapok_site_power_watts": _power_series(snapshot, figures),
        "kapok_site_intensity_gco2_per_kwh": _intensity_series(snapshot, figures),
        "kapok_site_emission_gco2_per_hour": _site_series(
            snapshot, [one.gco2_per_hour for one in figures]
        ),
    }


def figures_of(snapshot: StateSnapshot) -> list[SiteFigures]:
    """The figures of each site, in the order of `facts`."""
    return [
        site_figures(facts.spec, facts.status, is_reporting=is_ready)
        for facts, is_ready in zip(snapshot.facts, snapshot.is_ready, strict=True)
    ]


def to_metric_units(resource: str, value: float) -> float:
    """Converts an amount of the model to the units of metrics: cores instead of millicores."""
    return value / MILLI_PER_UNIT if resource == CPU else value


def _label_series(label: str, values: Mapping[str, int]) -> Series:
    return [f'{{{label}="{word}"}} {value}' for word, value in sorted(values.items())]


def _storm_series(snapshot: StateSnapshot) -> dict[str, Series]:
    """What holds evictions back; a scheduler that stands by evicts nothing anyway."""
    freeze, is_leader = snapshot.storm.freeze, snapshot.epoch > 0
    reason = freeze.reason if freeze and is_leader else ""
    return {
        "kapok_evictions_frozen": _label_series(
            "reason", {one: int(one == reason) for one in FREEZE_REASONS}
        ),
        "kapok_evictions_per_second": [f" {snapshot.storm.per_second if is_leader else 0.0}"],
        "kapok_evictions_held_domains": [f" {len(snapshot.storm.held) if is_leader else 0}"],
        "kapok_sites_healthy_ratio": [f" {snapshot.storm.healthy_ratio if is_leader else 0.0}"],
    }


def _site_series(snapshot: StateSnapshot, values: Iterable[float | None]) -> Series:
    return [
        f'{{site="{facts.name}"}} {value}'
        for facts, value in zip(snapshot.facts, values, strict=True)
        if value is not None and isfinite(value)
    ]


def _info_series(snapshot: StateSnapshot) -> Series:
    for facts in snapshot.facts:
        place = facts.spec.location
        province, city = escape_label(place.province), escape_label(place.city)
        labels = f'site="{facts.name}",province="{province}",city="{city}",tier="{facts.spec.tier}"'
        yield f"{{{labels}}} 1"


def escape_label(text: str) -> str:
    """Free text as the value of a label: Prometheus' escapes, and no other control character."""
    shown = printable(text, keep_newlines=True)
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


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
        "Schedulable": sum(not facts.spec.is_cordoned for facts in snapshot.facts),
    }
    for condition, count in holds.items():
        yield f'{{condition="{condition}",status="true"}} {count}'
        yield f'{{condition="{condition}",status="false"}} {len(snapshot.facts) - count}'


def _free_series(snapshot: StateSnapshot, figures: list[SiteFigures]) -> Iterator[str]:
    amounts = [free_amounts_of(snapshot, index, one) for index, one in enumerate(figures)]
    for resource in METRIC_RESOURCES:
        for facts, free in zip(snapshot.facts, amounts, strict=True):
            if resource in free:
                yield f'{{site="{facts.name}",resource="{resource}"}} {free[resource]}'


def free_amounts_of(snapshot: StateSnapshot, index: int, figures: SiteFigures) -> dict[str, float]:
    """Free amounts of one site in the units of metrics, as far as they are known.

    A resource that no node row of the site names is not known, and nothing is while it is silent.
    """
    if not snapshot.is_ready[index]:
        return {}
    classes = snapshot.facts[index].status.node_classes
    named = {name for one in classes for row in one.free for name in row}
    free = {
        name: float(sums[index])
        for name, sums in snapshot.free_by_resource.items()
        if name in named and name != CPU
    }
    return free if figures.free_cores is None else {CPU: figures.free_cores, **free}


def _used_series(snapshot: StateSnapshot) -> Iterator[str]:
    """Every site has a series: usage is never unknown, without replicas it is 0."""
    for resource, amounts in snapshot.used_by_resource.items():
        for facts, value in zip(snapshot.facts, amounts, strict=True):
            amount = to_metric_units(resource, value)
            yield f'{{site="{facts.name}",resource="{resource}"}} {amount}'


def _power_series(snapshot: StateSnapshot, figures: list[SiteFigures]) -> Iterator[str]:
    for facts, one in zip(snapshot.facts, figures, strict=True):
        if one.watts is not None and facts.status.power is not None:
            yield f'{{site="{facts.name}",origin="{facts.status.power.origin}"}} {one.watts}'


def _intensity_series(snapshot: StateSnapshot, figures: list[SiteFigures]) -> Iterator[str]:
    for facts, one in zip(snapshot.facts, figures, strict=True):
        if one.gco2_per_kwh is not None and facts.status.intensity is not None:
            labels = f'site="{facts.name}",origin="{facts.status.intensity.origin}"'
            yield f"{{{labels}}} {one.gco2_per_kwh}"
