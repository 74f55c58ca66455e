"""What the checker keeps from one moment to the next, and what its parts share."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks._chaos.checker.drains import without_operations
from benchmarks._chaos.checker.sight import Raw, Sight, key_of, wanted

GRACE_SECONDS = 30.0
"""A change younger than this need not be known to the leader yet."""

STALE_SECONDS = 300.0
NAMED_SECONDS = 180.0
"""After so long under one leader everything has been looked at."""

SPEC_SECONDS = 600.0
"""What follows from an edit or from a word about a site may take so long."""

Key = tuple[str, str]
Found = Iterator[tuple[int, str, str]]
"""(promise, about what, why)."""


@dataclass(slots=True)
class Memory:
    """What the checker keeps from one moment to the next."""

    site_changed_at: dict[str, float] = field(default_factory=dict)
    judged_at: dict[str, float] = field(default_factory=dict)
    described: dict[str, str] = field(default_factory=dict)
    spec_changed_at: dict[Key, float] = field(default_factory=dict)
    generations: dict[Key, int] = field(default_factory=dict)
    counts: dict[Key, set[int]] = field(default_factory=dict)
    used: dict[str, dict[Key, int]] = field(default_factory=dict)
    versions: dict[str, tuple[int, tuple[int, int]]] = field(default_factory=dict)
    capacity: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    ran: dict[Key, dict[str, tuple[float, int]]] = field(default_factory=dict)
    stood: dict[Key, dict[str, int]] = field(default_factory=dict)
    """Pods that a site ran at some time, where the hub has had replicas stay there ever since."""
    completed_at: dict[Key, float] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    last_row: tuple[int, str] = (0, "")
    since: dict[tuple[int, str], float] = field(default_factory=dict)
    scaled_down_at: dict[Key, float] = field(default_factory=dict)
    frozen_since: float | None = None

    def lasts(self, promise: int, what: str, now: float) -> float:
        """For how long something has been seen without a break, in seconds."""
        return now - self.since.setdefault((promise, what), now)


def remember(sight: Sight, memory: Memory) -> None:
    for name in sight.changed:
        memory.site_changed_at[name] = sight.now
        described = without_operations(sight.site_objects.get(name), sight.grants, name)
        if memory.described.get(name) != described:
            memory.described[name], memory.judged_at[name] = described, sight.now
    for key, one in sight.workloads.items() if sight.is_whole else ():
        _remember_spec(key, one, sight.now, memory)
    for write in sight.writes:
        _remember_spec(key_of(write.after), write.after, sight.now, memory)
    for name, site in sight.sites.items():
        seen = memory.capacity.setdefault(name, [])
        if not seen or seen[-1][1] != site.cores:
            seen.append((sight.now, site.cores))
    for write in sight.writes:
        if write.after["status"].get("phase") == "Completed":
            memory.completed_at.setdefault(key_of(write.after), sight.now)
    for gone in sight.removed:
        memory.completed_at.pop(key_of(gone), None)


def _remember_spec(key: Key, one: Raw, now: float, memory: Memory) -> None:
    generation, counts = one["metadata"]["generation"], memory.counts.setdefault(key, set())
    number = wanted(one)
    if memory.generations.get(key) != generation:
        if counts and number < max(counts):
            memory.scaled_down_at[key] = now
        memory.generations[key], memory.spec_changed_at[key] = generation, now
    counts.add(number)


# ------------------------------------------------------------ reading


def is_current(one: Raw) -> bool:
    return bool(
        (one.get("status") or {}).get("observedGeneration") == one["metadata"]["generation"]
    )


def is_deleting(one: Raw) -> bool:
    return "deletionTimestamp" in one["metadata"]


def name_of(one: Raw) -> str:
    return str(one["metadata"]["name"])


def led(sight: Sight) -> float:
    return 0.0 if sight.leading_since is None else sight.now - sight.leading_since
