"""What a story measures: how soon losses are found and repaired, and at what cost."""

from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks._chaos.sight import Raw, Sight, condition, key_in, leaving, staying, wanted

_DOUBLED_REPORTS = 3


@dataclass(slots=True)
class Figures:
    """Counts of one story.

    Attributes:
        detect_seconds: from when a site was last heard to when its object said so.
        recover_seconds: from when an eviction was allowed, that is `afterSeconds` after it was last
            heard, under a leader, to when the replacement stood in the hub.
        moves: replicas that were placed at another site instead of a silent one.
        least_moves: replicas at sites that stayed silent for longer than `afterSeconds`.
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
            left = [s for s in before if s in self._silent and after.get(s, 0) < before[s]]
            new = sum(max(0, count - before.get(s, 0)) for s, count in after.items())
            if left and new:
                self.moves += new
                self.least_moves += min(new, sum(before[s] - after.get(s, 0) for s in left))
                allowed = max(
                    sight.leading_since or 0.0,
                    *(self._silent[s][0] for s in left),
                    *(self._silent[s][1] + sight.failover_seconds for s in left),
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
