"""The member cluster: free capacity by node, the bound pods of orders, the kinds it serves.

It lists nodes and unfinished pods in pages: on an edge cluster a few hundred objects every ten
seconds. Nothing is kept in between, whereas a watch would keep all objects in memory.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from agents.member.api import MemberApiError, Tree
from agents.member.discovery import Discovery
from agents.member.trees import map_at, text_at
from agents.protocol.bounds import MAX_ORDERS
from agents.protocol.report import OrderBoundPods, ReportedExecutor
from agents.protocol.topics import is_order_id, order_token
from agents.sensors.nodes import (
    LabelChoice,
    NodeFacts,
    NodeSnapshot,
    node_facts_of,
    summarise_nodes,
)
from agents.sensors.not_ready import NotReadyPod, is_lost_node, not_ready_pod_of
from agents.sensors.pod_problems import pod_problem_of, unschedulable_order_of
from agents.sensors.pods import PodFacts, pod_facts_of
from agents.sensors.sensor import Observation

FAULT_UNREACHABLE: Final = "kubernetes-unreachable"
FAULT_NODE_FIGURES: Final = "node-figures-unreadable"

_NODES_PATH: Final = "/api/v1/nodes"
_PODS_PATH: Final = "/api/v1/pods"
_UNFINISHED_PODS_QUERY: Final = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
_BAD_REQUEST: Final = 400
_MAX_PROBLEM_CHARACTERS: Final = 240
_MAX_PROBLEMS: Final = 2_000
_MAX_NAMED_NODES: Final = 500
_MAX_NOT_READY_PODS: Final = 20_000

AppliedGenerationsReader = Callable[[], Mapping[str, int]]
"""Returns the applied generation of every order of this site, by order id."""


@dataclass(slots=True, kw_only=True)
class KubernetesSensor:
    """Observes one member cluster.

    Attributes:
        discovery: API of the member, and the kinds that it serves.
        label_choice: node labels that distinguish node classes.
        read_applied_generations: reads the applied generations. They are read before the pods, so
            that a report never names a newer generation than that of the pods it counts.
        is_active: whether this agent applies orders to the cluster now.
        asked_labels: names of node labels that the hub says workloads ask for.
        name: slug of the sensor.
    """

    discovery: Discovery
    label_choice: LabelChoice
    read_applied_generations: AppliedGenerationsReader
    is_active: Callable[[], bool]
    asked_labels: Callable[[], Iterable[str]] = tuple
    sealing_key: str | None = None
    name: str = "kubernetes"
    _node_count: int | None = field(default=None, init=False)
    _version: str | None = field(default=None, init=False)

    async def observe(self) -> Observation:
        """Observes the cluster; one that does not answer is a fault in the report, not an error."""
        generations = dict(self.read_applied_generations())
        try:
            return await asyncio.to_thread(self._read_cluster, generations)
        except MemberApiError as error:
            executor = ReportedExecutor(
                is_active=self.is_active(),
                server_version=self._version,
                is_reachable=False,
                sealing_key=self.sealing_key,
                problem=_problem_of(error),
            )
            fault = FAULT_UNREACHABLE if error.code == 0 else f"kubernetes-{error.code}"
            return Observation(executor=executor, faults=(fault,))

    def _read_cluster(self, generations: Mapping[str, int]) -> Observation:
        kinds = self.discovery.kinds()
        self._version = kinds.version
        choice, names = self._label_choice(), _NodeNames()

        def read(node: Tree) -> NodeFacts | None:
            names.add(node)
            return node_facts_of(node, choice)

        nodes = self.discovery.api.list_mapped(_NODES_PATH, None, read)
        self._node_count = len(nodes)
        problems: dict[str, str] = {}
        unschedulable: Counter[str] = Counter()
        not_ready: list[NotReadyPod] = []
        pods = self._list_pods(names, problems, unschedulable, not_ready)
        snapshot = summarise_nodes(nodes, pods)
        return Observation(
            node_classes=snapshot.classes,
            orders=bound_orders_of(snapshot, generations, unschedulable),
            pod_problems=problems,
            not_ready_pods=tuple(not_ready),
            api_kinds=kinds.creatable_names(),
            cluster_kinds=kinds.cluster_scoped_names(),
            executor=ReportedExecutor(
                is_active=self.is_active(),
                server_version=self._version,
                sealing_key=self.sealing_key,
            ),
            faults=(FAULT_NODE_FIGURES,) if snapshot.unreadable_nodes else None,
        )

    def _label_choice(self) -> LabelChoice:
        is_large = self._node_count is None or self._node_count > _MAX_NAMED_NODES
        return self.label_choice.asked_for(self.asked_labels(), is_large=is_large)

    def _list_pods(
        self,
        names: "_NodeNames",
        problems: dict[str, str],
        unschedulable: Counter[str],
        not_ready: list[NotReadyPod],
    ) -> list[PodFacts]:
        """Lists the pods that take capacity; adds what keeps pods of orders from running.

        Args:
            names: the nodes.
            problems: gets one problem of each order's pods.
            unschedulable: gets the number of pods without a node, by order id.
            not_ready: gets the pods of orders that are not ready.
        """

        def read(pod: Tree) -> PodFacts | None:
            problem = pod_problem_of(pod)
            if problem is not None and len(problems) < _MAX_PROBLEMS:
                problems.setdefault(*problem)
            order_id = unschedulable_order_of(pod)
            if order_id and (order_id in unschedulable or len(unschedulable) < MAX_ORDERS):
                unschedulable[order_id] += 1
            waiting = not_ready_pod_of(pod, known_nodes=names.known, lost_nodes=names.lost)
            if waiting is not None and len(not_ready) < _MAX_NOT_READY_PODS:
                not_ready.append(waiting)
            return pod_facts_of(pod)

        try:
            return self.discovery.api.list_mapped(_PODS_PATH, _UNFINISHED_PODS_QUERY, read)
        except MemberApiError as error:
            if error.code != _BAD_REQUEST:
                raise
            # The server does not support that selector; `pod_facts_of` leaves finished pods out.
            unschedulable.clear()
            not_ready.clear()
            return self.discovery.api.list_mapped(_PODS_PATH, None, read)


def _problem_of(error: MemberApiError) -> str:
    """Why the cluster is not reached; of a server that answers only its code, not its words.

    The text is cut to the report's bound, and what cannot be printed is escaped.
    """
    if error.code:
        return f"its API server answers with {error.code}"
    return ascii(str(error))[1:-1][:_MAX_PROBLEM_CHARACTERS]


@dataclass(slots=True)
class _NodeNames:
    """The names of all nodes, and of those that are not ready."""

    known: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    def add(self, node: Tree) -> None:
        name = text_at(map_at(node, "metadata"), "name")
        self.known.add(name)
        if is_lost_node(node):
            self.lost.add(name)


def bound_orders_of(
    snapshot: NodeSnapshot,
    generations: Mapping[str, int],
    unschedulable: Mapping[str, int] = MappingProxyType({}),
) -> tuple[OrderBoundPods, ...]:
    """Every order that was applied, also without pods, and every other order that has pods.

    The generation is 0 for an order that the journal does not know, as after a lost disk.
    """
    found = {
        order_id: OrderBoundPods(
            id=order_id,
            generation=generation,
            bound=snapshot.bound_pods[order_token(order_id)],
            unschedulable=unschedulable.get(order_id),
        )
        for order_id, generation in generations.items()
    }
    for token, order_id in snapshot.order_ids.items():
        # Every user of the cluster may label a pod, and the hub would refuse the whole report for
        # an id that is too long.
        is_valid = is_order_id(order_id) and order_token(order_id) == token
        if is_valid and order_id not in found and len(found) < MAX_ORDERS:
            found[order_id] = OrderBoundPods(
                id=order_id, generation=0, bound=snapshot.bound_pods[token]
            )
    return tuple(found[order_id] for order_id in sorted(found))
