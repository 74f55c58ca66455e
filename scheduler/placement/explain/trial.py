"""Changes to a demand and to sites, as one value that the engine is run with."""

from dataclasses import dataclass, field

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.filter.fix import Fix

_SEPARATOR = " + "


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A set of changes, with the demand and site facts after them.

    Attributes:
        changes: what is changed, in order.
        demand: the demand after the changes.
        facts: the sites that differ from those of the fleet, by name.
        changed_grants: the changed fields of grants, by name of the grant: they hold at its other
            sites too.
        opened: the sites that refused the demand before these changes.
    """

    changes: tuple[SuggestedChange, ...]
    demand: Demand
    facts: dict[str, SiteFacts] = field(default_factory=dict)
    changed_grants: dict[str, dict[str, object]] = field(default_factory=dict)
    opened: frozenset[str] = frozenset()

    def with_fix(self, fix: Fix) -> "Trial":
        """The trial with one more change."""
        facts, grants = self.facts, self.changed_grants
        if fix.facts is not None:
            facts = {**facts, fix.facts.name: fix.facts}
        if fix.grant_name:
            earlier = grants.get(fix.grant_name, {})
            grants = {**grants, fix.grant_name: {**earlier, **fix.changed_grant}}
        demand = self.demand if fix.demand is None else fix.demand
        return Trial(
            changes=(*self.changes, fix.change),
            demand=demand,
            facts=facts,
            changed_grants=grants,
            opened=self.opened,
        )

    @property
    def combined_change(self) -> SuggestedChange:
        """All changes as one, because they help only together."""
        if len(self.changes) == 1:
            return self.changes[0]
        return SuggestedChange(
            kind=_SEPARATOR.join(each.kind for each in self.changes),
            target=_SEPARATOR.join(each.target for each in self.changes),
            from_=_SEPARATOR.join(each.from_ or "(none)" for each in self.changes),
            to=_SEPARATOR.join(each.to or "(none)" for each in self.changes),
        )
