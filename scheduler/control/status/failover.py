"""What failover did, in the status: moves, answers to operators, and a condition. Pure."""

from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType

import msgspec

from scheduler.control.status.conditions import (
    MAX_SITES_LISTED,
    find_condition,
    set_condition,
)
from scheduler.control.status.migration import shares_in
from scheduler.control.status.phase import clip_text
from scheduler.control.status.unready import held_message, moved_message, moves_of, open_move
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list, format_rfc3339
from scheduler.model.kinds.failover import (
    MAX_FAILOVER_ANSWERS,
    FailoverAnswer,
    FailoverMove,
    FailoverStatus,
)
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.placement.failover.moving_back import with_move, without_settled
from scheduler.placement.failover.plan import HOLD_SENTENCES, Eviction, HoldReason
from scheduler.placement.failover.unready import HeldUnready

FAILOVER = "Failover"
DRAINED = "Drained"
_MAX_REPLACING = 64
_NOT_HELD: Mapping[str, HeldUnready] = MappingProxyType({})


def given_up_sites(status: WorkloadStatus) -> frozenset[str]:
    """Sites that an operator gave up for this workload: while silent, they hold nothing back."""
    moved = status.failover.moved if status.failover else ()
    return frozenset(one.site for one in moved if one.by)


def with_failover(
    status: WorkloadStatus,
    demand: Demand,
    decision: Decision,
    evictions: Mapping[str, Eviction],
    *,
    now: datetime,
) -> WorkloadStatus:
    """The status after a decision, with what it moved and what it answers.

    Args:
        status: the status with the decision.
        demand: what was decided on.
        decision: the decision.
        evictions: those that are in force, by site.
        now: the time of the decision.
    """
    placed = demand.placed_replicas
    assigned = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    at, known = now.replace(microsecond=0), status.failover or FailoverStatus()
    moves, grown = known.moved, _grown(placed, assigned)
    for site in demand.evicted:
        cause = evictions.get(site, Eviction(site=site))
        if cause.cause != "silent":
            continue  # what a drain moves is not moved back
        if site in placed and site not in assigned and grown:
            move = FailoverMove(
                site=site,
                replicas=placed[site],
                to=grown,
                at=at,
                silent_since=cause.silent_since,
                by=cause.by,
            )
            moves = with_move(moves, move)
    return _with(status, msgspec.structs.replace(known, moved=moves))


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[str, ...]:
    grown = sorted(site for site, count in after.items() if count > before.get(site, 0))
    return tuple(grown[:_MAX_REPLACING])


def with_answers(
    status: WorkloadStatus, evictions: Mapping[str, Eviction], *, now: datetime, is_decided: bool
) -> WorkloadStatus:
    """The status with an answer to each word of an operator that has none.

    Args:
        status: the status to be written.
        evictions: those that are in force, by site.
        now: the time of the answers.
        is_decided: a decision took the evictions into account.
    """
    known = status.failover or FailoverStatus()
    answered = {(one.site, one.id) for one in known.answers}
    staying = {site for site, one in shares_in(status.placement.groups).items() if one.replicas}
    placed = find_condition(status.conditions, "Placed")
    fresh: dict[str, FailoverAnswer] = {}
    for site, one in sorted(evictions.items()):
        if not one.word or (site, one.word) in answered or not (one.refusal or is_decided):
            continue
        is_moved = site not in staying and not one.refusal
        why = one.refusal or (placed.message if placed is not None else "")
        answer = FailoverAnswer(
            site=site,
            id=one.word,
            by=one.by,
            moved=is_moved,
            reason="" if is_moved else clip_text(why),
            at=now.replace(microsecond=0),
        )
        fresh[site] = answer
    if not fresh:
        return status
    others = (one for one in known.answers if one.site not in fresh)
    latest = (*others, *fresh.values())[-MAX_FAILOVER_ANSWERS:]
    return _with(status, msgspec.structs.replace(known, answers=latest))


def has_failover(status: WorkloadStatus) -> bool:
    """Whether a status says anything of moves, or of replicas that cannot leave a site."""
    return status.failover is not None or any(
        one.type in (FAILOVER, DRAINED) for one in status.conditions
    )


