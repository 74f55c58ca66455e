"""Hub and agent of neighbouring versions work together, in both directions.

`tests/fixtures/wire-step-11` holds what hub and agent of commit 1a0a7c6 sent each other. The agent
of this file speaks that version by itself: its own envelope, its own topics, the recorded payloads.
Recordings are added with each version, never edited.
"""

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.support.member_clusters import Cluster, api_servers, wait_until
from tests.support.ports import free_ports
from tests.support.production_broker import mosquitto
from tests.support.site_with_agent import SITE_OBJECTS
from tests.support.tools import require_tool
from tests.support.up import ROOT, Up, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

RECORDED = ROOT / "tests" / "fixtures" / "wire-step-11"
SITE = "m1"
V5 = aiomqtt.ProtocolVersion.V5
WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {name: tests}
spec: {namespaces: [default]}
---
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: default}
spec:
  dataClass: general-1
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
          - name: web
            image: registry.example/web:1
            resources: {requests: {cpu: 500m, memory: 256Mi}}
"""


def recorded(name: str) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((RECORDED / name).read_text())
    return tree


def opened(envelope: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """The payload of an envelope, of which nothing is verified."""
    data = base64.b64decode(envelope["payload"])
    return json.loads(zlib.decompress(data) if envelope["encoding"] == "deflate" else data)


@dataclass
class LastAgent:
    """An agent of the version before, as far as messages go; it applies an order by saying so."""

    broker: str
    hub_key: str
    key: Ed25519PrivateKey = field(
        default_factory=lambda: Ed25519PrivateKey.from_private_bytes(b"a" * 32)
    )
    index: dict[str, Any] | None = None
    digest: str = ""
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    sequence: int = 0
    base: int = 0

    @property
    def public(self) -> str:
        raw = self.key.public_key().public_bytes_raw()
        return f"ed25519:{base64.b64encode(raw).decode()}"

    def seal(self, tree: dict[str, Any], topic: str) -> bytes:
        kid = sha256(self.key.public_key().public_bytes_raw()).hexdigest()[:16]
        payload = zlib.compress(json.dumps(tree).encode())
        head = f"kapok-envelope\nEd25519\n{kid}\ndeflate\n{topic}\n".encode()
        envelope = {
            "alg": "Ed25519",
            "kid": kid,
            "encoding": "deflate",
            "payload": base64.b64encode(payload).decode(),
            "signature": base64.b64encode(self.key.sign(head + payload)).decode(),
            "publicKey": self.public,
        }
        return json.dumps(envelope).encode()

    def unseal(self, data: bytes, topic: str) -> bytes:
        envelope = json.loads(data)
        payload = base64.b64decode(envelope["payload"])
        kid, encoding = envelope["kid"], envelope["encoding"]
        head = f"kapok-envelope\nEd25519\n{kid}\n{encoding}\n{topic}\n".encode()
        raw = base64.b64decode(self.hub_key.removeprefix("ed25519:"))
        signature = base64.b64decode(envelope["signature"])
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, head + payload)
        return zlib.decompress(payload) if encoding in ("deflate", "part") else payload

    def take(self, topic: str, data: bytes) -> None:
        """Takes a message of the hub, as the version before does."""
        kind = topic.split("/")[3]
        if not data:
            return
        payload = self.unseal(data, topic)
        tree = json.loads(payload)
        if topic.endswith("/desired"):
            self.index, self.digest = tree, f"sha256:{sha256(payload).hexdigest()}"
        elif topic.endswith("/desired/delta"):
            self.refused.append(topic)
        elif kind == "orders":
            self.contents[tree["id"]] = tree
        elif kind == "hub" and "nonce" in tree:
            self.nonces[tree["nonce"]["asker"]] = tree["nonce"]["value"]

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What it sends now: a full report or a delta of one, and a status."""
        known = recorded("agent.json")
        common = {"bootId": "0123456789abcdef", "bootNumber": 1, "observedSecondsAgo": 0.0}
        common["nonces"] = self.nonces
        orders = [one for one in (self.index or {}).get("orders", []) if one["id"] in self.contents]
        bound = [{"id": o["id"], "generation": o["generation"], "bound": 2} for o in orders]
        self.sequence += 1
        if self.base == 0 or self.sequence % 8 == 1:
            self.base = self.sequence
            yield "report", known["report"] | common | {"sequence": self.base, "orders": bound}
        else:
            sent = {"sequence": self.sequence, "base": self.base, "orders": bound}
            yield "report", known["delta"] | common | sent
        self.sequence += 1
        status = known["status"] | common | {"sequence": self.sequence}
        template = status["orders"][0]
        status["orders"] = [
            template
            | dict.fromkeys(("generation", "appliedGeneration"), o["generation"])
            | {"id": o["id"]}
            for o in orders
        ]
        for name in ("index", "siteUid"):
            status.pop(name)
        if self.index:
            places = {name: self.index[name] for name in ("epoch", "sequence")}
            status |= {"index": places | {"digest": self.digest}, "siteUid": self.index["siteUid"]}
            listed = [one["id"] for one in self.index["orders"]]
            status["missing"] = [one for one in listed if one not in self.contents]
        yield "status", status

    async def run(self, stop: threading.Event) -> None:
        host, _, port = self.broker.rpartition(":")
        async with aiomqtt.Client(host, int(port), protocol=V5) as client:
            prefix = f"kapok/v1/{SITE}"
            for kind in ("desired", "desired/delta", "hub"):
                await client.subscribe(f"{prefix}/{kind}", qos=1)
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self.listen(client))
                while not stop.is_set():
                    for kind, tree in self.messages():
                        topic = f"{prefix}/{kind}"
                        await client.publish(topic, self.seal(tree, topic), qos=1)
                    for one in (self.index or {}).get("orders", []):
                        if one["id"] not in self.contents:
                            token = sha256(one["id"].encode()).hexdigest()[:32]
                            await client.subscribe(f"{prefix}/orders/{token}", qos=1)
                    await asyncio.sleep(0.3)  # noqa: TID251 - the pace of this site
                listening.cancel()

    async def listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self.take(str(message.topic), bytes(message.payload))


