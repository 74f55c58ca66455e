"""`ClusterProfile`: a site in the form that other tools know (KEP-4322).

The figures are those that `kubectl get sites` shows, so that one word has one number everywhere. A
figure that is not known, or of a site that is silent, has no property. What an agent does not
report is not made up: the total capacity of the nodes and the version of the cluster are left out.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from math import floor
from typing import Final

from scheduler.control.ports.hub import NAMESPACE, Object
from scheduler.control.standards.names import (
    CLUSTER_MANAGER_LABEL,
    CLUSTER_PROFILES,
    labels_of,
)
from scheduler.model.demand.facts import CLUSTER_UNREACHABLE
from scheduler.model.figures import UNKNOWN
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.fields import DATA_CLASSES, Condition, DataClass
from scheduler.model.kinds.rights import SiteGrant
from scheduler.model.kinds.site import Site
from scheduler.model.quantities import MEMORY, NotAQuantity, free_amounts

HEALTHY: Final = "ControlPlaneHealthy"
"""The predefined condition of a ClusterProfile."""
NODES, FREE_CPU, FREE_MEMORY = "nodes.kapok.dev", "free-cpu.kapok.dev", "free-memory.kapok.dev"
PUE, INTENSITY = "pue.kapok.dev", "intensity-gco2-per-kwh.kapok.dev"
DATA_CLASS: Final = "data-class.kapok.dev"
PROPERTIES: Final = (NODES, FREE_CPU, FREE_MEMORY, PUE, INTENSITY, DATA_CLASS)
"""Named as the ClusterProperty objects of KEP-2149 are: a DNS name that ends in our domain."""
_ABSENT_READY = Condition(type="Ready", status="Unknown", reason="NotReported")


def granted_class(grants: Iterable[SiteGrant], now: datetime) -> DataClass | None:
    """The highest class of data that a grant in force allows; None: no grant is in force."""
    allowed = [
        one.spec.data_class
        for one in grants
        if (one.spec.valid_from is None or one.spec.valid_from <= now)
        and (one.spec.valid_until is None or now < one.spec.valid_until)
    ]
    return max(allowed, key=DATA_CLASSES.index, default=None)


def cluster_profile(site: Site, *, manager: str, data_class: DataClass | None) -> Object:
    """The ClusterProfile of a site, with its status.

    The site's labels are its labels, so that selectors of readers work as those of policies do.

    Args:
        site: the site as the hub holds it.
        manager: names this hub among all cluster managers; the value of a label.
        data_class: the highest class that the site may hold; None: it may hold none.
    """
    return {
        "apiVersion": CLUSTER_PROFILES.api_version,
        "kind": CLUSTER_PROFILES.kind,
        "metadata": {
            "name": site.metadata.name,
            "namespace": NAMESPACE,
            "labels": {**site.metadata.labels, CLUSTER_MANAGER_LABEL: manager},
        },
        "spec": {"displayName": site.metadata.name, "clusterManager": {"name": manager}},
        "status": {
            "conditions": [_healthy_condition(site)],
            "properties": [
                {"name": name, "value": value, **({"lastObservedTime": at} if at else {})}
                for name, value, at in _properties_of(site, data_class)
            ],
        },
    }


def manager_of(body: Object) -> str:
    """The cluster manager that a ClusterProfile of the hub names."""
    spec = body.get("spec") or {}
    return str((spec.get("clusterManager") or {}).get("name", ""))


def profile_content(body: Object) -> Object:
    """What of a ClusterProfile is compared, but its status: ours, or one that the hub has."""
    return {"labels": labels_of(body), "spec": body.get("spec")}


def status_content(body: Object) -> Object:
    """What of its status is compared; fields of other writers are left out."""
    status = body.get("status") or {}
    return {
        "conditions": [one for one in status.get("conditions") or [] if one["type"] == HEALTHY],
        "properties": sorted(
            (one for one in status.get("properties") or [] if one["name"].endswith(".kapok.dev")),
            key=lambda one: str(one["name"]),
        ),
    }


def urgent_content(site: Site, data_class: DataClass | None) -> tuple[object, ...]:
    """What of a site is shown at once when it changes: no figure that moves all the time."""
    ready = _ready_of(site)
    return (
        site.metadata.labels,
        site.spec.energy.pue,
        ready.status,
        ready.reason,
        data_class,
        site.metadata.uid,
    )


def _healthy_condition(site: Site) -> Object:
    """Whether the cluster's API server serves; of a site that is silent that is not known."""
    ready = _ready_of(site)
    status = ready.status
    if status == "False" and ready.reason != CLUSTER_UNREACHABLE:
        status = "Unknown"
    changed = ready.last_transition_time or site.metadata.creation_timestamp
    return {
        "type": HEALTHY,
        "status": status,
        "reason": ready.reason or _ABSENT_READY.reason,
        "message": ready.message,
        # The standard form of a condition requires a time.
        "lastTransitionTime": format_rfc3339(changed) if changed else "1970-01-01T00:00:00Z",
    }


def _ready_of(site: Site) -> Condition:
    found = (one for one in site.status.conditions if one.type == "Ready")
    return next(found, _ABSENT_READY)


def _properties_of(
    site: Site, data_class: DataClass | None
) -> Iterator[tuple[str, str, str | None]]:
    """Name, value and the time of the observation, in the order of `PROPERTIES`.

    What was written and not measured has the time of the last report: so long the site was seen
    while it was declared so.
    """
    status = site.status
    reported = format_rfc3339(status.observed_at) if status.observed_at else None
    if _ready_of(site).status == "True":
        yield from ((name, value, reported) for name, value in _free_figures(site))
    if site.spec.energy.pue is not None:
        yield PUE, f"{site.spec.energy.pue:g}", reported
    if status.current_intensity not in ("", UNKNOWN):
        observed = status.intensity.observed_at if status.intensity else None
        at = format_rfc3339(observed) if observed else reported
        yield INTENSITY, status.current_intensity, at
    if data_class is not None:
        yield DATA_CLASS, data_class, reported


def _free_figures(site: Site) -> Iterator[tuple[str, str]]:
    """Nodes and free capacity; sums over the rows only where no row was left out."""
    status = site.status
    rows = [row for one in status.node_classes for row in one.free]
    is_complete = bool(rows) and not status.truncated
    if is_complete:
        yield NODES, str(sum(int(row.get("count", 1)) for row in rows))
    if status.free_cpu not in ("", UNKNOWN):
        yield FREE_CPU, status.free_cpu
    if is_complete and all(MEMORY in row for row in rows):
        try:
            amounts = free_amounts(MEMORY, [row[MEMORY] for row in rows])
        except NotAQuantity:
            return
        available_ratio = 1.0 - site.spec.headroom.ratio
        free = (
            floor(amount * available_ratio) * int(row.get("count", 1))
            for amount, row in zip(amounts, rows, strict=True)
        )
        yield FREE_MEMORY, str(sum(free))
