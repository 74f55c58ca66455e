"""Empties sites that are drained or about to be maintained: step by step, the replacement first.

It looks again and again at the present state: the word stands in `Site.spec`, what is under way in
the status of the workloads, so a new leader continues. A site that does not report is left to
failover: nothing there can be confirmed. Storms hold nothing back here, because an operator's word
about one site is no storm; instead a rate keeps new work from starving.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.control.failover.clearing import (
    Clearing,
    SiteProgress,
    clearing_of,
    schedulable_condition,
)
from scheduler.control.orders.sync import OrderSync
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.sites.sites import Sites
from scheduler.control.state.evictions import Evictions
from scheduler.control.state.failover_rules import workload_failover
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.conditions import find_condition
from scheduler.control.status.migration import SiteShare, is_finished, shares_in
from scheduler.control.wake_ups import WakeUps
from scheduler.model.demand.movability import needs_force_because
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.budgets import StrictestBudget, disruption_budget
from scheduler.placement.failover.drain import DrainCandidate, DrainStep, plan_drain
from scheduler.placement.failover.plan import Eviction
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_INTERVAL_SECONDS = 1.0
_PER_SECOND = 50
"""So many steps may start each second, however many sites are drained."""
_MAX_UNDECIDED = 64
"""So many steps wait for their decision at once; failover has room for four times as many."""
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 5.0, 60.0
"""What does not fit elsewhere is tried again after this time, which doubles."""
_READ_AGAIN_SECONDS = 60.0
"""Policies change what a workload is; its manifests are read again after this time."""
_STEP = 50
"""The loop lets others run after so many workloads."""


class _Nature(NamedTuple):
    """What of a workload seldom changes, and is read again now and then."""

    version: tuple[str, int]
    read_at_seconds: float
    needs_force: str
    is_whole: bool
    is_everywhere: bool
    budget: StrictestBudget | None


@dataclass(slots=True)
class _Attempt:
    """A step that was started, and may have to be tried again."""

    replicas: int
    next_seconds: float
    pause_seconds: float = _FIRST_PAUSE_SECONDS


@dataclass(slots=True, kw_only=True)
class DrainLoop:
    """Fills `Evictions` with what is to leave, and queues the workloads concerned.

    Attributes:
        objects: the hub's objects.
        sites: the health of sites.
        order_sync: what sites reported of orders.
        evictions: what is in force, read by decisions.
        requeuer: queues workloads.
        wake_ups: wakes what waits when a window ends.
        clock: the time.
        faults: handles what fails in a round.
    """

    objects: HubObjects
    sites: Sites
    order_sync: OrderSync
    evictions: Evictions
    requeuer: Requeuer
    wake_ups: WakeUps
    clock: Clock
    faults: Faults
    _clearing: dict[str, Clearing] = field(default_factory=dict)
    _progress: dict[str, SiteProgress] = field(default_factory=dict)
    _shown: dict[str, Condition] = field(default_factory=dict)
    _natures: dict[WorkKey, _Nature] = field(default_factory=dict)
    _attempts: dict[tuple[WorkKey, str], _Attempt] = field(default_factory=dict)

    async def run(self) -> None:
        """Looks once a second; runs until cancelled."""
        while True:
            await self.clock.sleep(_INTERVAL_SECONDS)
            with self.faults.barrier("drain"):
                await self.check()

    async def check(self) -> None:
        """One round: ends what is done or over, plans the next steps, starts what may start."""
        self._read_sites()
        self._end_over()
        if not self._clearing:
            self._forget_all()
            return
        found, active = list[DrainCandidate](), set[tuple[WorkKey, str]]()
        seen = 0
        for site in sorted(self._clearing):
            for key in list(self.objects.workloads_at(site)):
                seen += 1
                if not seen % _STEP:
                    await yield_loop()
                one = self._candidate(key, site)
                if one is not None and not one.may_stay:
                    active.add((key, site))
                    found.append(one)
        plan = plan_drain(found)
        self._note(plan.stays, active)
        self._start(plan.steps)
        self._count_progress()

    # ------------------------------------------------------------ which sites

    def _read_sites(self) -> None:
        """Finds the sites to be emptied; wakes what waits when one is opened again."""
        now, before = self.clock.now(), self._clearing
        found: dict[str, Clearing] = {}
        for name, site in self.objects.sites.items():
            if site.spec.drain is None and not site.spec.maintenance:
                continue
            clearing = clearing_of(site, now)
            if clearing is not None:
                found[name] = clearing
        self._clearing = found
        if any(name not in found and one.window is not None for name, one in before.items()):
            self.wake_ups.add_events("site", "time")

    def _is_absent(self, site: str) -> bool:
        state = self.sites.states.get(site)
        return state is None or state.health.is_absent

    def _is_present(self, site: str) -> bool:
        """Whether this leader receives a site; it may not know yet that one is silent."""
        state = self.sites.states.get(site)
        return state is not None and state.health.is_present

    # ------------------------------------------------------------ what is under way

    def _end_over(self) -> None:
        """Ends steps that were decided, and all at sites that are open again, silent or gone."""
        for key in self.evictions:
            for site, one in list(self.evictions.at(key).items()):
                if one.cause == "silent":
                    continue
                workload = self.objects.workloads.get(key)
                replicas = 0 if workload is None else _replicas_at(workload, site)
                is_over = site not in self._clearing or not self._is_present(site)
                if is_over or replicas <= one.keep:
                    self.evictions.end(key, site)
                if replicas <= one.keep:
                    self._attempts.pop((key, site), None)

    def _forget_all(self) -> None:
        self._note({}, set())
        self._attempts.clear()
        self._natures.clear()
        self._progress.clear()

    def _note(
        self, stays: dict[tuple[WorkKey, str], str], active: set[tuple[WorkKey, str]]
    ) -> None:
        """Says of each workload why it stays; what a decision said of it holds until it moves."""
        changed = {key for (key, site), why in stays.items() if self.evictions.stay(key, site, why)}
        for key, site in self.evictions.staying():
            if (key, site) not in active:
                self.evictions.leave(key, site)
                changed.add(key)
        self.requeuer.requeue(sorted(changed))

    # ------------------------------------------------------------ candidates

    def _candidate(self, key: WorkKey, site: str) -> DrainCandidate | None:
        workload, clearing = self.objects.workloads.get(key), self._clearing[site]
        if workload is None or not self._is_present(site):
            return None
        if workload.metadata.deletion_timestamp or workload.status.phase == "Completed":
            return None
        shares = shares_in(workload.status.placement.groups)
        share = shares.get(site)
        if share is None or not share.replicas:
            return None
        reported = self.order_sync.site_view(site, self.order_sync.order_id(workload)).state
        if reported is not None and is_finished(reported):
            return None
        nature, created = self._nature(key, workload), workload.metadata.creation_timestamp
        accepted = find_condition(workload.status.conditions, "Accepted")
        is_accepted = accepted is None or accepted.status == "True"
        return DrainCandidate(
            key=key,
            site=site,
            cause=clearing.cause,
            replicas=share.replicas,
            total=sum(one.replicas for one in shares.values()),
            priority=workload.spec.priority,
            created_at_seconds=created.timestamp() if created else 0.0,
            is_forced=clearing.is_forced,
            needs_force=nature.needs_force,
            is_whole=nature.is_whole,
            is_everywhere=nature.is_everywhere,
            budget=nature.budget,
            leaving=sum(one.leaving for one in shares.values()),
            away=0 if nature.budget is None else self._away(workload, shares, site),
            ends_in_time=_ends_in_time(workload, site, clearing),
            not_accepted="" if is_accepted or accepted is None else accepted.message,
        )

    def _nature(self, key: WorkKey, workload: Workload) -> _Nature:
        version = (workload.metadata.uid, workload.metadata.generation)
        now, known = self.clock.monotonic(), self._natures.get(key)
        is_new = known is not None and now - known.read_at_seconds < _READ_AGAIN_SECONDS
        if known is not None and is_new and known.version == version:
            return known
        failover = workload_failover(workload, self.objects)
        manifests = workload.spec.manifests
        shares = shares_in(workload.status.placement.groups)
        total = sum(one.replicas for one in shares.values())
        nature = self._natures[key] = _Nature(
            version=version,
            read_at_seconds=now,
            needs_force=needs_force_because(manifests, failover.identity),
            is_whole=failover.is_numbered,
            is_everywhere=failover.is_everywhere,
            budget=disruption_budget(manifests, total),
        )
        return nature

    def _away(self, workload: Workload, shares: Mapping[str, SiteShare], site: str) -> int:
        """Replicas at other sites that are not known to be ready."""
        order_id, away = self.order_sync.order_id(workload), 0
        for name, share in shares.items():
            if name != site and share.replicas:
                state = self.order_sync.site_view(name, order_id).state
                ready = 0 if state is None else state.ready or 0
                away += max(0, share.replicas - ready)
        return away

    # ------------------------------------------------------------ steps

    def _start(self, steps: tuple[DrainStep, ...]) -> None:
        """Starts as many steps as the rate and the queue allow, in their order."""
        now = self.clock.monotonic()
        room = min(_PER_SECOND, _MAX_UNDECIDED - self._undecided_count())
        for step in steps:
            if room <= 0:
                return
            one = step.candidate
            if one.site in self.evictions.at(one.key):
                continue  # under way, or an operator's word about this workload counts
            attempt = self._attempts.get((one.key, one.site))
            if attempt is not None and attempt.replicas == one.replicas:
                if now < attempt.next_seconds:
                    continue
                attempt.pause_seconds = min(attempt.pause_seconds * 2, _MAX_PAUSE_SECONDS)
                attempt.next_seconds = now + attempt.pause_seconds
            else:
                self._attempts[one.key, one.site] = _Attempt(
                    one.replicas, now + _FIRST_PAUSE_SECONDS
                )
                self.evictions.leave(one.key, one.site)  # a plan said why it stayed until now
            eviction = Eviction(site=one.site, cause=one.cause, keep=step.keep)
            self.evictions.start(one.key, eviction, now_seconds=now)
            self.requeuer.redecide([one.key], is_urgent=True)
            room -= 1

    def _undecided_count(self) -> int:
        return sum(
            1
            for key in self.evictions
            if self.evictions.is_undecided(key)
            and any(one.cause != "silent" for one in self.evictions.at(key).values())
        )

    # ------------------------------------------------------------ what it shows

    def _count_progress(self) -> None:
        stuck = Counter(site for _, site in self.evictions.staying())
        self._progress = {
            site: SiteProgress(
                workloads=len(self._still_at(site)),
                stuck=stuck[site],
                is_absent=self._is_absent(site),
            )
            for site in self._clearing
        }

    def _still_at(self, site: str) -> set[WorkKey]:
        """Workloads with an order at the site, or with pods there that are not known to be gone."""
        found = set(self.sites.left.unconfirmed_at(site))
        clearing = self._clearing.get(site)
        for key in self.objects.workloads_at(site):
            workload = self.objects.workloads.get(key)
            if workload is None or workload.status.phase == "Completed":
                continue
            share = shares_in(workload.status.placement.groups).get(site)
            if share is None or not (share.replicas or share.leaving):
                continue
            is_copy = self._nature(key, workload).is_everywhere
            if clearing is None or not (clearing.is_forced and is_copy):
                found.add(key)
        return found

    def condition_of(self, site: str) -> Condition | None:
        """The condition `Schedulable` of a site; None: it takes new work."""
        known = self.objects.sites.get(site)
        if known is None:
            self._shown.pop(site, None)
            return None
        is_open = not known.spec.is_cordoned and not known.spec.maintenance
        found = None
        if not is_open:
            progress = self._progress.get(site)
            if progress is None:
                progress = SiteProgress(
                    workloads=len(self._still_at(site)), is_absent=self._is_absent(site)
                )
            found = schedulable_condition(known, progress, self.clock.now())
        if found is None:
            self._shown.pop(site, None)
            return None
        before = self._shown.get(site)
        if before is not None and before.reason == found.reason:
            found = Condition(
                type=found.type,
                status=found.status,
                reason=found.reason,
                message=found.message,
                last_transition_time=before.last_transition_time,
            )
        self._shown[site] = found
        return found


def _replicas_at(workload: Workload, site: str) -> int:
    share = shares_in(workload.status.placement.groups).get(site)
    return 0 if share is None else share.replicas


def _ends_in_time(workload: Workload, site: str, clearing: Clearing) -> bool:
    """Whether work with a known end is over before the window begins."""
    schedule = workload.spec.schedule
    seconds = schedule.duration_seconds if schedule else None
    if clearing.window is None or seconds is None:
        return False
    for group in workload.status.placement.groups:
        if site in group.sites and group.phase != "Withdrawing" and group.since is not None:
            return group.since.timestamp() + float(seconds) <= clearing.window.from_.timestamp()
    return False
