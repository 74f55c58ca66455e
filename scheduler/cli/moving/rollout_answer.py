"""What `kapok rollout` answers: how far a rollout is, group by group."""

from collections.abc import Mapping
from typing import Any

from scheduler.control.ports.hub import Object
from scheduler.control.status.migration import shares_in
from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.rollout import RolloutStatus
from scheduler.model.kinds.site import Site, labels_of_site
from scheduler.model.kinds.workload import Workload
from scheduler.placement.rollout.groups import Layout, lay_out, name_of


def rollout_answer(workload: Workload, sites: Mapping[str, Object] | None) -> dict[str, Any]:
    """The JSON of `kapok rollout`.

    Args:
        workload: as the hub has it.
        sites: the Sites by name, for the members of groups; None: they may not be read.
    """
    known = workload.status.rollout or RolloutStatus()
    shares = {
        site: one
        for site, one in shares_in(workload.status.placement.groups).items()
        if one.replicas
    }
    updated = {site for site, one in shares.items() if not one.is_former}
    rules = workload.spec.rollout
    groups: list[dict[str, Any]] = []
    if rules is not None:
        layout = None
        if sites is not None:
            layout = lay_out(
                rules.groups, {one: _labels(sites.get(one)) for one in shares}, updated
            )
        count = max(known.groups, len(layout.names) if layout else 0)
        groups = [
            {"name": name_of(rules.groups, index), "state": _state(known, index)}
            | _members(layout, index, updated)
            for index in range(count)
        ]
    return {
        "workload": workload.metadata.key,
        "phase": known.phase or "",
        "group": known.group,
        "released": known.released,
        "groups": groups,
        "updatedSites": len(updated) if known.phase else 0,
        "totalSites": len(shares),
        "former": sorted(shares.keys() - updated),
        "since": format_rfc3339(known.since) if known.since else None,
        "readySince": format_rfc3339(known.ready_since) if known.ready_since else None,
        "because": known.because,
        "waitsFor": known.waits_for if known.phase == "Progressing" else "",
        "generation": known.generation,
    }


def _state(known: RolloutStatus, index: int) -> str:
    if known.phase == "Complete":
        return "done"
    if known.phase == "RolledBack" or index >= known.released:
        return "former content"
    return "done" if index + 1 < known.released else "in progress"


def _members(layout: Layout | None, index: int, updated: set[str]) -> dict[str, Any]:
    if layout is None:
        return {"sites": None, "updated": None}
    sites = layout.sites_of(index)
    return {"sites": sites, "updated": sum(site in updated for site in sites)}


def _labels(body: Object | None) -> dict[str, str]:
    if body is None:
        return {}
    try:
        site = decode_as(body, Site, allow_unknown=True)
    except NotReadable:
        return {}
    return labels_of_site(site.metadata.name, site.metadata.labels, site.spec)
