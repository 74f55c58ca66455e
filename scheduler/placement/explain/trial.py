"""A change to what is asked or known, as a thing that can be tried and put together with others."""

from dataclasses import dataclass, field

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.result import CycleState

_SEPARATOR = " + "


@dataclass(frozen=True, slots=True)
class Trial:
    """What was changed, and what is asked and known then.

    Attributes:
        changes: what was changed, in order.
        demand: what is asked now.
        facts: the sites that differ from those of the fleet, by name.
        changed_grants: the fields that were changed of grants, by name: they hold at other sites
        too.
    """

    changes: tuple[SuggestedChange, ...]
    demand: Demand
    facts: dict[str, SiteFacts] = field(default_factory=dict)
    changed_grants: dict[str, dict[str, object]] = field(default_factory=dict)

    def with_step(self, step: "TrialStep") -> "Trial":
        """The same with one more change."""
        facts, grants = self.facts, self.changed_grants
        if step.facts is not None:
            facts = {**facts, step.facts.name: step.facts}
        if step.grant_name:
            grants = {
                **grants,
                step.grant_name: {**grants.get(step.grant_name, {}), **step.changed_grant},
            }
        demand = self.demand if step.demand is None else step.demand
        return Trial((*self.changes, step.change), demand, facts, grants)

    @property
    def combined_change(self) -> SuggestedChange:
        """All changes as one: what must be done together is told together."""
        if len(self.changes) == 1:
            return self.changes[0]
        return SuggestedChange(
            kind=_SEPARATOR.join(each.kind for each in self.changes),
            target=_SEPARATOR.join(each.target for each in self.changes),
            from_=_SEPARATOR.join(each.from_ or "(nothing)" for each in self.changes),
            to=_SEPARATOR.join(each.to or "(nothing)" for each in self.changes),
        )


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One change, and what it makes of what is asked or of one site; None: nothing.

    Attributes:
        change: as it is told.
        demand: what is asked then.
        facts: the site then.
        grant_name: the grant that was changed; empty: none.
        changed_grant: its fields that were changed.
    """

    change: SuggestedChange
    demand: Demand | None = None
    facts: SiteFacts | None = None
    grant_name: str = ""
    changed_grant: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefusedSite:
    """What a remedy looks at.

    Attributes:
        state: the case as it stands, with the changes that were made before.
        demand: what is asked.
        facts: the site that a rule refuses.
    """

    state: CycleState
    facts: SiteFacts

    @property
    def demand(self) -> Demand:
        """What is asked."""
        return self.state.demand


def change_workload(
    refused: RefusedSite, field: str, was: str, becomes: str, demand: Demand
) -> TrialStep:
    """A change to the workload."""
    change = SuggestedChange(
        kind=f"workload.{field}", target=refused.demand.key, from_=was, to=becomes
    )
    return TrialStep(change, demand=demand)


def change_site(
    refused: RefusedSite, field: str, was: str, becomes: str, facts: SiteFacts
) -> TrialStep:
    """A change to the site."""
    change = SuggestedChange(kind=f"site.{field}", target=refused.facts.name, from_=was, to=becomes)
    return TrialStep(change, facts=facts)
