"""Which workloads are to move back to a site that is there again, and when that is tried."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from scheduler.model.kinds.metadata import WorkKey

_FIRST_PAUSE_SECONDS = 1.0
_PAUSE_FACTOR = 4.0
_MAX_PAUSE_SECONDS = 600.0


@dataclass(slots=True)
class _Attempt:
    at_seconds: float
    pause_seconds: float = _FIRST_PAUSE_SECONDS


@dataclass(slots=True)
class Returns:
    """The workloads that are tried; each attempt waits four times as long, at most 10 minutes."""

    _attempts: dict[WorkKey, _Attempt] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, key: WorkKey, now_seconds: float) -> None:
        """Tries a workload at once: its original site is there again."""
        self._attempts[key] = _Attempt(now_seconds)

    def drop(self, key: WorkKey) -> None:
        """Tries a workload no longer."""
        self._attempts.pop(key, None)

    def due(self, now_seconds: float) -> Iterator[WorkKey]:
        """The workloads to try now; the next attempt of each is later."""
        for key, one in list(self._attempts.items()):
            if one.at_seconds <= now_seconds:
                one.at_seconds = now_seconds + one.pause_seconds
                one.pause_seconds = min(one.pause_seconds * _PAUSE_FACTOR, _MAX_PAUSE_SECONDS)
                yield key
