"""What the agent keeps of each pod and node between two reports: a few numbers, not the object."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from agents.member.trees import map_at, text_at
from agents.protocol.bounds import MAX_ORDERS
from agents.sensors.nodes import LabelChoice, NodeFacts, node_facts_of
from agents.sensors.not_ready import NotReadyPod, is_lost_node, waiting_pod_of
from agents.sensors.pod_problems import pod_problem_of, unschedulable_order_of
from agents.sensors.pods import PodFacts, Tree, pod_facts_of

_MAX_PROBLEMS: Final = 2_000
_MAX_NOT_READY_PODS: Final = 20_000


@dataclass(frozen=True, slots=True)
class KeptNode:
    """A node.

    Attributes:
        name: its name.
        is_lost: whether it is not ready.
        facts: its class and its capacity; None if it takes no pods.
    """

    name: str
    is_lost: bool
    facts: NodeFacts | None


@dataclass(frozen=True, slots=True)
class KeptPod:
    """A pod that takes capacity, or that belongs to an order and does not run.

    Attributes:
        facts: the capacity that it takes; None: none.
        waiting: why it is not ready if its node is; None: it is ready, or of no order.
        node: the node that it is bound to, if it is waiting.
        problem: its order, and what keeps it from running.
        unschedulable: its order, if the cluster's scheduler found no node for it.
    """

    facts: PodFacts | None
    waiting: NotReadyPod | None = None
    node: str = ""
    problem: tuple[str, str] | None = None
    unschedulable: str = ""


def kept_node_of(node: Tree, choice: LabelChoice) -> KeptNode:
    """Reduces a node to what a report needs."""
    name = sys.intern(text_at(map_at(node, "metadata"), "name"))
    return KeptNode(name, is_lost_node(node), node_facts_of(node, choice))


def kept_pod_of(pod: Tree) -> KeptPod | None:
    """Reduces a pod to what a report and a status need; None: nothing."""
    facts, waiting = pod_facts_of(pod), waiting_pod_of(pod)
    problem, unschedulable = pod_problem_of(pod), unschedulable_order_of(pod)
    if facts is None and waiting is None and problem is None and not unschedulable:
        return None
    node = text_at(map_at(pod, "spec"), "nodeName") if waiting else ""
    return KeptPod(facts, waiting, node, problem, unschedulable)


@dataclass(slots=True)
class OrderPods:
    """What is wrong with the pods of orders.

    Attributes:
        problems: one problem of each order's pods.
        unschedulable: the number of pods without a node, by order id.
        not_ready: the pods that are not ready.
    """

    problems: dict[str, str]
    unschedulable: Counter[str]
    not_ready: list[NotReadyPod]


def order_pods_of(
    pods: Iterable[KeptPod], *, known_nodes: Collection[str], lost_nodes: Collection[str]
) -> OrderPods:
    """Collects what is wrong with the pods of orders.

    Args:
        pods: all pods.
        known_nodes: names of all nodes.
        lost_nodes: names of the nodes that are not ready.
    """
    found = OrderPods({}, Counter(), [])
    for pod in pods:
        if pod.problem is not None and len(found.problems) < _MAX_PROBLEMS:
            found.problems.setdefault(*pod.problem)
        order_id = pod.unschedulable
        is_counted = order_id in found.unschedulable or len(found.unschedulable) < MAX_ORDERS
        if order_id and is_counted:
            found.unschedulable[order_id] += 1
        if pod.waiting is not None and len(found.not_ready) < _MAX_NOT_READY_PODS:
            is_lost = pod.node and (pod.node in lost_nodes or pod.node not in known_nodes)
            lost = replace(pod.waiting, reason="node-lost") if is_lost else pod.waiting
            found.not_ready.append(lost)
    return found
