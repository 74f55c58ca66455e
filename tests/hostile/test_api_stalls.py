"""No request holds the event loop that the embedded API server shares with the scheduler."""

import gzip
import http.client
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_client import APPLY, JSON_PATCH, MERGE, STRATEGIC, Client
from tests.support.stall_meter import MeteredServer, metered_server
from tests.support.widgets import widget_crd

pytestmark = [pytest.mark.e2e]
_MAX_STALL_MS = 50.0
_TIMEOUT_SECONDS = 300.0
SPACE = "/api/v1/namespaces/default"
CONFIG_MAPS = f"{SPACE}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WIDGETS = "/apis/stall.kapok.dev/v1/namespaces/default/widgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_WATCH_METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
_GZIP = {"Accept-Encoding": "gzip"}


class Attacker:
    """Sends requests to a server with a stall meter; keeps the longest stall of each."""

    def __init__(self, server: MeteredServer, max_objects: int) -> None:
        self.server = server
        self.max_objects = max_objects
        self.client = Client.of(server.kubeconfig)
        self.stalls: dict[str, float] = {}
        self.codes: dict[str, int] = {}
        server.longest_stall_ms()

    def send(
        self,
        name: str,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        **headers: str,
    ) -> None:
        """Sends a request three times, and keeps the middle stall, which chance spares."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        found = []
        for _again in range(3 if method == "GET" or "dryRun" in path else 1):
            self.codes[name] = self._request(method, path, data, kind, headers)
            found.append(self.server.longest_stall_ms())
        self.stalls[name] = sorted(found)[len(found) // 2]

    def _request(
        self, method: str, path: str, data: bytes | None, kind: str, headers: dict[str, str]
    ) -> int:
        connection = self.client.connection(_TIMEOUT_SECONDS)
        sent = {**self.client.headers, "Accept": "application/json"}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        if data is not None:
            sent["Content-Type"] = kind
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        while response.read(1 << 20):
            pass
        connection.close()
        return response.status

    def fill(self) -> None:
        """Creates the objects that lists read, 10 kB each."""
        text = "x" * 9_900

        def create(numbers: range) -> None:
            connection = self.client.connection(_TIMEOUT_SECONDS)
            for number in numbers:
                labels = {"a": str(number % 10)}
                item = {"metadata": {"name": f"n{number}", "labels": labels}, "data": {"k": text}}
                _send_on(connection, self.client.headers, item)
            connection.close()

        count = self.max_objects
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(create, (range(start, count, 8) for start in range(8))))
        self.stalls["fill"] = self.server.longest_stall_ms()


def _send_on(
    connection: http.client.HTTPConnection, headers: dict[str, str], item: dict[str, Any]
) -> None:
    sent = {**headers, "Content-Type": "application/json"}
    connection.request("POST", CONFIG_MAPS, json.dumps(item).encode(), sent)
    response = connection.getresponse()
    response.read()
    assert response.status == 201


def _config_map(name: str, keys: int = 0, length: int = 20) -> dict[str, Any]:
    data = {f"k{n}": "x" * length for n in range(keys)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _deployment(name: str, variables: int) -> dict[str, Any]:
    env = [{"name": f"V{n}", "value": "x"} for n in range(variables)]
    container = {"name": "c", "image": "i", "env": env}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
        },
    }


def _widget(name: str, keys: int) -> dict[str, Any]:
    free = {f"k{n}": [n, str(n), {"a": n}] for n in range(keys)}
    return {
        "apiVersion": "stall.kapok.dev/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": "large", "free": free},
    }


def _attack_lists(attacker: Attacker) -> None:
    send = attacker.send
    send("list", "GET", CONFIG_MAPS)
    send("list, gzip", "GET", CONFIG_MAPS, Accept_Encoding="gzip")
    send("list of all namespaces", "GET", "/api/v1/configmaps")
    send("list, page", "GET", f"{CONFIG_MAPS}?limit=500")
    send("list, large page", "GET", f"{CONFIG_MAPS}?limit=9000")
    send(
        "list, not older than",
        "GET",
        f"{CONFIG_MAPS}?resourceVersion=1&resourceVersionMatch=NotOlderThan",
    )
    send("list, labels", "GET", f"{CONFIG_MAPS}?labelSelector=a%3D1")
    send("list, labels, page", "GET", f"{CONFIG_MAPS}?labelSelector=a%3D1&limit=500")
    send("list, fields", "GET", f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Dn7")
    send("list, Table", "GET", CONFIG_MAPS, Accept=_TABLE)
    send("list, Table of objects", "GET", f"{CONFIG_MAPS}?includeObject=Object", Accept=_TABLE)
    send("list, metadata", "GET", CONFIG_MAPS, Accept=_METADATA)
    send("list, YAML", "GET", f"{CONFIG_MAPS}?limit=2000", Accept="application/yaml")
    watch = f"{CONFIG_MAPS}?watch=1&timeoutSeconds=3"
    send("watch, initial events", "GET", watch)
    send("watch, labels", "GET", f"{watch}&labelSelector=a%3D1")
    send("watch, no match", "GET", f"{watch}&labelSelector=a%3Dnone")
    send(
        "watch, no match, from history",
        "GET",
        f"{watch}&labelSelector=a%3Dnone&resourceVersion=100000",
    )
    send("watch, metadata", "GET", watch, Accept=_WATCH_METADATA)
    send("watch, Table", "GET", watch, Accept=_TABLE)
    send("delete of a collection, labels", "DELETE", f"{CONFIG_MAPS}?labelSelector=a%3D1")
    send("delete of a collection", "DELETE", CONFIG_MAPS)


def _attack_writes(attacker: Attacker) -> None:
    send = attacker.send
    many = _config_map("many", 15_000)
    long = {"metadata": {"name": "long"}, "data": {"k": "x" * 1_000_000}}
    send("create, many keys", "POST", CONFIG_MAPS, many)
    send("create, long value", "POST", CONFIG_MAPS, long)
    for name, item in (("many", many), ("long", long)):
        path = f"{CONFIG_MAPS}/{name}"
        send(f"get, {name}", "GET", path)
        send(f"get, {name}, YAML", "GET", path, Accept="application/yaml")
        send(f"get, {name}, Table", "GET", path, Accept=_TABLE)
        send(f"get, {name}, metadata", "GET", path, Accept=_WATCH_METADATA)
        send(f"replace, {name}", "PUT", f"{path}?fieldManager=other", item)
        send(f"merge patch, {name}", "PATCH", path, {"data": {"a": "b"}}, kind=MERGE)
    many_text = "\n".join(f'  k{n}: "{"x" * 20}"' for n in range(15_000))
    applied = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: applied}}\ndata:\n{many_text}\n"
    for number in (1, 2):
        send(
            f"apply, {number}",
            "PATCH",
            f"{CONFIG_MAPS}/applied?fieldManager=m{number}&force=true",
            applied.encode(),
            kind=APPLY,
        )
    operations = [{"op": "add", "path": f"/data/n{n}", "value": "y" * 20} for n in range(10_000)]
    send(
        "JSON patch, 10,000 operations", "PATCH", f"{CONFIG_MAPS}/many", operations, kind=JSON_PATCH
    )
    copies = [{"op": "copy", "from": "/data", "path": f"/data/c{n}"} for n in range(40)]
    send("JSON patch, copies", "PATCH", f"{CONFIG_MAPS}/many", copies, kind=JSON_PATCH)
    merge = {"data": {f"m{n}": "y" for n in range(30_000)}}
    send("merge patch, 30,000 keys", "PATCH", f"{CONFIG_MAPS}/applied", merge, kind=MERGE)
    send("create, 5,000 variables", "POST", DEPLOYMENTS, _deployment("d", 5_000))
    patch = _deployment("d", 10_000)
    send("strategic patch, 10,000 variables", "PATCH", f"{DEPLOYMENTS}/d", patch, kind=STRATEGIC)
    send(
        "apply, 10,000 variables",
        "PATCH",
        f"{DEPLOYMENTS}/d?fieldManager=a&force=true",
        patch,
        kind=APPLY,
    )
    send("get, 10,000 variables, Table", "GET", f"{DEPLOYMENTS}/d", Accept=_TABLE)
    send("create, custom", "POST", WIDGETS, _widget("w", 15_000))
    send(
        "apply, custom",
        "PATCH",
        f"{WIDGETS}/w?fieldManager=a&force=true",
        _widget("w", 12_000),
        kind=APPLY,
    )
    send("replace, custom", "PUT", f"{WIDGETS}/w", _widget("w", 14_000))
    send("status, custom", "PATCH", f"{WIDGETS}/w/status", {"status": {"phase": "x"}}, kind=MERGE)
    send("get, custom", "GET", f"{WIDGETS}/w")
    for name in ("configmaps/many", "configmaps/long", "configmaps/applied"):
        send(f"delete, {name}", "DELETE", f"{SPACE}/{name}")
    send("delete, custom", "DELETE", f"{WIDGETS}/w")
    send("delete, deployment", "DELETE", f"{DEPLOYMENTS}/d")


def _attack_bodies(attacker: Attacker) -> None:
    send = attacker.send
    bodies = {
        "small lists": b'{"a":[' + b",".join([b"[]"] * 900_000) + b"]}",
        "small objects": b'{"a":[' + b",".join([b"{}"] * 900_000) + b"]}",
        "numbers": b'{"a":[' + b",".join([b"1"] * 1_400_000) + b"]}",
        "big numbers": b'{"a":[' + b",".join([b"9" * 30] * 90_000) + b"]}",
        "keys": b"{" + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}",
        "one key twice": b"{" + b",".join([b'"k":1'] * 400_000) + b"}",
        "a long text": b'{"a":"' + b"x" * 3_000_000 + b'"}',
        "escapes": b'{"a":"' + b"\\u0041" * 500_000 + b'"}',
    }
    for name, body in bodies.items():
        send(f"create, {name}", "POST", CONFIG_MAPS, body)
        send(
            f"create custom, {name}",
            "POST",
            WIDGETS,
            b'{"metadata":{"name":"x"},"spec":{"size":"large","free":' + body[:-1] + b"}}}",
        )
        send(f"patch, {name}", "PATCH", f"{CONFIG_MAPS}/none", body, kind=MERGE)
        send(f"apply, {name}", "PATCH", f"{CONFIG_MAPS}/none?fieldManager=a", body, kind=APPLY)
        send(f"delete options, {name}", "DELETE", f"{CONFIG_MAPS}/none", body)
        send(
            f"review, {name}",
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body,
        )
        send(f"zipped, {name}", "POST", CONFIG_MAPS, gzip.compress(body), Content_Encoding="gzip")
    yaml = {
        "lines": b"".join(b"k%d: 1\n" % n for n in range(200_000)),
        "flow": b"a: [" + b"[]," * 700_000 + b"]",
        "text": b"a: |\n" + b"  x\n" * 700_000,
        "aliases": b"a: &a [" + b"x," * 1000 + b"]\nb: [" + b"*a," * 100_000 + b"]\n",
    }
    for name, body in yaml.items():
        send(f"create, YAML {name}", "POST", CONFIG_MAPS, body, kind="application/yaml")
        send(f"apply, YAML {name}", "PATCH", f"{CONFIG_MAPS}/none?fieldManager=a", body, kind=APPLY)
    inner = b"\x0a\x04\x0a\x02ab" * 400_000
    proto = b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12" + _varint(len(inner)) + inner
    send("create, protobuf", "POST", CONFIG_MAPS, proto, kind="application/vnd.kubernetes.protobuf")
    send(
        "review, protobuf",
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        proto,
        kind="application/vnd.kubernetes.protobuf",
    )


def _varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])


def _attack_schemas(attacker: Attacker) -> None:
    send = attacker.send
    send("discovery", "GET", "/apis")
    send("OpenAPI index", "GET", "/openapi/v3")
    send("OpenAPI document", "GET", "/openapi/v3/api/v1")
    send("OpenAPI document, gzip", "GET", "/openapi/v3/apis/apps/v1", Accept_Encoding="gzip")
    crd = widget_crd("large.kapok.dev")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["properties"] |= {
        f"p{n}": {
            "type": "object",
            "properties": {"a": {"type": "string", "maxLength": 9}, "b": {"type": "integer"}},
        }
        for n in range(3_000)
    }
    schema["x-kubernetes-validations"] += [
        {"rule": f"!has(self.p{n}) || self.p{n}.b < {n}", "message": "too large"}
        for n in range(200)
    ]
    send("create of a large definition", "POST", CRDS, crd)
    send("OpenAPI index after it", "GET", "/openapi/v3")
    send("OpenAPI document of it", "GET", "/openapi/v3/apis/large.kapok.dev/v1")
    large = {f"p{n}": {"a": "x", "b": n - 1} for n in range(3_000)}
    item = {
        "apiVersion": "large.kapok.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": "large", **large},
    }
    path = WIDGETS.replace("stall", "large")
    send("create with many rules", "POST", path, item)
    send("apply with many rules", "PATCH", f"{path}/w?fieldManager=a&force=true", item, kind=APPLY)
    send(
        "merge patch of the definition",
        "PATCH",
        f"{CRDS}/widgets.large.kapok.dev",
        {"metadata": {"labels": {"a": "b"}}},
        kind=MERGE,
    )
    send("delete of the definition", "DELETE", f"{CRDS}/widgets.large.kapok.dev")
    crd = widget_crd("slow.kapok.dev")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    slow = {"type": "string", "pattern": "^([a-z]{1,9}x){1,9}$"}
    schema["properties"] |= {
        "all": {"type": "array", "items": slow},
        "one": {"type": "string", "pattern": "^(a+)+$"},
    }
    send("create of a definition with slow patterns", "POST", CRDS, crd)
    path, item = WIDGETS.replace("stall", "slow"), {**item, "apiVersion": "slow.kapok.dev/v1"}
    item["spec"] = {"size": "large", "all": ["a"] * 1_500}
    send("create with many values of a slow pattern", "POST", path, item)
    item["spec"] = {"size": "large", "one": "a" * 5_000 + "!"}
    send("create with a value that a pattern takes long on", "POST", path, item)


@pytest.fixture
def attacker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Attacker]:
    with metered_server(tmp_path / "hub") as server:
        yield Attacker(server, getattr(request, "param", 10_000))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("attack", [_attack_schemas, _attack_writes, _attack_bodies, _attack_lists])
def test_no_request_holds_the_loop(attacker: Attacker, attack: Any) -> None:  # noqa: ANN401
    if attack is _attack_lists:
        attacker.fill()
    attack(attacker)
    rows = sorted(attacker.stalls.items(), key=lambda row: -row[1])
    for name, stall in rows:
        line = {"request": name, "longest_stall_ms": stall, "code": attacker.codes.get(name)}
        sys.stdout.write(json.dumps(line) + "\n")
    assert [row for row in rows if row[1] > _MAX_STALL_MS] == []