@contextmanager
def running(agent: LastAgent) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(agent.run(stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


def conditions_of(up: Up, kind: str, name: str) -> dict[str, str]:
    """Status of each condition, by its type."""
    conditions = up.get(kind, name).get("status", {}).get("conditions", [])
    return {one["type"]: one["status"] for one in conditions}


def test_an_agent_of_the_version_before_works_with_the_hub_of_today(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        agent = LastAgent(up.ready["broker"], up.ready["hubKey"])
        up.apply(SITE_OBJECTS.replace("SITE", SITE).replace("KEY", agent.public) + WORKLOAD)
        with running(agent):
            wait_until(
                lambda: conditions_of(up, "workload", "web").get("Ready") == "True",
                lambda: str(up.get("workload", "web").get("status")),
                seconds=60,
            )
            wait_until(lambda: conditions_of(up, "site", SITE).get("Ready") == "True")
        assert agent.nonces, "the hub asks it, and takes its answers for current ones"
        assert not agent.refused, "the hub sent a delta that it could not build on"
        [content] = agent.contents.values()
        assert [one["kind"] for one in content["manifests"]] == ["Deployment"]


async def publish_and_listen(
    port: int, until: threading.Event, seen: list[tuple[str, Any]]
) -> None:
    """Publishes what the hub of the version before had sent, and notes what the agent answers."""
    messages = recorded("hub.json")["messages"]
    with contextlib.suppress(aiomqtt.MqttError):  # the broker ends with the test
        await converse(port, messages, until, seen)


async def converse(
    port: int,
    messages: list[dict[str, Any]],
    until: threading.Event,
    seen: list[tuple[str, Any]],
) -> None:
    async with aiomqtt.Client("127.0.0.1", port, protocol=V5) as client:
        for kind in ("report", "status"):
            await client.subscribe(f"kapok/v1/{SITE}/{kind}", qos=1)
        retained = [one for one in messages if not one["topic"].endswith("/hub")]
        for one in retained:
            await client.publish(
                one["topic"], json.dumps(one["envelope"]).encode(), qos=1, retain=True
            )
        asked_at = 0.0
        async for message in client.messages:
            tree = opened(json.loads(bytes(message.payload)))
            seen.append((str(message.topic).rpartition("/")[2], tree))
            if until.is_set():
                return
            if seen[-1][0] == "status" and not tree.get("index"):
                # So did the hub of that version, to a site that echoes no index.
                for one in retained:
                    await client.publish(
                        one["topic"], json.dumps(one["envelope"]).encode(), qos=1, retain=True
                    )
            if time.monotonic() - asked_at > 1:  # a message that is not retained, until it is taken
                asked_at = time.monotonic()
                [hub] = [one for one in messages if one["topic"].endswith("/hub")]
                await client.publish(hub["topic"], json.dumps(hub["envelope"]).encode(), qos=1)


def test_the_agent_of_today_works_with_a_hub_of_the_version_before(tmp_path: Path) -> None:
    require_tool("mosquitto")
    [port] = free_ports(1)
    conf = f"listener {port} 127.0.0.1\nallow_anonymous true\n"
    known, settings = recorded("hub.json"), tmp_path / "agent.yaml"
    index = opened(known["messages"][0]["envelope"])
    seen: list[tuple[str, Any]] = []
    until = threading.Event()
    with (
        mosquitto(tmp_path, port, {"mosquitto.conf": conf}),
        api_servers(tmp_path / "members", SITE) as [kubeconfig],
    ):
        tree = {
            "site": SITE,
            "data_dir": str(tmp_path / "data"),
            "hub_keys": [known["hubKey"]],
            "host_sensor": False,
            "broker": {"port": port},
            "cluster": {"source": "kubeconfig", "kubeconfig": str(kubeconfig)},
            "report": {"interval_seconds": 0.5, "status_interval_seconds": 0.5},
        }
        settings.write_text(json.dumps(tree))
        hub = threading.Thread(
            target=lambda: asyncio.run(publish_and_listen(port, until, seen)), daemon=True
        )
        hub.start()
        command = [sys.executable, "-m", "agents.cli", "--config", str(settings)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT) as agent:
            try:
                wait_until(lambda: is_answered(seen), seconds=60)
            finally:
                until.set()
                agent.terminate()
        member = Cluster(kubeconfig, "default")
        assert [one["metadata"]["name"] for one in member.get("deployments")] == ["web"]
    statuses = [tree for kind, tree in seen if kind == "status" and tree.get("index")]
    assert {name: statuses[-1]["index"][name] for name in ("epoch", "sequence")} == {
        name: index[name] for name in ("epoch", "sequence")
    }
    assert statuses[-1]["siteUid"] == index["siteUid"]
    assert all(tree["badMessages"] == {} for tree in statuses)


def is_answered(seen: list[tuple[str, Any]]) -> bool:
    """Whether the order is applied, and the nonce of that hub is in reports and statuses."""
    with contextlib.suppress(LookupError):
        status = [tree for kind, tree in seen if kind == "status"][-1]
        report = [tree for kind, tree in seen if kind == "report"][-1]
        phases = [one["phase"] for one in status["orders"]]
        value = "2.922deecd667e8a7cbe3dd439ba377e6b"
        return phases in (["Applied"], ["Ready"]) and all(
            value in one["nonces"].values() for one in (status, report)
        )
    return False
