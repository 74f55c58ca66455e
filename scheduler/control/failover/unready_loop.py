"""Replaces replicas that stay not ready at sites that report, where another site could do better.

It looks at all workloads that are not wholly ready, so nothing is lost with an event, and measures
again after a change of leader. Each replacement is an ordinary decision that orders it first. What
is not ready either in time is taken back: the former replicas were kept, and stay.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.control.events.recorder import EventRecorder
from scheduler.control.failover.gate import EvictionGate, OpenGate
from scheduler.control.orders.sync import OrderSync
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.sites.site_state import SiteState
from scheduler.control.sites.sites import Sites
from scheduler.control.state.failover_rules import workload_failover
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.unready import UnreadyReplacements, content_of
from scheduler.control.status.conditions import is_spec_changed
from scheduler.control.status.failover import FAILOVER
from scheduler.control.status.migration import (
    BAD_PHASES,
    SiteShare,
    SiteView,
    has_leaving,
    health_of,
    is_finished,
    shares_in,
)
from scheduler.control.status.unready import held_message, moves_of, open_move
from scheduler.model.kinds.failover import UNREADY_WORDS, UnreadyReason
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import PlacementGroup, Workload
from scheduler.placement.failover.unready import (
    HeldUnready,
    ReasonTally,
    UnreadyCandidate,
    UnreadyEviction,
    UnreadyReturn,
    UnreadySite,
    UnreadySpell,
    plan_unready,
    unready_order,
)
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_INTERVAL_SECONDS = 5.0
_STEP, _CANDIDATE_STEP, _PLAN_STEP, _HOLD_STEP = 2_000, 10, 50, 100
"""The loop lets others run after so many workloads, and after so many that are not ready."""
_MAX_PER_ROUND, _MAX_LOOKED_AT = 64, 1_000
_REFUSED_SECONDS = 300.0
"""What found no room is tried again after this time."""


@dataclass(slots=True, kw_only=True)
class UnreadyLoop:
    """Fills `UnreadyReplacements` and queues the workloads concerned.

    Attributes:
        objects: the hub's objects.
        sites: which sites report.
        order_sync: what sites report of orders.
        unready: what is to be replaced, read by decisions.
        requeuer: queues workloads.
        events: records what is held.
        clock: the time.
        faults: handles what fails in a round.
        gate: whether evictions are allowed, and how many.
        after_seconds: how long replicas must be not ready where a workload does not say; 0: never.
        is_enabled: whether anything is replaced without an operator's word.
    """

    objects: HubObjects
    sites: Sites
    order_sync: OrderSync
    unready: UnreadyReplacements
    requeuer: Requeuer
    events: EventRecorder
    clock: Clock
    faults: Faults
    gate: EvictionGate = field(default_factory=OpenGate)
    after_seconds: float = 600.0
    is_enabled: bool = True
    _refused: dict[WorkKey, tuple[float, str, HeldUnready]] = field(default_factory=dict)

    async def run(self) -> None:
        """Looks every five seconds; runs until cancelled."""
        while True:
            await self.clock.sleep(_INTERVAL_SECONDS)
            with self.faults.barrier("failover"):
                await self.check()

    async def check(self) -> None:
        """One round: takes back what came to nothing, plans what is due, and starts it."""
        self._note_refusals()
        tally, candidates = ReasonTally(), list[UnreadyCandidate]()
        async for one in self._candidates():
            tally.add(one)
            candidates.append(one)
        widespread = tally.widespread(sum(1 for one in self.sites.states.values() if _works(one)))
        due = list[tuple[UnreadyCandidate, UnreadyEviction]]()
        held = dict[WorkKey, dict[str, HeldUnready]]()
        for first in range(0, len(candidates), _PLAN_STEP):
            await yield_loop()
            plan = plan_unready(
                candidates[first : first + _PLAN_STEP],
                now=self.clock.now(),
                widespread=widespread,
                is_enabled=self.is_enabled,
            )
            due.extend(plan.due)
            for (key, site), reason in plan.held.items():
                held.setdefault(key, {})[site] = reason
        due.sort(key=lambda each: unready_order(each[0]))
        self._start(due, held)
        await self._hold(held)

    def _start(
        self,
        due: list[tuple[UnreadyCandidate, UnreadyEviction]],
        held: dict[WorkKey, dict[str, HeldUnready]],
    ) -> None:
        """Starts as many as the gate allows; adds to `held` what must wait for more than that."""
        started = 0
        for one, eviction in due[:_MAX_LOOKED_AT]:
            key = one.key
            if key not in self.objects.workloads:
                continue
            stays = self._why_not(key, eviction)
            before = self.unready.held_at(key).get(eviction.site)
            if stays is not None:
                held.setdefault(key, {})[eviction.site] = stays
            elif started < _MAX_PER_ROUND and self.gate.take(1):
                started += 1
                self.unready.ask(key, eviction)
                self.requeuer.redecide([key], is_urgent=True)
                if before is not None and before.why == "NoRoom":  # until it has found room
                    held.setdefault(key, {})[eviction.site] = before

    # ------------------------------------------------------------ what is not ready

    async def _candidates(self) -> AsyncIterator[UnreadyCandidate]:
        """The workloads with replicas that are not ready, without those that are moving."""
        looked_at = 0
        for count, (key, workload) in enumerate(list(self.objects.workloads.items()), 1):
            if not count % _STEP:
                await yield_loop()
            if not _may_lack(workload):
                continue
            looked_at += 1
            if not looked_at % _CANDIDATE_STEP:
                await yield_loop()
            if has_leaving(workload.status.placement.groups):
                self._take_back_if_late(key, workload)
                continue
            shares = shares_in(workload.status.placement.groups)
            candidate = self._candidate(key, workload, shares)
            if candidate is not None:
                yield candidate

    def _candidate(
        self, key: WorkKey, workload: Workload, shares: Mapping[str, SiteShare]
    ) -> UnreadyCandidate | None:
        order_id = self.order_sync.order_id(workload)
        sites = [
            one
            for site, share in shares.items()
            if (one := self._site(workload, site, share, order_id)) is not None
        ]
        if not any(one.spells for one in sites):
            return None
        failover = workload_failover(workload, self.objects)
        after = failover.rules.unready_after_seconds
        after_seconds = self.after_seconds if after is None else float(after)
        created = workload.metadata.creation_timestamp
        if failover.is_everywhere:
            return None
        longest = max(each.seconds for one in sites for each in one.spells)
        return UnreadyCandidate(
            key=key,
            priority=workload.spec.priority,
            created_at_seconds=created.timestamp() if created else 0.0,
            mode=failover.rules.mode,
            after_seconds=after_seconds,
            content=content_of(workload) if longest >= after_seconds else "",
            sites=tuple(sites),
            moves=moves_of(workload.status),
            is_numbered=failover.is_numbered,
            is_job=any(_runs_once(one) for one in workload.spec.manifests),
            is_paused=workload.spec.paused,
        )

    def _site(
        self, workload: Workload, site: str, share: SiteShare, order_id: str
    ) -> UnreadySite | None:
        """What is known of a share; None where it is silent, ended, refused or not wanted."""
        view = self.order_sync.site_view(site, order_id)
        state = view.state
        if not share.replicas or view.is_silent:
            return None
        if state is not None and (is_finished(state) or state.phase in BAD_PHASES):
            return None
        is_proven = health_of(share, view) == "running"
        placing_seconds, age_seconds = self._ages(workload.status.placement.groups, site)
        return UnreadySite(
            site=site,
            replicas=share.replicas,
            is_proven=is_proven,
            has_started=state is not None and bool(state.bound),
            spells=() if is_proven else _spells(share, view, age_seconds, placing_seconds),
        )

    def _ages(self, groups: tuple[PlacementGroup, ...], site: str) -> tuple[float, float]:
        """For how long the newest order of a site has not run, and for how long it is out."""
        now, placing, age = self.clock.now(), 0.0, 0.0
        for one in groups:
            if site in one.sites and one.since is not None and one.phase != "Withdrawing":
                age = max(0.0, (now - one.since).total_seconds())
                placing = age if one.phase == "Placing" else 0.0
        return placing, age

    # ------------------------------------------------------------ what is started and held

    def _why_not(self, key: WorkKey, eviction: UnreadyEviction) -> HeldUnready | None:
        """Why an eviction that is due must not start now; None: it may."""
        if self._was_refused_lately(key, eviction.site):
            return self._refused[key][2]
        frozen = self.gate.why_not(eviction.site)
        if not frozen:
            return None
        share = shares_in(self.objects.workloads[key].status.placement.groups).get(eviction.site)
        return HeldUnready(
            reason=eviction.reason,
            replicas=eviction.replicas,
            total=share.replicas if share else eviction.replicas,
            why="Frozen",
            detail=frozen,
        )

    def _was_refused_lately(self, key: WorkKey, site: str) -> bool:
        refused = self._refused.get(key)
        if refused is None or refused[1] != site:
            return False
        return self.clock.monotonic() - refused[0] < _REFUSED_SECONDS

    def _note_refusals(self) -> None:
        now = self.clock.monotonic()
        for key, (site, held) in self.unready.pop_refused().items():
            self._refused[key] = (now, site, held)
        self._refused = {
            key: one for key, one in self._refused.items() if now - one[0] < _REFUSED_SECONDS
        }

    async def _hold(self, held: dict[WorkKey, dict[str, HeldUnready]]) -> None:
        """Sets why replicas stay, and has the statuses say so where that is new."""
        for count, key in enumerate({*self.unready.held(), *held}, 1):
            if not count % _HOLD_STEP:
                await yield_loop()
            now = held.get(key, {})
            if not self.unready.hold(key, now):
                continue
            self.requeuer.requeue([key])
            workload = self.objects.workloads.get(key)
            if now and workload is not None:
                _, message = held_message(now)
                self.events.record(
                    workload, reason=f"{FAILOVER}NotReady", message=message, is_warning=True
                )

    # ------------------------------------------------------------ what came to nothing

    def _take_back_if_late(self, key: WorkKey, workload: Workload) -> None:
        """Has a move taken back whose replacement is not ready in time."""
        move = open_move(workload.status)
        if move is None or move.at is None or move.content != content_of(workload):
            return
        rules = workload_failover(workload, self.objects).rules
        after = rules.unready_after_seconds
        limit = (self.after_seconds if after is None else float(after)) or self.after_seconds
        waited_seconds = (self.clock.now() - move.at).total_seconds()
        if waited_seconds < limit or self._was_refused_lately(key, move.site):
            return
        order_id = self.order_sync.order_id(workload)
        shares = shares_in(workload.status.placement.groups)
        reason: UnreadyReason = "stuck"
        for site in move.to:
            share, view = shares.get(site), self.order_sync.site_view(site, order_id)
            if share is None or not share.replicas:
                continue
            if view.is_silent:
                return  # what it runs is not known: failover decides about a silent site
            spells = _spells(share, view, waited_seconds, waited_seconds)
            reason = next((one.reason for one in spells), reason)
        self.unready.ask(key, UnreadyReturn(move=move, reason=reason, seconds=int(waited_seconds)))
        self.requeuer.redecide([key], is_urgent=True)


def _works(state: SiteState) -> bool:
    return state.is_ready and state.order_status is not None and bool(state.order_status.orders)


def _may_lack(workload: Workload) -> bool:
    """Whether some replicas of an accepted workload may be not ready, by its status alone."""
    status = workload.status
    if not status.placement.groups or status.phase == "Completed":
        return False
    if workload.metadata.deletion_timestamp is not None or is_spec_changed(workload):
        return False
    is_moving = any(one.phase == "Withdrawing" for one in status.placement.groups)
    return is_moving or (status.ready or 0) < (status.replicas or 0)


def _spells(
    share: SiteShare, view: SiteView, age_seconds: float, placing_seconds: float
) -> tuple[UnreadySpell, ...]:
    """The replicas of a share that are not ready, by reason.

    Of replicas about which the agent says nothing, the time is known only while the order has not
    run yet: those that are on no node are stuck, and of the others the reason is not known.

    Args:
        share: the share.
        view: what its site reports.
        age_seconds: for how long its newest order is out.
        placing_seconds: for how long that has not run yet.
    """
    state = view.state
    if state is None or state.generation < share.generation:
        return _rest("stuck", share.replicas, placing_seconds)
    pods_each = max(1.0, (state.replicas or 0) / max(1, share.ordered))
    found = tuple(_reported(view, age_seconds, pods_each))
    ready = int((state.ready or 0) / pods_each)
    missing = share.ordered - ready - sum(one.replicas for one in found)
    if missing <= 0 or state.phase == "Ready":
        return found
    unbound = 0
    if state.bound is not None:
        unbound = min(missing, max(0, share.ordered - int(state.bound / pods_each)))
    return (
        *found,
        *_rest("stuck", unbound, placing_seconds),
        *_rest("other", missing - unbound, placing_seconds),
    )


def _reported(view: SiteView, age_seconds: float, pods_each: float) -> Iterator[UnreadySpell]:
    for one in view.state.not_ready if view.state else ():
        known = (each for each in UNREADY_WORDS if each == one.reason)
        replicas = max(1, round(one.pods / pods_each))
        seconds = min(float(one.seconds), age_seconds)
        yield UnreadySpell(reason=next(known, "other"), replicas=replicas, seconds=seconds)


def _rest(reason: UnreadyReason, replicas: int, seconds: float) -> tuple[UnreadySpell, ...]:
    if replicas <= 0:
        return ()
    return (UnreadySpell(reason=reason, replicas=replicas, seconds=seconds),)


def _runs_once(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest may be one whose pods run to their end."""
    kind = str(manifest.get("kind", ""))
    return kind == "Pod" or kind.endswith("Job")
