"""Makes the smallest change of a workload in a what-if: the one that `kapok explain` suggests.

The engine searches it again on the fleet as it is now, so what is shown is what holds now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.explain.giving_way import outranking
from scheduler.placement.explain.suggest import find_trial
from scheduler.whatif.scenario.changes import Change, MakeChange, ScenarioError
from scheduler.whatif.scenario.words import nearest
from scheduler.whatif.settling.settled_fleet import SettledFleet


@dataclass(slots=True)
class MadeChanges:
    """What smallest changes change.

    Attributes:
        facts: of the sites that are others, by name.
        demands: of the workloads, by `namespace/name`.
        notes: what was changed, for people.
    """

    facts: dict[str, SiteFacts] = field(default_factory=dict)
    demands: dict[str, Demand] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def make_changes(settled: SettledFleet, changes: Sequence[Change]) -> MadeChanges:
    """Finds the smallest changes that a scenario makes, one after the other.

    Args:
        settled: the fleet without the scenario, as it was read; it stays as it is.
        changes: the scenario; other changes are left out.

    Raises:
        ScenarioError: there is no such workload, or the change does not help it now.
    """
    made = MadeChanges()
    for one in changes:
        if isinstance(one, MakeChange):
            _make(settled, one, made)
    return made


def _make(settled: SettledFleet, change: MakeChange, made: MadeChanges) -> None:
    key = change.workload
    if key not in settled.workloads:
        raise ScenarioError(f"fix: there is no workload {key!r}{nearest(key, settled.workloads)}")
    demand = settled.demands[key]
    if not isinstance(demand, Demand):
        raise ScenarioError(f"fix {key}: it is not accepted: {demand.message}")
    demand = settled.books.limited(demand, settled.reader.tenant_of(settled.workloads[key]))
    raised = outranking(demand, change.kind, change.becomes)
    if raised is not None:
        made.demands[key] = raised
        made.notes.append(f"{key}: {change.kind}: {change.becomes}")
        return
    trial = find_trial(demand, settled.fleet, settled.context, change.kind, change.target)
    if trial is None:
        what = f"{change.kind} of {change.target}" if change.kind else "none that was tried"
        raise ScenarioError(
            f"fix {key}: {what} is no smallest change with which it is placed now; kapok explain "
            f"{key} lists those that there are"
        )
    found = trial.combined_change
    made.facts |= trial.facts
    made.demands[key] = trial.demand
    step = f"{found.from_ or '(none)'} → {found.to or '(none)'}"
    made.notes.append(f"{key}: {found.kind} of {found.target}: {step}")
