"""Which replicas that stay not ready at a site that reports are replaced elsewhere. Pure.

Replaced are only those that another site could do better:

- What a site lacks (no node for a pod, a lost node, an order that does not come up) may be there
  elsewhere: any site that passes every rule and has room gets them.
- What the content may cause (crash loop, image pull, probe, unknown) is better only where the same
  content is proven: only sites where every replica of it is ready get them. So an image that is
  broken stays where it is.
- A workload moves at most once an hour from a site, and never by this rule to a site where the same
  content was not ready. After three replacements that were not ready either it stays where it is.
- Not ready for the same reason at many sites at once is no matter of one site: nothing moves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from scheduler.model.kinds.failover import MAX_UNREADY_MOVES, UnreadyMove, UnreadyReason
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import FailoverMode
from scheduler.placement.failover.plan import hold_reason

SITE_REASONS: Final[frozenset[UnreadyReason]] = frozenset(
    {"pending-unschedulable", "node-lost", "stuck"}
)
"""What a site lacks; all other reasons may be those of the content."""

UnreadyHold = Literal[
    "Manual",
    "CannotFence",
    "Disabled",
    "NoSiteRunsIt",
    "MovedLately",
    "ReplacementsFailed",
    "NotReadyAtManySites",
    "JobHasBegun",
    "Paused",
    "NoRoom",
    "Frozen",
]
"""Why replicas that are not ready are not replaced."""

UNREADY_SENTENCES: Final[Mapping[UnreadyHold, str]] = {
    "Manual": "spec.failover.mode is Manual",
    "CannotFence": "nothing keeps its pods from running at two sites",
    "Disabled": "failover.enabled is false in the scheduler's settings",
    "NoSiteRunsIt": "no site runs this generation",
    "MovedLately": "a workload moves from a site at most once an hour",
    "ReplacementsFailed": "three replacements were not ready either",
    "NotReadyAtManySites": "workloads at many sites are not ready for the same reason",
    "JobHasBegun": "a job that has begun stays where it is",
    "Paused": "the workload is paused",
    "NoRoom": "no other site may run it and has room",
    "Frozen": "evictions are frozen",
}

TRY_AGAIN_SECONDS: Final = 3600.0
MAX_FAILED_MOVES: Final = 3
_STORM_SITES, _STORM_WORKLOADS, _STORM_RATIO, _STORM_SECONDS = 3, 2, 0.25, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadySpell:
    """Replicas of one workload at one site that are not ready for one reason.

    Attributes:
        reason: the class of the reason.
        replicas: how many.
        seconds: for how long at least, and not longer than their newest order is out.
    """

    reason: UnreadyReason
    replicas: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadySite:
    """What is known of one site of a workload.

    Attributes:
        site: the site, which reports.
        replicas: replicas that are to be there.
        is_proven: all of them are ready by the present content.
        has_started: some pod of it is on a node.
        spells: those that are not ready.
    """

    site: str
    replicas: int
    is_proven: bool
    has_started: bool
    spells: tuple[UnreadySpell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadyCandidate:
    """A workload with replicas that are not ready.

    Attributes:
        key: the workload.
        priority: higher ones are replaced first.
        created_at_seconds: when it was created; older ones first.
        mode: of its failover.
        after_seconds: how long replicas must be not ready; 0: they are never replaced.
        content: names its manifests.
        sites: its sites that report.
        moves: what was moved before.
        is_numbered: its pods have numbers that must not run twice, and nothing fences them.
        is_job: its replicas run to their end.
        is_paused: nothing new is placed.
    """

    key: WorkKey
    priority: int
    created_at_seconds: float
    mode: FailoverMode
    after_seconds: float
    content: str
    sites: tuple[UnreadySite, ...]
    moves: tuple[UnreadyMove, ...] = ()
    is_numbered: bool = False
    is_job: bool = False
    is_paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadyEviction:
    """Replicas of a workload that are to leave a site.

    Attributes:
        site: the site.
        replicas: how many of those there.
        reason: the reason of most of them.
        seconds: for how long these are not ready.
        content: names its manifests.
        only: the sites that may get them; empty: any.
        never: sites that must not get them.
    """

    site: str
    replicas: int
    reason: UnreadyReason
    seconds: int
    content: str
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadyReturn:
    """A move to be taken back, because the replacement is not ready either.

    Attributes:
        move: the move.
        reason: why the replacement is not ready.
        seconds: for how long it is awaited.
    """

    move: UnreadyMove
    reason: UnreadyReason
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldUnready:
    """Replicas that are not ready and are not replaced.

    Attributes:
        reason: the reason of most of them.
        replicas: how many.
        total: of how many.
        why: why they are not replaced.
        detail: more about that, as a sentence.
    """

    reason: UnreadyReason
    replicas: int
    total: int
    why: UnreadyHold
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadyPlan:
    """What is due now.

    Attributes:
        due: one eviction of each workload, in the order in which they are to be decided.
        held: what is not ready for long enough and stays, by workload and site.
    """

    due: tuple[tuple[UnreadyCandidate, UnreadyEviction], ...]
    held: Mapping[tuple[WorkKey, str], HeldUnready]


def plan_unready(
    candidates: Iterable[UnreadyCandidate],
    *,
    now: datetime,
    widespread: frozenset[UnreadyReason] = frozenset(),
    is_enabled: bool = True,
) -> UnreadyPlan:
    """Plans which replicas are replaced.

    Args:
        candidates: workloads with replicas that are not ready.
        now: the time; aware.
        widespread: reasons for which nothing moves, as they are at many sites at once.
        is_enabled: whether anything is replaced without an operator's word.
    """
    due: list[tuple[UnreadyCandidate, UnreadyEviction]] = []
    held: dict[tuple[WorkKey, str], HeldUnready] = {}
    for one in candidates:
        chosen: UnreadyEviction | None = None
        for at in one.sites:
            spells = _lasting(one, at)
            if not spells:
                continue
            answer = _judge(one, at, spells, now, widespread, is_enabled=is_enabled)
            if isinstance(answer, UnreadyEviction):
                if chosen is None or answer.replicas > chosen.replicas:
                    chosen = answer  # one site at a time: the next when this move has ended
            else:
                held[one.key, at.site] = answer
        if chosen is not None:
            due.append((one, chosen))
    due.sort(key=lambda each: unready_order(each[0]))
    return UnreadyPlan(due=tuple(due), held=held)


def unready_order(one: UnreadyCandidate) -> tuple[int, float, WorkKey]:
    """The sort key: highest priority first, then the oldest, then by name."""
    return (-one.priority, one.created_at_seconds, one.key)


@dataclass(slots=True)
class ReasonTally:
    """At how many sites, and of how many workloads, replicas are not ready for each reason."""

    _sites: dict[UnreadyReason, set[str]] = field(default_factory=dict)
    _workloads: dict[UnreadyReason, set[WorkKey]] = field(default_factory=dict)

    def add(self, one: UnreadyCandidate) -> None:
        """Counts a workload with replicas that are not ready for a minute."""
        least_seconds = min(_STORM_SECONDS, one.after_seconds)
        for at in one.sites:
            for spell in at.spells:
                if spell.seconds >= least_seconds:
                    self._sites.setdefault(spell.reason, set()).add(at.site)
                    self._workloads.setdefault(spell.reason, set()).add(one.key)

    def widespread(self, working_sites: int) -> frozenset[UnreadyReason]:
        """The reasons that several workloads have at a quarter of the sites, and at three.

        Args:
            working_sites: how many sites report and have orders.
        """
        least = max(_STORM_SITES, _STORM_RATIO * working_sites)
        return frozenset(
            reason
            for reason, found in self._sites.items()
            if len(found) >= least and len(self._workloads[reason]) >= _STORM_WORKLOADS
        )


def _lasting(one: UnreadyCandidate, at: UnreadySite) -> tuple[UnreadySpell, ...]:
    if one.after_seconds <= 0:
        return ()
    return tuple(each for each in at.spells if each.replicas and each.seconds >= one.after_seconds)


def _judge(
    one: UnreadyCandidate,
    at: UnreadySite,
    spells: tuple[UnreadySpell, ...],
    now: datetime,
    widespread: frozenset[UnreadyReason],
    *,
    is_enabled: bool,
) -> UnreadyEviction | HeldUnready:
    proven = {other.site for other in one.sites if other.is_proven and other.site != at.site}
    never = sites_to_avoid(one.moves, one.content, now)
    general = _hold_of_workload(one, at, now, is_enabled=is_enabled)
    if general is not None:
        return _held(at, spells, general)
    calm = [each for each in spells if each.reason not in widespread]
    if not calm:
        return _held(at, spells, "NotReadyAtManySites")
    able = sorted(proven - never)
    of_site = [each for each in calm if each.reason in SITE_REASONS]
    moving = calm if able else of_site
    if not moving:
        return _held(at, spells, "NoSiteRunsIt")
    needs_proof = any(each.reason not in SITE_REASONS for each in moving)
    main = _main_of(moving)
    replicas = min(at.replicas, sum(each.replicas for each in moving))
    if one.is_job and replicas < at.replicas:
        return _held(at, spells, "JobHasBegun")
    return UnreadyEviction(
        site=at.site,
        replicas=replicas,
        reason=main.reason,
        seconds=int(main.seconds),
        content=one.content,
        only=tuple(able) if needs_proof else (),
        never=tuple(sorted(never)),
    )


def _hold_of_workload(
    one: UnreadyCandidate, at: UnreadySite, now: datetime, *, is_enabled: bool
) -> UnreadyHold | None:
    """Why nothing of a workload leaves this site, whatever the reasons are."""
    by_rule = hold_reason(one, is_enabled=is_enabled)
    if by_rule is not None:
        return by_rule
    if one.is_paused:
        return "Paused"
    if one.is_job and at.has_started:
        return "JobHasBegun"
    failed = [each for each in one.moves if each.failed and each.content == one.content]
    if len(failed) >= MAX_FAILED_MOVES:
        return "ReplacementsFailed"
    if any(_is_recent(each, now) and at.site in (each.site, *each.to) for each in one.moves):
        return "MovedLately"
    return None


def _held(at: UnreadySite, spells: tuple[UnreadySpell, ...], why: UnreadyHold) -> HeldUnready:
    replicas = min(at.replicas, sum(each.replicas for each in spells))
    reason = _main_of(spells).reason
    return HeldUnready(reason=reason, replicas=replicas, total=at.replicas, why=why)


def _main_of(spells: Sequence[UnreadySpell]) -> UnreadySpell:
    """The spell of most replicas; of several the longest, then by name."""
    return min(spells, key=lambda each: (-each.replicas, -each.seconds, each.reason))


def _is_recent(move: UnreadyMove, now: datetime) -> bool:
    return move.at is None or (now - move.at).total_seconds() < TRY_AGAIN_SECONDS


def sites_to_avoid(moves: Iterable[UnreadyMove], content: str, now: datetime) -> frozenset[str]:
    """Sites where the same content was not ready: those left, and those whose replacements failed.

    What a site lacked it may have again, so a site that was left for such a reason is avoided only
    for an hour.
    """
    found: set[str] = set()
    for one in moves:
        if one.content != content:
            continue
        if one.reason not in SITE_REASONS or _is_recent(one, now):
            found.add(one.site)
        if one.failed:
            found.update(one.to)
    return frozenset(found)


def with_unready_move(
    moves: Sequence[UnreadyMove], move: UnreadyMove, now: datetime
) -> tuple[UnreadyMove, ...]:
    """The moves with a further one; of too many, those that failed are kept the longest."""
    known = [*without_old_moves(moves, move.content, now), move]
    while len(known) > MAX_UNREADY_MOVES:
        oldest = next((one for one in known[:-1] if not one.failed), known[0])
        known.remove(oldest)
    return tuple(known)


def without_old_moves(
    moves: Iterable[UnreadyMove], content: str, now: datetime
) -> tuple[UnreadyMove, ...]:
    """The moves that still forbid a further one."""
    return tuple(
        one
        for one in moves
        if _is_recent(one, now)
        or (one.content == content and (one.failed or one.reason not in SITE_REASONS))
    )
