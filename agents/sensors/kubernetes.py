"""The member cluster: free capacity node by node, our orders' bound pods, the kinds it serves.

Polls: nodes and the pods that have not ended, in pages. On an edge cluster that is a few hundred
    objects
every ten seconds, and nothing is kept in between; a watch would hold all of them in memory.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.member.api import MemberApiError
from agents.member.discovery import Discovery
from agents.protocol.report import MAX_ORDERS, OrderBoundPods, ReportedExecutor
from agents.protocol.shapes import DEFAULT_TEXT_CHARACTERS
from agents.protocol.topics import order_token
from agents.sensors.nodes import LabelChoice, NodeSnapshot, node_facts_of, summarise_nodes
from agents.sensors.pods import PodFacts, pod_facts_of
from agents.sensors.sensor import Observation

FAULT_UNREACHABLE: Final = "kubernetes-unreachable"
FAULT_NODE_FIGURES: Final = "node-figures-unreadable"

_NODES_PATH: Final = "/api/v1/nodes"
_PODS_PATH: Final = "/api/v1/pods"
_UNFINISHED_PODS_QUERY: Final = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
_BAD_REQUEST: Final = 400

AppliedGenerationsReader = Callable[[], Mapping[str, int]]
"""Gives the applied generation of every order of this site, by id."""


@dataclass(slots=True, kw_only=True)
class KubernetesSensor:
    """Looks at one member cluster.

    Attributes:
        discovery: the member's API and its kinds.
        label_choice: which node labels tell classes apart.
        read_applied_generations: applied generations; read before the pods are, so that a report never claims a
            newer generation than the pods it counts.
        is_active: whether this agent applies orders here now.
    """

    discovery: Discovery
    label_choice: LabelChoice
    read_applied_generations: AppliedGenerationsReader
    is_active: Callable[[], bool]
    name: str = "kubernetes"
    _version: str | None = field(default=None, init=False)

    async def observe(self) -> Observation:
        """Looks once; a cluster that does not answer is a fault in the report, not an error."""
        generations = dict(self.read_applied_generations())
        try:
            return await asyncio.to_thread(self._read_cluster, generations)
        except MemberApiError as error:
            executor = ReportedExecutor(
                is_active=self.is_active(), server_version=self._version, is_reachable=False
            )
            fault = FAULT_UNREACHABLE if error.code == 0 else f"kubernetes-{error.code}"
            return Observation(executor=executor, faults=(fault,))

    def _read_cluster(self, generations: Mapping[str, int]) -> Observation:
        kinds = self.discovery.kinds()
        self._version = kinds.version
        nodes = self.discovery.api.list_mapped(
            _NODES_PATH, None, lambda node: node_facts_of(node, self.label_choice)
        )
        snapshot = summarise_nodes(nodes, self._list_pods())
        return Observation(
            node_classes=snapshot.classes,
            orders=bound_orders_of(snapshot, generations),
            api_kinds=kinds.creatable_names(),
            executor=ReportedExecutor(is_active=self.is_active(), server_version=self._version),
            faults=(FAULT_NODE_FIGURES,) if snapshot.unreadable_nodes else None,
        )

    def _list_pods(self) -> list[PodFacts]:
        try:
            return self.discovery.api.list_mapped(_PODS_PATH, _UNFINISHED_PODS_QUERY, pod_facts_of)
        except MemberApiError as error:
            if error.code != _BAD_REQUEST:
                raise
            return self.discovery.api.list_mapped(
                _PODS_PATH, None, pod_facts_of
            )  # a server without that selector


def bound_orders_of(
    snapshot: NodeSnapshot, generations: Mapping[str, int]
) -> tuple[OrderBoundPods, ...]:
    """Every order that was applied, with 0 if it has no pod, and every other that has pods.

    Generation 0: pods of an order that our journal does not know, as after a lost disk.
    """
    found = {
        order_id: OrderBoundPods(
            id=order_id, generation=generation, bound=snapshot.bound_pods[order_token(order_id)]
        )
        for order_id, generation in generations.items()
    }
    for token, order_id in snapshot.order_ids.items():
        # Anybody in the cluster may label a pod: such words must not spoil the whole report.
        is_told = len(order_id) <= DEFAULT_TEXT_CHARACTERS and order_token(order_id) == token
        if is_told and order_id not in found and len(found) < MAX_ORDERS:
            found[order_id] = OrderBoundPods(
                id=order_id, generation=0, bound=snapshot.bound_pods[token]
            )
    return tuple(found[order_id] for order_id in sorted(found))
