"""What every decision reads besides the demand: the fleet, the time and the terms."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from scheduler.model.demand.assignment import AssignedWorkload, BatchAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.tenant import Spend
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.fleet.context import DecisionContext, decision_context
from scheduler.placement.fleet.daemon_nodes import daemon_pods_at
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock


@dataclass(slots=True, kw_only=True)
class DecisionInputs:
    """The fleet, the clock and the terms that are in force.

    Attributes:
        fleet: the arrays that decisions are computed on.
        clock: gives the time of a decision.
        base_terms: the terms without scarcity prices.
        terms: the terms of the next decision: `base_terms` with the prices of the last batch.
        assigned: what the last batch assigns, by the key of the workload.
        dated_now: gives the time by which the dates in the fleet are right; None: the clock does.
    """

    fleet: Fleet
    clock: Clock
    base_terms: Terms
    terms: Terms = field(init=False)
    assigned: dict[str, BatchAssignment] = field(default_factory=dict)
    dated_now: Callable[[], datetime] | None = None

    def __post_init__(self) -> None:
        self.terms = self.base_terms

    def now(self) -> datetime:
        """The time of a decision that is made now; the dates in the fleet are right by it."""
        return self.clock.now() if self.dated_now is None else self.dated_now()

    def context(self) -> DecisionContext:
        """The time and the terms of a decision that is made now."""
        return decision_context(self.now(), self.terms)

    def spend_of(self, demand: Demand, replicas_by_site: Mapping[str, int]) -> Spend:
        """What these replicas cost an hour; scarcity prices are not money, so they do not count."""
        context = decision_context(self.clock.now(), self.base_terms)
        return spend_of(demand, self.fleet, context, replicas_by_site)

    def daemon_pods_of(self, demand: Demand, sites: Iterable[str]) -> tuple[int, ...]:
        """How many pods each DaemonSet of a workload has at these sites."""
        return daemon_pods_at(demand, self.fleet, sites)

    def use_scarcity_of(self, priced: Terms) -> None:
        """Decisions use the scarcity prices of these terms from now on."""
        self.terms = msgspec.structs.replace(
            self.terms, scarcity=priced.scarcity, scarcity_version=priced.scarcity_version
        )

    def use_assignment(self, version: str, workloads: Iterable[AssignedWorkload]) -> None:
        """Decisions follow this list from now on; it is recorded under its version."""
        self.assigned = {
            one.workload: BatchAssignment(version=version, sites=one.sites) for one in workloads
        }

    def drop_batch(self) -> None:
        """Decisions use no scarcity prices and no assignment from now on."""
        self.terms = msgspec.structs.replace(self.terms, scarcity=(), scarcity_version="")
        self.assigned = {}