def with_failover_condition(
    status: WorkloadStatus,
    evictions: Mapping[str, Eviction],
    held: Mapping[str, HoldReason],
    *,
    known_sites: Collection[str],
    now: datetime,
    unready: Mapping[str, HeldUnready] = _NOT_HELD,
) -> WorkloadStatus:
    """The status without moves that are settled, and with the condition `Failover`.

    Args:
        status: the status until now.
        evictions: those that are in force, by site.
        held: where an operator has to decide, with the reason.
        known_sites: sites that exist.
        now: the transition time of the condition.
        unready: why replicas that are not ready stay, by site.
    """
    staying = {site for site, one in shares_in(status.placement.groups).items() if one.replicas}
    known = status.failover
    if known is not None and known.moved:
        moves = without_settled(known.moved, staying=staying, known_sites=known_sites)
        status = _with(status, msgspec.structs.replace(known, moved=moves))
    stuck = [
        one
        for site, one in sorted(evictions.items())
        if site in staying and not one.refusal and one.cause == "silent"
    ]
    waiting = {site: reason for site, reason in sorted(held.items()) if site in staying}
    moved = status.failover.moved if status.failover else ()
    not_ready = {site: one for site, one in sorted(unready.items()) if site in staying}
    condition = (
        _stuck(status, stuck)
        or _waiting(waiting)
        or _not_ready(not_ready)
        or _moved(moved)
        or _moved_unready(status)
    )
    if condition is None and find_condition(status.conditions, FAILOVER) is None:
        return status
    return set_condition(status, condition, FAILOVER, now)


def with_drain_condition(
    status: WorkloadStatus, stays: Mapping[str, str], now: datetime
) -> WorkloadStatus:
    """The status with the condition `Drained`, while replicas cannot leave a site.

    Args:
        status: the status until now.
        stays: why replicas stay at sites that are drained or maintained, by site.
        now: the transition time of the condition.
    """
    staying = {site for site, one in shares_in(status.placement.groups).items() if one.replicas}
    texts = [f"{site}: {why}" for site, why in sorted(stays.items()) if site in staying]
    condition = None
    if texts:
        message = clip_text(f"replicas stay at {format_list(texts, MAX_SITES_LISTED)}")
        condition = Condition(type=DRAINED, status="False", reason="Stuck", message=message)
    elif find_condition(status.conditions, DRAINED) is None:
        return status
    return set_condition(status, condition, DRAINED, now)


def _with(status: WorkloadStatus, after: FailoverStatus) -> WorkloadStatus:
    known = None if after == FailoverStatus() else after
    return status if known == status.failover else msgspec.structs.replace(status, failover=known)


def _condition(reason: str, message: str, *, is_done: bool = False) -> Condition:
    return Condition(
        type=FAILOVER,
        status="True" if is_done else "False",
        reason=reason,
        message=clip_text(message),
    )


def _stuck(status: WorkloadStatus, stuck: list[Eviction]) -> Condition | None:
    placed = find_condition(status.conditions, "Placed")
    if not stuck or placed is None or placed.status == "True":
        return None
    sites = format_list([_since(one.site, one.silent_since) for one in stuck], MAX_SITES_LISTED)
    return _condition("NotReplaced", f"nothing replaces {sites}: {placed.message}")


def _waiting(waiting: Mapping[str, HoldReason]) -> Condition | None:
    if not waiting:
        return None
    reason = next(iter(waiting.values()))
    sites = format_list(list(waiting), MAX_SITES_LISTED)
    return _condition(reason, f"replicas at {sites} are not replaced: {HOLD_SENTENCES[reason]}")


def _moved(moves: tuple[FailoverMove, ...]) -> Condition | None:
    if not moves:
        return None
    texts = [
        f"{one.replicas} from {_since(one.site, one.silent_since)} to "
        f"{format_list(list(one.to), MAX_SITES_LISTED)}"
        for one in moves
    ]
    return _condition("Replaced", f"moved {format_list(texts, MAX_SITES_LISTED)}", is_done=True)


def _not_ready(held: Mapping[str, HeldUnready]) -> Condition | None:
    return _condition(*held_message(held)) if held else None


def _moved_unready(status: WorkloadStatus) -> Condition | None:
    reason, message = moved_message(moves_of(status), open_move(status))
    return _condition(reason, message, is_done=reason != "MovedBack") if reason else None


def _since(site: str, silent_since: datetime | None) -> str:
    if silent_since is None:
        return site
    return f"{site} (silent since {format_rfc3339(silent_since)})"
