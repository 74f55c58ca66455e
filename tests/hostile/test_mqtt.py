"""An admitted site that signs its messages properly and lies in them, against a running hub.

Beside it works an honest site. Whatever arrives, the process lives, the honest site gets its work
within seconds, and the data directory opens again.
"""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agents.protocol.envelope import seal
from agents.protocol.keys import SigningKey
from agents.protocol.topics import site_topic
from tests.support.counters import counters
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Json = dict[str, Any]
_WITHIN_SECONDS = 60.0
DEEP = "[" * 100_000 + "]" * 100_000

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: default}}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 1
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: {name}}}
    spec:
      selector: {{matchLabels: {{app: {name}}}}}
      template:
        metadata: {{labels: {{app: {name}}}}}
        spec:
          nodeSelector: {{kubernetes.io/arch: amd64}}
          containers:
          - {{name: web, image: "a:1", resources: {{requests: {{cpu: "1", memory: 1Gi}}}}}}
"""


def node_class(**resources: object) -> Json:
    return {"architecture": "arm64", "free": [{"count": 1, "cpu": "4", **resources}]}


INTENSITY = {"gco2PerKwh": 500.0, "origin": "measured"}
REPORTS: dict[str, Json] = {
    "an age of 31,700 years": {"observedSecondsAgo": 1e12},
    "a figure of that age": {"intensity": {**INTENSITY, "observedSecondsAgo": 1e12}},
    "8Ei of memory": {"nodeClasses": [node_class(memory="8Ei")]},
    "more than 8Ei of memory": {"nodeClasses": [node_class(memory="9999999Ei")]},
    "1e308 of memory": {"nodeClasses": [node_class(memory="1e308")]},
    "a memory of 4,000 digits": {"nodeClasses": [node_class(memory="9" * 4000)]},
    "a negative exponent": {"nodeClasses": [node_class(memory="1e-99")]},
    "a memory that is no quantity": {"nodeClasses": [node_class(memory="x")]},
    "64-bit counts of nodes": {"nodeClasses": [{"free": [{"count": 2**63 - 1, "cpu": 1}]}]},
    "an integer above 64 bits": {"nodeClasses": [node_class(memory=2**70)]},
    "the first year, east of UTC": {
        "intensity": {**INTENSITY, "observedAt": "0001-01-01T00:00:00+14:00"}
    },
    "the last year, west of UTC": {
        "intensity": {**INTENSITY, "observedAt": "9999-12-31T23:59:59-14:00"}
    },
    "a quota that is no quantity": {"namespaces": [{"name": "a", "quotaLeft": {"cpu": "x"}}]},
    "a quota of 8Ei": {"namespaces": [{"name": "a", "quotaLeft": {"requests.memory": "8Ei"}}]},
    "a limit that is no quantity": {"namespaces": [{"name": "a", "podMax": {"cpu": []}}]},
    "1e308 watts": {"power": {"watts": 1e308, "origin": "measured"}},
    "1e17 watts": {"power": {"watts": 1e17, "origin": "measured"}},
    "1e17 milliseconds": {"rtt": [{"to": "good", "milliseconds": 1e17, "origin": "measured"}]},
    "10,000 resources": {
        "nodeClasses": [node_class(**{f"a.b/r{n}": 1 for n in range(10_000)})],
    },
    "10,000 resources, 50 per node": {
        "nodeClasses": [
            node_class(**{f"a.b/r{row * 50 + n}": 1 for n in range(50)}) for row in range(200)
        ],
    },
    "10,000 kinds of node": {
        "nodeClasses": [{**node_class(), "gpuModel": f"g{n}"} for n in range(10_000)]
    },
    "GPU card 10^9": {"nodeClasses": [node_class(**{"kapok.dev/gpu-milli.1000000000": 1})]},
    "a GPU card of 5,000 digits": {
        "nodeClasses": [node_class(**{"kapok.dev/gpu-milli." + "9" * 900: 1})]
    },
    "pods that are bound 2^53 times": {
        "orders": [{"id": "x/y/z/1", "generation": 2**53, "bound": 2**53}]
    },
    "an effect that no taint has": {
        "nodeClasses": [{**node_class(), "taints": [{"key": "a", "effect": "Odd"}]}]
    },
    "a label of 1,000 characters": {"nodeClasses": [{**node_class(), "labels": {"a": "b" * 1000}}]},
    "names with NUL and bidi": {"apiKinds": ["a\x00b", "\u202eb"], "nodeClasses": []},
    "null everywhere": {"nodeClasses": [None], "power": None, "rtt": [None]},
    "lists where objects belong": {"nodeClasses": [[]], "power": [], "intensity": []},
}
STATUSES: dict[str, Json] = {
    "an epoch at the end of int64": {
        "index": {"epoch": 2**53, "sequence": 2**53, "digest": "x"},
    },
    "an epoch at the end of int32": {
        "index": {"epoch": 2**31 - 1, "sequence": 1, "digest": "x"},
    },
    "order ids of odd forms": {
        "orders": [
            {"id": odd, "generation": 1, "phase": "Ready"}
            for odd in ("", "/", "////", "a/b", "\x00")
        ],
        "missing": ["", "/", "nowhere/at/all/1"],
    },
    "counts at the end of 2^53": {
        "orders": [
            {
                "id": "hub/default/w0/abc",
                "generation": 2**53,
                "phase": "Ready",
                "ready": 2**53,
                "bound": 2**53,
                "desired": 2**53,
            }
        ],
    },
}
RAW = {
    "no JSON": b"{",
    "deep JSON": DEEP.encode(),
    "NaN": b'{"site":"evil","observedSecondsAgo":NaN}',
    "a lone surrogate": b'{"site":"\\ud800"}',
    "no UTF-8": b"\xff\xfe",
    "a number of 5,000 digits": b'{"sequence":' + b"9" * 5000 + b"}",
    "nothing": b"",
    "a list": b"[]",
}


class Liar:
    """Sends signed messages of one site; the sequence grows with each."""

    def __init__(self, up: Up) -> None:
        self.key = SigningKey.generate()
        self.site = ScriptedSite("evil", up.ready["broker"], up.ready["hubKey"], key=self.key)
        self._sequence = 0

    def message(self, fields: Json) -> bytes:
        """A message with the header that every one has, and these fields."""
        self._sequence += 1
        header = {
            "site": "evil",
            "bootId": "b",
            "bootNumber": 1,
            "sequence": self._sequence,
            "observedSecondsAgo": 0.0,
        }
        return json.dumps({**header, **fields}, ensure_ascii=True).encode()

    def send(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publishes (kind of topic, payload) in one session, each signed."""
        asyncio.run(self._send(list(messages)))

    def send_fast(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publishes (topic, envelope) as fast as the broker reads."""
        host, _, port = self.site.broker.rpartition(":")
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect(host, int(port))
        client.loop_start()
        sent = [client.publish(topic, envelope) for topic, envelope in messages]
        sent[-1].wait_for_publish(60)
        client.disconnect()
        client.loop_stop()

    async def _send(self, messages: list[tuple[str, bytes]]) -> None:
        host, _, port = self.site.broker.rpartition(":")
        version = aiomqtt.ProtocolVersion.V5
        async with aiomqtt.Client(host, int(port), protocol=version) as client:
            for kind, payload in messages:
                where = site_topic("evil", kind)  # type: ignore[arg-type]
                sealed = seal(payload, topic=where, key=self.key, includes_public_key=True)
                await client.publish(where, sealed, qos=1)


def attacks(liar: Liar) -> Iterable[tuple[str, bytes]]:
    for fields in REPORTS.values():
        yield "report", liar.message({"kind": "full", "executor": {"isActive": True}, **fields})
    for fields in STATUSES.values():
        yield "status", liar.message({"orders": [], "missing": [], "isExecuting": True, **fields})
    for payload in RAW.values():
        for kind in ("report", "status", "offline"):
            yield kind, payload


def foreign_claims(honest: ScriptedSite) -> Json:
    """A status of a site that says to run and to keep what only another site ever had."""
    return {
        "isExecuting": True,
        "orders": [{"id": one, "generation": 2**53, "phase": "Failed"} for one in honest.contents],
        "kept": [{"id": one, "namespace": "default", "name": "data"} for one in honest.contents],
    }


def phase(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


def place(up: Up, name: str) -> None:
    """The honest site gets a new workload."""
    up.apply(WORKLOAD.format(name=name))
    eventually(lambda: phase(up, name) == "Running", within_seconds=_WITHIN_SECONDS)


def test_a_site_that_lies_in_every_field_and_floods_stops_nothing_and_bricks_nothing(
    tmp_path: Path,
) -> None:
    with running_up(tmp_path) as up:
        honest = ScriptedSite("good", up.ready["broker"], up.ready["hubKey"])
        liar, pid = Liar(up), up.pid
        up.apply(honest.manifest + liar.site.manifest)
        with running_sites(honest):
            place(up, "before")
            liar.send(attacks(liar))
            place(up, "after")
            liar.send([("status", liar.message(foreign_claims(honest)))])
            up.kubectl("delete", "workloads.kapok.dev", "after", "--timeout=60s")
            flood(up, liar, honest)
            assert up.pid == pid
            epoch = _epoch(up)
            assert sum(counters(up, "kapok_bad_messages_total").values()) > len(RAW)
            assert (
                counters(up, "kapok_faults_total") == {}
            )  # each is refused by name, none is a surprise
            up.kill()
            up.start()
            honest.broker = up.ready["broker"]
            place(up, "again")
            assert _epoch(up) == epoch + 1
            assert "Traceback" not in up.log


def flood(up: Up, liar: Liar, honest: ScriptedSite) -> None:
    """The short form; `python -m benchmarks flood` measures rates, delays and memory."""
    ready_since = _ready_since(up)
    liar.send_fast(_flood(liar, honest))
    place(up, "during")
    assert _ready_since(up) == ready_since
    assert sum(counters(up, "kapok_dropped_messages_total").values()) > 0


def _flood(liar: Liar, honest: ScriptedSite) -> Iterable[tuple[str, bytes]]:
    """Topics and envelopes of valid, forged, foreign, unknown and unreadable messages."""
    own, victims = site_topic("evil", "report"), site_topic("good", "report")
    full = {"kind": "full", "executor": {"isActive": True}, "nodeClasses": [node_class()]}
    forged = seal(b"{}", topic=victims, key=honest.key)
    forged = forged.replace(b'"signature":"', b'"signature":"AAAA', 1)
    for number in range(400):
        yield own, seal(liar.message(full), topic=own, key=liar.key)
        yield victims, forged
        yield victims, seal(b"{}", topic=victims, key=liar.key) if number < 50 else b"{" * 100
        yield site_topic(f"unknown-{number}", "report"), forged


def _ready_since(up: Up) -> str:
    site = eventually(lambda: up.get("sites.kapok.dev", "good").get("status"))
    conditions = site["conditions"]
    return next(str(one) for one in conditions if one["type"] == "Ready")


def _epoch(up: Up) -> int:
    lease = up.get("lease", "kapok-scheduler", "kapok-system")
    return int(lease["spec"]["leaseTransitions"])
