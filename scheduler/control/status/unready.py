"""What was moved because it was not ready, in the status and in its condition. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from scheduler.control.status.conditions import MAX_SITES_LISTED
from scheduler.control.status.migration import shares_in
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list
from scheduler.model.kinds.failover import UNREADY_WORDS, FailoverStatus, UnreadyMove
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.placement.failover.unready import (
    UNREADY_SENTENCES,
    HeldUnready,
    with_unready_move,
    without_old_moves,
)

_MAX_TARGETS = 64


def moves_of(status: WorkloadStatus) -> tuple[UnreadyMove, ...]:
    """What was moved because it was not ready."""
    return status.failover.unready if status.failover else ()


def open_move(status: WorkloadStatus) -> UnreadyMove | None:
    """The move whose replicas run on until their replacement is ready; None: there is none."""
    shares = shares_in(status.placement.groups)
    for one in reversed(moves_of(status)):
        share = shares.get(one.site)
        if not one.failed and share is not None and share.leaving:
            return one
    return None


def unready_sites(status: WorkloadStatus, demand: Demand) -> frozenset[str]:
    """Sites whose replicas are replaced because they are not ready, by a decision or before."""
    before = open_move(status)
    return frozenset(demand.unready_replicas) | ({before.site} if before else set())


def with_unready_moves(
    status: WorkloadStatus, demand: Demand, decision: Decision, content: str
) -> WorkloadStatus:
    """The status after a decision, with what it moved and what it took back.

    Args:
        status: the status with the decision.
        demand: what was decided on.
        decision: the decision.
        content: names the manifests.
    """
    after = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    placed, now = demand.placed_replicas, decision.decided_at.replace(microsecond=0)
    moves = moves_of(status)
    for one in demand.unready:
        if one.back_at:
            moves = _failed(moves, one.back_at)
        elif after.get(one.site, 0) < placed.get(one.site, 0):
            grown = sorted(site for site, count in after.items() if count > placed.get(site, 0))
            move = UnreadyMove(
                site=one.site,
                replicas=placed[one.site] - after.get(one.site, 0),
                to=tuple(grown[:_MAX_TARGETS]),
                reason=one.reason,
                content=content,
                at=now,
            )
            moves = with_unready_move(moves, move, now)
    return _with(status, moves)


def _failed(moves: tuple[UnreadyMove, ...], site: str) -> tuple[UnreadyMove, ...]:
    """The moves, the newest one from a site marked as taken back."""
    for index in range(len(moves) - 1, -1, -1):
        if moves[index].site == site:
            failed = msgspec.structs.replace(moves[index], failed=True)
            return (*moves[:index], failed, *moves[index + 1 :])
    return moves


def without_settled_unready(status: WorkloadStatus, content: str, now: datetime) -> WorkloadStatus:
    """The status without moves that forbid nothing any more."""
    current = open_move(status)
    kept = without_old_moves(moves_of(status), content, now)
    if current is not None and current not in kept:
        kept = (*kept, current)
    return _with(status, kept)


def _with(status: WorkloadStatus, moves: tuple[UnreadyMove, ...]) -> WorkloadStatus:
    if moves == moves_of(status):
        return status
    after = msgspec.structs.replace(status.failover or FailoverStatus(), unready=moves)
    known = None if after == FailoverStatus() else after
    return msgspec.structs.replace(status, failover=known)


def held_message(held: Mapping[str, HeldUnready]) -> tuple[str, str]:
    """Reason and message of the condition for replicas that are not ready and stay."""
    first = next(iter(held.values()))
    texts = [
        f"{one.replicas} of {one.total} replicas at {site} not ready "
        f"({UNREADY_WORDS[one.reason]}): not moved: {one.detail or UNREADY_SENTENCES[one.why]}"
        for site, one in held.items()
    ]
    return first.why, format_list(texts, MAX_SITES_LISTED)


def moved_message(moves: Iterable[UnreadyMove], current: UnreadyMove | None) -> tuple[str, str]:
    """Reason and message of the condition for the newest move; empty without one."""
    last = current or next(reversed(tuple(moves)), None)
    if last is None:
        return "", ""
    to = format_list(list(last.to), MAX_SITES_LISTED)
    because = f"not ready ({UNREADY_WORDS[last.reason]})"
    if last.failed:
        return "MovedBack", (
            f"{last.replicas} replicas at {last.site} {because}: they stay, as their replacement "
            f"at {to} was not ready either"
        )
    if current is not None:
        return "Replacing", f"{last.replicas} replicas at {last.site} {because}: moving to {to}"
    return "Replaced", f"moved {last.replicas} from {last.site} to {to}: {because}"
