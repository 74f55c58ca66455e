"""The checker: the sixteen promises, as far as they can be seen from outside.

It shares no code with the scheduler; what a right or a rule means is written here a second time,
from the design. Each check is a function of the present moment and of the little that `Memory`
keeps, and yields what is broken. A grace period stands wherever the scheduler has to hear of
something first.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks._chaos.drains import check_drains, closed_because, without_operations
from benchmarks._chaos.sight import (
    Lowered,
    PodsSeen,
    Raw,
    Sight,
    Violation,
    condition,
    cores_of,
    is_whole_set,
    key_in,
    key_of,
    leaving,
    staying,
    wanted,
)

GRACE_SECONDS = 30.0
"""A change younger than this need not be known to the leader yet."""

STALE_SECONDS = 300.0
NAMED_SECONDS = 180.0
"""After so long under one leader everything has been looked at."""

FREEZE_RATIO = 0.5
_RUNNING_BEFORE_SECONDS = 300.0
_SPEC_SECONDS = 600.0
_JOB_SECONDS = 60.0
"""A job that ends so soon after the hub knew of its end had begun before."""

_CLASSES = ("general-1", "general-2", "general-3", "general-4", "important", "core")
_PHASES = frozenset(
    {"Pending", "Waiting", "Refused", "Placed", "Running", "Completed", "Degraded", "Deleting"}
)

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
    completed_at: dict[Key, float] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    last_row: tuple[int, str] = (0, "")
    since: dict[tuple[int, str], float] = field(default_factory=dict)
    scaled_down_at: dict[Key, float] = field(default_factory=dict)
    frozen_since: float | None = None

    def lasts(self, promise: int, what: str, now: float) -> float:
        """For how long something has been seen without a break, in seconds."""
        return now - self.since.setdefault((promise, what), now)


class Checker:
    """Looks at one moment after another, and tells each violation once."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.violations: list[Violation] = []
        self._told: set[tuple[int, str]] = set()

    def look(self, sight: Sight) -> list[Violation]:
        """The violations that this moment shows for the first time."""
        _remember(sight, self.memory)
        new = []
        for check in CHECKS:
            for promise, what, why in check(sight, self.memory):
                if (promise, what) not in self._told:
                    self._told.add((promise, what))
                    new.append(Violation(promise=promise, at=sight.now, what=what, why=why))
        self.violations += new
        return new


def _remember(sight: Sight, memory: Memory) -> None:
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


# ------------------------------------------------------------ 1: hard rules


