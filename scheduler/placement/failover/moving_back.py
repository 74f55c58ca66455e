"""How replicas that were replaced move back to the site that is there again. Pure.

A move that is not complete is reverted: what still runs at the original site counts as staying. A
complete one is made the other way round: as many replicas as were moved are missing again, and only
the original site may get them. What was moved on from a replacement belongs to the first original.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand, PlacedReplicas, UnreadyReplicas
from scheduler.model.kinds.failover import MAX_FAILOVER_MOVES, FailoverMove
from scheduler.placement.failover.unready import UnreadyEviction, UnreadyReturn

_MAX_REPLACING = 64


def reverting(
    demand: Demand, moves: Sequence[FailoverMove], runs_at: Callable[[str], bool]
) -> Demand | None:
    """The demand with moves reverted that are not complete; None: there is none to revert.

    Args:
        demand: with the replicas that stay and those that are leaving.
        moves: what failover moved.
        runs_at: whether the leaving replicas of a site are known to run.
    """
    placed, is_changed = list(demand.placed), False
    for move in moves:
        leaving = next(
            (one for one in placed if one.site == move.site and one.phase == "Withdrawing"), None
        )
        if leaving is None or not runs_at(move.site):
            continue
        back = min(leaving.replicas, move.replicas)
        freed, rest = _taken_from(placed, set(move.to), back)
        if not freed:
            continue
        placed = [one for one in rest if one is not leaving]
        placed.append(replace(leaving, replicas=freed, phase="Running"))
        if leaving.replicas > freed:
            placed.append(replace(leaving, replicas=leaving.replicas - freed))
        is_changed = True
    return replace(demand, placed=_by_site(placed)) if is_changed else None


def moving_back(
    demand: Demand, moves: Iterable[FailoverMove], sites: Collection[str]
) -> Demand | None:
    """The demand with what was moved missing, for the original sites only; None: nothing was.

    Args:
        demand: with the replicas that stay and those that are leaving.
        moves: what failover moved.
        sites: the original sites that are there again.
    """
    placed, targets = list(demand.placed), set[str]()
    for move in moves:
        if move.site not in sites or move.site in demand.placed_replicas:
            continue
        freed, placed = _taken_from(placed, set(move.to), move.replicas)
        if freed:
            targets.add(move.site)
    if not targets:
        return None
    return replace(
        demand, placed=_by_site(placed), mode="Steady", moves_back_to=tuple(sorted(targets))
    )


def leaving_unready(demand: Demand, task: UnreadyEviction) -> Demand | None:
    """The demand with replicas to be replaced that are not ready; None: none of them is there.

    Args:
        demand: with the replicas that stay.
        task: says which, and where they may go.
    """
    replicas = min(task.replicas, demand.placed_replicas.get(task.site, 0))
    if not replicas:
        return None
    unready = UnreadyReplicas(
        site=task.site,
        replicas=replicas,
        reason=task.reason,
        seconds=task.seconds,
        avoid=task.never[:_MAX_REPLACING],
    )
    return replace(demand, unready=(unready,), moves_back_to=task.only[:_MAX_REPLACING])


def moving_back_unready(demand: Demand, task: UnreadyReturn) -> Demand | None:
    """The demand with a move reverted whose replacement is not ready; None: it is over.

    Args:
        demand: with the replicas that stay and those that are leaving.
        task: the move, and why its replacement is not ready.
    """
    move = task.move
    made = FailoverMove(site=move.site, replicas=move.replicas, to=move.to)
    reverted = reverting(demand, (made,), lambda _site: True)
    if reverted is None:
        return None
    before, after = demand.placed_replicas, reverted.placed_replicas
    unready = tuple(
        UnreadyReplicas(
            site=site,
            replicas=before[site] - after.get(site, 0),
            reason=task.reason,
            seconds=task.seconds,
            back_at=move.site,
        )
        for site in sorted(before)
        if after.get(site, 0) < before[site]
    )
    return replace(reverted, unready=unready)


def _taken_from(
    placed: Sequence[PlacedReplicas], sites: Collection[str], replicas: int
) -> tuple[int, list[PlacedReplicas]]:
    """How many staying replicas were taken from these sites, and what is left."""
    left, after = replicas, list[PlacedReplicas]()
    for one in placed:
        taken = 0
        if one.site in sites and one.phase != "Withdrawing":
            taken = min(left, one.replicas)
        left -= taken
        if one.replicas > taken:
            after.append(replace(one, replicas=one.replicas - taken) if taken else one)
    return replicas - left, after


def _by_site(placed: Iterable[PlacedReplicas]) -> tuple[PlacedReplicas, ...]:
    return tuple(sorted(placed, key=lambda one: (one.site, one.phase or "")))


def with_move(moves: Sequence[FailoverMove], move: FailoverMove) -> tuple[FailoverMove, ...]:
    """The moves with a further one; what had come from elsewhere keeps its first original site."""
    chained, after = 0, list[FailoverMove]()
    for one in moves:
        if one.site == move.site:
            continue
        if move.site in one.to:
            chained += one.replicas
            to = tuple(dict.fromkeys((*(each for each in one.to if each != move.site), *move.to)))
            after.append(replace(one, to=to[:_MAX_REPLACING]))
        else:
            after.append(one)
    own = move.replicas - chained
    if own > 0:
        after.append(replace(move, replicas=own))
    return tuple(after[-MAX_FAILOVER_MOVES:])


def without_settled(
    moves: Iterable[FailoverMove], *, staying: Collection[str], known_sites: Collection[str]
) -> tuple[FailoverMove, ...]:
    """The moves that may still be taken back.

    Args:
        moves: what failover moved.
        staying: sites where replicas stay.
        known_sites: sites that exist.
    """
    held = set(staying)
    return tuple(
        one
        for one in moves
        if one.site in known_sites and one.site not in held and not held.isdisjoint(one.to)
    )
