"""The checker: the sixteen promises, as far as they can be seen from outside.

It shares no code with the scheduler; what a right or a rule means is written here a second time,
from the design. Each check is a function of the present moment and of the little that `Memory`
keeps, and yields what is broken. A grace period stands wherever the scheduler has to hear of
something first.
"""

import hashlib
import json
from collections.abc import Callable

from benchmarks._chaos.checker.drains import check_drains
from benchmarks._chaos.checker.memory import (
    NAMED_SECONDS,
    SPEC_SECONDS,
    Found,
    Memory,
    is_deleting,
    led,
    name_of,
    remember,
)
from benchmarks._chaos.checker.placements import (
    broken_rule,
    check_age,
    check_capacity,
    check_rules,
    check_spread,
    check_sums,
)
from benchmarks._chaos.checker.running import (
    check_removed,
    check_rest,
    check_singletons,
    check_withdrawals,
)
from benchmarks._chaos.checker.sight import (
    Raw,
    Sight,
    Violation,
    key_of,
    staying,
)

FREEZE_RATIO = 0.5
_PHASES = frozenset(
    {"Pending", "Waiting", "Refused", "Placed", "Running", "Completed", "Degraded", "Deleting"}
)


class Checker:
    """Looks at one moment after another, and tells each violation once."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.violations: list[Violation] = []
        self._told: set[tuple[int, str]] = set()

    def look(self, sight: Sight) -> list[Violation]:
        """The violations that this moment shows for the first time."""
        remember(sight, self.memory)
        new = []
        for check in CHECKS:
            for promise, what, why in check(sight, self.memory):
                if (promise, what) not in self._told:
                    self._told.add((promise, what))
                    new.append(Violation(promise=promise, at=sight.now, what=what, why=why))
        self.violations += new
        return new


# ------------------------------------------------------------ 5, 11: records


def check_replays(sight: Sight, _memory: Memory) -> Found:
    """The same recorded inputs give the same decision."""
    for record, same in sight.replays:
        if not same:
            yield 5, record, "a replay gives another decision"


def check_ledger(sight: Sight, memory: Memory) -> Found:
    """Every decision has a record whose hash stands in the status, and the chain is whole."""
    for row in sight.rows:
        seq, previous = memory.last_row
        fields = json.loads(row.body)
        if row.seq != seq + 1 or (seq and fields["previous"] != previous):
            yield 11, f"record {row.seq}", "it does not follow the record before it"
        if row.hash.removeprefix("sha256:") != hashlib.sha256(row.body).hexdigest():
            yield 11, f"record {row.seq}", "its hash is not that of its body"
        memory.last_row = (row.seq, row.hash)
        memory.hashes[row.id] = row.hash
    for write in sight.writes:
        named = write.after["status"].get("decision") or {}
        if named.get("id") and memory.hashes.get(named["id"]) != named["hash"]:
            yield 11, f"{name_of(write.after)} {named['id']}", "the ledger has no such record"


# ------------------------------------------------------------ 6, 14: epochs


def check_epochs(sight: Sight, memory: Memory) -> Found:
    """No former leader writes or orders, and no claim of a peer raises the epoch."""
    for write in sight.writes:
        before, after = (
            int((one.get("status") or {}).get("epoch") or 0) for one in (write.before, write.after)
        )
        if after < max(before, write.lease_epoch):
            yield 6, name_of(write.after), f"epoch {after} after {max(before, write.lease_epoch)}"
    for name, site in sight.sites.items():
        if site.version is None:
            continue
        disks, known = memory.versions.get(name, (site.disks, (0, 0)))
        if disks == site.disks and site.version < known:
            yield 6, f"index of {name}", f"{site.version} after {known}"
        memory.versions[name] = (site.disks, site.version)
        if site.version[0] > sight.lease_epoch:
            yield 6, f"index of {name}", f"epoch {site.version[0]} above the Lease's"
    # Two schedulers that live may take the Lease in turns while the hub fails.
    if sight.lease_epoch > sight.takings:
        yield 14, "the Lease", f"epoch {sight.lease_epoch} after {sight.takings} takings"


# ------------------------------------------------------------ 7: nothing is lost


def check_answers(sight: Sight, memory: Memory) -> Found:
    """Every workload is placed or says why not."""
    if not sight.is_whole:
        return
    for key, one in sight.workloads.items():
        what, status = key[1], one.get("status") or {}
        is_answered = status.get("observedGeneration") == one["metadata"]["generation"]
        is_told = bool(staying(one)) or _says_why(status)
        if (is_answered and is_told) or is_deleting(one):
            memory.since.pop((7, what), None)
        elif min(memory.lasts(7, what, sight.now), led(sight)) > NAMED_SECONDS:
            yield 7, what, f"no answer to generation {one['metadata']['generation']}"


def _says_why(status: Raw) -> bool:
    if status.get("phase") not in _PHASES:
        return False
    told = [one.get("message") or one.get("reason") for one in status.get("conditions") or ()]
    return status["phase"] == "Completed" or bool(status.get("reason") or any(told))


# ------------------------------------------------------------ 10: storms


def check_freeze(sight: Sight, memory: Memory) -> Found:
    """While most sites are silent at once, nothing is evicted for their silence."""
    after = 6 * sight.report_seconds
    silent = {n for n, site in sight.sites.items() if sight.now - site.heard_at > after}
    if len(silent) <= FREEZE_RATIO * max(1, len(sight.sites)):
        memory.frozen_since = None
        return
    if memory.frozen_since is None:
        memory.frozen_since = sight.now
    for write in sight.writes:
        before, now = staying(write.before), staying(write.after)
        for site in silent & before.keys():
            is_judged = broken_rule(write.after, site, sight) or (
                sight.now - memory.spec_changed_at.get(key_of(write.after), -1e9) < SPEC_SECONDS
            )
            if now.get(site, 0) < before[site] and not is_judged and not is_deleting(write.after):
                yield 10, f"{name_of(write.after)} at {site}", f"{len(silent)} sites are silent"


# ------------------------------------------------------------ 13: loops


def check_loops(sight: Sight, _memory: Memory) -> Found:
    """Nothing that arrives ends a loop, or is a fault at an edge."""
    if not sight.is_alive:
        yield 13, "a scheduler", "its loops have ended"
    for where, count in sight.faults.items():
        yield 13, f"edge {where}", f"{count} faults were caught"


CHECKS: tuple[Callable[[Sight, Memory], Found], ...] = (
    check_rules,
    check_sums,
    check_spread,
    check_capacity,
    check_age,
    check_replays,
    check_ledger,
    check_epochs,
    check_answers,
    check_withdrawals,
    check_removed,
    check_singletons,
    check_freeze,
    check_drains,
    check_rest,
    check_loops,
)
"""Every check; together they cover the promises 1 to 16."""
