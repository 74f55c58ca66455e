"""What a story measures: how soon losses are found and repaired, and at what cost."""

from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks._chaos.checker.drains import closed_because
from benchmarks._chaos.checker.placements import broken_rule
from benchmarks._chaos.checker.sight import (
    Raw,
    Sight,
    Write,
    condition,
    key_in,
    key_of,
    leaving,
    staying,
    wanted,
)
from benchmarks._chaos.least import Loss, least_moves

_DOUBLED_REPORTS = 3
_CAUSE_SECONDS = 900.0
"""A move so soon after a word about the site follows from that word."""


@dataclass(slots=True)
class Figures:
    """Counts of one story.

    Attributes:
        detect_seconds: from when a site was last heard to when its object said so.
        recover_seconds: from when an eviction was allowed to when the replacement stood in the hub.
            It is allowed `afterSeconds` after the site was last heard, once it is known as silent,
            under a leader, no freeze holds it, and the workload is not known to lack room. A freeze
            ends when the hub takes the status of the Site that says so. A leader
            that began to listen later measures `afterSeconds` from then: what was heard before is
            known by the wall clock alone, which may be wrong.
        moves: replicas that were placed at another site instead of a silent one, and those that
            were moved without any cause.
        least_moves: the fewest with which the same replicas could have left the silent sites.
        doubled: moments at which a workload ran more replicas than it asks for, beyond a move.
        unplaced_minutes: minutes in which a replica was asked for and not ready, by priority.
    """

    detect_seconds: list[float] = field(default_factory=list)
    recover_seconds: list[float] = field(default_factory=list)
    moves: int = 0
    least_moves: int = 0
    doubled: int = 0
    unplaced_minutes: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    _silent: dict[str, tuple[float, float]] = field(default_factory=dict)
    _held_at: dict[str, float] = field(default_factory=dict)
    _without_room_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _closed_at: dict[str, float] = field(default_factory=dict)
    _whole_at: float = 0.0
    _over: dict[tuple[str, str], float] = field(default_factory=dict)

    def look(self, sight: Sight) -> None:
        """Counts what a moment shows."""
        self._look_at_silence(sight)
        self._look_at_writes(sight)
        if sight.is_whole:
            self._look_at_replicas(sight)

    def _look_at_silence(self, sight: Sight) -> None:
        for name, body in sight.site_objects.items():
            ready = condition(body, "Ready") or {}
            is_silent = ready.get("reason") in ("Silent", "Lost")
            if (condition(body, "EvictionsHeld") or {}).get("status") == "True":
                self._held_at[name] = sight.now
            elif name in sight.freed:
                self._held_at[name] = sight.freed[name]
            if name in sight.changed or closed_because(body, sight.wall):
                self._closed_at[name] = sight.now
            if is_silent and name not in self._silent:
                heard = sight.sites[name].heard_at
                self._silent[name] = (sight.now, heard)
                if heard and sight.leading_since is not None:
                    self.detect_seconds.append(sight.now - heard)
            elif not is_silent:
                self._silent.pop(name, None)

    def _look_at_writes(self, sight: Sight) -> None:
        for write in sight.writes:
            before, after = staying(write.before), staying(write.after)
            if (condition(write.after, "Failover") or {}).get("status") == "False":
                self._without_room_at[key_of(write.after)] = write.at
            left = {site for site in before if after.get(site, 0) < before[site]}
            new = sum(max(0, count - before.get(site, 0)) for site, count in after.items())
            if not left or not new or _is_edited(write):
                continue
            lost = left & self._silent.keys()
            if lost:
                self.moves += new
                self.least_moves += int(min(new, least_moves(_loss_of(write, lost, sight))))
                self._note_recovery(write, lost, sight)
            elif all(self._is_fine(write.after, site, sight) for site in left):
                self.moves += new

    def _is_fine(self, workload: Raw, site: str, sight: Sight) -> bool:
        """Whether nothing speaks against the replicas that a site had."""
        if broken_rule(workload, site, sight) or not sight.sites[site].is_linked:
            return False
        if sight.now - self._closed_at.get(site, -1e9) < _CAUSE_SECONDS:
            return False
        own = sight.sites[site].pods_of(key_of(workload))
        return all(pods.ready >= pods.wanted for pods in own)

    def _note_recovery(self, write: Write, lost: set[str], sight: Sight) -> None:
        allowed = max(
            sight.leading_since or 0.0,
            (sight.listening_since or 0.0) + sight.failover_seconds,
            self._without_room_at.get(key_of(write.after), 0.0),
            *(self._silent[site][0] for site in lost),
            *(self._silent[site][1] + sight.failover_seconds for site in lost),
            *(self._held_at.get(site, 0.0) for site in lost),
        )
        self.recover_seconds.append(max(0.0, write.at - allowed))

    def _look_at_replicas(self, sight: Sight) -> None:
        minutes, self._whole_at = (sight.now - self._whole_at) / 60, sight.now
        ready: dict[tuple[str, str], int] = defaultdict(int)
        bound: dict[tuple[str, str], int] = defaultdict(int)
        for site in sight.sites.values():
            for order, pods in site.orders.items():
                ready[key_in(order)] += pods.wanted if pods.is_ended else pods.ready
                bound[key_in(order)] += 0 if pods.is_ended or not site.is_linked else pods.wanted
        for key, one in sight.workloads.items():
            missing = wanted(one) - ready[key]
            if missing > 0 and "deletionTimestamp" not in one["metadata"]:
                self.unplaced_minutes[int(one["spec"].get("priority") or 0)] += missing * minutes
            self._look_at_doubles(key, one, bound[key], sight)

    def _look_at_doubles(self, key: tuple[str, str], one: Raw, bound: int, sight: Sight) -> None:
        allowed = max(wanted(one), sum(staying(one).values())) + sum(leaving(one).values())
        if bound <= allowed or "deletionTimestamp" in one["metadata"]:
            self._over.pop(key, None)
            return
        since = self._over.setdefault(key, sight.now)
        if sight.leading_since is None:
            self._over[key] = sight.now
        elif sight.now - since > _DOUBLED_REPORTS * sight.report_seconds and since >= 0:
            self.doubled += 1
            self._over[key] = float("inf")


def _is_edited(write: Write) -> bool:
    """Whether a user's edit is answered, which may divide the replicas otherwise."""
    seen = [
        (one.get("status") or {}).get("observedGeneration") for one in (write.before, write.after)
    ]
    return seen[0] != seen[1]


def _loss_of(write: Write, lost: set[str], sight: Sight) -> Loss:
    """What a write had to bring to other sites; the rules are the checker's."""
    after, spec = staying(write.after), write.after["spec"]
    usable = {
        site
        for site, body in sight.site_objects.items()
        if not broken_rule(write.after, site, sight) and not closed_because(body, sight.wall)
    }
    rules = (spec.get("placement") or {}).get("spread") or ()
    return Loss(
        before=staying(write.before),
        lost=frozenset(site for site in lost if not after.get(site)),
        admits=frozenset(usable | after.keys()),
        wanted=sum(after.values()),
        spread=[
            (
                {
                    site: body["spec"]["location"][rule["by"]]
                    for site, body in sight.site_objects.items()
                },
                rule.get("minGroups", 1),
            )
            for rule in rules
        ],
    )
