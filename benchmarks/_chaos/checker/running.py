"""The checker's part about what really runs: withdrawal, numbered pods, rest.

Promises 8, 9, 12 and 15.
"""

from benchmarks._chaos.checker.memory import SPEC_SECONDS, Found, Key, Memory, is_deleting, name_of
from benchmarks._chaos.checker.placements import broken_rule
from benchmarks._chaos.checker.sight import (
    Lowered,
    PodsSeen,
    Raw,
    Sight,
    is_whole_set,
    key_in,
    key_of,
    leaving,
    staying,
    wanted,
)

_RUNNING_BEFORE_SECONDS = 300.0
_JOB_SECONDS = 60.0
"""A job that ends so soon after the hub knew of its end had begun before."""


# ------------------------------------------------------------ 8, 15: withdrawal


def check_withdrawals(sight: Sight, memory: Memory) -> Found:
    """What runs is withdrawn only after its replacement runs, or by a word that says so."""
    _forget_left(sight, memory)
    for one in sight.lowered:
        workload = sight.workloads.get(key_in(one.order))
        if workload is None or is_deleting(workload) or not _is_incarnation(one.order, workload):
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
    is_scaled = one.at - memory.scaled_down_at.get(key, -1e9) < SPEC_SECONDS
    is_judged = bool(broken_rule(workload, one.site, sight)) or (
        sight.now - memory.judged_at.get(one.site, -1e9) < SPEC_SECONDS
    )
    return is_scaled or is_judged or is_whole_set(workload)


def _running_elsewhere(one: Lowered, sight: Sight, memory: Memory) -> int:
    """Pods of the workload that other sites run, or ran.

    A withdrawal replaces what its own site ran. Pods that another site has lost, where they still
    stand in the hub, are missing with and without it.
    """
    key = key_in(one.order)
    stays = staying(sight.workloads[key])
    stood = memory.stood.get(key, {})
    found = {site: min(count, stays[site]) for site, count in stood.items() if site in stays}
    for site, (at, count) in memory.ran.get(key_in(one.order), {}).items():
        if sight.now - at < _RUNNING_BEFORE_SECONDS:
            found[site] = max(found.get(site, 0), count)
    for name, site_seen in sight.sites.items():
        pods = site_seen.orders.get(one.order)
        if pods is not None:
            found[name] = max(found.get(name, 0), pods.ready)
    found.pop(one.site, None)
    return sum(found.values())


def _forget_left(sight: Sight, memory: Memory) -> None:
    """Replicas that come to a site again have to run there again."""
    for write in sight.writes:
        stood, stays = memory.stood.get(key_of(write.after)), staying(write.after)
        for site in (stood or {}).keys() - stays.keys():
            (stood or {}).pop(site)


def _note_running(sight: Sight, memory: Memory) -> None:
    if not (sight.is_whole or sight.lowered):
        return
    for name, site in sight.sites.items():
        for order, pods in site.orders.items():
            if pods.ready:
                key = key_in(order)
                memory.ran.setdefault(key, {})[name] = (sight.now, pods.ready)
                stays = staying(sight.workloads[key]) if key in sight.workloads else {}
                if name in stays:
                    memory.stood.setdefault(key, {})[name] = pods.ready


def check_removed(sight: Sight, _memory: Memory) -> Found:
    """Withdrawn means seen gone at the site: a workload goes after its pods."""
    for gone in sight.removed:
        for name, site in sight.sites.items():
            for order, pods in site.orders.items():
                same = key_in(order) == key_of(gone) and _is_incarnation(order, gone)
                if same and pods.bound and site.is_linked:
                    yield 15, f"{name_of(gone)} at {name}", f"{pods.bound} pods still run"


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
                yield 9, f"{name_of(workload)}", f"runs at {seen[order]} and at {name}"
            seen[order] = name


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
