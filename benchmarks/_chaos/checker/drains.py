"""The checker's part about drained sites and maintenance: what must leave, and how many at once."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from benchmarks._chaos.checker.sight import Raw, Sight, condition, key_of, leaving, staying

if TYPE_CHECKING:
    from benchmarks._chaos.checker.memory import Memory

_NAMED_SECONDS = 240.0
"""After so long under one leader, what stays at a drained site has a reason in its status."""
_HEARD_SECONDS = 30.0

Found = Iterator[tuple[int, str, str]]


def is_drained(site: Raw | None) -> bool:
    """Whether an operator empties a site."""
    return bool(site) and "drain" in (site or {})["spec"]


def without_operations(site: Raw | None, grants: Mapping[str, Raw], name: str) -> str:
    """What decides where work may be, as text: a drain or a cordon ends nothing by itself."""
    spec = {
        key: value
        for key, value in (site or {"spec": {}})["spec"].items()
        if key not in ("cordon", "drain", "maintenance")
    }
    rights = [one["spec"] for _, one in sorted(grants.items()) if name in one["spec"]["sites"]]
    return json.dumps([site is None, spec, rights], sort_keys=True)


def closed_because(site: Raw | None, wall: datetime | None) -> str:
    """Why a site gets no new work by an operator's word; "" if it does.

    Args:
        site: the Site.
        wall: the time of the scheduler; None: not known, so maintenance is not checked.
    """
    spec = (site or {"spec": {}})["spec"]
    if spec.get("cordon"):
        return "it is cordoned"
    if spec.get("drain") is not None:
        return "it is drained"
    for window in (spec.get("maintenance") or ()) if wall else ():
        begins, ends = (_instant(window[name]) for name in ("from", "until"))
        if wall and begins <= wall < ends:
            return "it is maintained"
    return ""


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def most_away(workload: Raw) -> int | None:
    """How many replicas its budget lets be away; None: it has none."""
    for manifest in workload["spec"].get("manifests") or ():
        if manifest.get("kind") == "PodDisruptionBudget":
            return int(manifest["spec"]["maxUnavailable"])
    return None


def check_drains(sight: Sight, memory: "Memory") -> Found:
    """Drains keep budgets, and what they cannot move says why."""
    yield from _check_budgets(sight)
    if sight.is_whole:
        for (_, name), one in sight.workloads.items():
            for site in staying(one):
                yield from _check_is_told(name, one, site, sight, memory)


def _check_budgets(sight: Sight) -> Found:
    for write in sight.writes:
        allowed, after = most_away(write.after), leaving(write.after)
        if allowed is None or not after:
            continue
        before = leaving(write.before)
        grown = sum(after.values()) > sum(before.values())
        by_drain = all(is_drained(sight.site_objects.get(site)) for site in after)
        are_heard = all(
            sight.now - sight.sites[site].heard_at < _HEARD_SECONDS
            for site in {*after, *staying(write.before)}
            if site in sight.sites
        )
        if grown and by_drain and are_heard and sum(after.values()) > max(allowed, 0):
            name = key_of(write.after)[1]
            yield 8, name, f"{sum(after.values())} leave at once, its budget allows {allowed}"


def _check_is_told(name: str, one: Raw, site: str, sight: Sight, memory: "Memory") -> Found:
    what = f"{name} at {site}, which is drained"
    status = one.get("status") or {}
    told = condition(one, "Drained") or {}
    is_fine = (
        not is_drained(sight.site_objects.get(site))
        or "deletionTimestamp" in one["metadata"]
        or status.get("phase") == "Completed"
        or bool(leaving(one))
        or site in str(told.get("message"))
        or site not in sight.sites
        or sight.now - sight.sites[site].heard_at > _HEARD_SECONDS
    )
    led = 0.0 if sight.leading_since is None else sight.now - sight.leading_since
    if is_fine:
        memory.since.pop((7, what), None)
    elif min(memory.lasts(7, what, sight.now), led) > _NAMED_SECONDS:
        yield 7, what, "it neither leaves nor says why"
