"""Topology spread and "one per zone" inside a site: how many replicas the limits leave.

For one constraint the answer is exact (core/v1 topologySpreadConstraints, `whenUnsatisfiable:
DoNotSchedule`): every domain holds at most `max_skew` more than the emptiest. Several at once give
a lower bound. Domains are the nodes that selector and affinity choose, whether their taints are
tolerated or not (`nodeTaintsPolicy: Ignore`).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.pods import HOSTNAME, PodShape, Skew
from scheduler.placement.eligible import is_chosen
from scheduler.placement.nodes import COUNT, KIND

if TYPE_CHECKING:
    from scheduler.placement.fleet import Fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def within_limits(
    fleet: "Fleet", slots: Ints, index: Ints, per_node: Floats, shape: PodShape
) -> Floats:
    """Replicas that each site takes within the limits of its shape; [len(slots)].

    Args:
        fleet: the fleet.
        slots: the sites.
        index: their rows, site by site.
        per_node: what one node of each row takes when nothing limits the spread.
        shape: with `skews` and `one_per`.
    """
    lengths = fleet.nodes.rows.length[slots]
    ends = np.cumsum(lengths)
    counts = fleet.nodes.rows.column(COUNT)[index]
    kinds = fleet.nodes.rows.column(KIND)[index].astype(np.int64)
    totals = np.zeros(len(slots))
    for position, end in enumerate(ends):
        part = slice(int(end - lengths[position]), int(end))
        labels = [fleet.nodes.kinds[kind].all_labels for kind in kinds[part]]
        chosen = [is_chosen(shape, fleet.nodes.kinds[kind]) for kind in kinds[part]]
        totals[position] = _of_site(per_node[part], counts[part], labels, chosen, shape)
    return totals


def _of_site(
    per_node: Floats,
    counts: Floats,
    labels: list[dict[str, str]],
    chosen: list[bool],
    shape: PodShape,
) -> float:
    caps = per_node.copy()
    by_host = [each for each in shape.skews if each.topology_key == HOSTNAME]
    zoned = [each for each in shape.skews if each.topology_key != HOSTNAME]
    if by_host:
        caps = _host_caps(by_host, zoned, caps, counts, np.array(chosen, np.bool_))
    total = float((caps * counts).sum())
    for skew in zoned:
        total = min(total, _zone_total(skew, caps, counts, labels, chosen))
    for key in shape.one_per:
        places = {
            each[key]
            for each, cap, count in zip(labels, caps, counts, strict=True)
            if key in each and cap > 0 and count > 0
        }
        total = min(total, float(len(places)))
    return total


def _host_caps(
    skews: list[Skew], zoned: list[Skew], caps: Floats, counts: Floats, chosen: NDArray[np.bool_]
) -> Floats:
    domains = chosen & (counts > 0)
    least = float(caps[domains].min()) if domains.any() else 0.0
    for skew in skews:
        enough = float(counts[domains].sum()) >= skew.min_domains
        # With another constraint beside it the emptiest node may have to stay empty.
        floor = least if enough and not zoned and len(skews) == 1 else 0.0
        caps = np.minimum(caps, floor + skew.max_skew)
    return caps


def _zone_total(
    skew: Skew, caps: Floats, counts: Floats, labels: list[dict[str, str]], chosen: list[bool]
) -> float:
    zones: dict[str, float] = {}
    for cap, count, each, fits in zip(caps, counts, labels, chosen, strict=True):
        zone = each.get(skew.topology_key)
        if zone is not None and fits and count > 0:
            zones[zone] = zones.get(zone, 0.0) + cap * count
    if not zones:
        return 0.0
    least = min(zones.values()) if len(zones) >= skew.min_domains else 0.0
    return sum(min(cap, least + skew.max_skew) for cap in zones.values())
