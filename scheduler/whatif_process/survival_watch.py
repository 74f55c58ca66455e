"""Judges the loss of every site after changes, in a process of its own, and keeps the answers.

The loss of every province, city and provider follows, less often; of those the counts are metrics.

What changes meanwhile is judged together, after a pause that grows with the time of a judgement, so
that judging takes at most a quarter of one core. Only losses that a change has touched are proved
again; all of them are every ten minutes, as some rules depend on the time. The answers become the
condition `SurvivesLoss`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.demand.assignment import AssignedReplicas, AssignedWorkload
from scheduler.model.demand.loss_plan import KeptPlans, LossPlan, make_loss_plan
from scheduler.model.kinds.fields import Condition
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.whatif.questions import Question, SurvivalQuestion
from scheduler.whatif.scenario.changes import LoseSites, LossKind
from scheduler.whatif.survival.losses import ALL_VALUES
from scheduler.whatif.survival.touched import MAX_KNOWN, KnownLoss

_log = logging.getLogger(__name__)

SURVIVES_LOSS: Final = "SurvivesLoss"
DOMAINS: Final[tuple[LossKind, ...]] = ("province", "city", "provider")
"""What is judged besides sites: all sites of each, lost together."""
_OF_DOMAINS: Final = SurvivalQuestion(
    losses=tuple(LoseSites(kind=one, value=ALL_VALUES) for one in DOMAINS), with_plans=True
)
_OF_SITES: Final = SurvivalQuestion(with_plans=True)
_DOMAIN_PAUSES: Final = 9.0
"""So many times as long as a judgement of domains took, none of them is made: sites come first."""
_WHOLE_SECONDS: Final = 600.0
"""After this time every loss is proved again, touched or not."""
_CHECK_SECONDS: Final = 5.0
_PAUSES_PER_JUDGEMENT: Final = 3.0
_MAX_MESSAGE: Final = 1024
_REASONS: Final = {True: "PlanFound", False: "ProvedLost", None: "NoPlanFound"}
_STATUSES: Final[dict[bool | None, Any]] = {True: "True", False: "False", None: "Unknown"}
_NOT_JUDGED: Final = "NotJudged"


class _Target(msgspec.Struct, frozen=True):
    site: str
    replicas: int


class _PlannedWorkload(msgspec.Struct, frozen=True):
    workload: str
    to: tuple[_Target, ...]


class JudgedLoss(msgspec.Struct, frozen=True, rename="camel"):
    """What is kept of a judged loss; the rest of its row is not read.

    Attributes:
        of: the site.
        survives: as in the answer of `kapok survive`.
        workloads: how many run there.
        lost_count: how many of them have no place that was found.
        sentence: why, for people.
        site_names: the sites that are lost.
        plan: where the replicas of each workload start.
        digest: of all that the plan was made from; empty: it is not survived.
        unchanged: nothing of that has changed, so what was known of it holds.
    """

    of: str
    workloads: int
    survives: bool | None = None
    sentence: str = ""
    lost_count: int = 0
    site_names: tuple[str, ...] = ()
    plan: tuple[_PlannedWorkload, ...] | None = None
    digest: str = ""
    unchanged: bool = False

    def known(self) -> KnownLoss:
        """What the next question says of it."""
        targets = {to.site for one in self.plan or () for to in one.to}
        return KnownLoss(of=self.of, digest=self.digest, targets=tuple(sorted(targets)))


class _Losses(msgspec.Struct, frozen=True):
    losses: tuple[JudgedLoss, ...]


class _LastLine(msgspec.Struct, frozen=True):
    answer: _Losses | None = None
    failed: str = ""
    refused: str = ""


@dataclass(slots=True)
class _ProvedLosses:
    """The losses of one question that were proved survived, until all are proved again."""

    rows: dict[str, JudgedLoss] = field(default_factory=dict)
    whole_at_seconds: float = float("-inf")

    def question(self, base: SurvivalQuestion, now_seconds: float) -> SurvivalQuestion:
        """The question, with what is known while that is not too old."""
        if now_seconds - self.whole_at_seconds >= _WHOLE_SECONDS:
            self.rows, self.whole_at_seconds = {}, now_seconds
        known = tuple(one.known() for one in list(self.rows.values())[:MAX_KNOWN])
        return msgspec.structs.replace(base, known=known)

    def take(self, losses: Iterable[JudgedLoss]) -> tuple[JudgedLoss, ...]:
        """The losses, each with what was known of it where nothing has touched it."""
        found = tuple(self.rows.get(one.of, one) if one.unchanged else one for one in losses)
        self.rows = {one.of: one for one in found if one.survives and one.digest}
        return found

    def forget(self) -> None:
        """A judgement failed: all are proved again the next time."""
        self.rows = {}


@dataclass(slots=True)
class _JudgedDomains:
    """What is known of provinces, cities and providers: by name as `province=CN-GD`."""

    answers: dict[str, bool | None] = field(default_factory=dict)
    plans: tuple[LossPlan, ...] = ()
    judged: tuple[int, Hashable] | None = None
    not_before: float = float("-inf")


@dataclass(slots=True, kw_only=True)
class SurvivalWatch:
    """Judges again and again, as long as something changes.

    Attributes:
        ask: answers a question from a copy of the present state; yields lines of JSON.
        version: changes whenever the fleet does; None: there is nothing to judge now.
        clock: for the pauses.
        telemetry: how many sites' losses are survived.
        faults: handles what fails.
        interval_seconds: shortest time between two judgements; 0: none is made.
    """

    ask: Callable[[Question], AsyncGenerator[bytes, None]]
    version: Callable[[], Hashable | None]
    clock: Clock
    telemetry: Telemetry
    faults: Faults
    interval_seconds: float
    _conditions: dict[str, Condition] = field(default_factory=dict)
    _counts: dict[str, str] = field(default_factory=dict)
    _plans: KeptPlans = field(default_factory=KeptPlans)
    _site_plans: tuple[LossPlan, ...] = ()
    _domains: _JudgedDomains = field(default_factory=_JudgedDomains)
    _proved: _ProvedLosses = field(default_factory=_ProvedLosses)
    _proved_domains: _ProvedLosses = field(default_factory=_ProvedLosses)
    _changes: int = 0
    _judged: tuple[int, Hashable] | None = None

    def note_change(self) -> None:
        """Something that `version` does not count has changed."""
        self._changes += 1

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """`SurvivesLoss` by site, with names of workloads; a new mapping after each judgement."""
        return self._conditions

    @property
    def plans(self) -> KeptPlans:
        """The plans of the losses that the last judgement proves survived; a new object each."""
        return self._plans

    def condition_of(self, site: str) -> Condition | None:
        """`SurvivesLoss` of a site; None: nothing runs there, or it is not judged yet.

        It goes into the status of the site, which every tenant reads: it names no workload.
        """
        found = self._conditions.get(site)
        if found is None or site not in self._counts:
            return found
        return msgspec.structs.replace(found, message=self._counts[site])

    async def run(self) -> None:
        """Judges after changes; runs until cancelled."""
        while self.interval_seconds:
            begun, pause = self.clock.monotonic(), self.interval_seconds
            with self.faults.barrier("survival"):
                if not await self.judge_if_changed():
                    pause = min(_CHECK_SECONDS, pause)
            took = self.clock.monotonic() - begun
            await self.clock.sleep(max(pause, _PAUSES_PER_JUDGEMENT * took))

    async def judge_if_changed(self) -> bool:
        """Judges what has changed since it was judged the last time; whether anything was judged.

        Domains are judged less often than sites, and one that fails leaves the sites' answers.
        """
        version = self.version()
        if version is None:
            self._conditions, self._judged, self._plans = {}, None, KeptPlans()
            self._domains = _JudgedDomains()
            self._proved, self._proved_domains = _ProvedLosses(), _ProvedLosses()
            return False
        now = (self._changes, version)
        has_judged = now != self._judged
        if has_judged:
            await self._judge_sites()
            self._judged = now  # what has changed since the copy was taken is judged the next time
        if now != self._domains.judged and self.clock.monotonic() >= self._domains.not_before:
            has_judged = True
            await self._judge_domains()
            self._domains.judged = now
        return has_judged

    async def _judge_sites(self) -> None:
        begun = self.clock.monotonic()
        found = await self._answer(self._proved.question(_OF_SITES, begun))
        if found.answer is None:
            self._keep_unknown(found.failed or found.refused)
            self._site_plans = ()
            self._proved.forget()
        else:
            losses = self._proved.take(found.answer.losses)
            self._site_plans = await asyncio.to_thread(_plans_of, losses)
            self._keep(losses)
        await self._keep_plans()
        self._count(self.clock.monotonic() - begun)

    async def _judge_domains(self) -> None:
        """Judges provinces, cities and providers; what cannot be judged is not known."""
        begun, known = self.clock.monotonic(), self._domains
        found = await self._answer(self._proved_domains.question(_OF_DOMAINS, begun))
        if found.answer is None:
            _log.warning("the loss of domains is not judged: %s", found.failed or found.refused)
            known.plans, known.answers = (), dict.fromkeys(known.answers)
            self._proved_domains.forget()
        else:
            losses = self._proved_domains.take(found.answer.losses)
            known.plans = await asyncio.to_thread(_plans_of, losses)
            known.answers = {one.of: one.survives for one in losses if one.workloads}
        await self._keep_plans()
        for kind in DOMAINS:
            prefix = f"{kind}="
            answers = Counter(
                survives for name, survives in known.answers.items() if name.startswith(prefix)
            )
            self.telemetry.set_domain_losses(
                kind, survived=answers[True], not_survived=answers[False], unknown=answers[None]
            )
        ended = self.clock.monotonic()
        known.not_before = ended + _DOMAIN_PAUSES * (ended - begun)

    async def _answer(self, question: Question) -> _LastLine:
        last = b'{"failed": "there is no answer"}'
        async with aclosing(self.ask(question)) as lines:
            async for line in lines:
                last = line
        return await asyncio.to_thread(_read, last)

    async def _keep_plans(self) -> None:
        plans = (*self._site_plans, *self._domains.plans)
        self._plans = await asyncio.to_thread(KeptPlans, plans)

    def _keep(self, losses: Sequence[JudgedLoss]) -> None:
        """Replaces what is kept; a site without work has no condition."""
        self._conditions = {
            one.of: self._condition(
                one.of, _STATUSES[one.survives], _REASONS[one.survives], one.sentence
            )
            for one in losses
            if one.workloads
        }
        self._counts = {one.of: _counted(one) for one in losses if not one.survives}

    def _keep_unknown(self, why: str) -> None:
        """What was known may be wrong by now, so that no site keeps it."""
        _log.warning("the loss of sites is not judged: %s", why)
        text, self._counts = f"it is not judged: {why}", {}
        self._conditions = {
            site: self._condition(site, "Unknown", _NOT_JUDGED, text) for site in self._conditions
        }

    def _condition(self, site: str, status: Any, reason: str, message: str) -> Condition:  # noqa: ANN401 - a literal
        """The condition, with the time of the last one of the same status."""
        before = self._conditions.get(site)
        is_same = before is not None and before.status == status
        at = before.last_transition_time if before and is_same else None
        return Condition(
            type=SURVIVES_LOSS,
            status=status,
            reason=reason,
            message=message[:_MAX_MESSAGE],
            last_transition_time=at or self.clock.now().replace(microsecond=0),
        )

    def _count(self, seconds: float) -> None:
        statuses = Counter(one.status for one in self._conditions.values())
        self.telemetry.observe_survival(
            seconds,
            survived=statuses["True"],
            not_survived=statuses["False"],
            unknown=statuses["Unknown"],
        )


def _counted(loss: JudgedLoss) -> str:
    """Why a loss is not survived, without the names of workloads."""
    work = f"{loss.lost_count} of {loss.workloads} workloads"
    why = "no place was found for" if loss.survives is None else "no place for"
    return f"{why} {work}; kapok survive {loss.of} says which, and why"


def _plans_of(losses: Iterable[JudgedLoss]) -> tuple[LossPlan, ...]:
    """The plans of the losses that are survived; runs in a thread, as the digests take time."""
    return tuple(
        make_loss_plan(one.of, one.site_names, tuple(_entry_of(each) for each in one.plan))
        for one in losses
        if one.survives and one.plan
    )


def _entry_of(row: _PlannedWorkload) -> AssignedWorkload:
    sites = tuple(AssignedReplicas(site=one.site, replicas=one.replicas) for one in row.to)
    return AssignedWorkload(workload=row.workload, sites=sites)


def _read(line: bytes) -> _LastLine:
    """The last line of an answer; one that cannot be read is a failure."""
    try:
        return msgspec.json.decode(line, type=_LastLine)
    except msgspec.MsgspecError as error:
        return _LastLine(failed=f"the answer cannot be read: {error}")
