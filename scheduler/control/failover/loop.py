"""Replaces the replicas of sites that are lost: plans what is due, and has it decided in order.

It looks again and again at the present state, so nothing is lost with an event. What is due goes
through the queue like all other work, as urgent, so many at once that new work is not starved; each
decision orders the replacement first, and the former replicas end when that runs.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import nsmallest

from scheduler.control.failover.gate import EvictionGate, OpenGate
from scheduler.control.failover.returns import Returns
from scheduler.control.failover.words import (
    WHOLE_COPIES,
    WORDS_ANNOTATION,
    OperatorWord,
    read_words,
)
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.sites.sites import Sites
from scheduler.control.state.evictions import Evictions
from scheduler.control.state.failover_rules import KnownFailover
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.migration import is_finished, replicas_staying
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.mass_silence import WINDOW_INTERVALS
from scheduler.model.site_health import HealthState, interval_of
from scheduler.placement.failover.plan import (
    Eviction,
    EvictionCandidate,
    EvictionPlan,
    eviction_order,
    plan_evictions,
)
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_INTERVAL_SECONDS, _BUSY_INTERVAL_SECONDS = 0.5, 0.1
_LOOK_AGAIN_SECONDS = 5.0
"""A silent site is looked at again after this time at the latest: workloads and policies change."""
_MAX_UNDECIDED = 256
"""So many replacements wait for their decision at once; the others stay planned."""
_UNDECIDED_SECONDS = 10.0
"""What takes longer, because its write fails again and again, holds no other one back."""
_STEP = 100
"""The loop lets others run after so many workloads: about 10 ms."""


@dataclass(slots=True, kw_only=True)
class FailoverLoop:
    """Fills `Evictions` and queues the workloads concerned.

    Attributes:
        objects: the hub's objects.
        sites: the health of sites.
        order_sync: what sites reported of orders.
        evictions: what is in force, read by decisions.
        requeuer: queues workloads.
        gate: whether evictions are allowed, and how many.
        telemetry: learns how many wait.
        clock: the time.
        faults: handles what fails in a round.
        after_seconds: how long a site must be silent where a workload does not say.
        is_enabled: whether anything is replaced without an operator's word.
    """

    objects: HubObjects
    sites: Sites
    order_sync: OrderSync
    evictions: Evictions
    requeuer: Requeuer
    telemetry: Telemetry
    clock: Clock
    faults: Faults
    gate: EvictionGate = field(default_factory=OpenGate)
    after_seconds: float = 300.0
    is_enabled: bool = True
    _due: dict[tuple[WorkKey, str], EvictionCandidate] = field(default_factory=dict)
    _look_at_seconds: dict[str, float] = field(default_factory=dict)
    _absent: set[str] = field(default_factory=set)
    _words: dict[str, tuple[str, tuple[OperatorWord, ...]]] = field(default_factory=dict)
    _has_looked: bool = False
    _settle_at_seconds: float = float("-inf")
    _held_sites: set[str] = field(default_factory=set)
    _is_held: bool = False
    _returns: Returns = field(default_factory=Returns)
    _rules: KnownFailover = field(init=False)

    def __post_init__(self) -> None:
        self._rules = KnownFailover(self.objects)

    async def run(self) -> None:
        """Looks twice a second, more often while much is due or held; runs until cancelled."""
        while True:
            await self.clock.sleep(self._pause_seconds())
            with self.faults.barrier("failover"):
                await self.check()

    def _pause_seconds(self) -> float:
        if not (self._due or self._is_held):
            return _INTERVAL_SECONDS
        asked = self.gate.next_seconds()
        return _BUSY_INTERVAL_SECONDS if asked is None else min(max(asked, 0.01), _INTERVAL_SECONDS)

    @property
    def waiting_count(self) -> int:
        """Replacements that are due and not ordered yet."""
        return len(self._due) + len(self.evictions)

    async def check(self) -> None:
        """One round: ends what is done, plans what is due, starts what may start."""
        absent = {name for name, one in self.sites.states.items() if one.health.is_absent}
        returned, self._absent = self._absent - absent, absent
        self._rules.forget_others(self.objects.workloads if absent else ())
        if returned or self._is_settling_due():
            await self._end_settled()
        await self._read_words()
        if not self._has_looked:  # of returns before this term only the status knows
            returned = self.sites.states.keys() - absent
            self._has_looked = True
        if returned:
            await self._handle_returns(returned)
        await self._plan(sorted(absent))
        self._start()
        self._try_returns()
        self.telemetry.set_waiting_evictions(self.waiting_count)

    # ------------------------------------------------------------ what is in force

    def _is_settling_due(self) -> bool:
        """Whether to look at all evictions: twice a second, and as soon as a site is held."""
        now = self.clock.monotonic()
        leaving = {site for key in self.evictions for site in self.evictions.at(key)}
        held = {site for site in leaving & self._absent if self.gate.why_not(site)}
        is_due = held != self._held_sites or now >= self._settle_at_seconds
        if is_due:
            self._held_sites, self._settle_at_seconds = held, now + _INTERVAL_SECONDS
        return is_due

    async def _end_settled(self) -> None:
        """Ends evictions whose replicas have left, or stay because their site is back or held."""
        over = _OverSites(self._absent, self.gate)
        for count, key in enumerate(self.evictions, 1):
            if not count % _STEP:
                await yield_loop()
                over.forget()  # a site may be held since then
            workload = self.objects.workloads.get(key)
            if workload is None:
                self.evictions.forget(key)
                continue
            for site, one in list(self.evictions.at(key).items()):
                if not self._stays_at(workload, site):
                    self.evictions.end(key, site)
                elif one.cause == "silent" and self._is_over(workload, one, over):
                    self.evictions.end(key, site)
                    self.requeuer.redecide([key])
        for key, site in self.evictions.held():
            workload = self.objects.workloads.get(key)
            is_held = workload is not None and self._stays_at(workload, site)
            if (not is_held or site not in self._absent) and self.evictions.release(key, site):
                self.requeuer.requeue([key])

    def _is_over(self, workload: Workload, one: Eviction, over: "_OverSites") -> bool:
        if one.word:
            return self._is_answered(workload, one)
        return over.has(one.site)

    def _stays_at(self, workload: Workload, site: str) -> bool:
        return replicas_staying(workload.status.placement.groups, site) > 0

    def _is_answered(self, workload: Workload, one: Eviction) -> bool:
        known = workload.status.failover
        if not one.word or known is None:
            return False
        return any(each.id == one.word and each.site == one.site for each in known.answers)

    async def _read_words(self) -> None:
        """Starts what operators ask for; each word is followed once.

        Words stay on their Sites, thousands in a year, so only those without an answer are looked
        at again, and a text is read again only when it is another one.
        """
        seen = 0
        for site, known in list(self.objects.sites.items()):
            text = known.metadata.annotations.get(WORDS_ANNOTATION, "")
            if not text:
                self._words.pop(site, None)
                continue
            former = self._words.get(site)
            if former is None or former[0] != text:
                former = self._words[site] = text, read_words(known.metadata.annotations)
                seen += len(former[1])
            waiting = tuple(word for word in former[1] if not self._is_settled(word, site))
            self._words[site] = text, waiting
            seen += len(waiting)
            if seen >= _STEP:
                seen = 0
                await yield_loop()
        for site in self._words.keys() - self.objects.sites.keys():
            del self._words[site]

    def _is_settled(self, word: OperatorWord, site: str) -> bool:
        """Whether a word has its answer; starts what it asks for, if that is not under way."""
        workload = self.objects.workloads.get(word.key)
        if workload is None or workload.metadata.uid != word.uid:
            return False
        former = self.evictions.at(word.key).get(site)
        if former is not None and former.word == word.id:
            return False
        eviction = Eviction(site=site, word=word.id, by=word.by)
        if self._is_answered(workload, eviction):
            return True
        self._follow(workload, replace(eviction, silent_since=self._silent_since(site)))
        return False

    def _follow(self, workload: Workload, eviction: Eviction) -> None:
        """Starts what a word asks for, or has it answered with the reason why not."""
        key, site = (workload.metadata.namespace, workload.metadata.name), eviction.site
        is_absent, refusal = site in self._absent, ""
        is_there = self._stays_at(workload, site)
        if not is_there:
            # Without an answer the word would wait there until the workload is back some day.
            refusal = f"it has no replicas at {site} any more"
        elif self._rules.of(workload).is_everywhere:
            refusal = WHOLE_COPIES
        elif is_absent:
            refusal = self.gate.why_not(site)
        if is_absent and not refusal:
            self.gate.take(1)  # an operator's word counts, and waits for no rate
        self._due.pop((key, site), None)
        self.evictions.start(
            key, replace(eviction, refusal=refusal), now_seconds=self.clock.monotonic()
        )
        if is_there:
            self.requeuer.redecide([key], is_urgent=True)
        else:
            self.requeuer.requeue([key])

    # ------------------------------------------------------------ what is due

    async def _plan(self, absent: list[str]) -> None:
        """Plans all that is due at silent sites from which evictions are allowed."""
        self._drop_plans(set(absent))
        now, found = self.clock.monotonic(), list[EvictionCandidate]()
        self._is_held = False
        for site in absent:
            if self._look_at_seconds.get(site, now) > now:
                continue
            if self.gate.why_not(site):
                self._is_held = True
                continue
            found.extend([one async for one in self._candidates(site)])
            self._look_at_seconds[site] = now + _LOOK_AGAIN_SECONDS
        plan = plan_evictions(found, is_enabled=self.is_enabled)
        if plan.next_seconds is not None:
            soon = now + plan.next_seconds
            for site in {one.site for one in found}:
                self._look_at_seconds[site] = min(self._look_at_seconds[site], soon)
        self._keep(plan)

    def _drop_plans(self, absent: set[str]) -> None:
        """Drops what was planned for sites that are back, or from which nothing is evicted now."""
        planned = {site for _, site in self._due}
        dropped = {one for one in planned if one not in absent or self.gate.why_not(one)}
        if dropped:
            self._due = {at: one for at, one in self._due.items() if at[1] not in dropped}
            for site in dropped:
                self._look_at_seconds.pop(site, None)
        for site in self._look_at_seconds.keys() - absent:
            del self._look_at_seconds[site]

    def _keep(self, plan: EvictionPlan) -> None:
        for one in plan.due:
            if one.site not in self.evictions.at(one.key):
                self._due[one.key, one.site] = one
        for one, reason in plan.held:
            is_asked = one.site in self.evictions.at(one.key)
            if not is_asked and self.evictions.hold(one.key, one.site, reason):
                self.requeuer.requeue([one.key])

    async def _candidates(self, site: str) -> AsyncIterator[EvictionCandidate]:
        """The replicas that stay at a silent site, and could be replaced and are not yet."""
        for count, key in enumerate(self.objects.workloads_at(site), 1):
            if not count % _STEP:
                await yield_loop()
            if site in self.evictions.at(key):
                continue  # it leaves already
            candidate = self._candidate(key, site)
            if candidate is not None:
                yield candidate

    def _candidate(self, key: WorkKey, site: str) -> EvictionCandidate | None:
        workload, state = self.objects.workloads.get(key), self.sites.states.get(site)
        if workload is None or state is None or not state.health.is_absent:
            return None
        if workload.metadata.deletion_timestamp or workload.status.phase == "Completed":
            return None
        replicas = replicas_staying(workload.status.placement.groups, site)
        if not replicas:
            return None
        reported = self.order_sync.site_view(site, self.order_sync.order_id(workload)).state
        if reported is not None and is_finished(reported):
            return None
        failover = self._rules.of(workload)
        if failover.is_everywhere:
            return None
        after = failover.rules.after_seconds
        after_seconds = self.after_seconds if after is None else float(after)
        quiet_seconds = self.clock.monotonic() - state.health.quiet_since_seconds
        created = workload.metadata.creation_timestamp
        return EvictionCandidate(
            key=key,
            site=site,
            replicas=replicas,
            priority=workload.spec.priority,
            created_at_seconds=created.timestamp() if created else 0.0,
            mode=failover.rules.mode,
            after_seconds=max(
                after_seconds * self.gate.after_ratio(site),
                quiet_seconds + self._unproven_seconds(state.health),
            ),
            quiet_seconds=quiet_seconds,
            is_numbered=failover.is_numbered,
        )

    def _unproven_seconds(self, health: HealthState) -> float:
        """How long others may still fall silent together with a site, which is a storm then.

        Without it, work with a short `afterSeconds` would go to a site that is failing too.
        """
        if health.name != "Silent":
            return 0.0
        together = WINDOW_INTERVALS * interval_of(health, self.sites.health_limits)
        return max(0.0, together - (self.clock.monotonic() - health.since_seconds))

    def _start(self) -> None:
        """Starts as many replacements as the gate and the queue allow, in their order."""
        room = _MAX_UNDECIDED - self.evictions.undecided_count(
            self.clock.monotonic() - _UNDECIDED_SECONDS
        )
        if not self._due or room <= 0:
            return
        granted = self.gate.take(min(len(self._due), room))
        for one in nsmallest(granted, self._due.values(), key=eviction_order):
            del self._due[one.key, one.site]
            workload = self.objects.workloads.get(one.key)
            if workload is None or not self._stays_at(workload, one.site):
                continue
            eviction = Eviction(site=one.site, silent_since=self._silent_since(one.site))
            self.evictions.start(one.key, eviction, now_seconds=self.clock.monotonic())
            self.requeuer.redecide([one.key], is_urgent=True)

    def _silent_since(self, site: str) -> datetime | None:
        """Since when the condition Ready of the site says so, as decisions say it too."""
        state = self.sites.states.get(site)
        return state.ready_changed_at if state is not None and state.health.is_absent else None

    # ------------------------------------------------------------ what comes back

    async def _handle_returns(self, sites: set[str]) -> None:
        """Finds the workloads that are to move back to sites that are there again."""
        for count, (key, workload) in enumerate(list(self.objects.workloads.items()), 1):
            if not count % (_STEP * 10):
                await yield_loop()
            if workload.status.failover and self._wants_back(workload, sites):
                self._returns.add(key, self.clock.monotonic())

    def _wants_back(self, workload: Workload, sites: set[str]) -> bool:
        moves = workload.status.failover.moved if workload.status.failover else ()
        if not any(one.site in sites for one in moves):
            return False
        return self._rules.of(workload).rules.on_return == "Return"

    def _try_returns(self) -> None:
        for key in self._returns.due(self.clock.monotonic()):
            workload = self.objects.workloads.get(key)
            present = self.sites.states.keys() - self._absent
            if workload is None or not self._wants_back(workload, present):
                self._returns.drop(key)
            else:
                self.requeuer.redecide([key])


@dataclass(slots=True)
class _OverSites:
    """Sites that are back or held, asked once for all evictions that are looked at in one step.

    Attributes:
        absent: the sites that do not report.
        gate: says which of them are held.
    """

    absent: set[str]
    gate: EvictionGate
    _known: dict[str, bool] = field(default_factory=dict)

    def has(self, site: str) -> bool:
        """Whether no eviction of this site goes on."""
        known = self._known.get(site)
        if known is None:
            known = self._known[site] = site not in self.absent or bool(self.gate.why_not(site))
        return known

    def forget(self) -> None:
        """Has the gate asked again: others ran meanwhile."""
        self._known.clear()
