"""Settles one loss after the other on the same fleet, and takes each back.

What ran at the lost sites is decided by the engine as failover decides it: by priority, the oldest
first, beside all that runs on, is in flight or has room reserved. An operator's word that a
workload waits for counts as given, as the question is about law and room.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.workload import Workload
from scheduler.model.reasons import TRANSIENT_REASONS
from scheduler.whatif.leaving import NOT_ACCEPTED
from scheduler.whatif.scenario.apply import lost_facts
from scheduler.whatif.settling.settle import settle
from scheduler.whatif.settling.settled_fleet import DecisionTask, SettledFleet

_NO_OTHER_COPY = "each of its sites runs a whole copy, so no other site replaces it; none is left"


def capped(demand: Demand | NotAccepted) -> Demand | NotAccepted:
    """The demand without the replicas that it lacks already: a loss is not to blame for those."""
    if isinstance(demand, NotAccepted) or demand.strategy == "Duplicated":
        return demand
    placed = sum(demand.placed_replicas.values())
    if not 0 < placed < demand.replicas:
        return demand
    return msgspec.structs.replace(demand, replicas=placed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LostWork:
    """A workload that a loss leaves without all its replicas.

    Attributes:
        key: `namespace/name`.
        reason: the slug that most sites are refused for.
        line: why in one sentence.
        is_proved: a rule says that it is not replaced, wherever there is room.
    """

    key: str
    reason: str
    line: str
    is_proved: bool = False


@dataclass(slots=True, kw_only=True)
class LossResult:
    """What a loss makes of the work at its sites.

    Attributes:
        sites: the lost sites.
        work: all workloads with replicas there.
        moved: those that are decided: highest priority first.
        plan: the new replicas by site of those that find all their places.
        lost: the others.
    """

    sites: frozenset[str]
    work: list[str]
    moved: list[str] = field(default_factory=list)
    plan: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: list[LostWork] = field(default_factory=list)


class LossTrials:
    """Runs losses on a fleet.

    Args:
        settled: the fleet as it was read, with `capped` demands. Between losses it is as given.
    """

    def __init__(self, settled: SettledFleet) -> None:
        self._settled = settled
        self._facts: dict[str, SiteFacts] = {one.name: one for one in settled.copy.facts}
        self._workloads: Mapping[str, Workload] = dict(settled.workloads)

    def begin(self, sites: frozenset[str], work: list[str]) -> LossResult:
        """Settles a loss; the fleet stays as the loss leaves it until `undo`.

        Args:
            sites: the lost sites.
            work: the workloads with replicas there.
        """
        settled, result = self._settled, LossResult(sites=sites, work=work)
        for site in sites:
            settled.fleet.upsert(lost_facts(self._facts[site], settled.copy.objects.now))
        tasks = [task for key in work if (task := self._task(key, result)) is not None]
        settle(settled, tasks)
        result.moved = list(settled.tasks)
        for key in result.moved:
            self._judge(key, result)
        return result

    def undo(self, result: LossResult) -> None:
        """Has the fleet be as before a loss."""
        settled = self._settled
        touched = set(result.sites)
        for key in result.moved:
            touched.update(one.site for one in settled.decisions[key].assignment)
            touched.update(settled.reserved_at.get(key, ()))
            demand = settled.demands[key]
            if isinstance(demand, Demand):
                settled.books.set(demand, demand.placed_replicas)
            settled.workloads[key] = self._workloads[key]
        for site in touched & self._facts.keys():
            settled.fleet.upsert(self._facts[site])
        for kept in (settled.decisions, settled.decided_demands, settled.tasks, settled.refusals):
            kept.clear()

    def _task(self, key: str, result: LossResult) -> DecisionTask | None:
        """What is to be decided of a workload; None: nothing is, by its own rules."""
        demand, sites = self._settled.demands[key], result.sites
        if isinstance(demand, NotAccepted):
            line = f"{NOT_ACCEPTED}: {demand.message}"
            result.lost.append(LostWork(key=key, reason=demand.reason, line=line, is_proved=True))
            return None
        if demand.strategy == "Duplicated":
            if not demand.placed_replicas.keys() - sites:
                result.lost.append(
                    LostWork(key=key, reason="silent", line=_NO_OTHER_COPY, is_proved=True)
                )
            return None
        return DecisionTask(key=key, leaves=sites & demand.placed_replicas.keys())

    def _judge(self, key: str, result: LossResult) -> None:
        """Adds a workload that was decided to the plan, or to what is lost."""
        settled, demand = self._settled, self._settled.demands[key]
        assert isinstance(demand, Demand)  # noqa: S101 - others are not decided
        refusal = settled.refusals.get(key)
        decision = settled.decisions[key]
        placed = settled.replicas_of(key)
        is_whole = (
            refusal is None
            and settled.has_left(key, result.sites)
            and sum(placed.values()) >= demand.replicas
        )
        if is_whole and not decision.unmet:
            before = demand.placed_replicas
            more = {site: count - before.get(site, 0) for site, count in placed.items()}
            result.plan[key] = {site: count for site, count in more.items() if count > 0}
            return
        known = refusal or decision
        result.lost.append(LostWork(key=key, reason=main_reason(known), line=known.line))


def main_reason(decision: Decision) -> str:
    """The slug that says most: one that can pass, as lacking room, else the most frequent one."""
    if decision.unmet:
        return "spread"
    found = Counter({str(reason): count for reason, count in decision.reasons.items()})
    return max(found, key=lambda one: (one in TRANSIENT_REASONS, found[one]), default="unknown")
