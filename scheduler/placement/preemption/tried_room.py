"""What a site takes of pods that depend on each other, when certain replicas of others have ended.

Sets of different pods, pods beside them, and pods that are spread over nodes have no closed form.
So every assignment of what ends to the nodes is tried with the ordinary fit, as long as these are
few, as on sites of one or a few nodes. Where there are more, it is not known, and nothing ends for
it.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import FreeRow, NodeClass
from scheduler.model.quantities import CPU, free_amount
from scheduler.placement.filter.filter import filter_sites
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.preemption.worst_room import FreedPods

_MAX_ASSIGNMENTS = 32
_COUNT = "count"

_Node = tuple[int, FreeRow]
"""The number of its class, and what it has free."""
_Nodes = tuple[_Node, ...]


def tried_room(
    demand: Demand,
    facts: SiteFacts,
    freed: Sequence[FreedPods],
    gone: frozenset[str],
    context: DecisionContext,
) -> int:
    """How many replicas surely fit; 0 if there are too many assignments to try.

    Args:
        demand: the workload that is to fit.
        facts: the site.
        freed: the pods that end on nodes.
        gone: victims all of whose pods in flight end, too.
        context: the time and terms of the decision.
    """
    in_flight = tuple(one for one in facts.in_flight if one.workload not in gone)
    site = replace(facts, in_flight=in_flight)
    nodes = _nodes_of(facts, sum(one.pods for one in freed))
    found: list[int] = []
    for number, assigned in enumerate(_assignments(nodes, freed)):
        if number >= _MAX_ASSIGNMENTS:
            return 0
        found.append(_capacity(demand, _with_nodes(site, assigned), context))
        if not found[-1]:
            return 0
    return min(found, default=0)


def _nodes_of(facts: SiteFacts, most: int) -> _Nodes:
    """The nodes one by one; of equal ones as many as pods can reach, and one row for the rest."""
    nodes: list[_Node] = []
    for number, node_class in enumerate(facts.status.node_classes):
        for row in node_class.free:
            count = int(row.get(_COUNT, 1))
            alone = min(count, most)
            nodes += [(number, {**row, _COUNT: 1})] * alone
            if count > alone:
                nodes.append((number, {**row, _COUNT: count - alone}))
    return tuple(nodes)


def _assignments(nodes: _Nodes, freed: Sequence[FreedPods]) -> Iterator[_Nodes]:
    """Every way to free these pods on the nodes; ways that give equal nodes only once."""
    seen: set[tuple[tuple[int, tuple[tuple[str, object], ...]], ...]] = set()
    pods = [one for one in freed for _ in range(one.pods)]

    def assign(current: _Nodes, left: list[FreedPods]) -> Iterator[_Nodes]:
        if not left:
            key = tuple(sorted((n, tuple(sorted(row.items()))) for n, row in current))
            if key not in seen:
                seen.add(key)
                yield current
            return
        for place, (number, row) in enumerate(current):
            is_same = any(each == (number, row) for each in current[:place])
            if row.get(_COUNT, 1) == 1 and not is_same:
                after = (*current[:place], (number, _plus(row, left[0])), *current[place + 1 :])
                yield from assign(after, left[1:])

    yield from assign(nodes, pods)


def _plus(row: FreeRow, pod: FreedPods) -> FreeRow:
    """What a node has free when a pod of it has ended."""
    more = dict(row)
    for name, amount in pod.shape.requests.items():
        if name not in more and name == "pods":
            continue  # a node that does not say how many pods it takes has the usual number
        total = free_amount(name, more.get(name, 0)) + amount
        more[name] = f"{total}m" if name == CPU else total
    return more


def _with_nodes(facts: SiteFacts, nodes: _Nodes) -> SiteFacts:
    classes: list[NodeClass] = [
        replace(each, free=tuple(row for of, row in nodes if of == number))
        for number, each in enumerate(facts.status.node_classes)
    ]
    return replace(facts, status=replace(facts.status, node_classes=tuple(classes)))


def _capacity(demand: Demand, facts: SiteFacts, context: DecisionContext) -> int:
    alone = Fleet([facts])
    rights = filter_sites(demand, alone, context).rights
    capacity = SiteCapacity(alone, demand, rights.vendor_sets)
    return capacity.replicas_at_slot(alone.slot_of[facts.name])
