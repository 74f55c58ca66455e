"""A snapshot as exposition text (Prometheus' format 0.0.4), for all that describes a state.

Written by hand: prometheus-client takes five microseconds per series, and 1,000 sites have some
15,000 of them. Label values are names of sites (DNS names) and words of closed lists: nothing to
escape.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Final

from scheduler import __version__
from scheduler.control.stats.refusals import counted
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.quantities import CPU, MILLI_PER_UNIT
from scheduler.placement.kernel import loader as compiled
from scheduler.web.definitions import READ, RESOURCES
from scheduler.web.snapshot import Snapshot

ORDER_PHASES: Final = frozenset(
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
"""Phases of orders as the wire has them; a later agent may say others."""

_WATTS_PER_KW = 1000.0


def state_text(now: Snapshot) -> str:
    """Every metric of `definitions.READ` that has a value now."""
    lines: list[str] = []
    for name, series in _families(now).items():
        definition = READ[name]
        lines.append(f"# HELP {name} {definition.meaning}")
        lines.append(f"# TYPE {name} {definition.type}")
        lines += [name + one for one in series]
    return "\n".join(lines) + "\n"


Series = Iterable[str]
"""Labels in braces and the value. Strings, since 15,000 tuples would set the collector off."""


def _families(now: Snapshot) -> dict[str, Series]:
    python = platform.python_version()
    build = f'{{version="{__version__}",python="{python}",kernel="{compiled.WORD}"}}'
    return {
        "kapok_build_info": [build + " 1"],
        "kapok_leader": [f" {int(now.epoch > 0)}"],
        "kapok_epoch": [f" {now.epoch}"],
        "kapok_broker_connected": [f" {int(now.is_broker_connected)}"],
        "kapok_outbox_messages": [f" {now.outbox}"],
        "kapok_pending_sites": [f" {now.pending_sites}"],
        "kapok_pending_workloads": _by("queue", now.queue),
        "kapok_workloads": _by(
            "phase", Counter(one.status.phase or "Pending" for one in now.workloads)
        ),
        "kapok_unplaced_workloads": _by(
            "reason", Counter(reason for reasons in now.waiting for reason in reasons)
        ),
        "kapok_violating_workloads": _by("reason", _violations(now)),
        "kapok_site_unplaced_workloads": _refusals(now),
        "kapok_orders": _by("phase", _orders(now)),
        "kapok_sites": _conditions(now),
        "kapok_site_ready": _each(now, [int(one) for one in now.is_ready]),
        "kapok_site_report_age_seconds": _each(now, [round(one, 3) for one in now.ages_seconds]),
        "kapok_site_in_flight_replicas": _each(
            now, [facts.replicas_in_flight for facts in now.facts]
        ),
        "kapok_site_free": _free(now),
        "kapok_site_used": _used(now),
        "kapok_site_power_watts": _powers(now),
        "kapok_site_intensity_gco2_per_kwh": _intensities(now),
        "kapok_site_emission_gco2_per_hour": _each(now, [emission(one) for one in now.facts]),
    }


def emission(facts: SiteFacts) -> float | None:
    """What the site's equipment emits now, in gCO2 per hour; None when a factor is not known.

    Location-based: power x PUE x average intensity (GHG Protocol, Scope 2 Guidance).
    """
    power, intensity, pue = facts.status.power, facts.status.intensity, facts.spec.energy.pue
    if power is None or power.watts is None or pue is None:
        return None
    if intensity is None or intensity.gco2_per_kwh is None:
        return None
    return power.watts * pue * intensity.gco2_per_kwh / _WATTS_PER_KW


def amount(resource: str, value: float) -> float:
    """An amount of the model in the units of metrics: cores instead of millicores."""
    return value / MILLI_PER_UNIT if resource == CPU else value


def _by(label: str, values: Mapping[str, int]) -> Series:
    return [f'{{{label}="{word}"}} {value}' for word, value in sorted(values.items())]


def _each(now: Snapshot, values: Iterable[float | None]) -> Series:
    return [
        f'{{site="{facts.name}"}} {value}'
        for facts, value in zip(now.facts, values, strict=True)
        if value is not None and isfinite(value)
    ]


def _refusals(now: Snapshot) -> Series:
    for slot, reason, workloads in counted(now.refusals):
        name = now.names_by_slot[slot] if slot < len(now.names_by_slot) else ""
        if name:
            yield f'{{site="{name}",reason="{reason}"}} {workloads}'


def _violations(now: Snapshot) -> Counter[str]:
    found = ({g.violates for g in one.status.placement.groups} for one in now.workloads)
    return Counter(reason for reasons in found for reason in reasons if reason)


def _orders(now: Snapshot) -> Counter[str]:
    said = Counter(order.phase for word in now.words for order in word.orders.values())
    known = Counter({phase: said.pop(phase, 0) for phase in sorted(ORDER_PHASES)})
    known["other"] = said.total()
    return known


def _conditions(now: Snapshot) -> Iterator[str]:
    holds = {
        "Ready": sum(now.is_ready),
        "Fresh": sum(age <= now.stale_after_seconds for age in now.ages_seconds),
        "Executor": sum(facts.has_executor for facts in now.facts),
        "Schedulable": sum(not facts.spec.cordon for facts in now.facts),
    }
    for condition, count in holds.items():
        yield f'{{condition="{condition}",status="true"}} {count}'
        yield f'{{condition="{condition}",status="false"}} {len(now.facts) - count}'


def _free(now: Snapshot) -> Iterator[str]:
    """A resource that no row of a site names is not known there, which is not zero."""
    named = [_named(facts) for facts in now.facts]
    for resource in RESOURCES:
        sums = now.free.get(resource)
        if sums is None:
            continue
        for facts, names, value in zip(now.facts, named, sums.tolist(), strict=True):
            if resource in names:
                shown = amount(resource, value)
                yield f'{{site="{facts.name}",resource="{resource}"}} {shown}'


def _named(facts: SiteFacts) -> set[str]:
    return {name for one in facts.status.node_classes for row in one.free for name in row}


def _used(now: Snapshot) -> Iterator[str]:
    """Zero is known here: what is not placed asks for nothing."""
    for resource, amounts in now.used.items():
        for facts, value in zip(now.facts, amounts, strict=True):
            yield f'{{site="{facts.name}",resource="{resource}"}} {amount(resource, value)}'


def _powers(now: Snapshot) -> Iterator[str]:
    for facts in now.facts:
        power = facts.status.power
        if power is not None and power.watts is not None:
            yield f'{{site="{facts.name}",origin="{power.origin}"}} {power.watts}'


def _intensities(now: Snapshot) -> Iterator[str]:
    for facts in now.facts:
        intensity = facts.status.intensity
        if intensity is not None and intensity.gco2_per_kwh is not None:
            labels = f'site="{facts.name}",origin="{intensity.origin}"'
            yield f"{{{labels}}} {intensity.gco2_per_kwh}"
