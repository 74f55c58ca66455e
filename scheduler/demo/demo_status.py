"""The state of all sites and workloads of a demo as one value, and when it counts as settled."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scheduler.control.ports.hub import SITES, WORKLOADS, Hub, Object
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.figures import (
    UNKNOWN_SITE,
    FleetTotals,
    SiteFigures,
    fleet_totals,
    share_figures,
    site_figures,
)
from scheduler.model.kinds.site import Site
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.model.quantities import NotAQuantity

GOOD_PHASES = frozenset({"Running", "Completed"})
EXPLAINED_PHASES = frozenset({"Waiting", "Refused"})


@dataclass(frozen=True, slots=True)
class DemoSiteStatus:
    """State of one site.

    Attributes:
        name: the site.
        is_reporting: whether its condition Ready is True.
        report_age_seconds: time since the observation of its last report; None: no report yet.
        figures: its free CPU, power and carbon, as every surface shows them.
    """

    name: str
    is_reporting: bool
    report_age_seconds: float | None
    figures: SiteFigures = UNKNOWN_SITE


@dataclass(frozen=True, slots=True)
class DemoShareStatus:
    """Replicas of a workload at one site: placed there, and ready; None: not known."""

    name: str
    replicas: int
    ready: int | None


@dataclass(frozen=True, slots=True)
class DemoWorkloadStatus:
    """State of one workload.

    Attributes:
        namespace: its namespace.
        name: its name.
        phase: `status.phase`; Pending before the first decision.
        sites: its replicas by site.
        reasons: number of sites that refuse it, by reason slug.
        line: the decision in one line.
        decision: ID of the decision's ledger record; empty: none.
        is_current: whether the status is about the newest spec.
    """

    namespace: str
    name: str
    phase: str
    sites: tuple[DemoShareStatus, ...]
    reasons: Mapping[str, int]
    line: str
    decision: str
    is_current: bool

    @property
    def is_settled(self) -> bool:
        """Whether it runs, is completed, or waits or is refused with a reason."""
        if not self.is_current:
            return False
        if self.phase in EXPLAINED_PHASES:
            return bool(self.reasons)
        return self.phase in GOOD_PHASES


@dataclass(frozen=True, slots=True)
class DemoStatus:
    """State of all sites and workloads at one time."""

    sites: tuple[DemoSiteStatus, ...]
    workloads: tuple[DemoWorkloadStatus, ...]

    @property
    def reporting_count(self) -> int:
        """Number of sites that report."""
        return sum(site.is_reporting for site in self.sites)

    @property
    def totals(self) -> FleetTotals:
        """Power and carbon of the sites whose figures are known."""
        return fleet_totals(site.figures for site in self.sites)

    @property
    def phases(self) -> dict[str, int]:
        """Number of workloads by phase."""
        return dict(sorted(Counter(w.phase for w in self.workloads).items()))

    @property
    def is_settled(self) -> bool:
        """Whether every site reports and every workload has settled."""
        everywhere = self.reporting_count == len(self.sites)
        return everywhere and all(workload.is_settled for workload in self.workloads)

    @property
    def are_workloads_settled(self) -> bool:
        """Whether every workload has settled; sites need not report."""
        return all(workload.is_settled for workload in self.workloads)

    def as_json(self, *, violations: Sequence[str], seconds: float) -> dict[str, Any]:
        """The JSON form, as `kapok demo -o json` prints it.

        Args:
            violations: findings of the audit; only their number is printed.
            seconds: time until the demo settled, or until the time-out.
        """
        return {
            "sites": [
                {
                    "name": site.name,
                    "reporting": site.is_reporting,
                    "reportAgeSeconds": site.report_age_seconds,
                }
                for site in self.sites
            ],
            "workloads": [_workload_as_json(workload) for workload in self.workloads],
            "summary": {
                "sites": len(self.sites),
                "reporting": self.reporting_count,
                "workloads": len(self.workloads),
                "phases": self.phases,
                **self.totals.as_json(),
                "violations": len(violations),
                "seconds": round(seconds, 1),
            },
        }


def _workload_as_json(workload: DemoWorkloadStatus) -> dict[str, Any]:
    return {
        "namespace": workload.namespace,
        "name": workload.name,
        "phase": workload.phase,
        "sites": [
            {"name": share.name, "replicas": share.replicas, "ready": share.ready}
            for share in workload.sites
        ],
        "reasons": dict(workload.reasons),
        "line": workload.line,
        "decision": workload.decision,
    }


class StatusObserver:
    """Reads the state from the hub, and the reasons of decisions from its ledger.

    Args:
        hub: client of the hub.
        data_dir: data directory of the hub.
    """

    def __init__(self, hub: Hub, data_dir: Path) -> None:
        self._hub, self._ledger = hub, data_dir / LEDGER_FILE
        self._reasons: dict[str, dict[str, int]] = {}

    async def observe(self, now: datetime) -> DemoStatus:
        """Reads the current state.

        Args:
            now: the current time, for the age of reports.

        Raises:
            HubError: the hub does not answer.
        """
        sites = (await self._hub.list(SITES)).items
        workloads = (await self._hub.list(WORKLOADS)).items
        return DemoStatus(
            sites=tuple(_site_status(item, now) for item in sites),
            workloads=tuple(self._workload_status(item) for item in workloads),
        )

    def _workload_status(self, item: Object) -> DemoWorkloadStatus:
        metadata, status = item["metadata"], item.get("status", {})
        decision = status.get("decision") or {}
        return DemoWorkloadStatus(
            namespace=metadata["namespace"],
            name=metadata["name"],
            phase=status.get("phase") or "Pending",
            sites=_share_statuses(status),
            reasons=self._reasons_of(_decision_name(decision)),
            line=decision.get("line", ""),
            decision=_decision_name(decision),
            is_current=status.get("observedGeneration") == metadata.get("generation"),
        )

    def _reasons_of(self, decision: str) -> dict[str, int]:
        if decision and decision not in self._reasons:
            try:
                with LedgerReader(self._ledger) as reader:
                    record = reader.find(decision)
            except (LedgerError, sqlite3.Error):
                return {}  # the scheduler may be restarting; the next observation tries again
            if record is not None:
                self._reasons[decision] = _reasons_in(record.content)
        return self._reasons.get(decision, {})


def _decision_name(decision: Mapping[str, Any]) -> str:
    """What commands take for the decision that a status names."""
    record_id, index = str(decision.get("id", "")), decision.get("index")
    return record_id if index is None else f"{record_id}#{index}"


def _reasons_in(content: Mapping[str, Any]) -> dict[str, int]:
    if "decision" in content:
        return dict(content["decision"].get("reasons", {}))
    refusal = content.get("refusal", {})
    return {str(refusal["reason"]): 1} if "reason" in refusal else {}


def _site_status(item: Object, now: datetime) -> DemoSiteStatus:
    status = item.get("status", {})
    ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", [])
    )
    observed = status.get("observedAt")
    age = None if not observed else (now - datetime.fromisoformat(observed)).total_seconds()
    return DemoSiteStatus(
        name=item["metadata"]["name"],
        is_reporting=ready,
        report_age_seconds=None if age is None else round(max(age, 0.0), 1),
        figures=_site_figures(item, is_reporting=ready),
    )


def _site_figures(item: Object, *, is_reporting: bool) -> SiteFigures:
    """The figures of a Site; of one that cannot be read nothing is known."""
    try:
        site = decode_as(item, Site, allow_unknown=True)
        return site_figures(site.spec, site.status, is_reporting=is_reporting)
    except (NotReadable, NotAQuantity):
        return UNKNOWN_SITE


def _share_statuses(status: Mapping[str, Any]) -> tuple[DemoShareStatus, ...]:
    """Replicas by site."""
    try:
        known = decode_as(status, WorkloadStatus, allow_unknown=True)
    except NotReadable:
        return ()
    return tuple(DemoShareStatus(s.site, s.replicas, s.ready) for s in share_figures(known))
