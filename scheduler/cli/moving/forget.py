"""`kapok site forget`: deletes a Site that is gone for good, and says what it leaves behind.

Unlike a drain it waits for nothing at the site: nothing there can be confirmed any more. The word
is written first, the scheduler records it in the ledger, and then the Site is deleted.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.cli.moving.at_site import (
    read_whole_workload,
    read_workload,
    staying_replicas,
    with_slices,
    workloads_at,
)
from scheduler.cli.moving.moves import moves_between, who_asks
from scheduler.cli.support.offline_input import decide_one, fleet_of, follow, input_of_objects
from scheduler.control.failover.forget import CONDITION, FORGET_ANNOTATION, ForgetWord, all_left
from scheduler.control.ports.hub import (
    GRANTS,
    KAPOK_RESOURCES,
    SITES,
    NotFound,
    Object,
)
from scheduler.hub.client import HubClient
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import SystemClock

_POLL_SECONDS = 0.3
_DEFAULT_TIMEOUT_SECONDS = 30.0
_STILL_REPORTS = "{name} reports: empty it with kapok site drain {name}, or use --force"

Answer = dict[str, Any]


async def forget_site(
    client: HubClient,
    name: str,
    *,
    is_forced: bool,
    is_dry_run: bool,
    timeout_seconds: float | None,
) -> Answer:
    """Forgets a site, or says what that would do.

    Args:
        client: of the hub.
        name: the site.
        is_forced: also a site that reports, with what runs there.
        is_dry_run: writes nothing.
        timeout_seconds: so long may the record take, and then the moves; None: 30 s.

    Returns:
        The answer of `kapok site`, and `left`: what is left behind at the site, by workload;
        `grants`: the SiteGrants that name it, which stay.

    Raises:
        HubError: the hub refused, or could not do it.
        NotFound: there is no such site.
    """
    site = await client.get(SITES, name)
    objects = [one for kind in KAPOK_RESOURCES for one in (await client.list(kind)).items]
    objects = await with_slices(client, objects)
    workloads = [one for one in map(read_workload, objects) if one is not None]
    answer = {
        "site": name,
        "done": False,
        "moves": [],
        "stuck": [],
        "left": all_left(workloads, name),
        "grants": _grants_of(objects, name),
    }
    before = workloads_at(objects, name)
    if before and _is_reporting(site) and not is_forced:
        reason = _STILL_REPORTS.format(name=name)
        return {**answer, "stuck": [{"workload": key, "reason": reason} for key in sorted(before)]}
    if is_dry_run:
        moves, stuck = preview_forget(objects, name, now=SystemClock().now())
        return {**answer, "done": True, "moves": moves, "stuck": stuck}
    limit = _DEFAULT_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
    if not await _is_recorded(client, site, limit):
        reason = (
            f"no scheduler has recorded it within {limit:g} s, so the Site stands, cordoned; "
            "run the command again when one leads (kapok get sites)"
        )
        keys = sorted(before) or [name]
        return {**answer, "stuck": [{"workload": key, "reason": reason} for key in keys]}
    await client.delete(SITES, name)
    moves, stuck = await _moved(client, before, name, limit)
    return {**answer, "done": True, "moves": moves, "stuck": stuck}


def format_left(answer: Mapping[str, Any]) -> list[str]:
    """What is left behind, a line each, as text for people."""
    lines = []
    for one in answer["left"]:
        pods = _format_named("pods", one["pods"], one["morePods"])
        claims = _format_named("claims", one["claims"], one["moreClaims"])
        lines.append(f"{one['workload']}: leaves {one['replicas']} replicas{pods}{claims}")
    if answer["grants"]:
        names = ", ".join(answer["grants"])
        lines.append(f"grants that name {answer['site']} stay, the authority's to change: {names}")
    return lines


def _format_named(what: str, names: list[str], more: int) -> str:
    if not names:
        return ""
    return f", {what} {', '.join(names)}" + (f" and {more} more" if more else "")


def preview_forget(
    objects: list[Object], name: str, *, now: datetime
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What would go where once a site is forgotten, by the engine; and what would not fit.

    Args:
        objects: all objects of the hub.
        name: the site.
        now: the time of the decisions.
    """
    inputs = input_of_objects(objects)
    inputs.sites[:] = [one for one in inputs.sites if one.metadata.name != name]
    fleet, there = fleet_of(inputs), workloads_at(objects, name)
    moves: list[dict[str, Any]] = []
    stuck: list[dict[str, Any]] = []
    by_priority = sorted(there, key=lambda key: (-there[key].spec.priority, key))
    for key in by_priority:
        workload = next(one for one in inputs.workloads if one.metadata.key == key)
        before = staying_replicas(workload)
        if workload.metadata.deletion_timestamp is not None or not before.get(name):
            continue
        found = decide_one(inputs, fleet, workload, now=now)
        if found.decision is None:
            stuck.append({"workload": key, "reason": getattr(found.demand, "message", "")})
            continue
        after = {one.site: one.replicas for one in found.decision.assignment}
        moves += moves_between(key, before, after, [name])
        if found.decision.phase != "Placed":
            stuck.append({"workload": key, "reason": found.decision.line})
        follow(inputs, fleet, found)
    return moves, stuck


