"""A node of a site's cluster is lost: from its pods through the agent's words to the new site."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.protocol.status import SITE_STATUS, OrderStatus, SiteStatusMessage
from agents.protocol.topics import order_token
from agents.sensors.not_ready import (
    NotReadyPod,
    NotReadySpells,
    is_lost_node,
    not_ready_pod_of,
)
from agents.sensors.pods import node_of
from scheduler.control.ports.agents import OrderState
from scheduler.mqtt.site_reports import order_status_report_of
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.faults import FAULT_ANNOTATION
from scheduler.simulation.cluster.objects import DEPLOYMENTS, NODES, PODS
from tests.support.failing_city import FailingCity, pinned
from tests.support.fake_cluster import FakeCluster, deployment

SITE = "m1"


def two_nodes() -> FakeCluster:
    return FakeCluster(NodeDescription(name="node", count=2, allocatable={"cpu": "2"}))


@dataclass
class CityWithCluster(FailingCity):
    """A city whose first site has a simulated cluster, and reports as an agent reads that."""

    cluster: FakeCluster = field(default_factory=two_nodes)
    tolerates_seconds: int = 20
    _spells: NotReadySpells = field(default_factory=NotReadySpells)
    _played_seconds: float = 0.0

    def lose_node(self) -> None:
        """One node's kubelet reports no more."""
        fault = {"metadata": {"annotations": {FAULT_ANNOTATION: "not-ready"}}}
        self.cluster.patch(NODES, ("", "node-1"), fault)
        self.room[SITE] = 2

    def _order_state(self, name: str, order_id: str, generation: int, replicas: int) -> OrderState:
        if name != SITE:
            return super()._order_state(name, order_id, generation, replicas)
        self._play(order_id, replicas)
        bodies = [body for (kind, _), body in self.cluster.objects.items() if kind is PODS]
        nodes = [body for (kind, _), body in self.cluster.objects.items() if kind is NODES]
        lost = {one["metadata"]["name"] for one in nodes if is_lost_node(one)}
        known = {one["metadata"]["name"] for one in nodes}
        found = [not_ready_pod_of(one, known_nodes=known, lost_nodes=lost) for one in bodies]
        waiting: list[NotReadyPod] = [one for one in found if one is not None]
        entries = self._spells.update(waiting, self.loops.clock.monotonic())
        status = self.cluster.objects[DEPLOYMENTS, ("city", "app")].get("status", {})
        ready = status.get("readyReplicas", 0)
        message = SiteStatusMessage(
            site=name,
            boot_id="b",
            boot_number=1,
            sequence=1,
            observed_seconds_ago=0.0,
            orders=(
                OrderStatus(
                    id=order_id,
                    generation=generation,
                    applied_generation=generation,
                    phase="Ready" if ready >= replicas else "Applied",
                    desired=replicas,
                    ready=ready,
                    bound=sum(1 for one in bodies if node_of(one)),
                    not_ready=entries.get(order_id),
                ),
            ),
        )
        read = SITE_STATUS.decode(SITE_STATUS.encode(message))
        return order_status_report_of(read).orders[order_id]

    def _play(self, order_id: str, replicas: int) -> None:
        tolerates: list[dict[str, Any]] = [
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": self.tolerates_seconds,
            }
        ]
        body = deployment("app", replicas, tolerations=tolerates)
        meta = body["spec"]["template"]["metadata"]
        meta["labels"][ORDER_LABEL] = order_token(order_id)
        meta["annotations"] = {ORDER_ID_ANNOTATION: order_id}
        known = self.cluster.objects.get((DEPLOYMENTS, ("city", "app")))
        if known is None or known["spec"]["replicas"] != replicas:
            self.cluster.apply(body)
        now = self.loops.clock.monotonic()
        self.cluster.settle(now - self._played_seconds if self._played_seconds else 5.0)
        self._played_seconds = now


@pytest.mark.parametrize(
    ("tolerates_seconds", "words"), [(20, "no node for its pods"), (3_600, "node lost")]
)
async def test_the_pods_of_a_lost_node_are_replaced_at_another_site(
    tolerates_seconds: int, words: str
) -> None:
    city = CityWithCluster({SITE: 4, "m2": 4}, tolerates_seconds=tolerates_seconds)
    async with city.started(pinned("app", SITE, replicas=4)):
        await city.live(60)
        assert (city.where(), city.status().phase) == ({SITE: 4}, "Running")
        city.lose_node()
        await city.live(300)
        assert (city.where(), city.leaving()) == ({SITE: 2, "m2": 2}, {})
        [move] = city.status().failover.unready  # type: ignore[union-attr]
        assert (move.site, move.to, move.replicas) == (SITE, ("m2",), 2)
        assert city.condition()[2].endswith(f"not ready ({words})")
        assert city.status().phase == "Running", "what the lost node ran is given up"
