"""Looks for moves that save cost, reports or starts them, within the budget of each policy.

Each minute it looks at some of the workloads whose policy says so, one after the other, and decides
about them on the present fleet without any effect. What is worth it is reported (Advise), or asked
of the next decision (Auto), which decides again: the fleet may have changed, and the record shows
what it saves. Nothing moves while evictions are frozen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from scheduler.control.events.recorder import EventRecorder
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.rebalance.tasks import RebalanceTasks, is_asked
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.rebalance import RebalanceBudget
from scheduler.model.kinds.workload import Workload
from scheduler.placement.choose import choose
from scheduler.placement.rebalance.plan import (
    RebalanceCandidate,
    moves_left,
    question_of,
    why_it_cannot_move,
    why_it_stays,
    within_budget,
)
from scheduler.placement.rebalance.saving import HORIZON_HOURS, format_saving
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_INTERVAL_SECONDS = 60.0
_MAX_LOOKED_AT = 500
"""So many are decided in a round: about half a second of work at a thousand sites."""
_STEP = 10
_ADVISED_AGAIN = timedelta(hours=HORIZON_HOURS)


@dataclass(slots=True, kw_only=True)
class RebalanceLoop:
    """Fills `RebalanceTasks` and queues the workloads concerned.

    Attributes:
        objects: the hub's objects.
        inputs: the fleet, the time and the terms.
        tasks: what decisions may move, read by them.
        requeuer: queues workloads.
        events: records advice.
        demand_of: gives the demand of a workload; None: it is not accepted.
        is_frozen: whether evictions are frozen.
        clock: the time.
        faults: handles what fails in a round.
    """

    objects: HubObjects
    inputs: DecisionInputs
    tasks: RebalanceTasks
    requeuer: Requeuer
    events: EventRecorder
    demand_of: Callable[[Workload], Demand | None]
    is_frozen: Callable[[], bool]
    clock: Clock
    faults: Faults
    _advised: dict[WorkKey, datetime] = field(default_factory=dict)
    _last: WorkKey = ("", "")

    async def run(self) -> None:
        """Looks each minute; runs until cancelled."""
        while True:
            await self.clock.sleep(_INTERVAL_SECONDS)
            with self.faults.barrier("rebalance"):
                await self.check()

    async def check(self) -> None:
        """One round."""
        if self.is_frozen() or not self._is_wanted():
            return
        known = self.objects.workloads
        self._advised = {key: at for key, at in self._advised.items() if key in known}
        found: dict[WorkKey, list[RebalanceCandidate]] = {}
        for count, (key, policy, budget) in enumerate(self._due(), start=1):
            if not count % _STEP:
                await yield_loop()
            candidate = self._candidate(key, budget)
            if candidate is not None:
                found.setdefault(policy, []).append(candidate)
        for policy, candidates in found.items():
            self._act(policy, candidates)

    def _is_wanted(self) -> bool:
        """Whether any policy lets work move; without one, no workload is looked at."""
        return any(one.spec.rebalance.mode != "Off" for one in self.objects.policies.values())

    def _due(self) -> Iterator[tuple[WorkKey, WorkKey, RebalanceBudget]]:
        """Workloads that may move, with their policies; in turn, from where the last one ended."""
        keys = sorted(self.objects.workloads)
        after = [key for key in keys if key > self._last]
        count, now = 0, self.inputs.now()
        for key in (*after, *(key for key in keys if key <= self._last)):
            found = self._budget_of(key)
            workload = self.objects.workloads.get(key)
            if found is None or workload is None or why_it_stays(workload, now):
                continue
            self._last = key
            yield key, *found
            count += 1
            if count >= _MAX_LOOKED_AT:
                return

    def _budget_of(self, key: WorkKey) -> tuple[WorkKey, RebalanceBudget] | None:
        """The policy of a workload and its budget; None: it does not say that anything moves."""
        workload = self.objects.workloads.get(key)
        if workload is None or workload.spec.policy_ref is None:
            return None
        name = (key[0], workload.spec.policy_ref.name)
        policy = self.objects.policies.get(name)
        if policy is None or policy.spec.rebalance.mode == "Off":
            return None
        return name, policy.spec.rebalance

    def _candidate(self, key: WorkKey, budget: RebalanceBudget) -> RebalanceCandidate | None:
        """The move of a workload that is worth it; None: there is none."""
        workload = self.objects.workloads.get(key)
        if workload is None:
            return None
        demand = self.demand_of(workload)
        if demand is None or why_it_cannot_move(demand):
            return None
        asked = msgspec.structs.replace(demand, rebalance=question_of(budget, budget.moves))
        now, terms = self.inputs.now(), self.inputs.base_terms
        decision = choose(asked, self.inputs.fleet, now=now, terms=terms)
        if decision.rebalance is None:
            return None
        return RebalanceCandidate(key=key, priority=workload.spec.priority, step=decision.rebalance)

    def _act(self, policy: WorkKey, candidates: list[RebalanceCandidate]) -> None:
        known, now = self.objects.policies.get(policy), self.inputs.now()
        if known is None:
            return
        budget = known.spec.rebalance
        is_auto = budget.mode == "Auto"
        moving = [one for one in candidates if is_auto or self._is_asked(one.key, now)]
        of_policy = [
            (key, one)
            for key, one in self.objects.workloads.items()
            if key[0] == policy[0] and one.spec.policy_ref and one.spec.policy_ref.name == policy[1]
        ]
        left = moves_left(budget, (one for _, one in of_policy), now)
        left -= self.tasks.moves_asked(key for key, _ in of_policy)
        for one in within_budget(moving, left):
            self.tasks.ask(one.key, question_of(budget, one.step.replicas))
            self.requeuer.redecide([one.key])
        if not is_auto:
            self._advise(candidates, now)

    def _is_asked(self, key: WorkKey, now: datetime) -> bool:
        workload = self.objects.workloads.get(key)
        return workload is not None and is_asked(workload.metadata.annotations, now)

    def _advise(self, candidates: list[RebalanceCandidate], now: datetime) -> None:
        """Records what would move and save, once a day for each workload."""
        for one in candidates:
            workload, last = self.objects.workloads.get(one.key), self._advised.get(one.key)
            if workload is None or (last is not None and now - last < _ADVISED_AGAIN):
                continue
            self._advised[one.key] = now
            text = format_saving(one.step).removeprefix("; ")
            self.events.record(
                workload,
                reason="RebalanceAdvised",
                message=f"with spec.rebalance.mode Auto it would be {text}",
                is_warning=False,
            )
