"""`Decision`: where a workload runs, or why it waits or is refused; `control` acts on it."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Literal

import msgspec

from scheduler.model.canonical import canonical_json
from scheduler.model.kinds.fields import Instant, Origin, Part
from scheduler.model.kinds.rollout import RolloutPhase
from scheduler.model.kinds.workload import StartPlan
from scheduler.model.reasons import Reason

ENGINE_VERSION = "7"
"""Raised with every change that can change a decision or a recorded sentence.

A record replays by its own version, and by those that differ from it in texts only
(`scheduler/ledger/replay.py`).
"""

DecisionPhase = Literal["Placed", "Waiting", "Refused"]


NO_SUCH_SITE = "site not found"
"""Why replicas ended at a site whose object was deleted, in `ended_by`."""


class SiteAssignment(Part, frozen=True, kw_only=True):
    """The replicas of a workload at one site."""

    site: str
    replicas: int


class Cost(Part, frozen=True, kw_only=True):
    """The cost of a placement per hour. None: unknown, as one of its figures is unknown."""

    cny_per_hour: float | None = None
    gco2_per_hour: float | None = None


class FollowedBatch(Part, frozen=True, kw_only=True):
    """The batch, or the kept plan for a loss, that a decision follows, and what that costs."""

    assignment: str
    """The version of the whole list, which the ledger holds under this digest."""
    loss: str = ""
    """The loss whose plan it is; empty: it is a batch's."""
    cny_above_cheapest_per_hour: float | None = None
    """The cost above that of the cheapest division, scarcity prices left out; None: unknown."""


class Victim(Part, frozen=True, kw_only=True):
    """Replicas of a workload at one site that end, so that another one finds room."""

    workload: str
    site: str
    replicas: int
    """How many end there."""
    keep: int = 0
    """How many stay there."""
    priority: int = 0
    reclaimed: bool = False
    """They use quota that the other one's tenant is guaranteed."""


class Preemption(Part, frozen=True, kw_only=True):
    """What ends for a workload that finds no room, and where it then runs."""

    place: tuple[SiteAssignment, ...]
    victims: tuple[Victim, ...]
    broken_budgets: tuple[str, ...] = ()
    """PodDisruptionBudgets that more replicas leave than they allow, as `WORKLOAD: NAME (RULE)`."""
    least: bool = True
    """Whether every set of victims was compared; False: there may be one that does less harm."""


class UnmetRule(Part, frozen=True, kw_only=True):
    """A required rule that a whole placement does not meet."""

    rule: str
    """Its slug: `spread`, `duplicated`, the name of a preset, or that of a rule about sites."""
    sentence: str


class RolloutStep(Part, frozen=True, kw_only=True):
    """How far a changed content has gone out over the sites of a workload."""

    phase: RolloutPhase
    released: int = 0
    """So many groups have the new content."""
    groups: int = 0
    group: str = ""
    """The group that got it last."""
    former: tuple[str, ...] = ()
    """Sites of the placement that have, or get back, the former content."""
    because: str = ""
    """Why, for people."""
    waits_for: str = ""
    """What the next group waits for; empty: nothing is known."""


class RebalanceStep(Part, frozen=True, kw_only=True):
    """Replicas that move to save cost, and what that saves in a day."""

    replicas: int
    saves_cny: float
    """Less the cost of the move."""
    saves_gco2: float
    cost_cny: float = 0.0
    """What the move itself costs."""
    cost_gco2: float = 0.0


def _current_engine_version() -> str:
    return ENGINE_VERSION


class Decision(Part, frozen=True, kw_only=True):
    """The decision about one workload.

    Placed: `assignment` is the whole placement, of kept and new replicas. Waiting and Refused:
    `assignment` holds the replicas that run already; they stay, although no more fit now.
    """

    workload: str
    uid: str = ""
    phase: DecisionPhase
    assignment: tuple[SiteAssignment, ...] = ()
    lost: tuple[str, ...] = ()
    """Sites that had replicas and no longer do: removed, evicted, or no longer chosen."""
    ended: tuple[str, ...] = ()
    """Sites in `lost` whose replicas end at once, replaced or not: the site is gone, a NoExecute
    taint evicts them, or the authority stops them. At the others they run until replaced."""
    ended_by: dict[str, str] = msgspec.field(default_factory=dict)
    """What ended the replicas, by site in `ended`."""
    violations: dict[str, Reason] = msgspec.field(default_factory=dict)
    """Sites whose running replicas break a rule about rights, with that rule's reason; the data
    class's `onViolation` says what happens to them."""
    reasons: dict[Reason, int] = msgspec.field(default_factory=dict)
    """The number of refused sites by their first reason; empty when placed."""
    line: str = ""
    """The decision in one sentence, for status and logs."""
    group: str = ""
    """The site group that was used last; empty without groups."""
    cost: Cost = Cost()
    start_at: Instant | None = None
    """When work that can wait is planned to start, at `planned`; it is decided again then."""
    planned: tuple[SiteAssignment, ...] = ()
    plan: StartPlan | None = None
    """The planned start, with what it is compared with until the workload starts."""
    optimal: bool = True
    """Whether no placement has a lower cost, and every required rule is met; False: see `gap`."""
    gap: float | None = 0.0
    """Upper bound of the cost above the best possible one, as a ratio; None: no bound is known.

    Of a placement it is 0 if `optimal`, and only then; without a placement it says nothing."""
    notes: tuple[str, ...] = ()
    """What the decision does not model, for people."""
    unmet: tuple[UnmetRule, ...] = ()
    """Required rules that `assignment`, kept and new replicas together, does not meet."""
    batch: FollowedBatch | None = None
    """The batch or plan that assigned what is new of the placement; None: none did."""
    preemption: Preemption | None = None
    """What ends for this workload, which waits until it has; None: nothing does."""
    preempted: dict[str, int] = msgspec.field(default_factory=dict)
    """Replicas that end at once for other workloads, by site."""
    rollout: RolloutStep | None = None
    """Which sites have the new content of a rollout, and which the former; None: there is none."""
    rebalance: RebalanceStep | None = None
    """What moves to save cost; None: nothing does."""
    decided_at: Instant
    engine: str = msgspec.field(default_factory=_current_engine_version)
    """Always written: left out as a default, it would be read as the version of the reader."""

    @property
    def replicas(self) -> int:
        """The number of replicas at all sites."""
        return sum(each.replicas for each in self.assignment)