def broken_rule(workload: Raw, site: str, sight: Sight) -> str:
    """The hard rule that forbids a workload at a site; "" if none does."""
    found = sight.site_objects.get(site)
    if found is None:
        return "there is no such site"
    why = _broken_right(workload["spec"], site, sight)
    if why:
        return why
    selector = (workload["spec"].get("placement") or {}).get("siteSelector") or {}
    labels = found["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return "its labels do not match siteSelector"
    if any(one["effect"] == "NoExecute" for one in found["spec"].get("taints") or ()):
        return "its taint forbids it"
    return ""


def _broken_right(spec: Raw, site: str, sight: Sight) -> str:
    """What the authority has not granted a site; "" if all that is needed is granted."""
    grants = [one["spec"] for one in sight.grants.values() if site in one["spec"]["sites"]]
    if not grants:
        return "it has no grant"
    body = grants[0]
    if _CLASSES.index(body["dataClass"]) < _CLASSES.index(spec["dataClass"]):
        return f"its grant ends at {body['dataClass']}"
    if not set(spec.get("networkZones") or ()) <= set(body.get("networkZones") or ()):
        return "it lacks a network zone"
    if int(spec.get("protectionLevel") or 1) > int(body["protectionLevel"]):
        return "its protection level is lower"
    return ""


def check_rules(sight: Sight, memory: Memory) -> Found:
    """No placement breaks a hard rule; what comes to break one is named."""
    for write in sight.writes:
        if not _is_current(write.after):
            continue
        before = staying(write.before)
        for site, count in staying(write.after).items():
            if count <= before.get(site, 0) or _has_changed(site, sight, memory):
                continue
            why = broken_rule(write.after, site, sight)
            closed = closed_because(sight.site_objects.get(site), sight.wall)
            if why or (closed and not before.get(site) and not leaving(write.before).get(site)):
                yield 1, f"{_name(write.after)} at {site}", why or closed
    if sight.is_whole:
        for key, one in sight.workloads.items():
            yield from _standing(key, one, sight, memory)


def _standing(key: Key, one: Raw, sight: Sight, memory: Memory) -> Found:
    for site in staying(one):
        what = f"{key[1]} stays at {site}"
        why = broken_rule(one, site, sight)
        named = condition(one, "Violation") or {}
        rules = condition(one, "RulesMet") or {}
        text = json.dumps((one.get("status") or {}).get("conditions") or ())
        is_named = named.get("status") == "True" or rules.get("status") == "False" or site in text
        if not why or is_named or _is_deleting(one):
            memory.since.pop((1, what), None)
        elif (
            min(memory.lasts(1, what, sight.now), _led(sight)) > NAMED_SECONDS
            and sight.sites[site].is_linked
        ):
            yield 1, what, f"{why}, and no condition says so"


def _has_changed(site: str, sight: Sight, memory: Memory) -> bool:
    return sight.now - memory.site_changed_at.get(site, -1e9) < GRACE_SECONDS


# ------------------------------------------------------------ 2, 16: the whole placement


def check_sums(sight: Sight, memory: Memory) -> Found:
    """Replicas add up, and a gang is whole or absent."""
    for write in sight.writes:
        total, counts = sum(staying(write.after).values()), memory.counts[key_of(write.after)]
        is_short = 0 < total < max(counts) and _is_short_by_a_rule(write.after)
        if total and total not in counts and not is_short:
            yield 2, _name(write.after), f"{total} replicas stay, {wanted(write.after)} are asked"


def _is_short_by_a_rule(one: Raw) -> bool:
    """Whether a rule has ended some replicas, nothing has room for them, and the status says so."""
    is_gang = bool((one["spec"].get("placement") or {}).get("gang"))
    return not is_gang and "stay on" in str((one["status"].get("decision") or {}).get("line"))


def check_spread(sight: Sight, _memory: Memory) -> Found:
    """The whole placement meets every required rule, or says which one it does not meet."""
    for write in sight.writes:
        sites = staying(write.after)
        rules = (write.after["spec"].get("placement") or {}).get("spread") or ()
        if not sites or not rules or not _is_current(write.after):
            continue
        named = condition(write.after, "RulesMet") or {}
        for rule in rules:
            groups = {
                sight.site_objects[site]["spec"]["location"][rule["by"]]
                for site in sites
                if site in sight.site_objects
            }
            if len(groups) < rule.get("minGroups", 1) and named.get("status") != "False":
                yield 16, _name(write.after), f"in {len(groups)} of {rule['minGroups']} groups"


# ------------------------------------------------------------ 3, 4: capacity and age


def check_capacity(sight: Sight, memory: Memory) -> Found:
    """No site gets more than it has, with all that is on its way to it."""
    for write in sight.writes:
        key, cores = key_of(write.after), cores_of(write.after)
        if key in memory.completed_at:
            cores = 0  # its pods have ended and take nothing
        before, after = _cores(write.before, cores), _cores(write.after, cores)
        for site in before.keys() | after.keys():
            memory.used.setdefault(site, {})[key] = after.get(site, 0)
            if after.get(site, 0) <= before.get(site, 0) or sight.sites[site].lies:
                continue
            used = sum(
                cores
                for one, cores in memory.used[site].items()
                if not _is_gone_from(site, one, sight)
            )
            if used > _most_cores(site, sight, memory):
                why = f"{used} cores are placed, it has {sight.sites[site].cores}"
                yield 3, f"{site} by {_name(write.after)}", why
    for gone in sight.removed:
        for uses in memory.used.values():
            uses.pop(key_of(gone), None)


def _is_gone_from(site: str, key: Key, sight: Sight) -> bool:
    """Whether a workload is being deleted and a site has taken all of its pods away.

    Its status names the site until every site, also one that is lost, has done so.
    """
    workload = sight.workloads.get(key)
    if workload is None or not _is_deleting(workload):
        return False
    return not any(key_in(order) == key for order in sight.sites[site].orders)


def _most_cores(site: str, sight: Sight, memory: Memory) -> int:
    """The most cores that it had within the age up to which its report counts."""
    seen = memory.capacity[site]
    while len(seen) > 1 and seen[1][0] < sight.now - STALE_SECONDS:
        seen.pop(0)
    return max(cores for _, cores in seen)


def _cores(one: Raw, cores: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for counts in (staying(one), leaving(one)):
        for site, count in counts.items():
            found[site] = found.get(site, 0) + count * cores
    return found


def check_age(sight: Sight, _memory: Memory) -> Found:
    """Nothing new goes where the newest figure is too old: age never makes a site better."""
    for write in sight.writes:
        before = staying(write.before)
        for site, count in staying(write.after).items():
            age = sight.now - sight.sites[site].heard_at
            if count > before.get(site, 0) and age > STALE_SECONDS + GRACE_SECONDS:
                yield 4, f"{_name(write.after)} at {site}", f"its report is {age:.0f} s old"


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
            yield 11, f"{_name(write.after)} {named['id']}", "the ledger has no such record"


# ------------------------------------------------------------ 6, 14: epochs


def check_epochs(sight: Sight, memory: Memory) -> Found:
    """No former leader writes or orders, and no claim of a peer raises the epoch."""
    for write in sight.writes:
        before, after = (
            int((one.get("status") or {}).get("epoch") or 0) for one in (write.before, write.after)
        )
        if after < max(before, write.lease_epoch):
            yield 6, _name(write.after), f"epoch {after} after {max(before, write.lease_epoch)}"
    for name, site in sight.sites.items():
        if site.version is None:
            continue
        disks, known = memory.versions.get(name, (site.disks, (0, 0)))
        if disks == site.disks and site.version < known:
            yield 6, f"index of {name}", f"{site.version} after {known}"
        memory.versions[name] = (site.disks, site.version)
        if site.version[0] > sight.lease_epoch:
            yield 6, f"index of {name}", f"epoch {site.version[0]} above the Lease's"
    if sight.lease_epoch > sight.starts:
        yield 14, "the Lease", f"epoch {sight.lease_epoch} after {sight.starts} schedulers"


# ------------------------------------------------------------ 7: nothing is lost


def check_answers(sight: Sight, memory: Memory) -> Found:
    """Every workload is placed or says why not."""
    if not sight.is_whole:
        return
    for key, one in sight.workloads.items():
        what, status = key[1], one.get("status") or {}
        is_answered = status.get("observedGeneration") == one["metadata"]["generation"]
        is_told = bool(staying(one)) or _says_why(status)
        if (is_answered and is_told) or _is_deleting(one):
            memory.since.pop((7, what), None)
        elif min(memory.lasts(7, what, sight.now), _led(sight)) > NAMED_SECONDS:
            yield 7, what, f"no answer to generation {one['metadata']['generation']}"


def _says_why(status: Raw) -> bool:
    if status.get("phase") not in _PHASES:
        return False
    told = [one.get("message") or one.get("reason") for one in status.get("conditions") or ()]
    return status["phase"] == "Completed" or bool(status.get("reason") or any(told))


# ------------------------------------------------------------ 8, 15: withdrawal


def check_withdrawals(sight: Sight, memory: Memory) -> Found:
    """What runs is withdrawn only after its replacement runs, or by a word that says so."""
    for one in sight.lowered:
        workload = sight.workloads.get(key_in(one.order))
        if workload is None or _is_deleting(workload) or not _is_incarnation(one.order, workload):
            continue
        if _may_be_withdrawn(one, workload, sight, memory):
            continue
        elsewhere = _running_elsewhere(one, sight, memory)
        if elsewhere + one.left < wanted(workload):
            why = f"{elsewhere} run elsewhere and {one.left} stay, of {wanted(workload)}"
            yield 8, f"{workload['metadata']['name']} at {one.site}", why
    _note_running(sight, memory)


def _may_be_withdrawn(one: Lowered, workload: Raw, sight: Sight, memory: Memory) -> bool:
    key = key_of(workload)
    is_scaled = one.at - memory.scaled_down_at.get(key, -1e9) < _SPEC_SECONDS
    is_judged = bool(broken_rule(workload, one.site, sight)) or (
        sight.now - memory.judged_at.get(one.site, -1e9) < _SPEC_SECONDS
    )
    return is_scaled or is_judged or is_whole_set(workload)


def _running_elsewhere(one: Lowered, sight: Sight, memory: Memory) -> int:
    """Pods of the workload that other sites run, or ran a moment ago."""
    found: dict[str, int] = {}
    for site, (at, count) in memory.ran.get(key_in(one.order), {}).items():
        if sight.now - at < _RUNNING_BEFORE_SECONDS:
            found[site] = count
    for name, site_seen in sight.sites.items():
        pods = site_seen.orders.get(one.order)
        if pods is not None:
            found[name] = max(found.get(name, 0), pods.ready)
    found.pop(one.site, None)
    return sum(found.values())


def _note_running(sight: Sight, memory: Memory) -> None:
    if not (sight.is_whole or sight.lowered):
        return
    for name, site in sight.sites.items():
        for order, pods in site.orders.items():
            if pods.ready:
                memory.ran.setdefault(key_in(order), {})[name] = (sight.now, pods.ready)


def check_removed(sight: Sight, _memory: Memory) -> Found:
    """Withdrawn means seen gone at the site: a workload goes after its pods."""
    for gone in sight.removed:
        for name, site in sight.sites.items():
            for order, pods in site.orders.items():
                same = key_in(order) == key_of(gone) and _is_incarnation(order, gone)
                if same and pods.bound and site.is_linked:
                    yield 15, f"{_name(gone)} at {name}", f"{pods.bound} pods still run"


def _is_incarnation(order: str, workload: Raw) -> bool:
    known = (workload.get("status") or {}).get("incarnation")
    return known is None or order.rsplit("/", 1)[1] == known


# ------------------------------------------------------------ 9: numbered pods


def check_singletons(sight: Sight, _memory: Memory) -> Found:
    """Numbered pods never run at two sites."""
    if not sight.is_whole:
        return
    seen: dict[str, str] = {}
    for name, site in sight.sites.items():
        for order, pods in site.orders.items():
            workload = sight.workloads.get(key_in(order))
            if not pods.bound or workload is None or not is_whole_set(workload):
                continue
            if order in seen:
                yield 9, f"{_name(workload)}", f"runs at {seen[order]} and at {name}"
            seen[order] = name


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
                sight.now - memory.spec_changed_at.get(key_of(write.after), -1e9) < _SPEC_SECONDS
            )
            if now.get(site, 0) < before[site] and not is_judged and not _is_deleting(write.after):
                yield 10, f"{_name(write.after)} at {site}", f"{len(silent)} sites are silent"


# ------------------------------------------------------------ 12, 13: coming to rest


def check_rest(sight: Sight, memory: Memory) -> Found:
    """After a while without events, the sites run what the hub says, and nothing else."""
    yield from _check_ended(sight, memory)
    if not sight.is_calm:
        return
    placed, running = _placed(sight), _running(sight)
    for (key, name), pods in running.items():
        stand = placed.get((key, name), 0)
        if not pods.is_ended and pods.wanted != stand:
            yield 12, f"{key[1]} at {name}", f"{pods.wanted} run, {stand} stand in the hub"
    for (key, name), count in placed.items():
        phase = (sight.workloads[key].get("status") or {}).get("phase")
        if (key, name) not in running and count and phase != "Completed":
            yield 12, f"{key[1]} at {name}", f"{count} stand in the hub, none run"


def _placed(sight: Sight) -> dict[tuple[Key, str], int]:
    """Replicas of each workload at each site, as the hub has them."""
    placed: dict[tuple[Key, str], int] = {}
    for key, one in sight.workloads.items():
        for counts in (staying(one), leaving(one)):
            for site, count in counts.items():
                placed[key, site] = placed.get((key, site), 0) + count
    return placed


def _running(sight: Sight) -> dict[tuple[Key, str], PodsSeen]:
    """What really runs of each workload at each site."""
    return {
        (key_in(order), name): pods
        for name, site in sight.sites.items()
        for order, pods in site.orders.items()
    }


def _check_ended(sight: Sight, memory: Memory) -> Found:
    """A job of which the hub knows that it ran to its end never runs again."""
    for site_name, order in sight.ended:
        known_at = memory.completed_at.get(key_in(order), sight.now)
        if sight.now - known_at > _JOB_SECONDS:
            yield (
                12,
                f"job {order}",
                f"ran again at {site_name}, {sight.now - known_at:.0f} s later",
            )


def check_loops(sight: Sight, _memory: Memory) -> Found:
    """Nothing that arrives ends a loop, or is a fault at an edge."""
    if not sight.is_alive:
        yield 13, "a scheduler", "its loops have ended"
    for where, count in sight.faults.items():
        yield 13, f"edge {where}", f"{count} faults were caught"


# ------------------------------------------------------------ reading


def _is_current(one: Raw) -> bool:
    return bool(
        (one.get("status") or {}).get("observedGeneration") == one["metadata"]["generation"]
    )


def _is_deleting(one: Raw) -> bool:
    return "deletionTimestamp" in one["metadata"]


def _name(one: Raw) -> str:
    return str(one["metadata"]["name"])


def _led(sight: Sight) -> float:
    return 0.0 if sight.leading_since is None else sight.now - sight.leading_since


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
