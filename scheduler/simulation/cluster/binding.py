"""Chooses the node of a pod inside a cluster: the filters of kube-scheduler, then best fit.

Filters: cordon, taints, node selector and affinity, every requested resource, pods per node, host
ports, required pod affinity and anti-affinity (both ways), topology spread. Preferences, volumes
and preemption are not simulated. Of the feasible nodes it takes the one that is fullest afterwards,
so that large pods still find large free capacity; among equal nodes, the first by name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.model.kinds.fields import (
    LabelSelector,
    Requirement,
    Taint,
    Toleration,
    requirement_matches,
)
from scheduler.model.manifests.pods import NodeRequirement
from scheduler.simulation.cluster.mirror import Mirror
from scheduler.simulation.cluster.objects import (
    NodeSelectorTerm,
    Pod,
    PodAffinityTerm,
    SimulatedNode,
)
from scheduler.simulation.cluster.pods import is_finished
from scheduler.simulation.cluster.requests import Amounts, allocatable_of, requests_of

_MATCH_ALL = LabelSelector()


@dataclass(frozen=True, slots=True)
class NoFeasibleNode:
    """Why a pod stays pending, with the wording of kube-scheduler."""

    message: str


def choose_node(pod: Pod, mirror: Mirror) -> SimulatedNode | NoFeasibleNode:
    """The node for a pod, or why there is none."""
    nodes = mirror.nodes()
    requests = requests_of(pod)
    constraints = _PodConstraints.of(pod, mirror, nodes)
    refused: Counter[str] = Counter()
    best: tuple[float, SimulatedNode] | None = None
    for node in nodes:
        total = allocatable_of(node.status.allocatable)
        free = _free_amounts(total, mirror.requested_on(node.metadata.name))
        reason = _refusal(pod, node, mirror, requests, free) or constraints.refusal(node)
        if reason:
            refused[reason] += 1
            continue
        left = _free_ratio_after(total, requests, free)
        if best is None or left < best[0]:
            best = (left, node)
    if best is not None:
        return best[1]
    reasons = ", ".join(f"{count} {text}" for text, count in sorted(refused.items()))
    return NoFeasibleNode(
        f"0/{len(nodes)} nodes are available" + (f": {reasons}." if reasons else ".")
    )


def is_eligible_for_daemon(node: SimulatedNode, pod: Pod) -> bool:
    """Whether a DaemonSet creates a pod for this node; the pod's binding checks capacity later."""
    return not (_taint_refusal(pod, node) or _selector_refusal(pod, node))


def may_keep_daemon(node: SimulatedNode, pod: Pod) -> bool:
    """Whether a DaemonSet's pod that is on this node may stay there."""
    evicting = untolerated_taint(pod.spec.tolerations, node.spec.taints, ("NoExecute",))
    return not (evicting or _selector_refusal(pod, node))


def untolerated_taint(
    tolerations: Iterable[Toleration], taints: Iterable[Taint], effects: tuple[str, ...]
) -> Taint | None:
    """The first taint with one of the effects that no toleration matches."""
    for taint in taints:
        if taint.effect in effects and not any(one.tolerates(taint) for one in tolerations):
            return taint
    return None


def _refusal(
    pod: Pod, node: SimulatedNode, mirror: Mirror, requests: Amounts, free: Amounts
) -> str | None:
    return (
        _taint_refusal(pod, node)
        or _selector_refusal(pod, node)
        or _shortage(requests, free)
        or _port_refusal(pod, _unfinished_pods(mirror, node))
    )


def _taint_refusal(pod: Pod, node: SimulatedNode) -> str | None:
    cordon = Taint(key="node.kubernetes.io/unschedulable")
    if node.spec.unschedulable and untolerated_taint(
        pod.spec.tolerations, [cordon], ("NoSchedule",)
    ):
        return "node(s) were unschedulable"
    taint = untolerated_taint(pod.spec.tolerations, node.spec.taints, ("NoSchedule", "NoExecute"))
    if taint is None:
        return None
    value = f"{taint.key}: {taint.value}" if taint.value else taint.key
    return f"node(s) had untolerated taint {{{value}}}"


def _selector_refusal(pod: Pod, node: SimulatedNode) -> str | None:
    labels = node.metadata.labels
    required = pod.spec.affinity.node_affinity.required
    by_labels = pod.spec.node_selector.items() <= labels.items()
    by_terms = required is None or any(_matches_term(t, node) for t in required.node_selector_terms)
    if by_labels and by_terms:
        return None
    return "node(s) didn't match Pod's node affinity/selector"


def _matches_term(term: NodeSelectorTerm, node: SimulatedNode) -> bool:
    fields = {"metadata.name": node.metadata.name}
    if not term.match_expressions and not term.match_fields:
        return False  # an empty term matches nothing
    return all(
        _matches_requirement(one, node.metadata.labels) for one in term.match_expressions
    ) and all(_matches_requirement(one, fields) for one in term.match_fields)


def _matches_requirement(one: NodeRequirement, labels: dict[str, str]) -> bool:
    match one.operator:
        case "Gt" | "Lt":
            value, bound = labels.get(one.key, ""), one.values[0] if one.values else ""
            if not (_is_integer(value) and _is_integer(bound)):
                return False
            return int(value) > int(bound) if one.operator == "Gt" else int(value) < int(bound)
        case "In" | "NotIn" | "Exists" | "DoesNotExist":
            return requirement_matches(
                Requirement(key=one.key, operator=one.operator, values=one.values), labels
            )
        case _:
            return False


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _free_amounts(total: Amounts, used: Mapping[str, int]) -> Amounts:
    return {name: amount - used.get(name, 0) for name, amount in total.items()}


