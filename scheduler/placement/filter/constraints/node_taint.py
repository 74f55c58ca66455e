"""At least one node must have only taints that the pods tolerate."""

from collections.abc import Hashable
from functools import partial

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.pods import PodShape
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.fix_nodes import best_nodes
from scheduler.placement.filter.fix_taints import toleration_of
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import blocking_taints, matches_selectors
from scheduler.placement.fleet.nodes.eligible_profiles import selected_profiles, tolerated_profiles
from scheduler.placement.fleet.nodes.profiles import profile_of

_TAINTED = Message(
    "node-taint.yes", "the nodes of {site} have taints that are not tolerated: {taints:list}"
)
_TOLERATED = Message("node-taint.no", "{site} has nodes whose taints are tolerated")


class NodeTaint:
    """A pod must tolerate the taints of at least one node profile that it matches (core/v1)."""

    reason: Reason = "taint"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})
    is_seldom_shared = True

    def cache_key(self, demand: Demand) -> Hashable:
        """The tolerations, selectors and affinities of each pod of a replica."""
        return tuple([each.shape.node_selection_key for each in demand.unit])

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks the profiles of the nodes that each site reports."""
        del context
        found, profiles = fleet.has_site, fleet.nodes.profiles
        for pods in demand.unit:
            tolerated, all_are = tolerated_profiles(profiles, pods.shape)
            if all_are:
                continue
            chosen, any_will_do = selected_profiles(profiles, pods.shape)
            if any_will_do:
                found = found & fleet.sites_with_any(tolerated, of_none=True)
                continue
            # Where no node is chosen, `node_selector` refuses the site.
            passes = ~fleet.sites_with_any(chosen)
            passes |= fleet.sites_with_any(chosen & tolerated)
            found = found & passes
        return found

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the taints of the nodes that match otherwise."""
        del context
        taints = _untolerated_node_taints(facts, demand)
        if taints:
            return _TAINTED(site=facts.name, taints=tuple(taints))
        return _TOLERATED(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests tolerations of the taints that keep the pods away, and of no others."""
        unit, shown = [], []
        for pods in refused.demand.unit:
            blocking = _fewest_blocking_taints(refused, pods.shape)
            shown += [f"{each.key}={each.value}:{each.effect}" for each in blocking]
            tolerations = (*pods.shape.tolerations, *map(toleration_of, blocking))
            unit.append(replace(pods, shape=replace(pods.shape, tolerations=tolerations)))
        if not shown:
            return None
        becomes = ", ".join(dict.fromkeys(shown))  # each once, in order
        return change_workload("tolerations", "", becomes, replace(refused.demand, unit=(*unit,)))


def _fewest_blocking_taints(refused: RefusedSite, shape: PodShape) -> tuple[Taint, ...]:
    """The taints in the way of a pod on the nodes that it chooses and that need fewest changes."""
    chosen = [
        each
        for each in refused.facts.status.node_classes
        if matches_selectors(shape, profile_of(each))
    ]
    best = best_nodes(refused, chosen, partial(_count_blocking_taints, shape))
    return () if best is None else _blocking_taints_of(shape, best)


def _count_blocking_taints(shape: PodShape, nodes: NodeClass) -> int:
    return len(_blocking_taints_of(shape, nodes))


def _blocking_taints_of(shape: PodShape, nodes: NodeClass) -> tuple[Taint, ...]:
    return tuple(
        each
        for each in nodes.taints
        if blocking_taints(shape, profile_of(replace(nodes, taints=(each,))))
    )


def _untolerated_node_taints(facts: SiteFacts, demand: Demand) -> list[str]:
    """The taints that keep some pod off every node that it matches; empty if no pod is blocked."""
    profiles = [profile_of(each) for each in facts.status.node_classes]
    for pods in demand.unit:
        chosen = [profile for profile in profiles if matches_selectors(pods.shape, profile)]
        blocked = [blocking_taints(pods.shape, profile) for profile in chosen]
        if chosen and all(blocked):
            return sorted({taint for each in blocked for taint in each})
    return []


RULE = NodeTaint()