def _grants_of(objects: list[Object], name: str) -> list[str]:
    return sorted(
        str(one["metadata"]["name"])
        for one in objects
        if one.get("kind") == GRANTS.kind and name in ((one.get("spec") or {}).get("sites") or [])
    )


def _is_reporting(site: Object) -> bool:
    """Whether it may report: its work is not dropped before its status says that it does not."""
    return _condition(site, "Ready").get("status") != "False"


def _condition(one: Object, kind: str) -> Object:
    conditions = (one.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == kind), {})


async def _is_recorded(client: HubClient, site: Object, limit_seconds: float) -> bool:
    """Writes the word, and waits until the scheduler says that it is in the ledger."""
    name, clock = site["metadata"]["name"], SystemClock()
    word = ForgetWord(uuid.uuid4().hex, await who_asks(client))
    patch = {
        # Another edit meanwhile is a conflict: what it says may be a reason not to go on.
        "metadata": {
            "resourceVersion": site["metadata"]["resourceVersion"],
            "annotations": {FORGET_ANNOTATION: word.to_text()},
        },
        "spec": {"cordon": True},
    }
    await client.merge_patch(SITES, name, patch)
    until = clock.monotonic() + limit_seconds
    while True:
        found = _condition(await client.get(SITES, name), CONDITION)
        if str(found.get("message", "")).startswith(f"{word.id}:"):
            return True
        if clock.monotonic() >= until:
            return False
        await clock.sleep(_POLL_SECONDS)


async def _moved(
    client: HubClient, before: Mapping[str, Workload], name: str, limit_seconds: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What has moved since, and what still names the site or has no place, when it is settled."""
    clock = SystemClock()
    until = clock.monotonic() + limit_seconds
    while True:
        now = {key: await _read_again(client, key) for key in before}
        still = [key for key, one in now.items() if one is not None and _names_site(one, name)]
        if not still or clock.monotonic() >= until:
            break
        await clock.sleep(_POLL_SECONDS)
    moves: list[dict[str, Any]] = []
    stuck = [{"workload": key, "reason": f"its status still names {name}"} for key in still]
    for key, workload in sorted(now.items()):
        if workload is None or key in still:
            continue
        old, new = staying_replicas(before[key]), staying_replicas(workload)
        moves += moves_between(key, old, new, [name])
        if sum(new.values()) < sum(old.values()) and not workload.metadata.deletion_timestamp:
            reference = workload.status.decision
            line = reference.line if reference else workload.status.reason
            stuck.append({"workload": key, "reason": line})
    return moves, sorted(stuck, key=lambda one: one["workload"])


def _names_site(workload: Workload, name: str) -> bool:
    groups = workload.status.placement.groups
    return any(name in one.sites for one in groups)


async def _read_again(client: HubClient, key: str) -> Workload | None:
    namespace, _, name = key.partition("/")
    try:
        return read_workload(await read_whole_workload(client, name, namespace))
    except NotFound:
        return None
