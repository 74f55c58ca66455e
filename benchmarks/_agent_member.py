"""A member cluster of any size for the agent's benchmark: its pods are made as they are asked for.

`python -m benchmarks._agent_member PORT NODES PODS CHURN CERTIFICATE KEY`: CHURN pods a second are
replaced, and every watch hears of it. Nothing but a generation of each pod is kept here, so 100,000
pods cost this process little. It speaks the part of the Kubernetes API that an agent uses.
"""

import asyncio
import json
import ssl
import sys
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from scheduler.runtime.clock import SystemClock

_CLOCK = SystemClock()
_PAGE_PODS = 500
_BOOKMARK_SECONDS = 10.0
_TICK_SECONDS = 0.1
_ZONES, _CLASSES = 4, 5

_AGGREGATED_CORE = (
    ("namespaces", "Namespace", "Cluster"),
    ("pods", "Pod", "Namespaced"),
    ("nodes", "Node", "Cluster"),
    ("configmaps", "ConfigMap", "Namespaced"),
    ("services", "Service", "Namespaced"),
)
_AGGREGATED_APPS = (("deployments", "Deployment", "Namespaced"),)
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _discovery(group: str, version: str, kinds: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    resources = [
        {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": _VERBS}
        for plural, kind, scope in kinds
    ]
    name = {"name": group} if group else {}
    return {
        "kind": "APIGroupDiscoveryList",
        "items": [{"metadata": name, "versions": [{"version": version, "resources": resources}]}],
    }


_DISCOVERY = {
    "/version": {"gitVersion": "v1.36.0"},
    "/api": _discovery("", "v1", _AGGREGATED_CORE),
    "/apis": _discovery("apps", "v1", _AGGREGATED_APPS),
}


@dataclass(slots=True)
class SyntheticCluster:
    """Nodes and pods by number.

    Attributes:
        nodes: number of nodes.
        pods: number of pods, spread evenly.
        churn: pods replaced a second.
    """

    nodes: int
    pods: int
    churn: float
    version: int = 1_000
    generations: dict[int, int] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    watches: set[web.StreamResponse] = field(default_factory=set)

    def node(self, number: int) -> dict[str, Any]:
        """One node: a few labels and conditions, and images as a kubelet lists them."""
        return {
            "metadata": {
                "name": f"node-{number:05d}",
                "uid": f"node-uid-{number}",
                "resourceVersion": "1",
                "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/hostname": f"node-{number:05d}",
                    "topology.kubernetes.io/zone": f"zone-{number % _ZONES}",
                    "node.kubernetes.io/instance-type": f"type-{number % _CLASSES}",
                },
            },
            "spec": {},
            "status": {
                "allocatable": {
                    "cpu": "63500m",
                    "memory": "257698037760",
                    "pods": "110",
                    "ephemeral-storage": "900000000000",
                },
                "conditions": [
                    {"type": kind, "status": "True" if kind == "Ready" else "False"}
                    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
                ],
                "nodeInfo": {"architecture": "amd64", "kubeletVersion": "v1.36.0"},
                "images": [
                    {
                        "names": [f"registry.example/app-{each}@sha256:{each:064x}"],
                        "sizeBytes": 90_000_000 + each,
                    }
                    for each in range(20)
                ],
            },
        }

    def pod(self, number: int) -> dict[str, Any]:
        """One pod: with the managed fields and statuses that make a real one about 4 kB."""
        generation = self.generations.get(number, 0)
        managed: dict[str, Any] = {
            f"f:field-{each}": {"f:nested": {}, ".": {}} for each in range(30)
        }
        return {
            "metadata": {
                "name": f"pod-{number:06d}-{generation}",
                "namespace": f"team-{number % 50}",
                "uid": f"{number:08d}-0000-0000-0000-{generation:012d}",
                "resourceVersion": str(self.version),
                "labels": {"app": f"app-{number % 500}", "pod-template-hash": "5f6d7c8b9"},
                "managedFields": [
                    {"manager": "kube-controller-manager", "fieldsV1": managed},
                    {"manager": "kubelet", "subresource": "status", "fieldsV1": managed},
                ],
            },
            "spec": {
                "nodeName": f"node-{number % self.nodes:05d}",
                "containers": [
                    {
                        "name": "main",
                        "image": f"registry.example/app-{number % 20}",
                        "resources": {
                            "requests": {"cpu": f"{100 + number % 7 * 50}m", "memory": "256Mi"},
                            "limits": {"memory": "512Mi"},
                        },
                    }
                ],
            },
            "status": {
                "phase": "Running",
                "conditions": [
                    {"type": kind, "status": "True"}
                    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
                ],
                "containerStatuses": [
                    {"name": "main", "ready": True, "state": {"running": {"startedAt": "x"}}}
                ],
            },
        }

    def replace_pod(self, number: int) -> list[bytes]:
        """Replaces a pod by its successor; the events of it."""
        events = []
        self.version += 1
        gone = self.pod(number)
        events.append({"type": "DELETED", "object": gone})
        self.generations[number] = self.generations.get(number, 0) + 1
        self.version += 1
        events.append({"type": "ADDED", "object": self.pod(number)})
        return [json.dumps(each).encode() + b"\n" for each in events]

    async def keep_replacing(self) -> None:
        """Replaces pods for ever, at the rate of `churn`, and sends bookmarks."""
        number, owed, bookmark_at = 0, 0.0, _CLOCK.monotonic() + _BOOKMARK_SECONDS
        while True:
            await _CLOCK.sleep(_TICK_SECONDS)
            owed += self.churn * _TICK_SECONDS
            lines: list[bytes] = []
            while owed >= 1 and self.pods:
                owed -= 1
                lines += self.replace_pod(number % self.pods)
                number += 1
            if _CLOCK.monotonic() > bookmark_at:
                bookmark_at = _CLOCK.monotonic() + _BOOKMARK_SECONDS
                found = {"metadata": {"resourceVersion": str(self.version)}}
                lines.append(json.dumps({"type": "BOOKMARK", "object": found}).encode() + b"\n")
            for watch in list(self.watches) if lines else ():
                try:
                    await watch.write(b"".join(lines))
                except (ConnectionError, RuntimeError):
                    self.watches.discard(watch)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers any request."""
        path = request.path
        if path in _DISCOVERY:
            return web.json_response(_DISCOVERY[path])
        if request.query.get("watch") in {"1", "true"}:
            return await self._watch(request)
        if path == "/api/v1/pods" and "labelSelector" not in request.query:
            return self._list(request, self.pods, self.pod)
        if path == "/api/v1/nodes" and "labelSelector" not in request.query:
            return self._list(request, self.nodes, self.node)
        return await self._answer_object(request)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if request.path == "/api/v1/pods":
            self.watches.add(response)
        try:
            await _CLOCK.sleep(float(request.query.get("timeoutSeconds", "300")))
        finally:
            self.watches.discard(response)
        return response

    def _list(self, request: web.Request, count: int, make: Any) -> web.Response:  # noqa: ANN401 - a function
        start = int(request.query.get("continue") or 0)
        end = min(count, start + min(_PAGE_PODS, int(request.query.get("limit", "500"))))
        metadata = {"resourceVersion": str(self.version)}
        if end < count:
            metadata["continue"] = str(end)
        return web.json_response(
            {"metadata": metadata, "items": [make(each) for each in range(start, end)]}
        )

    async def _answer_object(self, request: web.Request) -> web.Response:
        path = request.path
        if request.method in {"POST", "PUT", "PATCH"}:
            tree = json.loads(await request.read())
            if request.method == "POST":
                path = f"{path}/{tree['metadata']['name']}"
            self.version += 1
            tree.setdefault("metadata", {})["resourceVersion"] = str(self.version)
            self.objects[path] = tree
            return web.json_response(tree)
        if path in self.objects:
            return web.json_response(self.objects[path])
        if "limit" in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        return web.json_response({"kind": "Status", "code": 404}, status=404)


async def serve(words: list[str]) -> None:
    """Serves until it is killed."""
    port, nodes, pods = (int(each) for each in words[:3])
    cluster = SyntheticCluster(nodes, pods, float(words[3]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(words[4], words[5])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cluster.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    await cluster.keep_replacing()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