class Verdict(Part, frozen=True, kw_only=True):
    """The answer of one rule about one site."""

    rule: str
    reason: Reason
    passed: bool | None
    """None: not looked at, because a fact that the rule needs is missing; see the sentence."""
    sentence: str = ""


class CostTerm(Part, frozen=True, kw_only=True):
    """One term of the cost of a replica at one site."""

    term: str
    cny_per_replica_hour: float | None
    origin: Origin
    age_seconds: float | None = None


class SiteExplanation(Part, frozen=True, kw_only=True):
    """Every rule and cost of a decision about one site."""

    name: str
    admitted: bool
    verdicts: tuple[Verdict, ...]
    room: int
    costs: tuple[CostTerm, ...]
    total_cny_per_replica_hour: float | None
    replicas: int


Authority = Literal["authority", "operator", "tenant"]
_AUTHORITIES: tuple[Authority, ...] = ("authority", "operator", "tenant")
_HOLDERS: dict[str, Authority] = {
    "workload": "tenant",
    "site": "operator",
    "tenant": "operator",
    "grant": "authority",
    "time": "tenant",
}


class SuggestedChange(Part, frozen=True, kw_only=True):
    """One change that would let a workload be placed.

    `verified` means that the engine repeated the decision with the change and placed it.
    """

    kind: str
    target: str
    from_: str = ""
    to: str = ""
    verified: bool = False
    site: str = ""
    """The site that it opens; empty: no single one."""
    sentence: str = ""
    """What would then be, where its values do not say it; empty: they do."""

    @property
    def who(self) -> Authority:
        """Who may make it: of several changes, the one with most authority."""
        holders = {_HOLDERS.get(each.partition(".")[0], "operator") for each in self.kinds}
        return next(each for each in _AUTHORITIES if each in holders)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the changes that it consists of."""
        return tuple(self.kind.split(" + "))


class Explanation(Part, frozen=True, kw_only=True):
    """A decision with its rules and costs, site by site."""

    decision: Decision
    sites: tuple[SiteExplanation, ...]


class Subject(Part, frozen=True, kw_only=True):
    """The workload that one of several equal decisions is about."""

    workload: str
    uid: str = ""


class OutcomeRun(Part, frozen=True, kw_only=True):
    """Decisions one after the other that have the same outcome."""

    outcome: int
    """Its index in `EqualDecisions.outcomes`."""
    count: int


class EqualDecisions(Part, frozen=True, kw_only=True, dict=True):
    """Decisions about equal work that waited together, made in one step."""

    subjects: tuple[Subject, ...] = ()
    """In the order in which they were decided."""
    outcomes: tuple[Decision, ...] = ()
    """What differs between them, each once, without `workload` and `uid`."""
    runs: tuple[OutcomeRun, ...] = ()
    """Which subject has which outcome, in the order of `subjects`."""

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(run.count for run in self.runs))

    def outcome_at(self, index: int) -> Decision:
        """The outcome of the subject at an index, without its name."""
        return self.outcomes[self.runs[bisect_right(self._ends, index)].outcome]


def expand(decisions: EqualDecisions, index: int) -> Decision:
    """One of several equal decisions: the same as if it had been made alone, after those before it.

    Raises:
        IndexError: there is no such decision.
    """
    if not 0 <= index < len(decisions.subjects):
        raise IndexError(f"decision {index} of {len(decisions.subjects)}")
    subject = decisions.subjects[index]
    return msgspec.structs.replace(
        decisions.outcome_at(index), workload=subject.workload, uid=subject.uid
    )


def selected(decisions: EqualDecisions, indices: Sequence[int]) -> EqualDecisions:
    """Some of several equal decisions, in their order.

    Those that are left out must not change the others: none of them was placed.

    Args:
        decisions: all of them.
        indices: of those that are kept, ascending.
    """
    runs: list[OutcomeRun] = []
    ends = accumulate(run.count for run in decisions.runs)
    kept = list(indices)
    for run, end in zip(decisions.runs, ends, strict=True):
        count = bisect_left(kept, end) - bisect_left(kept, end - run.count)
        if count:
            runs.append(OutcomeRun(outcome=run.outcome, count=count))
    subjects = tuple(decisions.subjects[index] for index in kept)
    return EqualDecisions(subjects=subjects, outcomes=decisions.outcomes, runs=tuple(runs))


def decision_bytes(decision: Decision) -> bytes:
    """The decision as canonical JSON: equal inputs give equal bytes."""
    return canonical_json(decision)
