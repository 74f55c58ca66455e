"""Solves a large backlog as one batch, and feeds its scarcity prices into single decisions.

A batch changes nothing by itself. Its prices become part of the terms, so that a workload that can
use other capacity leaves the scarce capacity to those that cannot; and within a priority and a
tenant, the workloads that gain most are decided first. Whether and where a workload runs is decided
one by one, as always. The event loop only collects the demands, in short slices; a thread solves
the batch on a snapshot, which is safe because facts are immutable.
"""

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.ports.ledger import DecisionRecorder, NotRecorded
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.placement.batch.place import BatchOutcome, place_batch_in_steps
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.order import UNRANKED
from scheduler.placement.solver.highs import SEED, SOLVER, THREADS, solver_version
from scheduler.runtime.clock import Clock, yield_thread
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 1.0
_SLICE_SECONDS = 0.004
_SLICE_WORKLOADS = 500
_CAPACITY_REASONS = frozenset({"full", "fragmented", "spread"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """When a batch is solved, and how large it may be.

    The fields are those of `scheduler.settings.BatchSettings`, which explains them.
    """

    at_workloads: int
    interval_seconds: float
    prices_expire_seconds: float
    most_workloads: int
    most_pairs: int


class BatchCancelled(Exception):
    """The batch was cancelled while a thread solved it."""


@dataclass(slots=True)
class BatchFleet:
    """A second fleet for batches, so that a thread can work while the event loop decides."""

    _fleet: Fleet = field(default_factory=Fleet)
    _is_cancelled: bool = False

    def cancel(self) -> None:
        """Ends a batch that is being solved at its next step; may be called from any thread."""
        self._is_cancelled = True

    def solve(
        self, facts: list[SiteFacts], demands: list[Demand], now: datetime, terms: Terms
    ) -> BatchOutcome:
        """Solves a batch; runs in a thread, and yields to other threads often.

        Args:
            facts: of all sites.
            demands: of the workloads of the batch.
            now: the time of the batch.
            terms: the terms of the batch.

        Raises:
            BatchCancelled: `cancel` was called.
        """
        self._update_facts(facts)
        steps = place_batch_in_steps(demands, self._fleet, now=now, terms=terms)
        while True:
            self._give_way()
            try:
                next(steps)
            except StopIteration as done:
                outcome: BatchOutcome = done.value
                return outcome

    def _update_facts(self, facts: list[SiteFacts]) -> None:
        """Brings the fleet up to date with what changed since the last batch.

        This also undoes what the last batch itself counted as in flight, because that replaced the
        facts of its sites.
        """
        names = {one.name for one in facts}
        for gone in [name for name in self._fleet.slot_of if name not in names]:
            self._fleet.remove(gone)
        for one in facts:
            if one.name not in self._fleet.slot_of or self._fleet.facts_of(one.name) is not one:
                self._fleet.upsert(one)
                self._give_way()

    def _give_way(self) -> None:
        if self._is_cancelled:
            raise BatchCancelled
        yield_thread()


@dataclass(slots=True, kw_only=True)
class BatchPricer:
    """Solves batches while the backlog is large.

    Attributes:
        queue: the workloads that wait.
        objects: the hub's objects.
        quotas: what placed workloads use of their tenants' quotas.
        inputs: the fleet and the terms; the terms receive the prices.
        recorder: the ledger.
        epoch: gives the leader's epoch.
        clock: for intervals and times.
        telemetry: counts batches.
        limits: when a batch is solved, and how large it may be.
        faults: handles what fails in a batch.
    """

    queue: SchedulingQueue
    objects: HubObjects
    quotas: Quotas
    inputs: DecisionInputs
    recorder: DecisionRecorder
    epoch: Callable[[], int]
    clock: Clock
    telemetry: Telemetry
    limits: BatchLimits
    faults: Faults
    _batch_fleet: BatchFleet = field(default_factory=BatchFleet)
    _ranked: set[WorkKey] = field(default_factory=set)
    _batch_number: int = 0
    _last_recorded: tuple[object, ...] = ()
    _attempted_seconds: float = float("-inf")
    _priced_seconds: float = 0.0

    async def run(self) -> None:
        """Checks the backlog every second; runs until cancelled."""
        while True:
            with self.faults.barrier("batch"):
                await self.update_prices()
            await self.clock.sleep(_CHECK_INTERVAL_SECONDS)

    async def update_prices(self) -> None:
        """Solves a batch if the backlog is large, and drops prices that are old or not needed."""
        count, now = self.queue.count_waiting(_CAPACITY_REASONS), self.clock.monotonic()
        is_old = now - self._priced_seconds > self.limits.prices_expire_seconds
        if self._has_prices() and (not count or is_old):
            await self._set_prices((), None)
            self.telemetry.set_scarcity(number=0, workloads=0, prices=0, ratio=0.0)
        is_time = now - self._attempted_seconds >= self.limits.interval_seconds
        if self.limits.at_workloads and count >= self.limits.at_workloads and is_time:
            self._attempted_seconds = now
            await self._run_batch(self.queue.waiting_keys(_CAPACITY_REASONS))

    def _has_prices(self) -> bool:
        return bool(self.inputs.terms.scarcity or self._ranked)

    async def _run_batch(self, keys: list[WorkKey]) -> None:
        started_seconds = self.clock.monotonic()
        demands = await self._resolve_demands(await self._most_urgent(keys))
        if len(demands) < self.limits.at_workloads:
            return
        outcome = None
        with self.faults.barrier("batch"):
            outcome = await self._solve_and_record(list(demands.values()))
        if outcome is None:  # decisions continue without new prices
            self.telemetry.observe_batch("failed", self.clock.monotonic() - started_seconds)
            return
        key_of = {demand.key: key for key, demand in demands.items()}
        await self._apply_outcome(outcome, [key_of[text] for text in outcome.order])
        result = "scarce" if outcome.terms.scarcity else "plentiful"
        self.telemetry.observe_batch(result, self.clock.monotonic() - started_seconds)

    async def _solve_and_record(self, demands: list[Demand]) -> BatchOutcome | None:
        """Solves a batch; None when it could not be recorded, and so does not count."""
        outcome = await self._solve(demands)
        try:
            await self._record(outcome, len(demands))
        except NotRecorded as error:
            _log.warning("a batch of %s workloads does not count: %s", len(demands), error)
            return None
        return outcome

    async def _apply_outcome(self, outcome: BatchOutcome, order: list[WorkKey]) -> None:
        """Puts the prices and the order of a batch into force."""
        self._batch_number += 1
        self._priced_seconds = self.clock.monotonic()
        terms = outcome.terms
        await self._set_prices(order, terms)
        self.telemetry.set_scarcity(
            number=self._batch_number,
            workloads=len(order),
            prices=len(terms.scarcity),
            ratio=outcome.ratio,
        )
        _log.info(
            "batch %s: %s workloads, %.1f %% of the upper bound, %s scarcity prices %s",
            self._batch_number,
            len(order),
            outcome.ratio * 100,
            len(terms.scarcity),
            terms.scarcity_version,
        )

    async def _most_urgent(self, keys: list[WorkKey]) -> list[WorkKey]:
        """The workloads that are not fully placed; if there are too many, the most urgent ones."""
        wanting: list[tuple[int, float, WorkKey]] = []
        for start in range(0, len(keys), _SLICE_WORKLOADS):
            wanting += self._unplaced_by_urgency(keys[start : start + _SLICE_WORKLOADS])
            await self.clock.sleep(0)
        sites = max(1, len(self.inputs.fleet))
        most = min(self.limits.most_workloads, self.limits.most_pairs // sites)
        if len(wanting) > most:
            wanting = await asyncio.to_thread(heapq.nsmallest, most, wanting)
        return [each[-1] for each in wanting]

    def _unplaced_by_urgency(self, keys: Iterable[WorkKey]) -> Iterator[tuple[int, float, WorkKey]]:
        for key in keys:
            workload = self.objects.workloads.get(key)
            if workload is not None and _needs_placement(workload):
                created = workload.metadata.creation_timestamp
                yield -workload.spec.priority, created.timestamp() if created else 0.0, key

    async def _resolve_demands(self, keys: list[WorkKey]) -> dict[WorkKey, Demand]:
        """The demand of each accepted workload, resolved in short slices of the event loop."""
        found: dict[WorkKey, Demand] = {}
        started_seconds = self.clock.monotonic()
        for key in keys:
            workload = self.objects.workloads.get(key)
            with self.faults.barrier("batch"):
                demand = resolve_demand(workload, self.objects, self.quotas) if workload else None
                if isinstance(demand, Demand):
                    found[key] = demand
            if self.clock.monotonic() - started_seconds >= _SLICE_SECONDS:
                await self.clock.sleep(0)
                started_seconds = self.clock.monotonic()
        return found

    async def _solve(self, demands: list[Demand]) -> BatchOutcome:
        facts = [one for one in self.inputs.fleet.facts if one is not None]
        now, terms = self.clock.now(), self.inputs.terms
        try:
            return await asyncio.to_thread(self._batch_fleet.solve, facts, demands, now, terms)
        except asyncio.CancelledError:
            self._batch_fleet.cancel()  # a thread cannot be cancelled from outside
            raise

    async def _record(self, outcome: BatchOutcome, workloads: int) -> None:
        """Records how a batch was solved, and how well, before its prices are in force.

        A batch with the same result as the last recorded one is not recorded again.
        """
        content = {
            "solver": SOLVER,
            "solverVersion": solver_version(),
            "method": outcome.method,
            "threads": THREADS,
            "seed": SEED,
            "workloads": workloads,
            "sites": len(self.inputs.fleet),
            "achieved": outcome.achieved,
            "bound": outcome.bound,
        }
        epoch = self.epoch()
        record = (epoch, outcome.terms, *content.values())
        if record == self._last_recorded:
            return
        await self.recorder.record_batch(
            epoch=epoch, at=self.clock.now(), terms=outcome.terms, content=content
        )
        self._last_recorded = record

    async def _set_prices(self, order: Iterable[WorkKey], terms: Terms | None) -> None:
        """Puts the prices of these terms and an order into force; None: no prices."""
        if terms is None:
            self.inputs.drop_batch()
        else:
            self.inputs.use_scarcity_of(terms)
        ranks = {key: place for place, key in enumerate(order)}
        ranks |= dict.fromkeys(self._ranked - ranks.keys(), UNRANKED)
        self._ranked = {key for key, rank in ranks.items() if rank != UNRANKED}
        keys = list(ranks)
        for start in range(0, len(keys), _SLICE_WORKLOADS):
            self.queue.set_ranks(
                {key: ranks[key] for key in keys[start : start + _SLICE_WORKLOADS]}
            )
            await self.clock.sleep(0)


def _needs_placement(workload: Workload) -> bool:
    """Whether a workload is not fully placed, as far as its status says."""
    status, meta = workload.status, workload.metadata
    if meta.deletion_timestamp is not None or workload.spec.paused:
        return False
    return (
        status.observed_generation != meta.generation
        or not status.placement.groups
        or status.phase in ("Waiting", "Refused", "Pending")
    )
