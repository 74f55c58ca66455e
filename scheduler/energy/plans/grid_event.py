"""What a site can shed when the grid asks for it, and by which work: suspend, slow, move or hold.

A request keeps a site's power below what it drew before, less what was asked, until it ends. Work
gives way in order of priority, the lowest first, and of equal work that without a deadline. Every
way is one that keeps the work's deadline and rules: `ways_of` makes no other, so a plan cannot miss
one. What can be promised is the most for which such a plan exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SheddingAction = Literal["run", "suspend", "slow", "move", "hold"]

_PASSES, _HALVINGS = 4, 14
_TOLERANCE_WATTS = 1e-6
_MOST_EXCHANGED = 20
_OFFSETS = 6
"""How many begins are tried of a pause that is shorter than the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheddableWork:
    """Work at the site, as far as a request matters to it. Times are slots from the request on.

    Attributes:
        key: its name.
        priority: higher work gives way later.
        watts: what it draws at the site's connection.
        cores: the room that it needs elsewhere.
        starts_in: when it starts; 0: it runs.
        ends_in: when it ends as it runs now, at the latest; None: it is a service.
        spare: how much later it may end; None: it has no deadline, 0: it may not be late at all.
        can_pause: whether it can be suspended and go on where it was.
        least_share: the part of its parallelism that it can go down to; 1: it cannot be slowed.
        may_move_to: sites that its rules admit.
        moving: slots from the order until it draws nothing here.
        lost_by_moving: slots of its work that are done again elsewhere.
    """

    key: str
    priority: int
    watts: float
    cores: int = 1
    starts_in: int = 0
    ends_in: int | None = None
    spare: int | None = None
    can_pause: bool = False
    least_share: float = 1.0
    may_move_to: tuple[str, ...] = ()
    moving: int = 1
    lost_by_moving: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class SheddingWay:
    """One way in which work may go through a request.

    Attributes:
        action: what is done with it.
        watts: what it draws here in each slot; [slots].
        begin, end: the slots in which it is not as usual.
        share: of its parallelism in that time; 0: it stands still, or is elsewhere.
        site: where it goes.
    """

    action: SheddingAction
    watts: Floats
    begin: int = 0
    end: int = 0
    share: float = 1.0
    site: str = ""


@dataclass(slots=True)
class SheddingPlan:
    """How a site gets through a request.

    Attributes:
        ways: of each work that does not run as usual.
        watts: what the site draws of all its work; [slots].
        is_met: whether that stays below the limit from the reaction time on.
    """

    ways: dict[str, SheddingWay] = field(default_factory=dict)
    watts: Floats = field(default_factory=lambda: np.zeros(0))
    is_met: bool = False


def plan_shedding(
    works: Sequence[SheddableWork],
    *,
    limit_watts: float,
    slots: int,
    reaction: int,
    room: Mapping[str, int],
) -> SheddingPlan:
    """The work that gives way so that the site stays below a limit.

    Args:
        works: all work of the site that draws power within the request.
        limit_watts: what it may draw of that.
        slots: how long the request lasts.
        reaction: slots from the order until something can have changed.
        room: cores that other sites give.

    Raises:
        ValueError: times or figures are out of range.
    """
    _check(works, slots, reaction)
    if not np.isfinite(limit_watts):
        raise ValueError(f"a limit of {limit_watts} W is no figure")
    ordered = _first_to_give_way(works)
    offered = {work.key: ways_of(work, slots, reaction) for work in ordered}
    plan = _Draft(ordered, offered, dict(room), limit_watts, reaction)
    plan.choose()
    return plan.result()