def _shortage(requests: Amounts, free: Amounts) -> str | None:
    for resource, amount in requests.items():
        if amount and amount > free.get(resource, 0):
            return "Too many pods" if resource == "pods" else f"Insufficient {resource}"
    return None


def _free_ratio_after(total: Amounts, requests: Amounts, free: Amounts) -> float:
    """Mean free ratio of cpu, memory and the resources that the pod requests, with it bound."""
    counted = {"cpu", "memory", *requests} - {"pods"}
    shares = [
        (free[name] - requests.get(name, 0)) / total[name] for name in counted if total.get(name)
    ]
    return sum(shares) / max(1, len(shares))


def _port_refusal(pod: Pod, others: list[Pod]) -> str | None:
    taken = {port for one in others for port in _host_ports(one)}
    if taken & _host_ports(pod):
        return "node(s) didn't have free ports for the requested pod ports"
    return None


def _host_ports(pod: Pod) -> set[tuple[str, int]]:
    ports = (port for one in pod.spec.containers for port in one.get("ports") or [])
    return {
        (port.get("protocol", "TCP"), port["hostPort"]) for port in ports if port.get("hostPort")
    }


@dataclass(frozen=True, slots=True)
class _PodConstraints:
    """Constraints that follow from other pods, computed once for all nodes.

    Attributes:
        affinity: for each required affinity term: topology key, its values with matching pods,
            and whether this pod may be the first one anywhere.
        anti_affinity: pairs of topology key and value where this pod may not run.
        spread: for each constraint: topology key, maximum pods per value, pods by value.
    """

    affinity: list[tuple[str, set[str], bool]]
    anti_affinity: set[tuple[str, str]]
    spread: list[tuple[str, int, Counter[str]]]

    @classmethod
    def of(cls, pod: Pod, mirror: Mirror, nodes: list[SimulatedNode]) -> "_PodConstraints":
        placed = [(one, node) for node in nodes for one in _unfinished_pods(mirror, node)]
        affinity = pod.spec.affinity
        excluded = {
            (term.topology_key, value)
            for other, node in placed
            for term in _anti_affinity_terms(pod, other)
            if (value := node.metadata.labels.get(term.topology_key)) is not None
        }
        wanted = [_affinity_domains(pod, term, placed) for term in affinity.pod_affinity.required]
        return cls(wanted, excluded, _spread_limits(pod, placed, nodes))

    def refusal(self, node: SimulatedNode) -> str | None:
        labels = node.metadata.labels
        if any(labels.get(key) == value for key, value in self.anti_affinity):
            return "node(s) didn't match pod anti-affinity rules"
        for key, values, is_first in self.affinity:
            if not (labels.get(key) in values or (is_first and key in labels)):
                return "node(s) didn't match pod affinity rules"
        for key, most, counts in self.spread:
            if key not in labels or counts[labels[key]] + 1 > most:
                return "node(s) didn't match pod topology spread constraints"
        return None


def _unfinished_pods(mirror: Mirror, node: SimulatedNode) -> list[Pod]:
    return [pod for pod in mirror.pods_on(node.metadata.name) if not is_finished(pod)]


def _anti_affinity_terms(pod: Pod, other: Pod) -> list[PodAffinityTerm]:
    """Anti-affinity terms of one pod that select the other one, in both directions."""
    ours = [t for t in pod.spec.affinity.pod_anti_affinity.required if _term_selects(t, pod, other)]
    theirs = [
        t for t in other.spec.affinity.pod_anti_affinity.required if _term_selects(t, other, pod)
    ]
    return ours + theirs


def _affinity_domains(
    pod: Pod, term: PodAffinityTerm, placed: list[tuple[Pod, SimulatedNode]]
) -> tuple[str, set[str], bool]:
    """One entry of `_PodConstraints.affinity`.

    A pod that its own term selects may be the first one anywhere; otherwise no pod could start.
    """
    near = [node for other, node in placed if _term_selects(term, pod, other)]
    values = {node.metadata.labels.get(term.topology_key, "") for node in near} - {""}
    return term.topology_key, values, not near and _term_selects(term, pod, pod)


def _term_selects(term: PodAffinityTerm, owner: Pod, other: Pod) -> bool:
    namespaces = term.namespaces or [owner.metadata.namespace]
    selector = term.label_selector
    if selector is None or other.metadata.namespace not in namespaces:
        return False
    return selector.matches(other.metadata.labels)


def _spread_limits(
    pod: Pod, placed: list[tuple[Pod, SimulatedNode]], nodes: list[SimulatedNode]
) -> list[tuple[str, int, Counter[str]]]:
    """`_PodConstraints.spread`: at most the pods of the emptiest value plus `maxSkew`."""
    found = []
    for one in pod.spec.topology_spread_constraints:
        if one.when_unsatisfiable != "DoNotSchedule":
            continue
        key, selector = one.topology_key, one.label_selector or _MATCH_ALL
        usable = [n for n in nodes if key in n.metadata.labels and not _selector_refusal(pod, n)]
        counts: Counter[str] = Counter(
            node.metadata.labels[key]
            for other, node in placed
            if key in node.metadata.labels
            and other.metadata.namespace == pod.metadata.namespace
            and other.metadata.deletion_timestamp is None
            and selector.matches(other.metadata.labels)
        )
        values = {node.metadata.labels[key] for node in usable}
        emptiest = min((counts[value] for value in values), default=0)
        found.append((key, emptiest + one.max_skew, counts))
    return found
