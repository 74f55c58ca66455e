"""The rows of sites and workloads that /api/v1 and the page show."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Any, Final

import msgspec

from scheduler.model.canonical import to_plain_json
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.figures import SiteFigures, fleet_totals, readiness_of, share_figures
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.model.maintenance import by_start
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.state_text import figures_of, free_amounts_of, to_metric_units

Row = dict[str, Any]
MAX_LIVE_ROWS: Final = 1000
"""The most rows of each table that the page receives; /api/v1 has all."""


@dataclass(frozen=True, slots=True)
class DashboardView:
    """Both tables at one instant.

    Attributes:
        summary: totals.
        sites: encoded rows by name, the first `MAX_LIVE_ROWS`.
        workloads: encoded rows by namespace/name, the first `MAX_LIVE_ROWS`.
        snapshot: what they show.
        ordered: all workloads, by namespace and name.
    """

    summary: Row
    sites: dict[str, bytes]
    workloads: dict[str, bytes]
    snapshot: StateSnapshot
    ordered: list[Workload]


@dataclass(slots=True)
class DashboardRenderer:
    """Renders views; the row of an unchanged workload is encoded once."""

    _cached_rows: dict[WorkKey, tuple[Workload, Mapping[str, int], bytes]] = field(
        default_factory=dict
    )

    def render(self, snapshot: StateSnapshot) -> DashboardView:
        """The totals and the first rows of both tables; any thread may call it, one at a time."""
        ordered = sorted(snapshot.workloads, key=_work_key)
        rows = dict(self._encode_workloads(ordered, snapshot))
        sites = {
            row["name"]: msgspec.json.encode(row)
            for row in islice(site_rows(snapshot), MAX_LIVE_ROWS)
        }
        return DashboardView(summary_of(snapshot), sites, rows, snapshot, ordered)

    def _encode_workloads(
        self, ordered: list[Workload], snapshot: StateSnapshot
    ) -> Iterator[tuple[str, bytes]]:
        kept = {}
        for workload in ordered[:MAX_LIVE_ROWS]:
            key = _work_key(workload)
            reasons = snapshot.reasons_by_workload.get(key, {})
            known = self._cached_rows.get(key)
            if known is None or known[0] is not workload or known[1] != reasons:
                row = msgspec.json.encode(workload_row(workload, reasons))
                known = (workload, reasons, row)
            kept[key] = known
            yield workload.metadata.key, known[2]
        self._cached_rows = kept


def summary_of(snapshot: StateSnapshot) -> Row:
    """Totals over all sites and workloads, shown or not."""
    return {
        "sites": len(snapshot.facts),
        "reporting": sum(snapshot.is_ready),
        "workloads": len(snapshot.workloads),
        "matching": {"sites": len(snapshot.facts), "workloads": len(snapshot.workloads)},
        "phases": dict(sorted(Counter(map(_phase, snapshot.workloads)).items())),
        "pendingSites": snapshot.unadmitted_site_count,
        **fleet_totals(figures_of(snapshot)).as_json(),
        "leading": snapshot.epoch > 0,
        "now": snapshot.at,
    }


def site_rows(snapshot: StateSnapshot, indexes: Collection[int] | None = None) -> Iterator[Row]:
    """One row per site, by name; unknown values are left out.

    Args:
        snapshot: what is shown.
        indexes: positions of the sites; None: all.
    """
    placed = Counter(
        site
        for workload in snapshot.workloads
        for site in {s for group in workload.status.placement.groups for s in group.sites}
    )
    figures = figures_of(snapshot)
    for index, facts in enumerate(snapshot.facts):
        if indexes is None or index in indexes:
            yield {
                **site_row(snapshot, index, figures[index]),
                **usage_fields(snapshot, index),
                "workloads": placed[facts.name],
            }


def site_row(snapshot: StateSnapshot, index: int, figures: SiteFigures) -> Row:
    """What of a site is seen by all who may see sites; unknown values are left out."""
    facts = snapshot.facts[index]
    row = {
        "name": facts.name,
        "reporting": snapshot.is_ready[index],
        "health": snapshot.healths[index],
        "healthSince": snapshot.health_changed_at[index],
        "observedAt": facts.status.observed_at,
        "tier": facts.spec.tier,
        "province": facts.spec.location.province,
        "city": facts.spec.location.city,
        "cordon": facts.spec.is_cordoned,
        **_operations_fields(facts),
        "free": free_amounts_of(snapshot, index, figures),
        "freeCpu": figures.free_cpu,
        **_energy_fields(facts, figures),
    }
    return _without_unknown(row)


def usage_fields(snapshot: StateSnapshot, index: int) -> Row:
    """What the workloads of all tenants use at a site."""
    return {
        "used": {
            name: to_metric_units(name, values[index])
            for name, values in snapshot.used_by_resource.items()
            if values[index]
        },
        "inFlightReplicas": snapshot.facts[index].replicas_in_flight,
    }


def _operations_fields(facts: SiteFacts) -> Row:
    """The drain of a site and its maintenance windows, if it has any."""
    spec, fields = facts.spec, dict[str, Any]()
    if spec.drain is not None:
        fields["drain"] = to_plain_json(spec.drain)
    if spec.maintenance:
        fields["maintenance"] = [to_plain_json(one) for one in by_start(spec.maintenance)]
    return fields


def report_ages_seconds(snapshot: StateSnapshot) -> dict[str, float]:
    """Age in seconds of each site's last report, by name; only sites that have reported."""
    pairs = zip(snapshot.facts, snapshot.ages_seconds, strict=True)
    return {facts.name: round(age, 1) for facts, age in pairs if isfinite(age)}


