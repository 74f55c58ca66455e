"""The member cluster: free capacity by node, the bound pods of orders, the kinds it serves.

It watches nodes and unfinished pods and keeps a few numbers of each (`records.py`), so that a quiet
cluster costs next to nothing between two reports. Where it may not watch, it lists them in pages
for each report and keeps nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar

from agents.member.api import MemberApiError, Tree
from agents.member.discovery import Discovery
from agents.member.watch import Watch, WatchRefused
from agents.protocol.bounds import MAX_ORDERS
from agents.protocol.report import OrderBoundPods, ReportedExecutor
from agents.protocol.topics import is_order_id, order_token
from agents.sensors.nodes import LabelChoice, NodeSnapshot, summarise_nodes
from agents.sensors.records import (
    KeptNode,
    KeptPod,
    OrderPods,
    kept_node_of,
    kept_pod_of,
    order_pods_of,
)
from agents.sensors.sensor import Observation

T = TypeVar("T")

FAULT_UNREACHABLE: Final = "kubernetes-unreachable"
FAULT_NODE_FIGURES: Final = "node-figures-unreadable"
FAULT_WATCH_REFUSED: Final = "kubernetes-watch-refused"

_NODES_PATH: Final = "/api/v1/nodes"
_PODS_PATH: Final = "/api/v1/pods"
_UNFINISHED_PODS_QUERY: Final = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
_PROBE_PATH: Final = "/api/v1/nodes?limit=1&resourceVersion=0"
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FIRST_LIST_SECONDS: Final = 6.0
"""Waits for a list so long, of nodes and of pods: both within the time that a sensor has, because
one that takes longer counts as a fault and is set aside."""

_BAD_REQUEST: Final = 400
_MAX_PROBLEM_CHARACTERS: Final = 240
_MAX_NAMED_NODES: Final = 500

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
        sealing_key: the public key for which the hub seals Secrets.
        is_watching: whether to watch; False lists everything each time.
        on_fault: called with what went wrong in a watch that should not have.
        name: slug of the sensor.
    """

    discovery: Discovery
    label_choice: LabelChoice
    read_applied_generations: AppliedGenerationsReader
    is_active: Callable[[], bool]
    asked_labels: Callable[[], Iterable[str]] = tuple
    sealing_key: str | None = None
    is_watching: bool = False
    on_fault: Callable[[Exception], None] = lambda _error: None
    name: str = "kubernetes"
    _node_watch: Watch[KeptNode] | None = field(default=None, init=False)
    _pod_watch: Watch[KeptPod] | None = field(default=None, init=False)
    _choice: LabelChoice = field(default_factory=LabelChoice, init=False)
    _sight: "_Sight | None" = field(default=None, init=False)
    _sight_versions: tuple[int, int] | None = field(default=None, init=False)
    _is_refused: bool = field(default=False, init=False)
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

    def close(self) -> None:
        """Ends the watches."""
        for each in (self._node_watch, self._pod_watch):
            if each is not None:
                each.stop()

    def _read_cluster(self, generations: Mapping[str, int]) -> Observation:
        kinds = self.discovery.kinds()
        self._version = kinds.version
        sight = self._look()
        self._node_count = sight.schedulable_nodes
        faults = (
            *((FAULT_NODE_FIGURES,) if sight.snapshot.unreadable_nodes else ()),
            *((FAULT_WATCH_REFUSED,) if self._is_refused else ()),
        )
        return Observation(
            node_classes=sight.snapshot.classes,
            orders=bound_orders_of(sight.snapshot, generations, sight.of_orders.unschedulable),
            pod_problems=sight.of_orders.problems,
            not_ready_pods=tuple(sight.of_orders.not_ready),
            api_kinds=kinds.creatable_names(),
            cluster_kinds=kinds.cluster_scoped_names(),
            executor=ReportedExecutor(
                is_active=self.is_active(),
                server_version=self._version,
                sealing_key=self.sealing_key,
            ),
            faults=faults or None,
        )

    def _label_choice(self) -> LabelChoice:
        is_large = self._node_count is None or self._node_count > _MAX_NAMED_NODES
        return self.label_choice.asked_for(self.asked_labels(), is_large=is_large)

    def _look(self) -> "_Sight":
        if not self.is_watching:
            return self._poll()
        try:
            sight = self._read_watches()
        except WatchRefused:
            self._is_refused = True
            return self._poll()
        self._is_refused = False
        return sight

    def _read_watches(self) -> "_Sight":
        """What the watches know; counted again only if something has changed.

        Raises:
            MemberApiError: the server does not answer now, whatever the watches know.
        """
        choice, nodes, pods = self._label_choice(), self._node_watch, self._pod_watch
        if nodes is None or pods is None:
            self._choice = choice
            nodes = self._node_watch = self._watch(
                _NODES_PATH, None, lambda node: kept_node_of(node, self._choice)
            )
            pods = self._pod_watch = self._watch(_PODS_PATH, _UNFINISHED_PODS_QUERY, kept_pod_of)
        elif choice != self._choice:
            self._choice = choice
            nodes.list_again()
        # A watch that is silent may be one that the network has cut.
        self.discovery.api.get(_PROBE_PATH, accept=_METADATA_ONLY)
        kept_nodes, node_version = nodes.snapshot(_FIRST_LIST_SECONDS)
        kept_pods, pod_version = pods.snapshot(_FIRST_LIST_SECONDS)
        versions = (node_version, pod_version)
        if self._sight is None or self._sight_versions != versions:
            self._sight, self._sight_versions = _sight_of(kept_nodes, kept_pods), versions
        return self._sight

    def _watch(
        self, path: str, query: Mapping[str, str] | None, read: Callable[[Tree], T | None]
    ) -> "Watch[T]":
        watch = Watch(
            api=self.discovery.api, path=path, query=query, read=read, on_fault=self.on_fault
        )
        watch.start()
        return watch

    def _poll(self) -> "_Sight":
        """Lists all nodes and pods, and keeps nothing."""
        choice, api = self._label_choice(), self.discovery.api
        nodes = api.list_mapped(_NODES_PATH, None, lambda node: kept_node_of(node, choice))
        try:
            pods = api.list_mapped(_PODS_PATH, _UNFINISHED_PODS_QUERY, kept_pod_of)
        except MemberApiError as error:
            if error.code != _BAD_REQUEST:
                raise
            # The server does not support that selector; `kept_pod_of` leaves finished pods out.
            pods = api.list_mapped(_PODS_PATH, None, kept_pod_of)
        return _sight_of(nodes, pods)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What is seen of the cluster at one time."""

    snapshot: NodeSnapshot
    of_orders: OrderPods
    schedulable_nodes: int


def _sight_of(nodes: Sequence[KeptNode], pods: Sequence[KeptPod]) -> _Sight:
    taking_pods = [node.facts for node in nodes if node.facts is not None]
    return _Sight(
        summarise_nodes(taking_pods, (pod.facts for pod in pods if pod.facts is not None)),
        order_pods_of(
            pods,
            known_nodes={node.name for node in nodes},
            lost_nodes={node.name for node in nodes if node.is_lost},
        ),
        len(taking_pods),
    )


def _problem_of(error: MemberApiError) -> str:
    """Why the cluster is not reached; of a server that answers only its code, not its words.

    The text is cut to the report's bound, and what cannot be printed is escaped.
    """
    if error.code:
        return f"its API server answers with {error.code}"
    return ascii(str(error))[1:-1][:_MAX_PROBLEM_CHARACTERS]


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
