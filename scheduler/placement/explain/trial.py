"""A change to what is asked or known, as a thing that can be tried and put together with others."""

from dataclasses import dataclass, field

from scheduler.model.decision import Change
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.result import Case

_JOIN = " + "


@dataclass(frozen=True, slots=True)
class Trial:
    """What was changed, and what is asked and known then.

    Attributes:
        changes: what was changed, in order.
        demand: what is asked now.
        facts: the sites that differ from those of the fleet, by name.
        grants: the fields that were changed of grants, by name: they hold at other sites too.
    """

    changes: tuple[Change, ...]
    demand: Demand
    facts: dict[str, SiteFacts] = field(default_factory=dict)
    grants: dict[str, dict[str, object]] = field(default_factory=dict)

    def after(self, step: "Step") -> "Trial":
        """The same with one more change."""
        facts, grants = self.facts, self.grants
        if step.facts is not None:
            facts = {**facts, step.facts.name: step.facts}
        if step.grant:
            grants = {**grants, step.grant: {**grants.get(step.grant, {}), **step.granted}}
        demand = self.demand if step.demand is None else step.demand
        return Trial((*self.changes, step.change), demand, facts, grants)

    @property
    def change(self) -> Change:
        """All changes as one: what must be done together is told together."""
        if len(self.changes) == 1:
            return self.changes[0]
        return Change(
            kind=_JOIN.join(each.kind for each in self.changes),
            target=_JOIN.join(each.target for each in self.changes),
            from_=_JOIN.join(each.from_ or "(nothing)" for each in self.changes),
            to=_JOIN.join(each.to or "(nothing)" for each in self.changes),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One change, and what it makes of what is asked or of one site; None: nothing.

    Attributes:
        change: as it is told.
        demand: what is asked then.
        facts: the site then.
        grant: the grant that was changed; empty: none.
        granted: its fields that were changed.
    """

    change: Change
    demand: Demand | None = None
    facts: SiteFacts | None = None
    grant: str = ""
    granted: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ill:
    """What a remedy looks at.

    Attributes:
        case: the case as it stands, with the changes that were made before.
        demand: what is asked.
        facts: the site that a rule refuses.
    """

    case: Case
    facts: SiteFacts

    @property
    def demand(self) -> Demand:
        """What is asked."""
        return self.case.demand


def of_workload(ill: Ill, what: str, was: str, becomes: str, demand: Demand) -> Step:
    """A change to the workload."""
    change = Change(kind=f"workload.{what}", target=ill.demand.key, from_=was, to=becomes)
    return Step(change, demand=demand)


def of_site(ill: Ill, what: str, was: str, becomes: str, facts: SiteFacts) -> Step:
    """A change to the site."""
    change = Change(kind=f"site.{what}", target=ill.facts.name, from_=was, to=becomes)
    return Step(change, facts=facts)
