"""The set of victims that does the least harm, among all sets with which a workload fits.

Few victims are compared set by set, from the least harm on, so the first set that does is the best.
Of many, each site is looked at alone, and all together: victims are added from the least harmful on
until the workload fits, and then given back from the most harmful on, as far as it still fits. The
work is bounded in steps, not in time, so that a replay on a slower machine finds the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import NamedTuple

from scheduler.model.demand.preemption import PossibleVictim
from scheduler.placement.preemption.harm import Ended, Harm, created_seconds, harm_of

_MAX_SETS = 1_024
"""So many sets of victims are compared one by one."""
_MAX_TRIALS = 160
"""So many sets are tried on the sites; the cheapest known one counts then."""
_MAX_SITES_ALONE = 8
"""Of many victims, so many sites are looked at alone, those with the least harm first."""


class Found(NamedTuple):
    """The victims that were found.

    Attributes:
        ended: how many replicas end where.
        is_least: every other set was compared.
    """

    ended: dict[tuple[int, str], int]
    is_least: bool


class _Choice(NamedTuple):
    """Replicas that end together or one by one: at one site, or a gang's at all its sites."""

    number: int
    counts: tuple[tuple[str, int], ...]
    is_whole: bool

    @property
    def most(self) -> int:
        return 1 if self.is_whole else self.counts[0][1]

    def limited_to(self, count: int) -> "_Choice":
        """The same with fewer replicas, which end one by one."""
        return self._replace(counts=((self.counts[0][0], count),))

    def ended(self, count: int) -> dict[tuple[int, str], int]:
        """What ends when so many are taken."""
        if not count:
            return {}
        if self.is_whole:
            return {(self.number, site): all_there for site, all_there in self.counts}
        return {(self.number, self.counts[0][0]): count}


@dataclass(slots=True)
class VictimSearch:
    """Finds the victims that do the least harm.

    Attributes:
        victims: those that may end.
        sites: where the workload may get replicas.
        fits: whether it fits when these have ended; more that end never let it fit less.
        may_end: whether these may end together; fewer of them then may, too.
    """

    victims: Sequence[PossibleVictim]
    sites: frozenset[str]
    fits: Callable[[Ended], bool]
    may_end: Callable[[Ended], bool] = lambda _ended: True
    _known: dict[tuple[tuple[tuple[int, str], int], ...], bool] = field(default_factory=dict)
    _trials: int = 0

    def find(self) -> Found | None:
        """The victims; None: the workload does not fit, whatever ends."""
        choices = list(self._choices())
        if not choices or not self._try(_all_of(choices)):
            return None
        if prod(one.most + 1 for one in choices) <= _MAX_SETS:
            compared = self._compare_all(choices)
            if compared is not None or self._trials < _MAX_TRIALS:
                return None if compared is None else Found(compared, is_least=True)
        choices = self._permitted(choices)
        if not choices or not self._try(_all_of(choices)):
            return None
        return Found(self._narrowed(choices), is_least=False)

    def _choices(self) -> Iterator[_Choice]:
        for number, victim in enumerate(self.victims):
            shares = [one for one in victim.shares if one.site in self.sites]
            if victim.gang:
                if shares:
                    counts = tuple((one.site, one.replicas) for one in victim.shares)
                    yield _Choice(number, counts, is_whole=True)
                continue
            for one in shares:
                is_whole = victim.whole or one.in_flight > 0
                yield _Choice(number, ((one.site, one.replicas),), is_whole=is_whole)

    def _try(self, ended: Ended) -> bool:
        key = tuple(sorted(ended.items()))
        known = self._known.get(key)
        if known is None:
            self._trials += 1
            known = self._known[key] = bool(ended) and self.fits(ended)
        return known

    def _compare_all(self, choices: list[_Choice]) -> dict[tuple[int, str], int] | None:
        """The least harmful set; None: it was not found in as many trials as are allowed."""
        ranked: list[tuple[Harm, dict[tuple[int, str], int]]] = []
        for counts in product(*(range(one.most + 1) for one in choices)):
            ended = _ended_of(choices, counts)
            if ended and self.may_end(ended):
                ranked.append((harm_of(self.victims, ended), ended))
        ranked.sort(key=lambda each: each[0])
        for _, ended in ranked:
            if self._trials >= _MAX_TRIALS:
                return None
            if self._try(ended):
                return ended
        return None

    # ------------------------------------------------------------ many victims

    def _narrowed(self, choices: list[_Choice]) -> dict[tuple[int, str], int]:
        """The least harmful of a set for each site alone, and of one for all together."""
        by_site: dict[str, list[_Choice]] = {}
        for one in choices:
            for site, _ in one.counts:
                by_site.setdefault(site, []).append(one)
        order = sorted(by_site, key=lambda site: (min(map(self._rank, by_site[site])), site))
        found = [self._added_and_given_back(choices)]
        for site in order[:_MAX_SITES_ALONE]:
            if self._trials >= _MAX_TRIALS:
                break
            if self._try(_all_of(by_site[site])):
                found.append(self._added_and_given_back(by_site[site]))
        return min(found, key=lambda ended: harm_of(self.victims, ended))

    def _permitted(self, choices: list[_Choice]) -> list[_Choice]:
        """As many of the choices as may end together, the least harmful first."""
        kept, total = list[_Choice](), dict[tuple[int, str], int]()
        for one in sorted(choices, key=self._rank):
            count = one.most
            while count and not self.may_end({**total, **one.ended(count)}):
                count //= 2
            if count:
                kept.append(one if count == one.most else one.limited_to(count))
                total |= one.ended(count)
        return kept

    def _rank(self, one: _Choice) -> tuple[int, int, int, float, str]:
        victim = self.victims[one.number]
        total = sum(count for _, count in one.counts)
        broken = victim.budget_left is not None and max(0, victim.budget_left) < total
        created = -created_seconds(victim)
        return int(broken), victim.priority, total if one.is_whole else 1, created, victim.workload

    def _added_and_given_back(self, choices: list[_Choice]) -> dict[tuple[int, str], int]:
        """The fewest of the least harmful choices with which it fits, and of these no more needed.

        Args:
            choices: with all of them it fits.
        """
        ranked = sorted(choices, key=self._rank)
        low, high = 1, len(ranked)
        while low < high:
            middle = (low + high) // 2
            if self._try(_all_of(ranked[:middle])):
                high = middle
            else:
                low = middle + 1
        used = ranked[:low]
        counts = [one.most for one in used]
        for place in range(len(used) - 1, -1, -1):
            if self._trials >= _MAX_TRIALS:
                break
            counts[place] = self._fewest(used, counts, place)
        return _ended_of(used, counts)

    def _fewest(self, used: list[_Choice], counts: list[int], place: int) -> int:
        low, high = 0, counts[place]
        while low < high:
            middle = (low + high) // 2
            tried = [*counts[:place], middle, *counts[place + 1 :]]
            if self._try(_ended_of(used, tried)):
                high = middle
            else:
                low = middle + 1
        return low


def _all_of(choices: Sequence[_Choice]) -> dict[tuple[int, str], int]:
    return _ended_of(choices, [one.most for one in choices])


def _ended_of(choices: Sequence[_Choice], counts: Sequence[int]) -> dict[tuple[int, str], int]:
    ended: dict[tuple[int, str], int] = {}
    for one, count in zip(choices, counts, strict=True):
        ended |= one.ended(count)
    return ended
