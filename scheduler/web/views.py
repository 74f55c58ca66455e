"""Sites and workloads as rows: what /api/v1 and the page show."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Any, Final

import msgspec

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.web.snapshot import Snapshot
from scheduler.web.state_text import amount, emission

Row = dict[str, Any]
LIVE_ROWS: Final = 1000
"""Most rows of each table that the page is sent; /api/v1 has them all."""


@dataclass(frozen=True, slots=True)
class View:
    """Both tables at one moment.

    Attributes:
        summary: totals.
        sites: encoded rows by name, the first `LIVE_ROWS`.
        workloads: encoded rows by namespace/name, the first `LIVE_ROWS`.
    """

    summary: Row
    sites: dict[str, bytes]
    workloads: dict[str, bytes]


@dataclass(slots=True)
class Views:
    """Makes views; a workload that has not changed is encoded once."""

    _rows: dict[WorkKey, tuple[Workload, Mapping[str, int], bytes]] = field(default_factory=dict)

    def view(self, now: Snapshot) -> View:
        """The first rows of both tables, and totals; may run on any thread, one at a time."""
        ordered = sorted(now.workloads, key=_key)
        rows = dict(self._encoded(ordered, now))
        sites = {row["name"]: msgspec.json.encode(row) for row in islice(site_rows(now), LIVE_ROWS)}
        return View(summary_of(now), sites, rows)

    def _encoded(self, ordered: list[Workload], now: Snapshot) -> Iterator[tuple[str, bytes]]:
        kept = {}
        for workload in ordered[:LIVE_ROWS]:
            key = _key(workload)
            reasons = now.reasons.get(key, {})
            known = self._rows.get(key)
            if known is None or known[0] is not workload or known[1] != reasons:
                row = msgspec.json.encode(workload_row(workload, reasons))
                known = (workload, reasons, row)
            kept[key] = known
            yield workload.metadata.key, known[2]
        self._rows = kept


def summary_of(now: Snapshot) -> Row:
    """Totals over all sites and workloads, shown or not."""
    emissions = [emission(facts) for facts in now.facts]
    watts = [facts.status.power.watts for facts in now.facts if facts.status.power]
    return {
        "sites": len(now.facts),
        "reporting": sum(now.is_ready),
        "workloads": len(now.workloads),
        "phases": dict(sorted(Counter(map(_phase, now.workloads)).items())),
        "pendingSites": now.pending_sites,
        "watts": _sum(watts),
        "gco2PerHour": _sum(emissions),
        "sitesOfUnknownEmission": sum(one is None for one in emissions),
        "leading": now.epoch > 0,
        "now": now.at,
    }


def site_rows(now: Snapshot) -> Iterator[Row]:
    """One row per site, by name; what is not known is absent."""
    placed = Counter(
        site
        for workload in now.workloads
        for site in {s for group in workload.status.placement.groups for s in group.sites}
    )
    for index, facts in enumerate(now.facts):
        yield _known(
            {
                "name": facts.name,
                "reporting": now.is_ready[index],
                "observedAt": facts.status.observed_at,
                "tier": facts.spec.tier,
                "province": facts.spec.location.province,
                "city": facts.spec.location.city,
                "cordon": facts.spec.cordon,
                "free": _free(facts, now, index),
                "used": {
                    name: amount(name, values[index])
                    for name, values in now.used.items()
                    if values[index]
                },
                "inFlightReplicas": facts.replicas_in_flight,
                "workloads": placed[facts.name],
                **_energy(facts),
            }
        )


def ages(now: Snapshot) -> dict[str, float]:
    """Age of each site's last report in seconds."""
    pairs = zip(now.facts, now.ages_seconds, strict=True)
    return {facts.name: round(age, 1) for facts, age in pairs if isfinite(age)}


def workload_row(workload: Workload, reasons: Mapping[str, int]) -> Row:
    """One workload: where it runs, or why it does not."""
    status, meta = workload.status, workload.metadata
    decision = status.decision
    exceptions = {one.site: one for one in status.exceptions}
    return _known(
        {
            "namespace": meta.namespace,
            "name": meta.name,
            "phase": _phase(workload),
            "dataClass": workload.spec.data_class,
            "sites": [
                _known(
                    {
                        "name": site,
                        "replicas": group.replicas,
                        "ready": exceptions[site].ready if site in exceptions else group.replicas,
                        "phase": group.phase,
                        "message": exceptions[site].message if site in exceptions else None,
                    }
                )
                for group in status.placement.groups
                for site in group.sites
            ],
            "replicas": status.replicas,
            "ready": status.ready,
            "reasons": dict(reasons),
            "reason": status.reason,
            "line": decision.line if decision else None,
            "decision": decision.id if decision else None,
            "decidedAt": decision.decided_at if decision else None,
            "createdAt": meta.creation_timestamp,
        }
    )


def _key(workload: Workload) -> WorkKey:
    return (workload.metadata.namespace, workload.metadata.name)


def _phase(workload: Workload) -> str:
    return workload.status.phase or "Pending"


def _free(facts: SiteFacts, now: Snapshot, index: int) -> Row:
    named = {name for one in facts.status.node_classes for row in one.free for name in row}
    return {
        name: amount(name, float(sums[index])) for name, sums in now.free.items() if name in named
    }


def _energy(facts: SiteFacts) -> Row:
    power, intensity = facts.status.power, facts.status.intensity
    return {
        "watts": power.watts if power else None,
        "wattsOrigin": power.origin if power and power.watts is not None else None,
        "gco2PerKwh": intensity.gco2_per_kwh if intensity else None,
        "gco2PerKwhOrigin": intensity.origin
        if intensity and intensity.gco2_per_kwh is not None
        else None,
        "gco2PerHour": emission(facts),
    }


def _sum(values: list[float | None]) -> float | None:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _known(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None and value != ""}
