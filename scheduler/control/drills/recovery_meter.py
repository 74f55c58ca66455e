"""Measures when the work of a lost site is ordered and ready elsewhere, and why some stays."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from scheduler.control.failover.gate import EvictionGate
from scheduler.control.failover.words import WHOLE_COPIES
from scheduler.control.orders.sync import OrderSync
from scheduler.control.state.evictions import Evictions
from scheduler.control.state.failover_rules import KnownFailover
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.resolve_demand import policies_of
from scheduler.control.status.migration import (
    health_of,
    is_finished,
    replicas_staying,
    shares_in,
)
from scheduler.model.demand.failover import recovery_by
from scheduler.model.drills.drill import MAX_MEASURED, MAX_TARGETS, MeasuredWork
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.placement.failover.plan import HOLD_SENTENCES
from scheduler.runtime.clock import yield_loop

_STEP = 50
"""The loop lets others run after so many workloads."""
_DELETED = "it was deleted meanwhile"
_FINISHED = "it has finished"
_NOT_SILENT = "the drill ended before the site counted as silent"


@dataclass(slots=True, kw_only=True)
class RecoveryMeter:
    """Reads what the loops of failover have done; it changes nothing.

    Attributes:
        objects: the hub's objects.
        order_sync: what sites reported of orders.
        evictions: what is in force, and what waits for an operator.
        gate: whether evictions are allowed.
        after_seconds: how long a site must be silent where a workload does not say.
    """

    objects: HubObjects
    order_sync: OrderSync
    evictions: Evictions
    gate: EvictionGate
    after_seconds: float
    _rules: KnownFailover = field(init=False)

    def __post_init__(self) -> None:
        self._rules = KnownFailover(self.objects)

    def begin(self, site: str) -> tuple[tuple[MeasuredWork, ...], int]:
        """What stays at a site now, first what is replaced first, and how many more there are."""
        self._rules.forget_others(self.objects.workloads)
        found: list[tuple[int, str, MeasuredWork]] = []
        for key in self.objects.workloads_at(site):
            workload = self.objects.workloads.get(key)
            if workload is None or workload.metadata.deletion_timestamp:
                continue
            replicas = replicas_staying(workload.status.placement.groups, site)
            if replicas:
                one = self._measured(workload, site, replicas)
                found.append((-workload.spec.priority, one.workload, one))
        found.sort(key=lambda each: each[:2])
        work = tuple(one for _, _, one in found[:MAX_MEASURED])
        return work, len(found) - len(work)

    def _measured(self, workload: Workload, site: str, replicas: int) -> MeasuredWork:
        recovery = recovery_by(workload.spec, policies_of(workload, self.objects))
        others = shares_in(workload.status.placement.groups)
        has_others = any(one.replicas for name, one in others.items() if name != site)
        is_covered = has_others and self._rules.of(workload).is_everywhere
        return MeasuredWork(
            workload=workload.metadata.key,
            replicas=replicas,
            rto_seconds=recovery.rto_seconds,
            rpo_seconds=recovery.rpo_seconds,
            kept=WHOLE_COPIES if is_covered else "",
        )

    async def measure(
        self, site: str, work: Iterable[MeasuredWork], elapsed_seconds: float
    ) -> tuple[MeasuredWork, ...]:
        """The same workloads with what has happened to them until now.

        Args:
            site: what is treated as lost, and counts as silent.
            work: what was measured before.
            elapsed_seconds: since the drill began.
        """
        measured = []
        for count, one in enumerate(work, 1):
            if not count % _STEP:
                await yield_loop()
            measured.append(one if one.is_settled else self._now(site, one, elapsed_seconds))
        return tuple(measured)

    def _now(self, site: str, one: MeasuredWork, elapsed_seconds: float) -> MeasuredWork:
        workload = self.objects.workloads.get(_key_of(one))
        if workload is None or workload.metadata.deletion_timestamp:
            return msgspec.structs.replace(one, kept=_DELETED)
        if one.order_seconds is None:
            if self._has_finished(workload, site):
                return msgspec.structs.replace(one, kept=_FINISHED)
            if replicas_staying(workload.status.placement.groups, site):
                return one
            one = msgspec.structs.replace(
                one, order_seconds=elapsed_seconds, to=_targets_of(workload, site)
            )
        if self._is_ready(workload):
            return msgspec.structs.replace(one, ready_seconds=elapsed_seconds)
        return one

    def _has_finished(self, workload: Workload, site: str) -> bool:
        if workload.status.phase == "Completed":
            return True
        state = self.order_sync.site_view(site, self.order_sync.order_id(workload)).state
        return state is not None and is_finished(state)

    def _is_ready(self, workload: Workload) -> bool:
        """Whether all replicas that stay somewhere are ready there, by what their sites report."""
        order_id = self.order_sync.order_id(workload)
        staying = {
            name: one
            for name, one in shares_in(workload.status.placement.groups).items()
            if one.replicas
        }
        return bool(staying) and all(
            health_of(one, self.order_sync.site_view(name, order_id)) in ("running", "finished")
            for name, one in staying.items()
        )

    def reasons(
        self, site: str, work: Iterable[MeasuredWork], *, silent_seconds: float | None
    ) -> dict[str, str]:
        """Why workloads stay at the site, by name, as far as it is known.

        Args:
            site: what is treated as lost.
            work: what was measured.
            silent_seconds: for how long it has sent nothing; None: it never counted as silent.
        """
        stays = (one for one in work if one.order_seconds is None and not one.kept)
        if silent_seconds is None:
            return {one.workload: _NOT_SILENT for one in stays}
        held_because = self.gate.why_not(site)
        return {
            one.workload: self._reason(site, one, held_because, silent_seconds) for one in stays
        }

    def _reason(
        self, site: str, one: MeasuredWork, held_because: str, silent_seconds: float
    ) -> str:
        workload = self.objects.workloads.get(_key_of(one))
        if workload is None:
            return _DELETED
        hold = self.evictions.held_at(_key_of(one)).get(site)
        if hold is not None:
            return HOLD_SENTENCES[hold]
        failover = self._rules.of(workload)
        if failover.is_everywhere:
            return WHOLE_COPIES
        if held_because:
            return held_because
        after = failover.rules.after_seconds
        after_seconds = self.after_seconds if after is None else float(after)
        after_seconds *= self.gate.after_ratio(site)
        if silent_seconds < after_seconds:
            return f"its failover begins after {after_seconds:g} s of silence"
        line = workload.status.decision.line if workload.status.decision else ""
        return f"no place was found for it: {line or workload.status.reason or 'not decided yet'}"


def _key_of(one: MeasuredWork) -> WorkKey:
    namespace, _, name = one.workload.partition("/")
    return (namespace, name)


def _targets_of(workload: Workload, site: str) -> tuple[str, ...]:
    """The sites that got the replicas: those that failover names, else all where some stay."""
    moved = workload.status.failover.moved if workload.status.failover else ()
    named = next((one.to for one in reversed(moved) if one.site == site and one.to), ())
    shares = shares_in(workload.status.placement.groups)
    staying = tuple(sorted(name for name, one in shares.items() if one.replicas))
    return (named or staying)[:MAX_TARGETS]
