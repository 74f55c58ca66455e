"""Sites, grants and workloads for tests of decisions, in as few words as possible."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from scheduler.model.decode import decode_as
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted, PlacedReplicas
from scheduler.model.demand.facts import InFlight, SiteFacts, site_facts_of
from scheduler.model.kinds.kinds import API_VERSION, Site, SiteGrant, Workload
from scheduler.model.kinds.site import IntensityForecast
from scheduler.placement.fleet.fleet import Fleet

NOW = datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
OBSERVED = "2026-11-23T08:00:00Z"

Raw = dict[str, Any]


def nodes(count: int, **free: object) -> Raw:
    """Equal amd64 nodes: `nodes(4, cpu="8", memory="32Gi")`."""
    row = {"count": count, "cpu": "1", "memory": "2Gi", "pods": 110, **free}
    return {"architecture": "amd64", "free": [row]}


def site(
    name: str, *classes: Raw, spec: Raw | None = None, labels: Raw | None = None, **status: object
) -> Raw:
    """A site whose last report is one minute old."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Site",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec or {},
        "status": {"observedAt": OBSERVED, "nodeClasses": list(classes), **status},
    }


def site_with_capacity(
    name: str, replicas: int, spec: Raw | None = None, labels: Raw | None = None
) -> Raw:
    """A site with capacity for this many replicas of `workload()`."""
    return site(name, nodes(replicas), spec=spec, labels=labels)


def grant(*sites: str, name: str = "granted", **spec: object) -> Raw:
    """A grant that allows general-3, level 3, public network, in Guangdong."""
    allowed = {
        "dataClass": "general-3",
        "protectionLevel": 3,
        "networkZones": ["public-network"],
        "jurisdiction": "CN-GD",
        **spec,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "SiteGrant",
        "metadata": {"name": name},
        "spec": {"sites": list(sites), **allowed},
    }


def workload(
    replicas: int = 1,
    *,
    name: str = "app",
    placed: dict[str, int] | None = None,
    requests: Raw | None = None,
    placement: Raw | None = None,
    demand: Raw | None = None,
    labels: Raw | None = None,
    **spec: object,
) -> Raw:
    """A general-2 workload of one core and one GiB a replica."""
    asked = {"replicas": replicas, "requests": requests or {"cpu": "1", "memory": "1Gi"}}
    groups = [{"sites": [site], "replicas": count} for site, count in (placed or {}).items()]
    return {
        "apiVersion": API_VERSION,
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "ns", "labels": labels or {}},
        "spec": {
            "dataClass": "general-2",
            "demand": {**asked, **(demand or {})},
            "placement": placement or {},
            **spec,
        },
        "status": {"placement": {"groups": groups}},
    }


def tenant_of_ns(*namespaces: str, name: str = "ns", **spec: object) -> Raw:
    """A tenant without limits, of the namespace of `workload()` or of others."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"namespaces": list(namespaces or ("ns",)), **spec},
    }


def facts_of(
    raw: Raw,
    *grants: Raw,
    in_flight: tuple[InFlight, ...] = (),
    last_forecast: IntensityForecast | None = None,
) -> SiteFacts:
    """Facts of a site as a decision sees them."""
    return site_facts_of(
        decode_as(raw, Site),
        [decode_as(each, SiteGrant) for each in grants],
        in_flight=in_flight,
        last_forecast=last_forecast,
    )


def fleet_of(*sites: Raw, grants: tuple[Raw, ...] | None = None) -> Fleet:
    """A fleet; without `grants` every site has that of `grant()`."""
    usual = (grant(*(each["metadata"]["name"] for each in sites)),)
    return Fleet(facts_of(each, *(usual if grants is None else grants)) for each in sites)


def demand_or_refusal(raw: Raw, **context: Any) -> Demand | NotAccepted:  # noqa: ANN401 - demand_of's
    """The demand of a workload, or why it is not accepted."""
    return demand_of(decode_as(raw, Workload), **context)


def demand(raw: Raw, **context: Any) -> Demand:  # noqa: ANN401 - what demand_of takes
    """The demand of a workload that is accepted."""
    found = demand_or_refusal(raw, **context)
    assert isinstance(found, Demand), found
    return found


def with_status(facts: SiteFacts, **status: Any) -> SiteFacts:  # noqa: ANN401 - fields
    """The same site with other figures in its status."""
    return msgspec.structs.replace(facts, status=msgspec.structs.replace(facts.status, **status))


def with_placement(demand: Demand, placed: tuple[PlacedReplicas, ...]) -> Demand:
    """The same demand, with another placement."""
    return msgspec.structs.replace(demand, placed=placed)
