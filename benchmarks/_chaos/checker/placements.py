"""The checker's part about placements: hard rules, sums, spread, capacity and age.

Promises 1, 2, 3, 4 and 16.
"""

import json

from benchmarks._chaos.checker.drains import closed_because
from benchmarks._chaos.checker.memory import (
    GRACE_SECONDS,
    NAMED_SECONDS,
    STALE_SECONDS,
    Found,
    Key,
    Memory,
    is_current,
    is_deleting,
    led,
    name_of,
)
from benchmarks._chaos.checker.sight import (
    Raw,
    Sight,
    condition,
    cores_of,
    key_of,
    leaving,
    staying,
    wanted,
)

_CLASSES = ("general-1", "general-2", "general-3", "general-4", "important", "core")


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
    grants = sight.grants_of(site)
    if not grants:
        return "it has no grant"
    body = grants[0]["spec"]
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
        if not is_current(write.after):
            continue
        before = staying(write.before)
        for site, count in staying(write.after).items():
            if count <= before.get(site, 0) or _has_changed(site, sight, memory):
                continue
            why = broken_rule(write.after, site, sight)
            closed = closed_because(sight.site_objects.get(site), sight.wall)
            if why or (closed and not before.get(site) and not leaving(write.before).get(site)):
                yield 1, f"{name_of(write.after)} at {site}", why or closed
    if sight.is_whole:
        for key, one in sight.workloads.items():
            yield from _standing(key, one, sight, memory)


def _standing(key: Key, one: Raw, sight: Sight, memory: Memory) -> Found:
    for site in staying(one):
        what = f"{key[1]} stays at {site}"
        why = broken_rule(one, site, sight)
        if not why or is_deleting(one) or _is_named(one, site):
            memory.since.pop((1, what), None)
        elif (
            min(memory.lasts(1, what, sight.now), led(sight)) > NAMED_SECONDS
            and sight.sites[site].is_linked
        ):
            yield 1, what, f"{why}, and no condition says so"


def _is_named(one: Raw, site: str) -> bool:
    """Whether a condition says that what stays at a site breaks a rule."""
    named = condition(one, "Violation") or {}
    rules = condition(one, "RulesMet") or {}
    text = json.dumps((one.get("status") or {}).get("conditions") or ())
    return named.get("status") == "True" or rules.get("status") == "False" or site in text


def _has_changed(site: str, sight: Sight, memory: Memory) -> bool:
    return sight.now - memory.site_changed_at.get(site, -1e9) < GRACE_SECONDS


# ------------------------------------------------------------ 2, 16: the whole placement


def check_sums(sight: Sight, memory: Memory) -> Found:
    """Replicas add up, and a gang is whole or absent."""
    for write in sight.writes:
        total, counts = sum(staying(write.after).values()), memory.counts[key_of(write.after)]
        is_short = 0 < total < max(counts) and _is_short_by_a_rule(write.after)
        if total and total not in counts and not is_short:
            yield 2, name_of(write.after), f"{total} replicas stay, {wanted(write.after)} are asked"


def _is_short_by_a_rule(one: Raw) -> bool:
    """Whether a rule has ended some replicas, nothing has room for them, and the status says so."""
    is_gang = bool((one["spec"].get("placement") or {}).get("gang"))
    return not is_gang and "stay on" in str((one["status"].get("decision") or {}).get("line"))


def check_spread(sight: Sight, _memory: Memory) -> Found:
    """The whole placement meets every required rule, or says which one it does not meet."""
    for write in sight.writes:
        sites = staying(write.after)
        rules = (write.after["spec"].get("placement") or {}).get("spread") or ()
        if not sites or not rules or not is_current(write.after):
            continue
        named = condition(write.after, "RulesMet") or {}
        for rule in rules:
            groups = {
                sight.site_objects[site]["spec"]["location"][rule["by"]]
                for site in sites
                if site in sight.site_objects
            }
            if len(groups) < rule.get("minGroups", 1) and named.get("status") != "False":
                yield 16, name_of(write.after), f"in {len(groups)} of {rule['minGroups']} groups"


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
                if not (_is_gone_from(site, one, sight) or _has_ended_at(site, one, sight))
            )
            if used > _most_cores(site, sight, memory):
                why = f"{used} cores are placed, it has {sight.sites[site].cores}"
                yield 3, f"{site} by {name_of(write.after)}", why
    for gone in sight.removed:
        for uses in memory.used.values():
            uses.pop(key_of(gone), None)


def _is_gone_from(site: str, key: Key, sight: Sight) -> bool:
    """Whether a workload is deleted, or being deleted, and a site has taken all of its pods away.

    Its status names the site until every site, also one that is lost, has done so. It may go before
    the write that is checked, in the same step.
    """
    workload = sight.workloads.get(key)
    if workload is not None and not is_deleting(workload):
        return False
    return not sight.sites[site].pods_of(key)


def _has_ended_at(site: str, key: Key, sight: Sight) -> bool:
    """Whether a site has run all pods of a workload to their end, so that they take nothing.

    The hub may say so later, or not while another site still runs its part of a job.
    """
    own = sight.sites[site].pods_of(key)
    return bool(own) and all(pods.is_ended for pods in own)


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
                yield 4, f"{name_of(write.after)} at {site}", f"its report is {age:.0f} s old"
