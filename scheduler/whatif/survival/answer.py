"""The answer to `kapok survive`: for each loss whether it is survived, what is lost, what helps."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list, format_rfc3339
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.failover.plan import HOLD_SENTENCES
from scheduler.whatif.demands import DemandReader, Progress, no_progress
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.leaving import word_needed
from scheduler.whatif.scenario.changes import LoseSites
from scheduler.whatif.settling.settled_fleet import SettledFleet, open_fleet
from scheduler.whatif.smallest_change import Row, change_row
from scheduler.whatif.survival.losses import LossIndex, name_of
from scheduler.whatif.survival.proof import LossProofs
from scheduler.whatif.survival.touched import KnownLoss, LossDigests
from scheduler.whatif.survival.trial import LossResult, LossTrials, LostWork, capped

MAX_EXPLAINED: Final = 8
"""For so many losses of one answer the smallest change is searched; each takes a second or more."""
MAX_NAMED: Final = 100
_MAX_NAMED_OF_ALL: Final = 10
"""So many workloads are named of each loss, the proved ones first; fewer if all sites are asked."""
_MAX_IN_SENTENCE: Final = 3


def ask_survival(
    copy: FleetCopy,
    losses: Sequence[LoseSites] = (),
    progress: Progress = no_progress,
    *,
    max_explained: int = MAX_EXPLAINED,
    with_plans: bool = False,
    known: Sequence[KnownLoss] = (),
) -> dict[str, Any]:
    """Whether losses can be survived, in the JSON form of `kapok survive -o json`.

    Args:
        copy: the fleet; it stays as it is.
        losses: what is lost, each alone; empty: every site. These come without their plans.
        progress: shows how far it is.
        max_explained: for so many losses the smallest change is searched.
        with_plans: every loss comes with its plan and its sites, and with a digest if it is
            survived.
        known: losses that were survived; one that nothing has touched since is `unchanged`, and
            all that is said of it besides is how many workloads run there.

    Raises:
        ScenarioError: a site or a value does not exist.
        NotAQuantity: an amount of a site cannot be read.
    """
    reader = DemandReader(copy)
    demands = {key: capped(one) for key, one in reader.read_all(progress).items()}
    index = LossIndex(copy, demands)
    expanded = index.expanded(losses)
    judge = _Judge(lambda: open_fleet(copy, reader, demands, progress), max_explained)
    digests, former = LossDigests(copy, demands, reader), {one.of: one for one in known}
    rows: list[Row] = []
    judged: dict[frozenset[str], Row] = {}  # a province of one city is lost with that city
    for place, loss in enumerate(expanded):
        progress("losses", place, len(expanded))
        name, sites = name_of(loss), index.sites_of(loss)
        work = index.work_at(sites)
        before = former.get(name)
        if before is not None and digests.of(sites, work, before.targets) == before.digest:
            rows.append({"of": name, "unchanged": True, "workloads": len(work)})
            continue
        found = judged.get(sites)
        row = found and {**found, "of": name}
        if row is None:
            with_plan = bool(losses) or with_plans
            row = judged[sites] = judge.row(name, sites, work, with_plan=with_plan)
        if with_plans:
            row["siteNames"] = sorted(sites)
            if row["survives"]:
                row["digest"] = digests.of(sites, work, targets_of(row))
        rows.append(row)
    return {"losses": rows, "computedAt": format_rfc3339(copy.objects.now), "notes": judge.notes()}


def targets_of(row: Mapping[str, Any]) -> list[str]:
    """The sites where the plan of a loss starts replicas."""
    return sorted({to["site"] for one in row["plan"] or () for to in one["to"]})


class _Judge:
    """Judges one loss after the other.

    Args:
        open_copy: opens the fleet as it was read, once a loss is to be judged at all.
        max_explained: for so many losses the smallest change is searched.
    """

    def __init__(self, open_copy: Callable[[], SettledFleet], max_explained: int) -> None:
        self._open, self._left_to_explain = open_copy, max_explained
        self._unexplained = 0
        self._proofs: LossProofs | None = None

    @cached_property
    def _settled(self) -> SettledFleet:
        settled = self._open()
        settled.ends_others = False  # a loss is survived only if nothing else would have to end
        return settled

    @cached_property
    def _trials(self) -> LossTrials:
        return LossTrials(self._settled)

    def notes(self) -> list[str]:
        """What the answer leaves out."""
        if not self._unexplained:
            return []
        left_out = f"for {self._unexplained} losses the smallest change was not searched"
        return [f"{left_out}; ask about one of them alone"]

    def row(self, name: str, sites: frozenset[str], work: list[str], *, with_plan: bool) -> Row:
        """What a loss makes of its work, as a row of the answer."""
        result = self._trials.begin(sites, work)
        alone, sums = self._prove(result)
        is_proved = bool(alone or sums or any(one.is_proved for one in result.lost))
        survives = None if result.lost and not is_proved else not result.lost
        lost = sorted(result.lost, key=lambda one: not (one.is_proved or one.key in alone))
        changes = self._smallest_change(lost, sites)
        self._trials.undo(result)
        words = self._words(work, sites)
        most = MAX_NAMED if with_plan else _MAX_NAMED_OF_ALL
        return {
            "of": name,
            "sites": len(sites),
            "survives": survives,
            "workloads": len(work),
            "lost": [_lost_row(one, alone) for one in lost[:most]],
            "lostCount": len(lost),
            "sentence": _sentence(len(work), lost, alone, sums.sentence() if sums else "", changes),
            "byOperator": words[:most],
            "byOperatorCount": len(words),
            "smallestChange": changes,
            "plan": _plan_rows(result) if with_plan else None,
        }

    def _prove(self, result: LossResult) -> tuple[dict[str, str], Any]:
        if not any(not one.is_proved for one in result.lost):
            return {}, None
        if self._proofs is None:
            self._proofs = LossProofs(self._settled.copy.facts, self._settled.context)
        demands = self._settled.demands
        moved = {key: one for key in result.moved if isinstance(one := demands[key], Demand)}
        return self._proofs.find(result, moved)

    def _words(self, work: Sequence[str], sites: frozenset[str]) -> list[Row]:
        """The workloads that wait for an operator's word before anything replaces them."""
        settled = self._settled
        is_enabled = settled.copy.objects.is_failover_enabled
        found: list[Row] = []
        for key in work:
            demand, workload = settled.demands[key], settled.workloads[key]
            if isinstance(demand, Demand) and demand.strategy != "Duplicated":
                site = next(one for one in demand.placed_replicas if one in sites)
                why = word_needed(workload, demand, site, is_enabled=is_enabled)
                if why is not None:
                    found.append({"workload": key, "why": HOLD_SENTENCES[why]})
        return found

    def _smallest_change(self, lost: Sequence[LostWork], sites: frozenset[str]) -> list[Row]:
        """Changes that would place the first workload that has no place."""
        settled = self._settled
        first = next((one.key for one in lost if one.key in settled.decided_demands), None)
        if first is None:
            return []
        if not self._left_to_explain:
            self._unexplained += 1
            return []
        self._left_to_explain -= 1
        changes = suggest_changes(settled.decided_demands[first], settled.fleet, settled.context)
        return [
            change_row(one, [first]) for one in changes if sites.isdisjoint(one.target.split(" + "))
        ]


