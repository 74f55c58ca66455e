"""The worker: takes workloads off the queue, reconciles many at once, handles the outcomes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from scheduler.control.ports.hub import Conflict, HubError
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.queue.reservations import CAPACITY_REASONS, Reservations
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.reconcile.draft import ReconcileResult
from scheduler.control.reconcile.progress import Begun
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.state.objects import HubObjects
from scheduler.control.wake_ups import WakeUps
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import WakeEvent
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

MAX_TOGETHER = 64
"""The most workloads that are decided in one step; it also ends after a bounded time."""
_FEWEST_TAKEN, _MOST_LEFT_OUT = 8, 31
"""Bounds of what is learned from the steps before, so that work that cannot be decided together is
hardly slower for it."""

_EVENT_OF_RESULT: Mapping[str, WakeEvent] = {"placed": "placed", "deleted": "gone"}
"""What the result for one workload means for the others that wait."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """Reconciles workloads: of one each attempt after the other, of different ones many at once.

    Attributes:
        queue: which workload is next.
        reconciler: does what one workload needs.
        objects: the hub's objects.
        reservations: learns which workloads wait for capacity.
        wake_ups: wakes workloads that a result could help.
        telemetry: counts attempts.
        clock: measures how long attempts take.
        faults: handles the faults that single workloads cause.
        may_decide: waits while nothing may be decided.
        concurrency: so many workloads are reconciled at once.
    """

    queue: SchedulingQueue
    reconciler: Reconciler
    objects: HubObjects
    reservations: Reservations
    wake_ups: WakeUps
    telemetry: Telemetry
    clock: Clock
    faults: Faults
    may_decide: Callable[[], Awaitable[object]]
    concurrency: int = 32
    _not_recorded: set[WorkKey] = field(default_factory=set)
    _limit: int = MAX_TOGETHER
    _failures: int = 0
    _left_out: int = 0

    def retry_not_recorded(self) -> None:
        """Queues the workloads whose decisions were not recorded: the ledger can be written."""
        keys, self._not_recorded = self._not_recorded, set()
        for key in keys:
            self.queue.succeed(key)
        self.wake_ups.requeuer.requeue(keys)

    async def run(self) -> None:
        """Takes workloads and reconciles them; runs until cancelled."""
        slots = asyncio.Semaphore(self.concurrency)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                await self.may_decide()
                key = self.queue.take_now()
                if key is None:
                    slots.release()  # what is decided already may need it
                    self._left_out = self._failures = 0  # what comes is other work
                    await self.queue.wait_for_work()
                    continue
                others = self._take_alike(key)
                if others:
                    group.create_task(self._reconcile_together([key, *others], slots))
                else:
                    task = group.create_task(self._reconcile(key))
                    task.add_done_callback(lambda _: slots.release())
                await yield_loop()  # what sites and the hub send counts for the next one

    def _take_alike(self, key: WorkKey) -> list[WorkKey]:
        """Takes the workloads that are next after one, while they look like it."""
        found: list[WorkKey] = []
        if self._left_out > 0:
            self._left_out -= 1
            return found
        while len(found) < min(self._limit, MAX_TOGETHER) - 1:
            other = self.queue.take_next_if(partial(self.reconciler.look_alike, key))
            if other is None:
                break
            found.append(other)
        return found

    async def _reconcile_together(self, keys: list[WorkKey], slots: asyncio.Semaphore) -> None:
        """Decides those that are equal in one step, and carries each out on its own.

        Those that are not equal to the first keep their places in the queue. Of the slots, the one
        that is held is used for the first.
        """
        begun: dict[WorkKey, Begun] = {}
        try:
            with self.faults.barrier("workload", passing=(HubError,)), suppress(HubError):
                begun = await self.reconciler.begin_together(keys)
        finally:
            for key in reversed(keys[1:]):
                if key not in begun:
                    self.queue.put_back(key)
        self._learn_from(len(begun))
        try:
            async with asyncio.TaskGroup() as group:
                for key in list(begun)[1:]:
                    group.create_task(self._reconcile_in_slot(key, begun[key], slots))
                try:
                    await self._reconcile(keys[0], begun.get(keys[0]))
                finally:
                    slots.release()
        finally:  # a task that was cancelled before its first step has not done it
            for key, one in begun.items():
                self.reconciler.abandon(key, one)

    def _learn_from(self, count: int) -> None:
        """Takes about as many the next time as were equal; after none, seldom tries at all."""
        self._limit = max(_FEWEST_TAKEN, 2 * count)
        self._failures = 0 if count else min(2 * self._failures + 1, _MOST_LEFT_OUT)
        self._left_out = self._failures

    async def _reconcile_in_slot(
        self, key: WorkKey, begun: Begun, slots: asyncio.Semaphore
    ) -> None:
        async with slots:
            await self._reconcile(key, begun)

    async def _reconcile(self, key: WorkKey, begun: Begun | None = None) -> None:
        """Reconciles a workload that is taken; whatever comes of that, it can be taken again.

        Args:
            key: the workload.
            begun: what is decided about it already; None: nothing.
        """
        started_seconds = self.clock.monotonic()
        result = "error"
        try:
            with self.faults.barrier("workload", key):
                result = await self._attempt(key, begun)
        finally:
            if result == "error":
                self.queue.fail(key)
            self.queue.finish(key)
        with self.faults.barrier("workload"):
            self.wake_ups.add_freed_resources()
        self.telemetry.observe_attempt(result, self.clock.monotonic() - started_seconds)

    async def _attempt(self, key: WorkKey, begun: Begun | None) -> str:
        """Reconciles a workload; what fails is retried after a back-off."""
        try:
            if begun is None:
                outcome = await self.reconciler.reconcile(key)
            else:
                outcome = await self.reconciler.finish(key, begun)
            return self._handle_outcome(key, outcome)
        except Conflict as error:  # another client wrote first; the watch brings what it wrote
            _log.info("%s/%s: %s", *key, error, extra=_ids_of(key))
        except HubError as error:
            self.queue.ask_pause(key, error.retry_after_seconds)
            level = logging.DEBUG if error.is_trouble_of_the_hub else logging.WARNING
            _log.log(level, "%s/%s: retrying later: %s", *key, error, extra=_ids_of(key))
        except NotRecorded as error:
            self._not_recorded.add(key)
            _log.debug("%s/%s: not decided: %s", *key, error, extra=_ids_of(key))
        return "error"

    def _handle_outcome(self, key: WorkKey, outcome: ReconcileResult) -> str:
        self.queue.succeed(key)
        self._update_waiting_for_capacity(key, outcome)
        if outcome.result in _EVENT_OF_RESULT:
            self.wake_ups.add_events(_EVENT_OF_RESULT[outcome.result])
        if outcome.frees_names:
            self.wake_ups.add_events("gone")
        if outcome.result == "deleted" and key not in self.objects.workloads:
            # One that was created again under its name meanwhile stays in the queue.
            self.queue.forget(key)
        elif outcome.unschedulable_reasons:
            self.queue.mark_unschedulable(
                key,
                outcome.unschedulable_reasons,
                minimum_request=outcome.minimum_request,
                retry_after_seconds=outcome.retry_after_seconds,
            )
        elif outcome.retry_after_seconds is not None:
            self.queue.retry_after(key, outcome.retry_after_seconds)
        return outcome.result

    def _update_waiting_for_capacity(self, key: WorkKey, outcome: ReconcileResult) -> None:
        workload = self.objects.workloads.get(key)
        if workload is None:
            self.reservations.set_waiting(key, is_waiting=False)
            return
        self.reservations.set_waiting(
            key,
            is_waiting=bool(outcome.unschedulable_reasons & CAPACITY_REASONS),
            priority=workload.spec.priority,
            generation=workload.metadata.generation,
        )


def _ids_of(key: WorkKey) -> dict[str, str]:
    """What a line of the log about a workload names."""
    return {"workload": "/".join(key)}
