"""What a status says of a rollout: after a decision, and by what sites report since. Pure."""

from datetime import datetime

import msgspec

from scheduler.control.status.conditions import set_condition
from scheduler.control.status.migration import shares_in
from scheduler.control.status.phase import clip_text
from scheduler.model.decision import RolloutStep
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.rollout import RolloutStatus
from scheduler.model.kinds.workload import AcceptedReference, WorkloadStatus
from scheduler.model.rollout.question import RolloutQuestion
from scheduler.placement.rollout.advance import is_ready, waiting_for

ROLLED_OUT = "RolledOut"
"""Condition of a workload whose content goes out by groups of sites; True once all have it."""


def is_under_way(status: WorkloadStatus) -> bool:
    """Whether some sites may have the former content."""
    return status.rollout is not None and status.former_accepted is not None


def with_step(
    status: WorkloadStatus,
    question: RolloutQuestion,
    step: RolloutStep,
    *,
    before: AcceptedReference | None,
    generation: int,
    word: str,
    now: datetime,
) -> WorkloadStatus:
    """The status after a decision about a rollout.

    Args:
        status: with the placement that was decided.
        question: what was decided on.
        step: what was decided.
        before: what was accepted before the present spec.
        generation: metadata.generation of that.
        word: the id of the word that stands on the Workload.
        now: the time of the decision.
    """
    known = RolloutStatus() if question.starts else status.rollout or RolloutStatus()
    is_new = question.starts or step.released > known.released or bool(question.word)
    shares = [one for one in shares_in(status.placement.groups).values() if one.replicas]
    rollout = RolloutStatus(
        phase=step.phase,
        released=step.released,
        groups=step.groups,
        group=step.group,
        updated_sites=sum(not one.is_former for one in shares),
        total_sites=len(shares),
        since=now.replace(microsecond=0) if is_new else known.since,
        ready_since=None if is_new else known.ready_since,
        because=clip_text(step.because or (known.because if step.phase == known.phase else "")),
        waits_for=clip_text(step.waits_for),
        generation=generation if question.starts or not known.generation else known.generation,
        word=word,
    )
    former = status.former_accepted
    if step.phase == "Complete":
        former = None
    elif question.starts and former is None:
        former = before
    after = msgspec.structs.replace(status, rollout=rollout, former_accepted=former)
    return with_rollout_condition(after, now)


def without_rollout(status: WorkloadStatus, now: datetime) -> WorkloadStatus:
    """The status of a workload of which nothing is rolled out; what is complete stays said."""
    if status.rollout is None and status.former_accepted is None:
        return status
    known = status.rollout if status.rollout and status.rollout.phase == "Complete" else None
    after = msgspec.structs.replace(status, rollout=known, former_accepted=None)
    return with_rollout_condition(after, now)


def with_observed(
    status: WorkloadStatus, question: RolloutQuestion, now: datetime
) -> WorkloadStatus:
    """The status with since when enough replicas are ready, and what the next group waits for."""
    known = status.rollout
    if known is None or known.phase != "Progressing":
        return status
    ready_since = (known.ready_since or now) if is_ready(question) and known.released else None
    asked = msgspec.structs.replace(question, ready_since=ready_since, since=known.since)
    waits = clip_text(waiting_for(asked, now)) or known.waits_for
    after = msgspec.structs.replace(known, ready_since=ready_since, waits_for=waits)
    if after == known:
        return status
    return with_rollout_condition(msgspec.structs.replace(status, rollout=after), now)


def with_rollout_condition(status: WorkloadStatus, now: datetime) -> WorkloadStatus:
    """The status with the condition `RolledOut`."""
    known = status.rollout
    if known is None:
        return set_condition(status, None, ROLLED_OUT, now)
    condition = Condition(
        type=ROLLED_OUT,
        status="True" if known.phase == "Complete" else "False",
        reason=known.phase or "Progressing",
        message=clip_text(format_rollout(known)),
    )
    return set_condition(status, condition, ROLLED_OUT, now)


def format_rollout(known: RolloutStatus) -> str:
    """How far a rollout is, and what it waits for, in a sentence."""
    where = f"{known.updated_sites} of {known.total_sites} sites have the new content"
    if known.group and known.phase in ("Progressing", "Paused"):
        where = f"{known.group} ({known.released} of {known.groups}): {where}"
    why = known.because if known.phase in ("Paused", "RolledBack") else known.waits_for
    return f"{where}; {why}" if why else where
