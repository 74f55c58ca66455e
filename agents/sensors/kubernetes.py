"""The member cluster: free capacity node by node, our orders' bound pods, the kinds it serves.

Polls: nodes and the pods that have not ended, in pages. On an edge cluster that is a few hundred
    objects
every ten seconds, and nothing is kept in between; a watch would hold all of them in memory.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.member.api import ApiError
from agents.member.discovery import Discovery
from agents.protocol.report import MOST_ORDERS, Executor, OrderBound
from agents.protocol.shapes import DEFAULT_TEXT_CHARACTERS
from agents.protocol.topics import order_token
from agents.sensors.nodes import LabelChoice, Snapshot, node_facts, summarise
from agents.sensors.pods import PodFacts, pod_facts
from agents.sensors.sensor import Look

UNREACHABLE: Final = "kubernetes-unreachable"
NODE_FIGURES: Final = "node-figures-unreadable"

_NODES: Final = "/api/v1/nodes"
_PODS: Final = "/api/v1/pods"
_NOT_ENDED: Final = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
_BAD_REQUEST: Final = 400

Generations = Callable[[], Mapping[str, int]]
"""Gives the applied generation of every order of this site, by id."""


@dataclass(slots=True)
class KubernetesSensor:
    """Looks at one member cluster.

    Attributes:
        discovery: the member's API and its kinds.
        labels: which node labels tell classes apart.
        generations: applied generations; read before the pods are, so that a report never claims a
            newer generation than the pods it counts.
        is_active: whether this agent applies orders here now.
    """

    discovery: Discovery
    labels: LabelChoice
    generations: Generations
    is_active: Callable[[], bool]
    name: str = "kubernetes"
    _version: str | None = field(default=None, init=False)

    async def look(self) -> Look:
        """Looks once; a cluster that does not answer is a fault in the report, not an error."""
        generations = dict(self.generations())
        try:
            return await asyncio.to_thread(self._look, generations)
        except ApiError as error:
            executor = Executor(
                is_active=self.is_active(), server_version=self._version, is_reachable=False
            )
            fault = UNREACHABLE if error.code == 0 else f"kubernetes-{error.code}"
            return Look(executor=executor, faults=(fault,))

    def _look(self, generations: Mapping[str, int]) -> Look:
        kinds = self.discovery.kinds()
        self._version = kinds.version
        nodes = self.discovery.api.fold(_NODES, None, lambda node: node_facts(node, self.labels))
        snapshot = summarise(nodes, self._pods())
        return Look(
            node_classes=snapshot.classes,
            orders=bound_orders(snapshot, generations),
            api_kinds=kinds.placeable(),
            executor=Executor(is_active=self.is_active(), server_version=self._version),
            faults=(NODE_FIGURES,) if snapshot.left_out else None,
        )

    def _pods(self) -> list[PodFacts]:
        try:
            return self.discovery.api.fold(_PODS, _NOT_ENDED, pod_facts)
        except ApiError as error:
            if error.code != _BAD_REQUEST:
                raise
            return self.discovery.api.fold(_PODS, None, pod_facts)  # a server without that selector


def bound_orders(snapshot: Snapshot, generations: Mapping[str, int]) -> tuple[OrderBound, ...]:
    """Every order that was applied, with 0 if it has no pod, and every other that has pods.

    Generation 0: pods of an order that our journal does not know, as after a lost disk.
    """
    found = {
        order_id: OrderBound(
            id=order_id, generation=generation, bound=snapshot.bound[order_token(order_id)]
        )
        for order_id, generation in generations.items()
    }
    for token, order_id in snapshot.order_ids.items():
        # Anybody in the cluster may label a pod: such words must not spoil the whole report.
        is_told = len(order_id) <= DEFAULT_TEXT_CHARACTERS and order_token(order_id) == token
        if is_told and order_id not in found and len(found) < MOST_ORDERS:
            found[order_id] = OrderBound(id=order_id, generation=0, bound=snapshot.bound[token])
    return tuple(found[order_id] for order_id in sorted(found))
