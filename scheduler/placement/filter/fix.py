"""What a fix is: the one change after which a rule admits a site, as a value that can be tried.

A rule says in its own file what would satisfy it (`fix`); `explain/suggest.py` puts fixes together,
runs the engine with them, and offers those that place the workload. Whether such a change should be
made is for people to say.
"""

from dataclasses import dataclass, field

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedSite:
    """A refused site, and what a rule may read to suggest a fix.

    Attributes:
        demand: what is asked, with the changes that were made before.
        facts: the site that the rule refuses, with the changes that were made before.
        fleet: the fleet that the site is in.
        context: the time and terms of the decision.
    """

    demand: Demand
    facts: SiteFacts
    fleet: Fleet
    context: DecisionContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One change, with the changed demand or site facts; the other is None.

    Attributes:
        change: as `kapok explain` shows it.
        demand: the demand after the change.
        facts: the site after the change.
        grant_name: the grant that was changed; empty: none.
        changed_grant: the fields of its spec that were changed; they hold at all its sites.
    """

    change: SuggestedChange
    demand: Demand | None = None
    facts: SiteFacts | None = None
    grant_name: str = ""
    changed_grant: dict[str, object] = field(default_factory=dict)


def change_workload(field: str, was: str, becomes: str, demand: Demand) -> Fix:
    """A fix that changes the workload.

    Args:
        field: of its spec, as it is written in YAML.
        was: its value now, as `kapok explain` shows it; empty: nothing.
        becomes: its value after the change; empty: nothing.
        demand: the demand after the change.
    """
    change = SuggestedChange(kind=f"workload.{field}", target=demand.key, from_=was, to=becomes)
    return Fix(change=change, demand=demand)


def change_site(field: str, was: str, becomes: str, facts: SiteFacts) -> Fix:
    """A fix that changes the site or what its agent reports; arguments as in `change_workload`."""
    change = SuggestedChange(kind=f"site.{field}", target=facts.name, from_=was, to=becomes)
    return Fix(change=change, facts=facts)


def report_now(refused: RefusedSite) -> Fix:
    """Suggests a report from now, by a site that is not silent."""
    status = replace(refused.facts.status, observed_at=refused.context.now, conditions=())
    was = refused.facts.observed_at.isoformat() if refused.facts.observed_at else "never"
    return change_site("report", was, "a current report", replace(refused.facts, status=status))
