"""Statistics of each workload: waits, usage by site, refusals by site.

Of these, only the usage by site has an effect: reservations choose sites by it.
"""

from dataclasses import dataclass, field

from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.state.usage import SiteUsage
from scheduler.control.stats.latency import WaitTimes
from scheduler.control.stats.refusals import Refusals
from scheduler.control.status.workload import shares_of
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock


@dataclass(slots=True)
class WorkloadStats:
    """Updated by the reconciler, read by metrics and the web page.

    Attributes:
        clock: for durations.
        telemetry: observes durations.
        usage: what placed replicas request.
        refusals: which sites refuse unplaced workloads.
    """

    clock: Clock
    telemetry: Telemetry
    usage: SiteUsage = field(default_factory=SiteUsage)
    refusals: Refusals = field(default_factory=Refusals)
    _wait_times: WaitTimes = field(init=False)

    def __post_init__(self) -> None:
        self._wait_times = WaitTimes(self.clock, self.telemetry)

    def record_seen(self, key: WorkKey, workload: Workload) -> None:
        """Notes that an accepted workload is about to be decided."""
        if workload.status.observed_generation != workload.metadata.generation:
            self._wait_times.begin(key, workload.metadata.generation)

    def record_decision(
        self, key: WorkKey, decision: Decision, demand: Demand, fleet: Fleet, terms: Terms
    ) -> None:
        """Takes in a decision on this demand and fleet."""
        self.refusals.record(key, decision, demand, fleet, terms)

    def record_status(
        self, key: WorkKey, status: WorkloadStatus, demand: Demand | NotAccepted
    ) -> None:
        """Takes in a status that is written and ordered."""
        self._wait_times.record_phase(key, status.phase)
        if isinstance(demand, Demand):
            shares = {site: one.ordered for site, one in shares_of(status).items()}
            self.usage.set(key, demand, shares)
        else:
            self.refusals.record_not_accepted(key, demand.reason)

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._wait_times.forget(key)
        self.usage.forget(key)
        self.refusals.forget(key)
