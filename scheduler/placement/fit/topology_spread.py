"""Topology spread and "one per zone" inside a site: how many replicas the limits leave.

core/v1 `topologySpreadConstraints` with `whenUnsatisfiable: DoNotSchedule`: no domain may hold more
than `maxSkew` more than the emptiest. Exact for one constraint, and for one over a node label
together with one over hostname (filled evenly, as the Kubernetes scheduler does). More at once give
a lower bound: then every limit counts as if some domain stayed empty.

Domains are the values of the label on nodes that have the labels of all constraints and that
`nodeAffinityPolicy` (Honor: selector and affinity choose) and `nodeTaintsPolicy` (Ignore: tainted
nodes count too) let count. What is in flight falls where it costs most; so do replicas that run
already, as reports do not say where they stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape, TopologySpreadConstraint
from scheduler.placement.fleet.node_eligibility import blocking_taints, is_chosen
from scheduler.placement.fleet.node_table import COUNT, IN_FLIGHT, KIND, NodeKind

if TYPE_CHECKING:
    from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Domains = list[tuple[float, float]]
"""Room of a domain, and how many such domains there are."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The nodes of one site that may bear the pod: room of each, how many such, and their kind."""

    caps: list[float]
    counts: list[float]
    kinds: list[NodeKind]


def within_limits(
    fleet: "Fleet",
    slots: Ints,
    index: Ints,
    per_node: Floats,
    shape: PodShape,
    *,
    lost: Floats,
    own: Floats | None = None,
) -> Floats:
    """Replicas that each site takes within the limits of its shape; [len(slots)].

    Args:
        fleet: the fleet.
        slots: the sites.
        index: their rows, site by site.
        per_node: what one node of each row takes when nothing limits the spread.
        shape: with `skews` and `one_per`.
        lost: how many may lose their room to what is in flight; [len(slots)].
        own: replicas of the same workload that run there already; None: none; [len(slots)].
    """
    matrix = fleet.nodes.rows.matrix
    ends = np.cumsum(fleet.nodes.rows.length[slots]).tolist()
    counts = matrix[COUNT].take(index).tolist()
    numbers = matrix[KIND].take(index).astype(np.int64).tolist()
    caps = per_node.tolist()
    totals = np.zeros(len(slots))
    begin = 0
    for position, end in enumerate(ends):
        places = [place for place in range(begin, end) if numbers[place] != IN_FLIGHT]
        rows = _Rows(
            [caps[place] for place in places],
            [counts[place] for place in places],
            [fleet.nodes.kinds[numbers[place]] for place in places],
        )
        running = 0.0 if own is None else float(own[position])
        totals[position] = _of_site(rows, shape, float(lost[position]), running)
        begin = end
    return totals


def is_lower_bound(shape: PodShape) -> bool:
    """Whether so many limits hold at once that the answer may be too low."""
    if len(shape.skews) + len(shape.one_per) < 2:  # noqa: PLR2004 - one alone is exact
        return False
    hosts = sum(each.topology_key == HOSTNAME_LABEL for each in shape.skews)
    return bool(shape.one_per) or (hosts, len(shape.skews)) != (1, 2)


def _of_site(rows: _Rows, shape: PodShape, lost: float, own: float) -> float:
    if is_lower_bound(shape):
        return (
            _packed(rows, shape)
            - lost
            - sum(_excess(each, rows, shape, own) for each in shape.skews)
        )
    if shape.one_per:
        return _one_per_place(rows, shape.one_per[0]) - lost
    if len(shape.skews) == 1:
        skew = shape.skews[0]
        enough, domains = _domains(skew, rows, shape)
        return _within(skew.max_skew, domains, lost, own, is_enough=enough)
    if lost or own:
        return (
            _packed(rows, shape)
            - lost
            - sum(_excess(each, rows, shape, own) for each in shape.skews)
        )
    return _zone_and_host(rows, shape)


def counts_in(skew: TopologySpreadConstraint, kind: NodeKind, shape: PodShape) -> bool:
    """Whether nodes of a kind are part of a domain."""
    labels = kind.all_labels
    return (
        all(each.topology_key in (HOSTNAME_LABEL, *labels) for each in shape.skews)
        and (not skew.honors_affinity or is_chosen(shape, kind))
        and (not skew.honors_taints or not blocking_taints(shape, kind))
    )


def _domains(skew: TopologySpreadConstraint, rows: _Rows, shape: PodShape) -> tuple[bool, Domains]:
    """Whether there are `minDomains` domains, and their room."""
    hosts: Domains = []
    zones: dict[str, float] = {}
    for cap, count, kind in zip(rows.caps, rows.counts, rows.kinds, strict=True):
        if count <= 0 or not counts_in(skew, kind, shape):
            continue
        if skew.topology_key == HOSTNAME_LABEL:
            hosts.append((cap, count))
        else:
            zone = kind.all_labels[skew.topology_key]
            zones[zone] = zones.get(zone, 0.0) + cap * count
    domains = hosts or [(cap, 1.0) for cap in zones.values()]
    return sum(count for _, count in domains) >= skew.min_domains, domains