def promised_watts(
    works: Sequence[SheddableWork], *, slots: int, reaction: int, room: Mapping[str, int]
) -> float:
    """How far below what is drawn now the site can stay, through the whole request.

    Raises:
        ValueError: times or figures are out of range.
    """
    _check(works, slots, reaction)
    drawn = sum(work.watts for work in works if work.starts_in == 0)
    low, high = 0.0, drawn

    def is_met(shed: float) -> bool:
        return plan_shedding(
            works, limit_watts=drawn - shed, slots=slots, reaction=reaction, room=room
        ).is_met

    if not is_met(low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_met(middle) else (low, middle)
    return low


def ways_of(work: SheddableWork, slots: int, reaction: int) -> list[SheddingWay]:
    """As usual first, then all ways that keep the work's deadline and rules."""
    usual = SheddingWay("run", _runs(work, slots, [(0, slots, 1.0)]))
    ways = [usual]
    spare = slots if work.spare is None else work.spare
    if work.starts_in > 0:
        ways += _holds(work, slots, spare)
    elif work.can_pause:
        ways += _pauses(work, slots, reaction, spare)
    if 0 < work.least_share < 1 and work.starts_in == 0:
        ways += _slowed(work, slots, reaction, spare)
    if work.starts_in == 0 and (work.ends_in is None or spare >= work.moving + work.lost_by_moving):
        watts = np.where(np.arange(slots) < max(reaction, work.moving), usual.watts, 0.0)
        ways += [
            SheddingWay("move", watts, reaction, slots, 0.0, site) for site in work.may_move_to
        ]
    return ways


def _holds(work: SheddableWork, slots: int, spare: int) -> list[SheddingWay]:
    until = min(slots, work.starts_in + spare)
    if until <= work.starts_in:
        return []
    parts = [(work.starts_in, until, 0.0)]
    return [SheddingWay("hold", _runs(work, slots, parts), work.starts_in, until, 0.0)]


def _pauses(work: SheddableWork, slots: int, reaction: int, spare: int) -> list[SheddingWay]:
    last = slots if work.ends_in is None else min(slots, work.ends_in)
    longest = min(spare, slots - reaction)
    if longest <= 0 or last <= reaction:
        return []
    begins = {
        reaction,
        *np.linspace(reaction, max(reaction, slots - longest), _OFFSETS).astype(int),
    }
    return [
        SheddingWay(
            "suspend",
            _runs(work, slots, [(begin, begin + longest, 0.0)]),
            begin,
            begin + longest,
            0.0,
        )
        for begin in sorted(int(each) for each in begins)
        if begin < last
    ]


def _slowed(work: SheddableWork, slots: int, reaction: int, spare: int) -> list[SheddingWay]:
    """At its least share through the request, or as long as its deadline allows."""
    longest = int(min(slots - reaction, spare / (1 - work.least_share)))
    if longest <= 0:
        return []
    parts = [(reaction, reaction + longest, work.least_share)]
    watts = _runs(work, slots, parts)
    return [SheddingWay("slow", watts, reaction, reaction + longest, work.least_share)]


def _runs(work: SheddableWork, slots: int, parts: Sequence[tuple[int, int, float]]) -> Floats:
    """What work draws if it goes at a share of its speed in some slots; [slots]."""
    share = np.ones(slots)
    share[: work.starts_in] = 0.0
    for begin, end, part in parts:
        share[begin:end] = part
    if work.ends_in is not None:
        done = np.concatenate([[0.0], np.cumsum(share)[:-1]])
        share[done >= work.ends_in - work.starts_in] = 0.0
    drawn: Floats = share * work.watts
    return drawn


def _first_to_give_way(works: Sequence[SheddableWork]) -> list[SheddableWork]:
    """The lowest priority first; of equal ones that which can be late longest, then the largest."""

    def rank(work: SheddableWork) -> tuple[int, float, float, str]:
        spare = -float("inf") if work.spare is None else -float(work.spare)
        return work.priority, spare, -work.watts, work.key

    return sorted(works, key=rank)


@dataclass(slots=True)
class _Draft:
    """A plan in the making."""

    works: list[SheddableWork]
    offered: dict[str, list[SheddingWay]]
    room: dict[str, int]
    limit: float
    reaction: int
    chosen: dict[str, SheddingWay] = field(default_factory=dict)
    watts: Floats = field(default_factory=lambda: np.zeros(0))

    def choose(self) -> None:
        """In order, then again while that helps; what is not needed after all runs on."""
        for work in self.works:
            self.chosen[work.key] = self.offered[work.key][0]
        self.watts = np.sum([way.watts for way in self.chosen.values()], axis=0)
        for _ in range(_PASSES):
            before = self._excess(self.watts)
            for work in self.works:
                if self._excess(self.watts) <= _TOLERANCE_WATTS:
                    break
                self._choose_for(work)
            self._exchange()
            if self._excess(self.watts) >= before - _TOLERANCE_WATTS:
                break
        for work in reversed(self.works):
            usual = self.offered[work.key][0]
            without = self.watts - self.chosen[work.key].watts + usual.watts
            if self._excess(without) <= self._excess(self.watts) + _TOLERANCE_WATTS:
                self._take(work, usual)

    def result(self) -> SheddingPlan:
        ways = {key: way for key, way in self.chosen.items() if way.action != "run"}
        return SheddingPlan(ways, self.watts, self._excess(self.watts) <= _TOLERANCE_WATTS)

    def _choose_for(self, work: SheddableWork) -> None:
        others = self.watts - self.chosen[work.key].watts
        best, least = self.chosen[work.key], self._excess(self.watts)
        for way in self.offered[work.key]:
            if way.site and way is not best and self.room.get(way.site, 0) < work.cores:
                continue
            excess = self._excess(others + way.watts)
            if excess < least - _TOLERANCE_WATTS:
                best, least = way, excess
        self._take(work, best)

    def _exchange(self) -> None:
        """Changes the ways of two works at once where that helps; of few works each one counts."""
        if len(self.works) > _MOST_EXCHANGED:
            return
        for one, other in combinations(self.works, 2):
            least = self._excess(self.watts)
            if least <= _TOLERANCE_WATTS:
                return
            # Ways that need room elsewhere are left as they are.
            ours, theirs = (
                [
                    way
                    for way in self.offered[work.key]
                    if not way.site and not self.chosen[work.key].site
                ]
                or [self.chosen[work.key]]
                for work in (one, other)
            )
            rest = self.watts - self.chosen[one.key].watts - self.chosen[other.key].watts
            drawn = (
                rest
                + np.array([way.watts for way in ours])[:, None]
                + np.array([way.watts for way in theirs])
            )
            over = np.maximum(0.0, drawn[:, :, self.reaction :] - self.limit)
            excess = (over**2).sum(axis=2)
            at = int(excess.argmin())
            if excess.flat[at] < least - _TOLERANCE_WATTS:
                self._take(one, ours[at // len(theirs)])
                self._take(other, theirs[at % len(theirs)])

    def _take(self, work: SheddableWork, way: SheddingWay) -> None:
        kept = self.chosen[work.key]
        if kept.site:
            self.room[kept.site] += work.cores
        if way.site:
            self.room[way.site] -= work.cores
        self.chosen[work.key] = way
        self.watts = self.watts - kept.watts + way.watts

    def _excess(self, watts: Floats) -> float:
        """Watts over the limit, squared and summed over the slots in which that counts.

        Squares let a choice prefer the slots that are far over it, so that later ones fill the
        rest.
        """
        over = np.maximum(0.0, watts[self.reaction :] - self.limit)
        return float(over @ over)


def _check(works: Sequence[SheddableWork], slots: int, reaction: int) -> None:
    if not 0 <= reaction < slots:
        raise ValueError(f"a request of {slots} slots with a reaction time of {reaction}")
    if len({work.key for work in works}) < len(works):
        raise ValueError("two works have the same name")
    for work in works:
        if not (np.isfinite(work.watts) and work.watts >= 0 and 0 < work.least_share <= 1):
            raise ValueError(f"{work.key}: {work.watts} W, {work.least_share} of its parallelism")
        if work.starts_in < 0 or (work.ends_in is not None and work.ends_in <= work.starts_in):
            raise ValueError(f"{work.key}: it ends before it starts")
        if work.spare is not None and work.spare < 0:
            raise ValueError(f"{work.key}: its deadline has passed or cannot be kept")
