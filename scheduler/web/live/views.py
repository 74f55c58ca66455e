"""The document of each view of the page, for one state and for what its reader may see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from scheduler.model.canonical import to_plain_json
from scheduler.model.figures import fleet_totals
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import Workload
from scheduler.model.maintenance import by_start
from scheduler.web.live.attention import attention_items
from scheduler.web.live.document import Document
from scheduler.web.live.fleet_index import FleetIndex, KnownSite
from scheduler.web.live.history import History
from scheduler.web.sessions import Sight
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.views import workload_row

_MAX_SITE_WORKLOADS: Final = 1000
_MAX_NODE_ROWS: Final = 400


@dataclass(frozen=True, slots=True)
class LiveState:
    """What views are made of.

    Attributes:
        snapshot: the state now.
        index: the same, with counts.
        history: the last hour.
    """

    snapshot: StateSnapshot
    index: FleetIndex
    history: History


def render_view(state: LiveState, view: str, name: str, sight: Sight) -> Document:
    """The document of a view.

    Args:
        state: what is shown.
        view: one of `VIEWS`.
        name: the site that it is about; "": it is about none.
        sight: what its reader may see.
    """
    values, tables = VIEWS[view](state, name, sight)
    values = {**_common_values(state, sight), **values}
    return Document({key: msgspec.json.encode(one) for key, one in values.items()}, tables)


Parts = tuple[dict[str, Any], dict[str, Mapping[str, bytes]]]


def _common_values(state: LiveState, sight: Sight) -> dict[str, Any]:
    """What each view shows in its frame, and what says that a question is worth asking again."""
    snapshot = state.snapshot
    return {
        "leading": snapshot.epoch > 0,
        "sight": {
            "all": sight.is_all,
            "sites": sight.has_sites,
            "namespaces": None if sight.namespaces is None else len(sight.namespaces),
        },
        "workloadsVersion": state.index.version,
        "evictions": dict(snapshot.evictions) if snapshot.evictions.get("frozen") else None,
        "held": snapshot.evictions.get("held") or [],
    }


def _overview(state: LiveState, _: str, sight: Sight) -> Parts:
    snapshot, index = state.snapshot, state.index
    phases = index.phase_counts(sight)
    values: dict[str, Any] = {
        "phases": phases,
        "workloads": sum(phases.values()),
        "attention": [one.as_json() for one in attention_items(snapshot, index, sight)],
        "trend": state.history.trend() if sight.is_all else None,
    }
    if sight.has_sites:
        figures = [site.figures for site in index.sites.values()]
        values |= {
            "sites": len(index.sites),
            "reporting": sum(site.is_reporting for site in index.sites.values()),
            **fleet_totals(figures).as_json(),
            "intensity": _mean_intensity(index),
            "oldestReport": _oldest_report(index),
        }
    return values, {}


def _mean_intensity(index: FleetIndex) -> float | None:
    """Grams for each kWh drawn now, over the sites of which power and intensity are known."""
    pairs = [
        (site.figures.watts, site.figures.gco2_per_kwh)
        for site in index.sites.values()
        if site.figures.watts is not None and site.figures.gco2_per_kwh is not None
    ]
    watts = sum(one for one, _ in pairs)
    return sum(one * grams for one, grams in pairs) / watts if watts else None


def _oldest_report(index: FleetIndex) -> Any:  # noqa: ANN401 - JSON
    """When the oldest of the reports that count was made; None: no site reports."""
    ages = (site.facts.observed_at for site in index.sites.values() if site.is_reporting)
    return min((one for one in ages if one is not None), default=None)


def _fleet(state: LiveState, _: str, sight: Sight) -> Parts:
    return {"sites": len(state.index.sites)}, {"sites": state.index.site_rows(sight)}


def _site(state: LiveState, name: str, sight: Sight) -> Parts:
    site = state.index.sites.get(name) if sight.has_sites else None
    if site is None:
        return {"site": None}, {"workloads": {}}
    works = sorted(state.index.workloads_at(name, sight), key=lambda one: one.metadata.key)
    rows = {one.metadata.key: _work_at(state, one, name) for one in works[:_MAX_SITE_WORKLOADS]}
    values = {
        "site": {**site.row, **(site.usage if sight.is_all else {})},
        "detail": _detail(site, sight, state.snapshot.losses.get(name)),
        "history": state.history.of_site(name),
        "health": state.history.health_of_site(name),
        "workloads": len(works),
    }
    return values, {"workloads": rows}


def _work_at(state: LiveState, workload: Workload, site: str) -> bytes:
    meta = workload.metadata
    reasons = state.snapshot.reasons_by_workload.get((meta.namespace, meta.name), {})
    row = workload_row(workload, reasons)
    here = [one for one in row["sites"] if one["name"] == site]
    kept = ("namespace", "name", "phase", "dataClass", "readiness", "reason", "line")
    return msgspec.json.encode(
        {key: row[key] for key in kept if key in row}
        | {"here": here, "elsewhere": len(row["sites"]) - len(here)}
    )


def _detail(site: KnownSite, sight: Sight, loss: Condition | None) -> dict[str, Any]:
    """The rest of what is known of a site; a loss names workloads, so not all may see it."""
    facts, more = site.facts, (loss,) if loss is not None and sight.is_all else ()
    spec, status = facts.spec, facts.status
    return {
        "location": to_plain_json(spec.location),
        "energy": to_plain_json(spec.energy),
        "prices": to_plain_json(spec.prices),
        "taints": [to_plain_json(one) for one in spec.taints],
        "headroom": spec.headroom.ratio,
        "maintenance": [to_plain_json(one) for one in by_start(spec.maintenance)],
        "delivery": spec.delivery.mode,
        "agentVersion": status.agent_version,
        "power": to_plain_json(status.power) if status.power else None,
        "intensity": to_plain_json(status.intensity) if status.intensity else None,
        "conditions": [to_plain_json(one) for one in (*status.conditions, *more)],
        "grants": _grants(site, sight) if sight.has_grants else None,
        "nodes": _node_rows(site),
        "truncated": status.truncated,
        "rtt": [to_plain_json(one) for one in status.rtt],
        "p90": dict(facts.p90),
    }


def _grants(site: KnownSite, sight: Sight) -> list[dict[str, Any]]:
    return [_grant(one.name, to_plain_json(one.spec), sight) for one in site.facts.grants]


def _grant(name: str, spec: Any, sight: Sight) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A grant, without its list of workloads unless the reader may see all of them."""
    hidden = {"sites"} if sight.is_all else {"sites", "allowList"}
    return {"name": name, **{key: value for key, value in spec.items() if key not in hidden}}


def _node_rows(site: KnownSite) -> list[dict[str, Any]]:
    """The free vectors of equal nodes, class by class."""
    rows = (
        {
            "platform": one.platform,
            "cpuVendor": one.cpu_vendor,
            "gpuModel": one.gpu_model,
            "labels": dict(one.labels),
            "taints": [to_plain_json(taint) for taint in one.taints],
            "free": to_plain_json(free),
        }
        for one in site.facts.status.node_classes
        for free in one.free
    )
    return [row for row, _ in zip(rows, range(_MAX_NODE_ROWS), strict=False)]


VIEWS: Final[Mapping[str, Callable[[LiveState, str, Sight], Parts]]] = {
    "overview": _overview,
    "fleet": _fleet,
    "site": _site,
}
"""The views that a stream may be of."""