def _within(most: int, domains: Domains, lost: float, own: float, *, is_enough: bool) -> float:
    """Replicas that fit in the domains of one constraint, the worst of what is not known counted.

    In flight costs most in the emptiest domain, as every other may then hold less too; once that is
    full, in the domains with least room beyond their limit.
    """
    left = sorted(domains)
    if not left:
        return 0.0
    if is_enough and lost:
        cap, count = left[0]
        taken = min(cap, lost)
        left[0] = (cap, count - 1)
        left.insert(0, (cap - taken, 1.0))
        lost -= taken
    limit = (left[0][0] if is_enough else 0.0) + most
    total = sum(min(cap, limit) * count for cap, count in left)
    for cap, count in sorted(left, key=lambda each: max(0.0, each[0] - limit)):
        if lost <= 0 or cap <= 0:
            continue
        whole = min(count, lost // cap)
        total -= whole * min(cap, limit)
        lost -= whole * cap
        if whole < count:
            total -= max(0.0, lost - max(0.0, cap - limit))
            lost = 0.0
    if not own:
        return total
    felt = sum(max(0.0, most - max(0.0, limit - cap)) * count for cap, count in left)
    return total - min(_above(most, domains, own, is_enough=is_enough), felt)


def _above(most: int, domains: Domains, own: float, *, is_enough: bool) -> float:
    """How many own running replicas may stand above the emptiest domain: they take of the limit."""
    number = sum(count for _, count in domains)
    if not is_enough or not number:
        return own
    lowest = max(0.0, -(-(own - (number - 1) * most) // number))
    return own - number * lowest


def _excess(skew: TopologySpreadConstraint, rows: _Rows, shape: PodShape, own: float) -> float:
    if not own:
        return 0.0
    enough, domains = _domains(skew, rows, shape)
    return _above(skew.max_skew, domains, own, is_enough=enough)


def _one_per_place(rows: _Rows, key: str) -> float:
    """One in each place that has room; nodes without the label are not limited (core/v1)."""
    places: set[str] = set()
    free = 0.0
    for cap, count, kind in zip(rows.caps, rows.counts, rows.kinds, strict=True):
        place = kind.all_labels.get(key)
        if place is None:
            free += cap * count
        elif cap > 0 and count > 0:
            places.add(place)
    return free + len(places)


def _packed(rows: _Rows, shape: PodShape) -> float:
    """Node by node as much as every limit allows, as if some domain of each stayed empty."""
    left: dict[tuple[int, str], float] = {}
    total = 0.0
    for cap, count, kind in zip(rows.caps, rows.counts, rows.kinds, strict=True):
        places = _places(kind, shape)
        if places is None:
            continue
        on_node = min([cap, *(most for at, most in places if at is None)])
        room = on_node * count
        for at, most in places:
            if at is not None:
                room = min(room, left.setdefault(at, most))
        for at, _ in places:
            if at is not None:
                left[at] -= room
        total += room
    return total


def _places(
    kind: NodeKind, shape: PodShape
) -> Sequence[tuple[tuple[int, str] | None, float]] | None:
    """The domains of a node and their limits; None when it may bear no pod at all."""
    labels = kind.all_labels
    found: list[tuple[tuple[int, str] | None, float]] = []
    for number, skew in enumerate(shape.skews):
        if not counts_in(skew, kind, shape):
            return None
        at = None if skew.topology_key == HOSTNAME_LABEL else (number, labels[skew.topology_key])
        found.append((at, float(skew.max_skew)))
    for number, key in enumerate(shape.one_per, start=len(shape.skews)):
        if key in labels:
            found.append(((number, labels[key]), 1.0))
    return found


def _zone_and_host(rows: _Rows, shape: PodShape) -> float:
    """Fills evenly: what the emptiest node holds lets zones hold more, and so in turn."""
    host = next(each for each in shape.skews if each.topology_key == HOSTNAME_LABEL)
    zone = next(each for each in shape.skews if each.topology_key != HOSTNAME_LABEL)
    nodes: dict[str, Domains] = {}
    hosts: dict[str, Domains] = {}
    zones: set[str] = set()
    for cap, count, kind in zip(rows.caps, rows.counts, rows.kinds, strict=True):
        is_host, is_in_zone = counts_in(host, kind, shape), counts_in(zone, kind, shape)
        if count <= 0 or not (is_host or is_in_zone):
            continue
        place = kind.all_labels[zone.topology_key]
        nodes.setdefault(place, []).append((cap, count))
        if is_host:
            hosts.setdefault(place, []).append((cap, count))
        if is_in_zone:
            zones.add(place)
    if not zones or not hosts:  # a node that bears a pod is part of a domain of each
        return 0.0
    has_hosts = _domains(host, rows, shape)[0]
    has_zones = _domains(zone, rows, shape)[0]
    floor = 0.0
    while True:
        most = {
            place: sum(min(cap, floor + host.max_skew) * count for cap, count in each)
            for place, each in nodes.items()
        }
        limit = (min(most[place] for place in zones) if has_zones else 0.0) + zone.max_skew
        totals = {place: min(limit, each) for place, each in most.items()}
        lowest = min(_level(each, totals[place]) for place, each in hosts.items())
        if not has_hosts or lowest <= floor:
            return sum(totals.values())
        floor = lowest


def _level(nodes: Domains, total: float) -> float:
    """How high all of a zone's nodes can stand at least when it holds so many in all."""
    least = min(cap for cap, _ in nodes)
    return min(least, total // sum(count for _, count in nodes))
