"""Which placed workloads are to be decided on again though nobody changed them, and when.

Nothing of this is kept on disk: after a start all that runs is decided on again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.queue.timers import Due
from scheduler.model.kinds.metadata import WorkKey


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of one look at a workload.

    Attributes:
        is_redecided: a rule, a site or the time may bear on what runs.
        is_asked_anew: its policy has changed.
    """

    is_redecided: bool = False
    is_asked_anew: bool = False


@dataclass(slots=True)
class Wishes:
    """Kept until a look is done; what comes during a look is for the next one."""

    _redecided: set[WorkKey] = field(default_factory=set)
    _asked_anew: set[WorkKey] = field(default_factory=set)
    _alarms: Due = field(default_factory=Due)

    def redecide(self, keys: Iterable[WorkKey]) -> None:
        """Something may bear on what runs of these."""
        self._redecided.update(keys)

    def ask_anew(self, keys: Iterable[WorkKey]) -> None:
        """The policy of these has changed."""
        self._asked_anew.update(keys)

    def alarm(self, key: WorkKey, at: datetime | None) -> None:
        """The passing of time may bear on what runs of it then; None: at no time."""
        if at is None:
            self._alarms.drop(key)
        else:
            self._alarms.set(key, at.timestamp())

    def due(self, now: datetime) -> list[WorkKey]:
        """Takes out the workloads whose alarm has come."""
        return list(self._alarms.pop(now.timestamp()))

    def take(self, key: WorkKey) -> Wish:
        """A look begins."""
        wish = Wish(key in self._redecided, key in self._asked_anew)
        self._redecided.discard(key)
        self._asked_anew.discard(key)
        return wish

    def give_back(self, key: WorkKey, wish: Wish) -> None:
        """The look came to nothing."""
        if wish.is_redecided:
            self._redecided.add(key)
        if wish.is_asked_anew:
            self._asked_anew.add(key)

    def forget(self, key: WorkKey) -> None:
        """The workload is gone."""
        self.take(key)
        self._alarms.drop(key)