def workload_row(workload: Workload, reasons: Mapping[str, int]) -> Row:
    """The row of one workload; `reasons` counts its sites by first reason of refusal."""
    status, meta = workload.status, workload.metadata
    decision = status.decision
    return _without_unknown(
        {
            "namespace": meta.namespace,
            "name": meta.name,
            "phase": _phase(workload),
            "dataClass": workload.spec.data_class,
            "sites": [
                _without_unknown(
                    {
                        "name": share.site,
                        "replicas": share.replicas,
                        "ready": share.ready,
                        "phase": share.phase,
                        "message": share.message,
                    }
                )
                for share in share_figures(status)
            ],
            "replicas": status.replicas,
            "ready": status.ready,
            "readiness": readiness_of(status),
            "reasons": dict(reasons),
            "reason": status.reason,
            "line": decision.line if decision else None,
            "decision": decision.name if decision else None,
            "decidedAt": decision.decided_at if decision else None,
            "createdAt": meta.creation_timestamp,
            "failover": _failover_fields(status),
        }
    )


def _failover_fields(status: WorkloadStatus) -> Row | None:
    """What failover did or waits for; None: nothing."""
    condition = next((one for one in status.conditions if one.type == "Failover"), None)
    moved = status.failover.moved if status.failover else ()
    unready = status.failover.unready if status.failover else ()
    if condition is None and not moved and not unready:
        return None
    return _without_unknown(
        {
            "reason": condition.reason if condition else None,
            "message": condition.message if condition else None,
            "moved": [
                _without_unknown(
                    {
                        "from": one.site,
                        "to": list(one.to),
                        "replicas": one.replicas,
                        "at": one.at,
                        "silentSince": one.silent_since,
                        "by": one.by or None,
                    }
                )
                for one in moved
            ],
            "unready": [
                _without_unknown(
                    {
                        "from": one.site,
                        "to": list(one.to),
                        "replicas": one.replicas,
                        "reason": one.reason,
                        "at": one.at,
                        "movedBack": one.failed or None,
                    }
                )
                for one in unready
            ]
            or None,
        }
    )


def _work_key(workload: Workload) -> WorkKey:
    return (workload.metadata.namespace, workload.metadata.name)


def _phase(workload: Workload) -> str:
    return workload.status.phase or "Pending"


def _energy_fields(facts: SiteFacts, figures: SiteFigures) -> Row:
    power, intensity = facts.status.power, facts.status.intensity
    return {
        "watts": figures.watts,
        "wattsOrigin": power.origin if power and figures.watts is not None else None,
        "gco2PerKwh": figures.gco2_per_kwh,
        "gco2PerKwhOrigin": intensity.origin
        if intensity and figures.gco2_per_kwh is not None
        else None,
        "gco2PerHour": figures.gco2_per_hour,
    }


def _without_unknown(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None and value != ""}
