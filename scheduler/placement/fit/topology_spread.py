"""Topology spread and "one per zone" inside a site: how many replicas fit within these limits.

core/v1 `topologySpreadConstraints` with `whenUnsatisfiable: DoNotSchedule`: no domain may have more
than `maxSkew` pods more than the domain with fewest. The answer is exact for one constraint, and
for one over a node label together with one over hostname (filled evenly, as the Kubernetes
scheduler does). For more constraints at once it is a lower bound: every limit then counts as if
some domain stayed empty.

A domain is a value of the label, on nodes that have the labels of all constraints and that count by
`nodeAffinityPolicy` (Honor: selector and affinity must match) and `nodeTaintsPolicy` (Ignore:
tainted nodes count too). Pods in flight count where they cost most; so do replicas that run
already, because reports do not say on which nodes they run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape, TopologySpreadConstraint
from scheduler.placement.fleet.node_eligibility import blocking_taints, matches_selectors
from scheduler.placement.fleet.nodes.columns import COUNT_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE, NodeProfile

if TYPE_CHECKING:
    from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Domains = list[tuple[float, float]]
"""How many replicas a domain takes, and how many such domains there are."""


@dataclass(frozen=True, slots=True)
class _SiteNodes:
    """The nodes of one site, as parallel lists by node row.

    Attributes:
        capacities: how many replicas one node takes when nothing limits the spread.
        counts: how many such nodes there are.
        profiles: their profiles.
    """

    capacities: list[float]
    counts: list[float]
    profiles: list[NodeProfile]


def replicas_within_spread(
    fleet: "Fleet",
    slots: Ints,
    index: Ints,
    per_node: Floats,
    shape: PodShape,
    *,
    lost_to_in_flight: Floats,
    own_replicas: Floats | None = None,
) -> Floats:
    """Replicas that each site takes within the topology limits of a shape; [len(slots)].

    Args:
        fleet: the fleet.
        slots: the sites.
        index: the numbers of their rows, site by site; [rows].
        per_node: how many replicas one node of each row takes when nothing limits the spread;
            [rows].
        shape: with `skews` and `one_per`.
        lost_to_in_flight: how many replicas may lose their place to what is in flight;
            [len(slots)].
        own_replicas: how many replicas of the same workload run there already; [len(slots)];
            None: none anywhere.
    """
    matrix = fleet.nodes.rows.matrix
    ends = np.cumsum(fleet.nodes.rows.length[slots]).tolist()
    counts = matrix[COUNT_COLUMN].take(index).tolist()
    numbers = matrix[PROFILE_COLUMN].take(index).astype(np.int64).tolist()
    caps = per_node.tolist()
    totals = np.zeros(len(slots))
    begin = 0
    for position, end in enumerate(ends):
        here = [row for row in range(begin, end) if numbers[row] != IN_FLIGHT_PROFILE]
        rows = _SiteNodes(
            [caps[row] for row in here],
            [counts[row] for row in here],
            [fleet.nodes.profiles[numbers[row]] for row in here],
        )
        running = 0.0 if own_replicas is None else float(own_replicas[position])
        totals[position] = _site_replicas(rows, shape, float(lost_to_in_flight[position]), running)
        begin = end
    return totals


def is_lower_bound(shape: PodShape) -> bool:
    """Whether a shape has so many limits at once that the answer may be too low."""
    if len(shape.skews) + len(shape.one_per) < 2:  # noqa: PLR2004 - one alone is exact
        return False
    # Exact: one per hostname and one per other label, and nothing else.
    hosts = sum(each.topology_key == HOSTNAME_LABEL for each in shape.skews)
    return bool(shape.one_per) or (hosts, len(shape.skews)) != (1, 2)


def _site_replicas(
    rows: _SiteNodes, shape: PodShape, lost_to_in_flight: float, own_replicas: float
) -> float:
    if is_lower_bound(shape):
        return (
            _lower_bound(rows, shape)
            - lost_to_in_flight
            - sum(_own_excess(each, rows, shape, own_replicas) for each in shape.skews)
        )
    if shape.one_per:
        return _one_per_domain(rows, shape.one_per[0]) - lost_to_in_flight
    if len(shape.skews) == 1:
        skew = shape.skews[0]
        enough, domains = _domains(skew, rows, shape)
        return _replicas_in_domains(
            skew.max_skew, domains, lost_to_in_flight, own_replicas, is_enough=enough
        )
    if lost_to_in_flight or own_replicas:
        return (
            _lower_bound(rows, shape)
            - lost_to_in_flight
            - sum(_own_excess(each, rows, shape, own_replicas) for each in shape.skews)
        )
    return _fill_zones_and_hosts(rows, shape)


def is_counted(skew: TopologySpreadConstraint, profile: NodeProfile, shape: PodShape) -> bool:
    """Whether nodes of a profile are part of a domain of a constraint."""
    labels = profile.all_labels
    return (
        all(each.topology_key in (HOSTNAME_LABEL, *labels) for each in shape.skews)
        and (not skew.honors_affinity or matches_selectors(shape, profile))
        and (not skew.honors_taints or not blocking_taints(shape, profile))
    )


def _domains(
    skew: TopologySpreadConstraint, rows: _SiteNodes, shape: PodShape
) -> tuple[bool, Domains]:
    """Whether there are at least `minDomains` domains, and the domains."""
    hosts: Domains = []
    zones: dict[str, float] = {}
    for cap, count, profile in zip(rows.capacities, rows.counts, rows.profiles, strict=True):
        if count <= 0 or not is_counted(skew, profile, shape):
            continue
        if skew.topology_key == HOSTNAME_LABEL:
            hosts.append((cap, count))
        else:
            zone = profile.all_labels[skew.topology_key]
            zones[zone] = zones.get(zone, 0.0) + cap * count
    domains = hosts or [(cap, 1.0) for cap in zones.values()]
    return sum(count for _, count in domains) >= skew.min_domains, domains


def _replicas_in_domains(
    max_skew: int,
    domains: Domains,
    lost_to_in_flight: float,
    own_replicas: float,
    *,
    is_enough: bool,
) -> float:
    """Replicas that fit in the domains of one constraint, in the worst case of what is unknown.

    Pods in flight cost most in the domain that takes fewest, because every other may then have
    fewer too; once that is full, in the domains with least capacity beyond their limit.

    Args:
        max_skew: of the constraint.
        domains: the domains; some of them.
        lost_to_in_flight: how many replicas may lose their place to what is in flight.
        own_replicas: how many replicas of the workload run at the site.
        is_enough: whether there are `minDomains` domains; if not, the least counts as 0 (core/v1).
    """
    domains_left = sorted(domains)  # by capacity: the first is the one that takes fewest
    if not domains_left:
        return 0.0
    if is_enough and lost_to_in_flight:
        cap, count = domains_left[0]
        taken = min(cap, lost_to_in_flight)
        # One of the `count` equal domains is reduced; none may be left of the others, which is
        # harmless: they count 0 times.
        domains_left[0] = (cap, count - 1)
        domains_left.insert(0, (cap - taken, 1.0))
        lost_to_in_flight -= taken
    # The domain with fewest pods is full in the end, and the others may have `max_skew` more.
    limit = (domains_left[0][0] if is_enough else 0.0) + max_skew
    total = sum(min(cap, limit) * count for cap, count in domains_left)
    # In-flight pods first take what a domain has beyond its limit, which costs nothing: in the
    # worst case they run where there is least of that.
    for cap, count in sorted(domains_left, key=lambda each: max(0.0, each[0] - limit)):
        if lost_to_in_flight <= 0 or cap <= 0:
            continue
        whole = min(count, lost_to_in_flight // cap)  # domains that it fills completely
        total -= whole * min(cap, limit)
        lost_to_in_flight -= whole * cap
        if whole < count:  # the rest is in one domain, and fills only a part of it
            total -= max(0.0, lost_to_in_flight - max(0.0, cap - limit))
            lost_to_in_flight = 0.0
    if not own_replicas:
        return total
    # Own replicas cost a domain at most `max_skew`, less what its capacity is below the limit.
    reducible = sum(
        max(0.0, max_skew - max(0.0, limit - cap)) * count for cap, count in domains_left
    )
    return total - min(
        _own_above_minimum(max_skew, domains, own_replicas, is_enough=is_enough), reducible
    )


def _own_above_minimum(
    max_skew: int, domains: Domains, own_replicas: float, *, is_enough: bool
) -> float:
    """How many own running replicas may exceed the level of the domain with fewest.

    They use up part of what `maxSkew` permits.
    """
    number = sum(count for _, count in domains)
    if not is_enough or not number:
        return own_replicas
    # The least that the emptiest domain can have, if all others have max_skew more; `-(-a // b)`
    # rounds up.
    lowest = max(0.0, -(-(own_replicas - (number - 1) * max_skew) // number))
    return own_replicas - number * lowest


def _own_excess(
    skew: TopologySpreadConstraint, rows: _SiteNodes, shape: PodShape, own_replicas: float
) -> float:
    if not own_replicas:
        return 0.0
    enough, domains = _domains(skew, rows, shape)
    return _own_above_minimum(skew.max_skew, domains, own_replicas, is_enough=enough)


def _one_per_domain(rows: _SiteNodes, key: str) -> float:
    """One replica in each domain that takes any; nodes without the label are not limited."""
    taken_domains: set[str] = set()
    free = 0.0
    for cap, count, profile in zip(rows.capacities, rows.counts, rows.profiles, strict=True):
        domain = profile.all_labels.get(key)
        if domain is None:
            free += cap * count
        elif cap > 0 and count > 0:
            taken_domains.add(domain)
    return free + len(taken_domains)


def _lower_bound(rows: _SiteNodes, shape: PodShape) -> float:
    """Fills node after node up to every limit, as if a domain of each constraint stayed empty."""
    left: dict[tuple[int, str], float] = {}  # by number of the constraint and domain
    total = 0.0
    for cap, count, profile in zip(rows.capacities, rows.counts, rows.profiles, strict=True):
        limits = _node_domains(profile, shape)
        if limits is None:
            continue
        on_node = min([cap, *(most for at, most in limits if at is None)])
        taken = on_node * count
        for at, most in limits:
            if at is not None:
                taken = min(taken, left.setdefault(at, most))
        for at, _ in limits:
            if at is not None:
                left[at] -= taken
        total += taken
    return total


def _node_domains(
    profile: NodeProfile, shape: PodShape
) -> Sequence[tuple[tuple[int, str] | None, float]] | None:
    """The domains of a node, each with its limit; None when the node may have no pod at all.

    A domain is the number of its constraint and the value of the label; None stands for the node
    itself.
    """
    labels = profile.all_labels
    found: list[tuple[tuple[int, str] | None, float]] = []
    for number, skew in enumerate(shape.skews):
        if not is_counted(skew, profile, shape):
            return None
        at = None if skew.topology_key == HOSTNAME_LABEL else (number, labels[skew.topology_key])
        found.append((at, float(skew.max_skew)))
    for number, key in enumerate(shape.one_per, start=len(shape.skews)):
        if key in labels:
            found.append(((number, labels[key]), 1.0))
    return found


def _fill_zones_and_hosts(rows: _SiteNodes, shape: PodShape) -> float:
    """The replicas that fit if zones and nodes are filled evenly.

    The level of the emptiest node limits all nodes, these limit their zones, and the emptiest zone
    limits all zones. The level is raised until it no longer follows from itself.
    """
    host = next(each for each in shape.skews if each.topology_key == HOSTNAME_LABEL)
    zone = next(each for each in shape.skews if each.topology_key != HOSTNAME_LABEL)
    nodes: dict[str, Domains] = {}
    hosts: dict[str, Domains] = {}
    zones: set[str] = set()
    for cap, count, profile in zip(rows.capacities, rows.counts, rows.profiles, strict=True):
        is_host, is_in_zone = is_counted(host, profile, shape), is_counted(zone, profile, shape)
        if count <= 0 or not (is_host or is_in_zone):
            continue
        domain = profile.all_labels[zone.topology_key]
        nodes.setdefault(domain, []).append((cap, count))
        if is_host:
            hosts.setdefault(domain, []).append((cap, count))
        if is_in_zone:
            zones.add(domain)
    if not zones or not hosts:  # a node with a pod must be in a domain of both constraints
        return 0.0
    has_hosts = _domains(host, rows, shape)[0]
    has_zones = _domains(zone, rows, shape)[0]
    floor = 0.0  # what the emptiest node has at least; it only rises, so the loop ends
    while True:
        most = {
            domain: sum(min(cap, floor + host.max_skew) * count for cap, count in each)
            for domain, each in nodes.items()
        }
        limit = (min(most[domain] for domain in zones) if has_zones else 0.0) + zone.max_skew
        totals = {domain: min(limit, each) for domain, each in most.items()}
        lowest = min(_min_node_level(each, totals[domain]) for domain, each in hosts.items())
        if not has_hosts or lowest <= floor:
            return sum(totals.values())
        floor = lowest


def _min_node_level(nodes: Domains, total: float) -> float:
    """The most that every node of a zone can have at least, when the zone has `total` replicas."""
    least = min(cap for cap, _ in nodes)
    return min(least, total // sum(count for _, count in nodes))
