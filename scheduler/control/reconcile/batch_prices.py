"""Much waits: it is looked at together, and the prices of what is scarce enter single decisions.

A batch changes nothing by itself. Its prices become part of the terms, so that work which bears it
goes where nobody else must; and within a priority and a tenant, what gains most is decided first.
Whether and where a workload runs is decided one by one, as always. The event loop only collects, in
slices; the batch is solved in a thread on a snapshot: facts never change once they are made.
"""

import asyncio
import heapq
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from scheduler.control.ports.hub import HubError
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.reconcile.reconciler import Reconciler
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

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 1.0
_SLICE_SECONDS = 0.004
_SLICE_WORKLOADS = 500
_CAPACITY_REASONS = frozenset({"full", "fragmented", "spread"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """When a batch is taken, and how large it may be; `configs/scheduler.yaml` explains each."""

    at_workloads: int
    interval_seconds: float
    prices_expire_seconds: float
    most_workloads: int
    most_pairs: int


class BatchCancelled(Exception):
    """The batch was called off."""


@dataclass(slots=True)
class BatchFleet:
    """A second fleet for batches, brought up to date with what changed since the last one.

    Attributes:
        is_cancelled: a batch that runs ends at its next step.
    """

    is_cancelled: bool = False
    _fleet: Fleet = field(default_factory=Fleet)

    def solve(
        self, facts: list[SiteFacts], demands: list[Demand], now: datetime, terms: Terms
    ) -> BatchOutcome:
        """Runs in a thread, and gives way often.

        Raises:
            Stopped: it was called off.
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
        """What a batch itself counted as in flight is undone here too: such facts are others."""
        names = {one.name for one in facts}
        for gone in [name for name in self._fleet.slot_of if name not in names]:
            self._fleet.remove(gone)
        for one in facts:
            if one.name not in self._fleet.slot_of or self._fleet.facts_of(one.name) is not one:
                self._fleet.upsert(one)
                self._give_way()

    def _give_way(self) -> None:
        if self.is_cancelled:
            raise BatchCancelled
        yield_thread()


@dataclass(slots=True)
class BatchPricer:
    """Takes batches while much waits.

    Attributes:
        queue: what waits.
        reconciler: who decides, by which terms.
        clock: for intervals and instants.
        telemetry: told of every batch.
        limits: when, and how large.
    """

    queue: SchedulingQueue
    reconciler: Reconciler
    clock: Clock
    telemetry: Telemetry
    limits: BatchLimits
    _batch_fleet: BatchFleet = field(default_factory=BatchFleet)
    _ranked: set[WorkKey] = field(default_factory=set)
    _batch_number: int = 0
    _last_recorded: tuple[object, ...] = ()
    _attempted_seconds: float = float("-inf")
    _priced_seconds: float = 0.0

    async def run(self) -> None:
        """Looks every second; runs until cancelled."""
        while True:
            await self.update_prices()
            await self.clock.sleep(_CHECK_INTERVAL_SECONDS)

    async def update_prices(self) -> None:
        """Takes a batch if much waits, and drops prices that nobody waits by any more."""
        count, now = self.queue.count_waiting(_CAPACITY_REASONS), self.clock.monotonic()
        is_old = now - self._priced_seconds > self.limits.prices_expire_seconds
        if self._has_prices() and (not count or is_old):
            await self._set_prices((), "")
            self.telemetry.set_scarcity(number=0, workloads=0, prices=0, ratio=0.0)
        is_time = now - self._attempted_seconds >= self.limits.interval_seconds
        if self.limits.at_workloads and count >= self.limits.at_workloads and is_time:
            self._attempted_seconds = now
            await self._run_batch(self.queue.waiting_keys(_CAPACITY_REASONS))

    def _has_prices(self) -> bool:
        return bool(self.reconciler.terms.scarcity or self._ranked)

    async def _run_batch(self, keys: list[WorkKey]) -> None:
        began = self.clock.monotonic()
        asked = await self._resolve_demands(await self._most_urgent(keys))
        if len(asked) < self.limits.at_workloads:
            return
        try:
            outcome = await self._solve(list(asked.values()))
            await self._record(outcome, len(asked))
        except (HubError, ArithmeticError, LookupError, TypeError, ValueError):
            _log.exception("a batch of %s workloads failed; decisions go on without", len(asked))
            self.telemetry.observe_batch("failed", self.clock.monotonic() - began)
            return
        key_of = {demand.key: key for key, demand in asked.items()}
        await self._apply_outcome(outcome, [key_of[text] for text in outcome.order])
        result = "scarce" if outcome.terms.scarcity else "plentiful"
        self.telemetry.observe_batch(result, self.clock.monotonic() - began)

    async def _apply_outcome(self, outcome: BatchOutcome, order: list[WorkKey]) -> None:
        """The prices and the order count from now on."""
        self._batch_number += 1
        self._priced_seconds = self.clock.monotonic()
        terms = outcome.terms
        await self._set_prices(order, terms.scarcity_version, terms)
        self.telemetry.set_scarcity(
            number=self._batch_number,
            workloads=len(order),
            prices=len(terms.scarcity),
            ratio=outcome.ratio,
        )
        _log.info(
            "batch %s: %s workloads, %.1f %% of the bound, %s scarcity prices %s",
            self._batch_number,
            len(order),
            outcome.ratio * 100,
            len(terms.scarcity),
            terms.scarcity_version,
        )

    async def _most_urgent(self, keys: list[WorkKey]) -> list[WorkKey]:
        """Those that want replicas, the most urgent first if there are too many."""
        wanting: list[tuple[int, float, WorkKey]] = []
        for start in range(0, len(keys), _SLICE_WORKLOADS):
            wanting += self._unplaced_by_urgency(keys[start : start + _SLICE_WORKLOADS])
            await self.clock.sleep(0)
        sites = max(1, len(self.reconciler.fleet))
        most = min(self.limits.most_workloads, self.limits.most_pairs // sites)
        if len(wanting) > most:
            wanting = await asyncio.to_thread(heapq.nsmallest, most, wanting)
        return [each[-1] for each in wanting]

    def _unplaced_by_urgency(self, keys: Iterable[WorkKey]) -> Iterator[tuple[int, float, WorkKey]]:
        for key in keys:
            workload = self.reconciler.objects.workloads.get(key)
            if workload is not None and _needs_placement(workload):
                created = workload.metadata.creation_timestamp
                yield -workload.spec.priority, created.timestamp() if created else 0.0, key

    async def _resolve_demands(self, keys: list[WorkKey]) -> dict[WorkKey, Demand]:
        """What each asks, resolved in slices of the loop's time."""
        registry, quotas = self.reconciler.objects, self.reconciler.order_sync.quotas
        found: dict[WorkKey, Demand] = {}
        began = self.clock.monotonic()
        for key in keys:
            workload = registry.workloads.get(key)
            demand = resolve_demand(workload, registry, quotas) if workload else None
            if isinstance(demand, Demand):
                found[key] = demand
            if self.clock.monotonic() - began >= _SLICE_SECONDS:
                await self.clock.sleep(0)
                began = self.clock.monotonic()
        return found

    async def _solve(self, demands: list[Demand]) -> BatchOutcome:
        facts = [one for one in self.reconciler.fleet.facts if one is not None]
        now, terms = self.clock.now(), self.reconciler.terms
        try:
            return await asyncio.to_thread(self._batch_fleet.solve, facts, demands, now, terms)
        except asyncio.CancelledError:
            self._batch_fleet.is_cancelled = True
            raise

    async def _record(self, outcome: BatchOutcome, workloads: int) -> None:
        """How it was solved, and how well, stands in the ledger before its prices count.

        Once: while nothing changes, a batch at every interval says what the last one said.
        """
        content = {
            "solver": SOLVER,
            "solverVersion": solver_version(),
            "method": outcome.method,
            "threads": THREADS,
            "seed": SEED,
            "workloads": workloads,
            "sites": len(self.reconciler.fleet),
            "achieved": outcome.achieved,
            "bound": outcome.bound,
        }
        epoch = self.reconciler.epoch()
        says = (epoch, outcome.terms, *content.values())
        if says == self._last_recorded:
            return
        await self.reconciler.recorder.record_batch(
            epoch=epoch, at=self.clock.now(), terms=outcome.terms, content=content
        )
        self._last_recorded = says

    async def _set_prices(
        self, order: Iterable[WorkKey], version: str, terms: Terms | None = None
    ) -> None:
        self.reconciler.terms = msgspec.structs.replace(
            self.reconciler.terms,
            scarcity=terms.scarcity if terms else (),
            scarcity_version=version,
        )
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
    """Whether it is not placed in full, as far as its status tells."""
    status, meta = workload.status, workload.metadata
    if meta.deletion_timestamp is not None or workload.spec.paused:
        return False
    return (
        status.observed_generation != meta.generation
        or not status.placement.groups
        or status.phase in ("Waiting", "Refused", "Pending")
    )
