"""Solves a large backlog as one batch, for single decisions to follow.

A batch changes nothing by itself. Its prices become part of the terms, so that a workload that can
use other capacity leaves the scarce capacity to those that cannot; what it assigns is taken where
every rule and the room still hold; and within a priority and a tenant, the workloads that gain most
are decided first. Whether and where a workload runs is decided one by one, as always. The event
loop only collects the demands, in short slices; another process solves the batch on a snapshot, and
again only when something has changed.
"""

import asyncio
import hashlib
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from scheduler.control.ports.batch_solver import BatchInputs, BatchNotSolved, BatchSolver
from scheduler.control.ports.ledger import DecisionRecorder
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.placement.batch.place import BatchOutcome
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
    budget_seconds: float


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
        solver: solves a batch.
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
    solver: BatchSolver
    limits: BatchLimits
    faults: Faults
    _ranked: set[WorkKey] = field(default_factory=set)
    _batch_number: int = 0
    _last_recorded: tuple[object, ...] = ()
    _attempted_seconds: float = float("-inf")
    _solved_digest: bytes = b""
    _solved_seconds: float = float("-inf")
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
            self._solved_digest = b""
            await self._set_prices((), None)
            self.telemetry.set_scarcity(number=0, workloads=0, prices=0, ratio=0.0)
        is_time = now - self._attempted_seconds >= self.limits.interval_seconds
        if self.limits.at_workloads and count >= self.limits.at_workloads and is_time:
            self._attempted_seconds = now
            await self._run_batch(self.queue.waiting_keys(_CAPACITY_REASONS))

    def _has_prices(self) -> bool:
        return bool(self.inputs.terms.scarcity or self.inputs.assigned or self._ranked)

    async def _run_batch(self, keys: list[WorkKey]) -> None:
        started_seconds = self.clock.monotonic()
        demands = await self._resolve_demands(await self._most_urgent(keys))
        if len(demands) < self.limits.at_workloads:
            return
        inputs = self._snapshot(list(demands.values()))
        if await self._is_solved_already(inputs):
            _log.debug("nothing has changed since the last batch")
            return
        outcome = None
        with self.faults.barrier("batch"):
            outcome = await self._solve_and_record(inputs)
        if outcome is None:  # decisions continue without new prices
            self.telemetry.observe_batch("failed", self.clock.monotonic() - started_seconds)
            return
        key_of = {demand.key: key for key, demand in demands.items()}
        await self._apply_outcome(outcome, [key_of[text] for text in outcome.order])
        result = "scarce" if outcome.terms.scarcity else "plentiful"
        self.telemetry.observe_batch(result, self.clock.monotonic() - started_seconds)

    def _snapshot(self, demands: list[Demand]) -> BatchInputs:
        return BatchInputs(
            facts=[one for one in self.inputs.fleet.facts if one is not None],
            demands=demands,
            now=self.clock.now(),
            terms=self.inputs.base_terms,
        )

    async def _is_solved_already(self, inputs: BatchInputs) -> bool:
        """Whether a batch was solved, or tried, with the same inputs a short time ago.

        The time is an input too: tariffs and ages change with it. So half of the time for which
        prices count, a batch is solved again whatever its inputs.
        """
        digest, now = await asyncio.to_thread(_digest_of, inputs), self.clock.monotonic()
        is_recent = now - self._solved_seconds < self.limits.prices_expire_seconds / 2
        if digest == self._solved_digest and is_recent:
            return True
        self._solved_digest, self._solved_seconds = digest, now
        return False

    async def _solve_and_record(self, inputs: BatchInputs) -> BatchOutcome | None:
        """Solves a batch; None when there is no outcome, or it is not recorded."""
        try:
            outcome = await self.solver.solve(inputs)
            await self._record(outcome, len(inputs.demands))
        except (BatchNotSolved, NotRecorded) as error:
            if isinstance(error, NotRecorded):  # the same batch may be recorded next time
                self._solved_digest = b""
            _log.warning("a batch of %s workloads does not count: %s", len(inputs.demands), error)
            return None
        return outcome

    async def _apply_outcome(self, outcome: BatchOutcome, order: list[WorkKey]) -> None:
        """Puts the prices and the order of a batch into force."""
        self._batch_number += 1
        self._priced_seconds = self.clock.monotonic()
        terms, hottest = outcome.terms, outcome.hottest
        await self._set_prices(order, outcome)
        self.telemetry.set_scarcity(
            number=self._batch_number,
            workloads=len(order),
            prices=len(terms.scarcity),
            ratio=outcome.ratio,
        )
        _log.info(
            "batch %s: %s workloads, %s assigned %s, %.1f %% of the upper bound,"
            " %s scarcity prices %s, hottest site %s: %s of what it has is wanted, %s is placed",
            self._batch_number,
            len(order),
            len(outcome.assigned),
            outcome.assignment_version,
            outcome.ratio * 100,
            len(terms.scarcity),
            terms.scarcity_version,
            hottest.name,
            _format_load(hottest.before),
            _format_load(hottest.after),
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

    async def _record(self, outcome: BatchOutcome, workloads: int) -> None:
        """Records how a batch was solved, and how well, before its outcome is in force.

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
            "ratio": outcome.ratio,
            "budgetSeconds": self.limits.budget_seconds,
            "hottestSite": {
                "site": outcome.hottest.name,
                "before": outcome.hottest.before,
                "after": outcome.hottest.after,
            },
        }
        epoch = self.epoch()
        record = (epoch, outcome.terms, outcome.assignment_version, *content.values())
        if record == self._last_recorded:
            return
        await self.recorder.record_batch(
            epoch=epoch,
            at=self.clock.now(),
            terms=outcome.terms,
            assigned=outcome.assigned,
            content=content,
        )
        self._last_recorded = record

    async def _set_prices(self, order: Iterable[WorkKey], outcome: BatchOutcome | None) -> None:
        """Puts the prices and the assignment of a batch and an order into force; None: none."""
        if outcome is None:
            self.inputs.drop_batch()
        else:
            self.inputs.use_scarcity_of(outcome.terms)
            self.inputs.use_assignment(outcome.assignment_version, outcome.assigned)
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


def _digest_of(inputs: BatchInputs) -> bytes:
    """A digest of what a batch is solved from, without times and power; runs in a thread."""
    found = hashlib.sha256(msgspec.json.encode(inputs.terms))
    for facts in inputs.facts:
        found.update(msgspec.json.encode(_without_times(facts)))
        yield_thread()
    for demand in inputs.demands:
        found.update(msgspec.json.encode(demand))
        yield_thread()
    return found.digest()


def _without_times(facts: SiteFacts) -> SiteFacts:
    """The facts without what each report changes: when figures were observed, and power."""
    status = facts.status
    grid = status.intensity
    kept = msgspec.structs.replace(
        status,
        observed_at=None,
        power=None,
        intensity=msgspec.structs.replace(grid, observed_at=None) if grid else None,
        rtt=tuple(msgspec.structs.replace(one, observed_at=None) for one in status.rtt),
    )
    zone = facts.zone_intensity
    if zone is not None and zone.hourly is not None:
        hourly = msgspec.structs.replace(zone.hourly, observed_at=None)
        zone = msgspec.structs.replace(zone, hourly=hourly)
    return msgspec.structs.replace(facts, status=kept, zone_intensity=zone)


def _format_load(load: float | None) -> str:
    return "more than all" if load is None else f"{load:.0%}"
