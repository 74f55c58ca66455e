"""The fewest moves with which the replicas of lost sites can run elsewhere.

It shares no code with the scheduler. A move is a replica that a site gets which it did not have.
Capacity is left out of both methods: with less room the least can only grow, so what they say is
never more than what the best scheduler needs.

On small fleets every division of the replicas is tried (`least_by_search`). On large ones the least
follows from what a division must contain (`least_by_count`); a test compares the two.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb, inf

MAX_TRIED = 20_000
"""So many divisions are tried at most; above that the count is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Replicas that may not stay where they are.

    Attributes:
        before: replicas of the workload by site, those at lost sites too.
        lost: the sites that it must leave.
        admits: the sites that may hold replicas by every rule, lost ones left out.
        wanted: number of replicas after the moves.
        spread: (group of each site, least number of groups) of each required rule.
    """

    before: Mapping[str, int]
    lost: frozenset[str]
    admits: frozenset[str]
    wanted: int
    spread: Sequence[tuple[Mapping[str, str], int]] = ()

    def may_keep(self, site: str) -> int:
        """How many replicas a site may keep."""
        return 0 if site in self.lost else self.before.get(site, 0)

    @property
    def places(self) -> list[str]:
        """Sites that may hold replicas after the moves, each by its name."""
        kept = {site for site in self.before if self.may_keep(site)}
        return sorted((self.admits | kept) - self.lost)


def least_moves(loss: Loss) -> float:
    """The fewest moves; infinite if no division does it."""
    tried = comb(loss.wanted + max(0, len(loss.places) - 1), loss.wanted)
    return least_by_search(loss) if tried <= MAX_TRIED else least_by_count(loss)


def least_by_search(loss: Loss) -> float:
    """The fewest moves of all divisions of the replicas over the sites."""
    places, least = loss.places, inf
    for counts in _divisions(loss.wanted, len(places)):
        found = dict(zip(places, counts, strict=True))
        # What a site has and may not have more of, it may keep.
        is_allowed = all(
            count <= loss.may_keep(site) or site in loss.admits for site, count in found.items()
        )
        if is_allowed and _is_spread(loss, found):
            moves = sum(max(0, count - loss.may_keep(site)) for site, count in found.items())
            least = min(least, moves)
    return least


def _divisions(total: int, places: int) -> Iterator[tuple[int, ...]]:
    if places == 0:
        if total == 0:
            yield ()
        return
    if places == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _divisions(total - first, places - 1):
            yield (first, *rest)


def _is_spread(loss: Loss, found: Mapping[str, int]) -> bool:
    return all(
        len({group[site] for site, count in found.items() if count}) >= least
        for group, least in loss.spread
    )


def least_by_count(loss: Loss) -> float:
    """A number of moves below which no division is possible.

    What stays can stay, so only what is missing moves; beyond that, each group that a rule lacks
    needs a replica of its own, which comes from elsewhere.
    """
    if not loss.wanted:
        return 0
    places = loss.places
    kept = sum(loss.may_keep(site) for site in places)
    missing = max(0, loss.wanted - kept)
    if missing and not loss.admits - loss.lost:
        return inf
    for group, least in loss.spread:
        if len({group[site] for site in places}) < least or loss.wanted < least:
            return inf
        has = len({group[site] for site in places if loss.may_keep(site)})
        missing = max(missing, least - has)
    return missing
