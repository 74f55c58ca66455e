"""Work that can wait gets a place and a start, and room reserved until its end.

A planned start keeps its room, so that two plans never share it. What changes makes plans void and
not work late: work that runs longer than stated takes the room of plans, a place that is lost takes
all of its plans, and each is planned again, those first that must start first. Work that finds no
room before its latest start takes that of plans that can still wait longer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TimedWork:
    """Work to be run in one go.

    Attributes:
        key: its name.
        cores: what it takes.
        slots: how long it is stated to run, at least 1.
        earliest: the first slot in which it may start.
        latest: the last slot in which it can start and keep its deadline.
    """

    key: str
    cores: int
    slots: int
    earliest: int
    latest: int


@dataclass(frozen=True, slots=True)
class ReservedRun:
    """A place and slots for a piece of work; `end` is the first slot after it."""

    work: TimedWork
    place: int
    start: int
    end: int


@dataclass(slots=True)
class ReservedTime:
    """What is reserved at each place and slot.

    Attributes:
        cores: capacity; 0 while a place is lost; [places, slots].
        used: reserved by plans and by what runs; [places, slots].
        plans: what has not started.
        running: what has.
    """

    cores: Ints
    used: Ints = field(init=False)
    plans: dict[str, ReservedRun] = field(default_factory=dict)
    running: dict[str, ReservedRun] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is reserved at first."""
        self.used = np.zeros_like(self.cores)

    def starts_with_room(self, work: TimedWork, first: int, last: int) -> Bools:
        """Where the work has room if it starts in these slots; [places, starts]."""
        return _room(self.cores - self.used, work, first, last)

    def reserve(self, work: TimedWork, place: int, start: int) -> None:
        """Plans a start that has room."""
        run = ReservedRun(work, place, start, start + work.slots)
        self._count(run, 1)
        self.plans[work.key] = run

    def drop(self, key: str) -> TimedWork:
        """Gives up a plan."""
        run = self.plans.pop(key)
        self._count(run, -1)
        return run.work

    def begin(self, key: str) -> ReservedRun:
        """A plan starts as reserved."""
        run = self.running[key] = self.plans.pop(key)
        return run

    def end(self, key: str, now: int) -> None:
        """Work ends; what it keeps reserved from now on is free."""
        run = self.running.pop(key)
        if run.end > now:
            self.used[run.place, now : run.end] -= run.work.cores

    def prolong(self, key: str, until: int) -> list[TimedWork]:
        """Work that still runs keeps its room until another slot; it takes that of plans.

        Returns:
            The work whose plans are void by that, what must start first coming first.
        """
        run = self.running[key]
        until = min(until, self.used.shape[1])
        if until <= run.end:
            return []
        self.used[run.place, run.end : until] += run.work.cores
        self.running[key] = ReservedRun(run.work, run.place, run.start, until)
        return self._void(run.place, run.end, until)

    def lose(self, place: int, now: int) -> tuple[list[ReservedRun], list[TimedWork]]:
        """A place is lost, for an unknown time: nothing is planned there until it is back.

        Returns:
            What ran there, and the work whose plans are void.
        """
        stopped = [run for run in self.running.values() if run.place == place]
        for run in stopped:
            self.end(run.work.key, now)
        self.cores[place, now:] = 0
        return stopped, self._void(place, now, self.used.shape[1])

    def regain(self, place: int, now: int, cores: int) -> None:
        """A place is back."""
        self.cores[place, now:] = cores

    def make_room(self, work: TimedWork, now: int) -> tuple[int, int, list[TimedWork]] | None:
        """The earliest start in time, at the cost of plans that can wait longer than this work.

        Returns:
            Place, start, and the work whose plans are void by it, what must start first coming
            first; None: there is none even so.
        """
        movable = [run for run in self.plans.values() if run.work.latest > work.latest]
        free = self.cores - self.used
        for run in movable:
            free[run.place, run.start : run.end] += run.work.cores
        first = max(work.earliest, now)
        room = _room(free, work, first, max(first, work.latest))
        if not room.any():
            return None
        start = first + int(room.any(axis=0).argmax())
        place = int(room[:, start - first].argmax())
        over = self.used[place, start : start + work.slots] + work.cores
        short = over > self.cores[place, start : start + work.slots]
        voided: list[TimedWork] = []
        # Plans that can wait longest give way first, and no more of them than are needed.
        for run in sorted(movable, key=lambda each: (-each.work.latest, each.work.key)):
            if not short.any():
                break
            begin, end = max(run.start, start) - start, min(run.end, start + work.slots) - start
            if run.place == place and begin < end and short[begin:end].any():
                voided.append(self.drop(run.work.key))
                over[begin:end] -= run.work.cores
                short = over > self.cores[place, start : start + work.slots]
        return place, start, _most_urgent_first(voided)

    def _void(self, place: int, begin: int, end: int) -> list[TimedWork]:
        """Moves plans of a place back as far as is needed; drops those that would be too late.

        A row of plans without gaps moves as a whole, which costs little. To plan each again would
        tear it apart, and where there is little room the hours that were best are lost by that.
        """
        if not (self.used[place, begin:end] > self.cores[place, begin:end]).any():
            return []
        own = [run for run in self.plans.values() if run.place == place and run.end > begin]
        for run in own:
            self.drop(run.work.key)
        voided: list[TimedWork] = []
        for run in sorted(own, key=lambda each: (each.start, each.work.latest, each.work.key)):
            room = self.starts_with_room(run.work, run.start, run.work.latest)[place]
            if room.any():
                self.reserve(run.work, place, run.start + int(room.argmax()))
            else:
                voided.append(run.work)
        return _most_urgent_first(voided)

    def _count(self, run: ReservedRun, sign: int) -> None:
        self.used[run.place, run.start : run.end] += sign * run.work.cores


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected now, and how it counts.

    Attributes:
        sums: expected intensity, summed up to each slot; [places, slots + 1].
        now: the first slot in which something can start.
        price: of a slot of waiting, in the unit of intensity times cores.
        spare: slots before the latest start that are used only if there is no room before.
    """

    sums: Floats
    now: int
    price: float = 0.0
    spare: int = 0


def plan_work(
    reserved: ReservedTime,
    works: Iterable[TimedWork],
    outlook: Outlook,
) -> list[TimedWork]:
    """Plans work where it is expected to emit least, of all places and starts with room.

    Args:
        reserved: what is reserved; the plans are entered.
        works: in the order in which they choose.
        outlook: what is expected now.

    Returns:
        The work that cannot start in time, planned as early as can be; or not planned, if no room
        is left at all.
    """
    late: list[TimedWork] = []
    queue = list(works)
    while queue:
        work = queue.pop(0)
        if _plan_in_time(reserved, work, outlook):
            continue
        made = reserved.make_room(work, outlook.now)
        if made is None:
            late.append(work)
            continue
        place, start, voided = made
        reserved.reserve(work, place, start)
        # Each can wait longer than the work that took its room, so this comes to an end.
        queue = _most_urgent_first([*queue, *voided])
    for work in late:
        _plan_late(reserved, work, outlook.now)
    return late


def improve_plans(reserved: ReservedTime, outlook: Outlook) -> None:
    """Moves each plan to the place and start that are best by now, what must start first first.

    Forecasts change, and work that ends early leaves room. A plan keeps its own room meanwhile, so
    no deadline is risked by it.
    """
    for work in _most_urgent_first([run.work for run in reserved.plans.values()]):
        kept = reserved.plans[work.key]
        reserved.drop(work.key)
        if not _plan_in_time(reserved, work, outlook):
            reserved.reserve(work, kept.place, kept.start)


def _plan_in_time(reserved: ReservedTime, work: TimedWork, outlook: Outlook) -> bool:
    first = max(work.earliest, outlook.now)
    for last in sorted({work.latest - outlook.spare, work.latest}):
        if last < first:
            continue
        cost, waits = start_costs(reserved, work, outlook.sums, first, last)
        if np.isfinite(cost).any():
            place, start = divmod(int(np.argmin(cost + outlook.price * waits)), cost.shape[1])
            reserved.reserve(work, place, first + start)
            return True
    return False


def start_costs(
    reserved: ReservedTime, work: TimedWork, sums: Floats, first: int, last: int
) -> tuple[Floats, Floats]:
    """What work emits by place and start, infinite without room, and how many slots it waits."""
    room = reserved.starts_with_room(work, first, last)
    starts = np.arange(first, first + room.shape[1])
    ends = np.minimum(starts + work.slots, sums.shape[1] - 1)
    cost = np.where(room, (sums[:, ends] - sums[:, starts]) * work.cores, np.inf)
    return cost, (starts - work.earliest).astype(np.float64)


def _plan_late(reserved: ReservedTime, work: TimedWork, now: int) -> None:
    first, last = max(work.earliest, now), reserved.used.shape[1] - work.slots
    if last < first:
        return
    room = reserved.starts_with_room(work, first, last)
    if room.any():
        start = int(room.any(axis=0).argmax())
        reserved.reserve(work, int(room[:, start].argmax()), first + start)


def _room(free: Ints, work: TimedWork, first: int, last: int) -> Bools:
    """Whether each run of slots from `first` to `last` has the work's cores; [places, starts]."""
    last = min(last, free.shape[1] - work.slots)
    if last < first:
        return np.zeros((len(free), 0), np.bool_)
    short = free[:, first : last + work.slots] < work.cores
    counts = np.pad(np.cumsum(short, axis=1), ((0, 0), (1, 0)))
    room: Bools = counts[:, work.slots :] == counts[:, : -work.slots]
    return room


def _most_urgent_first(works: Sequence[TimedWork]) -> list[TimedWork]:
    return sorted(works, key=lambda work: (work.latest, work.key))
