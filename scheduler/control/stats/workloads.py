"""What the loops count of each workload: waits, usage by site, refusals by site.

Nothing here changes what is decided or ordered.
"""

from dataclasses import dataclass, field

from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.state.usage import Usage
from scheduler.control.stats.latency import Waits
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
class Figures:
    """Kept by the reconciler, read when somebody scrapes.

    Attributes:
        clock: for durations.
        telemetry: told of durations.
        usage: what placed replicas ask for.
        refusals: which sites refuse what is not placed.
    """

    clock: Clock
    telemetry: Telemetry
    usage: Usage = field(default_factory=Usage)
    refusals: Refusals = field(default_factory=Refusals)
    _waits: Waits = field(init=False)

    def __post_init__(self) -> None:
        self._waits = Waits(self.clock, self.telemetry)

    def seen(self, key: WorkKey, workload: Workload) -> None:
        """A workload that is accepted is about to be decided."""
        if workload.status.observed_generation != workload.metadata.generation:
            self._waits.begin(key, workload.metadata.generation)

    def decided(
        self, key: WorkKey, decision: Decision, demand: Demand, fleet: Fleet, terms: Terms
    ) -> None:
        """A decision was made on this demand and fleet."""
        self.refusals.note(key, decision, demand, fleet, terms)

    def settled(self, key: WorkKey, status: WorkloadStatus, demand: Demand | NotAccepted) -> None:
        """The status is written, and ordered accordingly."""
        self._waits.reached(key, status.phase)
        if isinstance(demand, Demand):
            shares = {site: one.ordered for site, one in shares_of(status).items()}
            self.usage.set(key, demand, shares)
        else:
            self.refusals.not_accepted(key, demand.reason)

    def gone(self, key: WorkKey) -> None:
        """The workload is gone."""
        self._waits.end(key)
        self.usage.forget(key)
        self.refusals.forget(key)
