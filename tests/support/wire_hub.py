"""The hub's side of the wire for agent tests: signs indexes and contents as the scheduler does."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from agents.protocol.envelope import seal, unseal
from agents.protocol.hub_requests import HUB_REQUEST, HubRequest
from agents.protocol.index import DESIRED_INDEX, DesiredIndex, IndexEntry, digest_of
from agents.protocol.index_delta import INDEX_DELTA, base_of, compute_delta
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import OrderContent, PackedOrder, pack_content, seal_parts
from agents.protocol.shapes import Json
from agents.protocol.topics import site_topic

Message = tuple[str, bytes]
Manifest = dict[str, Any]


@dataclass
class WireHub:
    """Signs what goes down to one site."""

    site: str = "site-a"
    key: SigningKey = field(default_factory=SigningKey.generate)
    epoch: int = 1

    def content(
        self, name: str, *manifests: Manifest, generation: int = 1, **more: Json
    ) -> OrderContent:
        """An order of workload `name` in a namespace of that name."""
        words: dict[str, Json] = {"id": f"hub/{name}/{name}/1", "namespace": name, "name": name}
        words |= {"site": self.site, "generation": generation, "manifests": manifests}
        return OrderContent(**(words | more))

    def orders(self, *packed: PackedOrder) -> list[Message]:
        """Retained contents."""
        return [part for each in packed for part in seal_parts(each, site=self.site, key=self.key)]

    def index(self, sequence: int, *packed: PackedOrder, **more: Json) -> Message:
        """The retained index."""
        return self.index_of(sequence, [each.entry for each in packed], **more)

    def index_of(self, sequence: int, entries: Iterable[IndexEntry], **more: Json) -> Message:
        """The retained index, from its lines."""
        ordered = tuple(sorted(entries, key=lambda entry: entry.id))
        words: dict[str, Json] = {"site": self.site, "site_uid": "uid-1", "epoch": self.epoch}
        words |= {"sequence": sequence, "orders": ordered}
        return self.sealed("desired", DESIRED_INDEX.encode(DesiredIndex(**(words | more))))

    def delta(
        self, sequence: int, base: Message, entries: Iterable[IndexEntry], **more: Json
    ) -> Message:
        """The delta that makes the index of these lines of a base; `more` replaces fields."""
        payload = self.payload_of(base)
        held = base_of(DESIRED_INDEX.decode(payload), payload)
        ordered = tuple(sorted(entries, key=lambda entry: entry.id))
        words: dict[str, Json] = {"site": self.site, "site_uid": "uid-1", "epoch": self.epoch}
        made = DesiredIndex(**(words | {"sequence": sequence, "orders": ordered}))
        if made.version == held.index.version:
            made = replace(made, is_base=True)
        delta = compute_delta(held, made, digest_of(DESIRED_INDEX.encode(made)))
        return self.sealed("desired/delta", INDEX_DELTA.encode(replace(delta, **more)))

    def payload_of(self, message: Message) -> bytes:
        """What a message says."""
        name, data = message
        return unseal(data, topic=name, trusted=TrustedKeys([self.key.public]))

    def request(self, *wants: str, agent: str | None = None) -> Message:
        """A question to the site's agents."""
        asked = HubRequest(site=self.site, epoch=self.epoch, agent=agent, wants=wants)
        return self.sealed("hub", HUB_REQUEST.encode(asked))

    def sealed(self, kind: str, payload: bytes) -> Message:
        """Any payload under a topic of this site."""
        name = site_topic(self.site, kind)  # type: ignore[arg-type]  # tests also make up kinds
        return name, seal(payload, topic=name, key=self.key)


def packed(*contents: OrderContent) -> list[PackedOrder]:
    """Contents, packed."""
    return [pack_content(each) for each in contents]


def config_map(name: str = "settings", **data: str) -> Manifest:
    """A small manifest."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web", replicas: int = 2) -> Manifest:
    """A manifest with a pod template."""
    labels = {"app": name}
    container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "500m"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": spec,
    }


def autoscaler(target: str = "web") -> Manifest:
    """A manifest that scales a Deployment."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaler"},
        "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 9},
    }


def job(name: str = "night", **spec: object) -> Manifest:
    """A manifest that runs once."""
    container = {"name": "c", "image": "busybox"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }
