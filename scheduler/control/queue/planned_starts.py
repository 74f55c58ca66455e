"""The planned starts of workloads that wait, as their statuses say them.

Each keeps its room at its sites for the time of its run, from the decision that planned it until
the workload is placed, planned again, or gone. The room is part of the facts of the sites
(`SiteFacts.planned`), so every decision sees it, and a record holds it. Statuses hold the plans,
so the next leader keeps the same room before it decides anything.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from scheduler.control.sites.sites import Sites
from scheduler.model.decision import SiteAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import PlannedRun
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import StartPlan, Workload
from scheduler.placement.fleet.in_flight import planned_runs

_log = logging.getLogger(__name__)

REPLAN_SECONDS = 3600.0
"""Work with a planned start is decided again after this time at the latest: forecasts change."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """The planned start of one workload."""

    plan: StartPlan
    priority: int
    runs: Mapping[str, PlannedRun]


@dataclass(slots=True, kw_only=True)
class PlannedStarts:
    """The planned starts, by workload.

    Attributes:
        sites: where they keep room.
        demand_of: the present demand of a workload; None: it is not accepted.
    """

    sites: Sites
    demand_of: Callable[[Workload], Demand | None]
    _planned: dict[WorkKey, _Planned] = field(default_factory=dict)
    _at_site: dict[str, dict[WorkKey, None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._planned)

    def note(self, key: WorkKey, workload: Workload | None, demand: Demand | None = None) -> None:
        """Takes in what a workload's status says of its start; called when that may have changed.

        Args:
            key: the workload.
            workload: with the status; None: it is gone.
            demand: what was decided on, if it was decided just now.
        """
        known = self._planned.get(key)
        plan = None if workload is None else _plan_of(workload)
        if workload is None or plan is None:
            if known is not None:
                self._replace(key, None)
        elif known is None or known.plan != plan or demand is not None:
            demand = demand or self.demand_of(workload)
            placed = [SiteAssignment(site=site, replicas=n) for site, n in plan.place.items()]
            runs = planned_runs(demand, plan.start_at, placed) if demand else {}
            self._replace(key, _Planned(plan, workload.spec.priority, runs) if runs else None)

    def at(self, sites: Iterable[str]) -> list[WorkKey]:
        """The workloads with a planned start at one of these sites."""
        found = (key for site in sites for key in self._at_site.get(site, ()))
        return list(dict.fromkeys(found))

    def lower_at(self, sites: Iterable[str], priority: int) -> list[WorkKey]:
        """Those of a lower priority, whose room may be taken."""
        return [key for key in self.at(sites) if self._planned[key].priority < priority]

    def _replace(self, key: WorkKey, planned: _Planned | None) -> None:
        known = self._planned.pop(key, None)
        before = known.runs if known else {}
        after = planned.runs if planned else {}
        if planned is not None:
            self._planned[key] = planned
        name = "/".join(key)
        for site in before.keys() - after.keys():
            there = self._at_site.get(site, {})
            there.pop(key, None)
            if not there:
                self._at_site.pop(site, None)
            self.sites.set_planned(site, name, None)
        for site, run in after.items():
            self._at_site.setdefault(site, {})[key] = None
            self.sites.set_planned(site, name, run)
        if planned is None:
            _log.debug("%s: its planned start keeps no room any more", name)


def _plan_of(workload: Workload) -> StartPlan | None:
    """The planned start of a workload that is there and waits for it."""
    plan = workload.status.plan
    is_waiting = workload.metadata.deletion_timestamp is None and not workload.spec.paused
    return plan if plan is not None and plan.place and is_waiting else None