def _lost_row(one: LostWork, alone: Mapping[str, str]) -> Row:
    return {
        "workload": one.key,
        "reason": one.reason,
        "line": alone.get(one.key, one.line),
        "proved": one.is_proved or one.key in alone,
    }


def _plan_rows(result: LossResult) -> list[Row]:
    """Where the replicas of each workload start, in the order in which they are placed."""
    return [
        {"workload": key, "to": [{"site": site, "replicas": n} for site, n in sorted(new.items())]}
        for key in result.moved
        if (new := result.plan.get(key)) is not None
    ]


def _sentence(
    workloads: int,
    lost: Sequence[LostWork],
    alone: Mapping[str, str],
    sums: str,
    changes: Sequence[Row],
) -> str:
    """The answer about a loss for people."""
    if not workloads:
        return "nothing runs there"
    if not lost:
        what = (
            "its workload has a lawful place"
            if workloads == 1
            else (f"its {workloads} workloads have lawful places with room together")
        )
        return f"{what} elsewhere"
    named = format_list([one.key for one in lost], _MAX_IN_SENTENCE)
    proved = [one for one in lost if one.is_proved or one.key in alone]
    if proved:
        first = proved[0]
        why = f"{first.key}: {alone.get(first.key, first.line)}"
        head = f"{len(lost)} of {workloads} without a lawful second place; {why}"
    elif sums:
        head = f"not all {workloads} fit together; {sums}"
    else:
        head = f"for {len(lost)} of {workloads} no place was found: {named}"
    if not changes:
        return head
    first_change = changes[0]
    return f"{head}; smallest change: {first_change['kind']} {first_change['target']} " + (
        f"to {first_change['to']}" if first_change["to"] else ""
    )
