"""Node leases: the heartbeat of kubelets (KEP-589)."""

import logging

from scheduler.control.ports.hub import LEASES, NAMESPACES, Conflict, HubError, NotFound, Object
from scheduler.hub.client import HubClient
from scheduler.model.formatters import format_rfc3339_micros
from scheduler.runtime.clock import Clock
from scheduler.simulation.cluster import faults
from scheduler.simulation.cluster.kubelet import is_simulated
from scheduler.simulation.cluster.mirror import Mirror
from scheduler.simulation.cluster.objects import SimulatedNode

_log = logging.getLogger(__name__)

_NAMESPACE = "kube-node-lease"
_RENEW_SECONDS = 10.0
_LEASE_DURATION_SECONDS = 40
"""Both are the defaults of a kubelet."""


class NodeLeases:
    """Renews the lease of every simulated node, except those with the fault not-ready."""

    def __init__(self, *, client: HubClient, mirror: Mirror, clock: Clock) -> None:
        self._client = client
        self._mirror = mirror
        self._clock = clock

    async def run(self) -> None:
        """Renews until cancelled; a failed renewal is tried again in the next round."""
        while True:
            for node in self._mirror.nodes():
                fault = faults.fault_of(node.metadata).name
                if is_simulated(node) and fault != faults.NOT_READY:
                    try:
                        await self._renew(node)
                    except HubError as error:
                        _log.info("cannot renew the lease of %s: %s", node.metadata.name, error)
            await self._clock.sleep(_RENEW_SECONDS)

    async def _renew(self, node: SimulatedNode) -> None:
        name = node.metadata.name
        spec: Object = {
            "holderIdentity": name,
            "leaseDurationSeconds": _LEASE_DURATION_SECONDS,
            "renewTime": format_rfc3339_micros(self._clock.now()),
        }
        try:
            await self._client.merge_patch(LEASES, name, {"spec": spec}, namespace=_NAMESPACE)
        except NotFound:
            await self._create(node, spec)

    async def _create(self, node: SimulatedNode, spec: Object) -> None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": node.metadata.name}
        meta = {
            "name": node.metadata.name,
            "namespace": _NAMESPACE,
            "ownerReferences": [{**owner, "uid": node.metadata.uid}],
        }
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": meta,
            "spec": spec,
        }
        try:
            await self._client.create(LEASES, body)
        except NotFound:
            await self._create_namespace()
            await self._client.create(LEASES, body)

    async def _create_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
        try:
            await self._client.create(NAMESPACES, body)
        except Conflict:
            return
