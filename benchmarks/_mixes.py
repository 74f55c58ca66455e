"""Demands as people write them, one mix for each feature: no two demands of a mix are alike.

`plain` is the demand of `_city.py`. The other mixes ask more of nodes, of sites or of both, on the
same sites with the labels and taints that real nodes have (`with_real_nodes`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from msgspec.structs import replace

from benchmarks._city import demands
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import LabelSelector, Requirement, Taint, Toleration
from scheduler.model.kinds.policy import LatencyBound, SiteGroup, Spread
from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import (
    HOSTNAME_LABEL,
    NodeRequirement,
    PodShape,
    TopologySpreadConstraint,
    shape_of_template,
)
from tests.support.charts import chart_names, objects_of

_ZONE_LABEL = "topology.kubernetes.io/zone"
_TYPE_LABEL = "node.kubernetes.io/instance-type"
_GENERATION_LABEL = "example.com/generation"
_POOL_LABEL = "example.com/pool"
_TEAM_TAINT = "example.com/team"
_POOLS = ("general", "batch", "gpu", "db")
_TEAMS = ("red", "green", "blue")
_HUBS = ("hub-0", "hub-1", "hub-2")
_TIERS = ("edge", "regional", "central")


def with_real_nodes(facts: SiteFacts, random: Random) -> SiteFacts:
    """The same site; its nodes have zones of their own, types, pools, and some have taints."""
    classes = tuple(
        _with_labels(each, facts.name, random.choice("abc"), random)
        for each in facts.status.node_classes
    )
    return replace(facts, status=replace(facts.status, node_classes=classes))


def _with_labels(nodes: NodeClass, site: str, zone: str, random: Random) -> NodeClass:
    labels = {
        **nodes.labels,
        _ZONE_LABEL: f"{site}-{zone}",
        _TYPE_LABEL: f"{nodes.cpu_vendor}-{nodes.labels['cores']}",
        _GENERATION_LABEL: str(random.randrange(1, 9)),
        _POOL_LABEL: random.choice(_POOLS),
    }
    taints = (
        (Taint(key=_TEAM_TAINT, value=random.choice(_TEAMS)),) if random.randrange(3) == 0 else ()
    )
    return replace(nodes, labels=labels, taints=taints)


Change = Callable[[Demand, int, Random], Demand]
"""Gives a demand what its mix asks besides; also takes the number of the demand."""


def mixed_demands(mix: str, shapes: list[PodShape], count: int, random: Random) -> Iterator[Demand]:
    """The demands of one mix.

    Args:
        mix: one of `MIXES`.
        shapes: the requests of the pods of the public trace.
        count: how many.
        random: seeded.
    """
    plain = demands(shapes, count, random)
    if mix == "plain":
        yield from plain
        return
    changes = MIXES[mix]
    templates = _chart_shapes() if mix == "charts" else ()
    for number, demand in enumerate(plain):
        # What a mix measures is its own: the plain demands have some of it, and all alike.
        varied = with_own_requests(replace(demand, spread=(), latency=()), number)
        if templates:
            varied = _as_chart(varied, number, templates, random)
        for change in changes:
            varied = change(varied, number, random)
        yield varied


def with_own_requests(demand: Demand, number: int) -> Demand:
    """The same with a little more memory, as much as no other demand asks."""
    asked = demand.unit[0].shape.requests
    return _with_shape(demand, requests={**asked, "memory": asked["memory"] + number})


def _tolerating(demand: Demand, number: int, random: Random) -> Demand:
    mine = Toleration(key=f"example.com/job-{number}", operator="Exists")
    team = Toleration(key=_TEAM_TAINT, value=random.choice(_TEAMS))
    return _with_shape(demand, tolerations=(mine, team) if random.randrange(2) else (mine,))


def _with_affinity(demand: Demand, number: int, random: Random) -> Demand:
    terms = tuple(
        (
            NodeRequirement(
                key=_GENERATION_LABEL, operator="Gt", values=(str(random.randrange(0, 4)),)
            ),
            NodeRequirement(
                key=_POOL_LABEL, operator="In", values=(*random.sample(_POOLS, 2), f"own-{number}")
            ),
            NodeRequirement(
                key=_TYPE_LABEL, operator="NotIn", values=(f"old-{number}-{term}", "intel-8")
            ),
        )
        for term in range(2)
    )
    return _with_shape(demand, node_affinity=terms)


def _with_skew(demand: Demand, number: int, random: Random) -> Demand:
    by_zone = TopologySpreadConstraint(topology_key=_ZONE_LABEL, max_skew=random.randrange(1, 4))
    by_node = TopologySpreadConstraint(topology_key=HOSTNAME_LABEL, max_skew=random.randrange(1, 4))
    exists = (NodeRequirement(key=_ZONE_LABEL, operator="Exists"),)
    kinds = ((by_zone,), (by_node,), (by_zone, by_node))
    skews = kinds[number % len(kinds)]
    shape = demand.unit[0].shape
    terms = tuple((*term, *exists) for term in shape.node_affinity or ((),))
    selects = terms if by_zone in skews else shape.node_affinity
    return _with_shape(demand, skews=skews, node_affinity=selects)


def _with_spread(demand: Demand, number: int, random: Random) -> Demand:
    """Over provinces and cities at once; each demand has bounds of its own where it can."""
    replicas = max(demand.replicas, random.randrange(4, 13))
    provinces = random.randrange(2, 4)
    most = -(-replicas // provinces)
    spread = (
        Spread(by="province", min_groups=provinces, max_per_group=most + number % 5),
        Spread(by="city", min_groups=min(replicas, provinces + random.randrange(0, 2))),
    )
    return replace(demand, replicas=replicas, spread=spread)


def _in_groups(demand: Demand, number: int, random: Random) -> Demand:
    provider = random.choice("abc")
    first = SiteGroup(
        name="first",
        site_selector=LabelSelector(
            match_labels={"kapok.dev/provider": provider},
            match_expressions=(
                Requirement(key="example.com/owner", operator="NotIn", values=(f"t-{number}",)),
            ),
        ),
    )
    second = SiteGroup(
        name="second",
        site_selector=LabelSelector(
            match_expressions=(
                Requirement(
                    key="kapok.dev/tier",
                    operator="In",
                    values=(random.choice(_TIERS), f"tier-{number}"),
                ),
            )
        ),
    )
    return replace(demand, site_groups=(first, second))


def _within_latency(demand: Demand, number: int, random: Random) -> Demand:
    bounds = tuple(
        LatencyBound(from_=hub, within_milliseconds=random.uniform(15, 60) + number * 1e-6)
        for hub in random.sample(_HUBS, random.choice((1, 2)))
    )
    return replace(demand, latency=bounds)


def _selecting_sites(demand: Demand, number: int, random: Random) -> Demand:
    selector = LabelSelector(
        match_expressions=(
            Requirement(
                key="kapok.dev/tier",
                operator="In",
                values=(*random.sample(_TIERS, 2), f"t{number}"),
            ),
        )
    )
    return replace(demand, site_selectors=(selector,))


def _as_chart(demand: Demand, number: int, templates: Sequence[PodShape], random: Random) -> Demand:
    """A pod of a chart with other requests; its labels and affinities are those of the chart."""
    shape = templates[number % len(templates)]
    factor = random.uniform(0.5, 1.5)
    requests = {
        name: amount if name == "pods" else max(1, round(amount * factor))
        for name, amount in shape.requests.items()
    }
    own = Toleration(key=f"example.com/release-{number}", operator="Exists")
    shape = replace(shape, requests=requests, tolerations=(*shape.tolerations, own))
    return replace(
        demand,
        unit=(Pods(shape=shape, count=1),),
        replicas=demand.replicas if shape.one_per_node else random.choice((1, 1, 2, 3)),
    )


def _chart_shapes() -> list[PodShape]:
    """What the pods of all charts ask, in the order of the charts."""
    templates = (
        template
        for chart in chart_names()
        for each in objects_of(chart, "bench")
        for template in _templates_of(each)
    )
    return [shape_of_template(template, namespace="bench") for template in templates]


def _templates_of(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    spec = manifest.get("spec") or {}
    spec = (spec.get("jobTemplate") or {}).get("spec") or spec
    template = spec.get("template") if isinstance(spec, Mapping) else None
    if isinstance(template, Mapping) and "containers" in (template.get("spec") or {}):
        yield template


def _with_shape(demand: Demand, **changes: object) -> Demand:
    pods = demand.unit[0]
    return replace(demand, unit=(replace(pods, shape=replace(pods.shape, **changes)),))


MIXES: dict[str, tuple[Change, ...]] = {
    "plain": (),
    "toleration": (_tolerating,),
    "affinity": (_with_affinity,),
    "skew": (_with_skew,),
    "spread": (_with_spread,),
    "groups": (_in_groups,),
    "latency": (_within_latency,),
    "everything": (
        _tolerating,
        _with_affinity,
        _with_skew,
        _with_spread,
        _within_latency,
        _selecting_sites,
    ),
    "charts": (),
}
"""What each mix adds to the plain demands, in order."""
