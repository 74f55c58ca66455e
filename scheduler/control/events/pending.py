"""Events that wait to be written: equal ones are counted as one, and their number is bounded."""

from dataclasses import dataclass, field
from typing import Literal

from scheduler.control.ports.hub import Object

EventType = Literal["Warning", "Normal"]
SubjectKey = tuple[str, str, str, str]
"""uid, kind, namespace and name of an object; of some objects the uid is not known."""
EventKey = tuple[SubjectKey, str, str]
"""The object, reason and message: what makes events equal."""


def subject_key(body: Object) -> SubjectKey:
    """Which object an event is about."""
    about = body["involvedObject"]
    return about["uid"], about.get("kind", ""), about.get("namespace", ""), about.get("name", "")


def event_key(body: Object) -> EventKey:
    """What an event says of which object."""
    return subject_key(body), body["reason"], body["message"]


@dataclass(slots=True)
class PendingEvents:
    """Events that wait; warnings are taken first, and dropped last.

    Attributes:
        max_count: so many wait at most.
    """

    max_count: int
    _by_type: dict[EventType, dict[EventKey, Object]] = field(
        default_factory=lambda: {"Warning": {}, "Normal": {}}
    )

    def __len__(self) -> int:
        return sum(map(len, self._by_type.values()))

    def put(self, body: Object) -> int:
        """Adds an event, or counts it with an equal one that waits.

        Returns:
            How many events were dropped for it: 0 or 1.
        """
        waiting = self._by_type[body["type"]]
        known = waiting.get(event_key(body))
        if known is not None:
            known["count"] += body["count"]
            known["lastTimestamp"] = body["lastTimestamp"]
            return 0
        waiting[event_key(body)] = body
        if len(self) <= self.max_count:
            return 0
        fullest = self._by_type["Normal"] or waiting
        del fullest[next(iter(fullest))]
        return 1

    def pop(self) -> Object | None:
        """Removes and returns the next event: the oldest warning, else the oldest other one."""
        for waiting in self._by_type.values():
            for key in waiting:
                return waiting.pop(key)
        return None


@dataclass(slots=True, kw_only=True)
class WriteBudget:
    """How many writes may be sent: a token bucket.

    Attributes:
        per_second: tokens that come back each second.
        burst: tokens at most.
    """

    per_second: float
    burst: float
    _tokens: float = field(init=False)
    _at_seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def spend(self, now_seconds: float) -> float:
        """Takes a token.

        Args:
            now_seconds: monotonic time; not before that of the last call.

        Returns:
            0, or the seconds until there is one; then nothing is taken.
        """
        earned = max(0.0, now_seconds - self._at_seconds) * self.per_second
        self._tokens = min(self.burst, self._tokens + earned)
        self._at_seconds = now_seconds
        # The rounding of floats must not leave a pause that is too short to end.
        if self._tokens < 1 - 1e-9:
            return (1 - self._tokens) / self.per_second
        self._tokens -= 1
        return 0.0


@dataclass(slots=True, kw_only=True)
class SubjectBudgets:
    """A budget for each object, so that one that changes all the time leaves room for the others.

    Attributes:
        per_second: tokens of one object that come back each second.
        burst: tokens of one object at most.
        max_subjects: so many objects are remembered; the one that was written longest ago goes.
    """

    per_second: float
    burst: float
    max_subjects: int
    _budgets: dict[SubjectKey, WriteBudget] = field(default_factory=dict, init=False)

    def admits(self, subject: SubjectKey, now_seconds: float) -> bool:
        """Takes a token of an object; False if it has none left.

        Args:
            subject: the object.
            now_seconds: monotonic time; not before that of the last call.
        """
        budget = self._budgets.pop(subject, None)
        if budget is None:
            budget = WriteBudget(per_second=self.per_second, burst=self.burst)
        self._budgets[subject] = budget
        while len(self._budgets) > self.max_subjects:
            self._budgets.pop(next(iter(self._budgets)))
        return budget.spend(now_seconds) == 0
