"""Absurd requests: wrong types, sizes, numbers, texts and nesting, in places where they matter."""

import json
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.support.widgets import widget_crd

Chance = random.Random
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/fuzz.kapok.dev/v1/namespaces/default/widgets"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
EVENTS = "/api/v1/namespaces/default/events"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

LONG_KEYS = ["k" * 16_385, "k" * 16_384, "é" * 9_000]
NUMBERS = [
    *(b"0", b"-0", b"1", b"-1", b"1.5", b"1e2", b"1e300", b"-1e300", b"1e400", b"NaN", b"Infinity"),
    *(b"%d" % (2**n + step) for n in (31, 32, 53, 63, 64) for step in (-1, 0, 1)),
    *(b"9" * 30, b"9" * 320, b"9" * 5000, b"1e-400", b"0x7f", b"0o17", b"1:1:1", b"-"),
]
_VALID_NUMBERS = [text for text in NUMBERS if re.fullmatch(rb"-?\d{1,20}(\.\d)?(e\d{1,3})?", text)]
TEXTS = [
    *("", "a", "default", "x" * 64, "x" * 254, "x" * 5000, "\x00", "a\nb", "\x1b[31m", "\u202e"),
    *("\ud800", "\udfff", "\U0010ffff", "é", "..", "a/b", "%2e", "-", "a,b", "a=b", "{}", "null"),
    *(
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "2026-13-45T99:99:99Z",
        "0000-00-00",
    ),
    *("8Ei", "1e999999999", "1e-999999999", "9" * 500, "1" * 500 + "Ei", "-1", "0.1n", "1e3", "Mi"),
    *("2026-11-24T08:00:00Z", "²", "१", "9" * 5000, "~1~0", "k8s.io/x", "/", "x/" * 200),
]
KEYS = [
    *("apiVersion", "kind", "metadata", "name", "namespace", "labels", "annotations", "finalizers"),
    *("ownerReferences", "managedFields", "uid", "resourceVersion", "generation", "spec", "status"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName"),
    *(
        "replicas",
        "template",
        "containers",
        "ports",
        "env",
        "resources",
        "limits",
        "selector",
        "data",
    ),
    *(
        "size",
        "weight",
        "parts",
        "tags",
        "names",
        "since",
        "port",
        "free",
        "manifest",
        "code",
        "epoch",
    ),
    *(
        "fieldsV1",
        "operation",
        "manager",
        "time",
        "conditions",
        "lastTimestamp",
        "series",
        "target",
    ),
    *("matchLabels", "matchExpressions", "key", "values", "preconditions", "gracePeriodSeconds"),
    *("propagationPolicy", "orphanDependents", "dryRun", "deleteOptions", "$patch", "$retainKeys"),
    *("$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "cpu", "", "<<", "f:a"),
    *(
        "resourceAttributes",
        "verb",
        "scope",
        "versions",
        "schema",
        "openAPIV3Schema",
        "group",
        "plural",
    ),
]
METHODS = [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"FLY", b"get"]
CONTENT_TYPES = [
    *(b"application/json", b"application/yaml", b"application/merge-patch+json"),
    *(b"application/json-patch+json", b"application/strategic-merge-patch+json"),
    *(b"application/apply-patch+yaml", b"application/apply-patch+cbor", b"text/html", b""),
    b"application/vnd.kubernetes.protobuf",
]
JSON_PATCH, PROTOBUF = CONTENT_TYPES[3], CONTENT_TYPES[-1]
QUERY_KEYS = [
    *("limit", "continue", "labelSelector", "fieldSelector", "resourceVersion", "timeoutSeconds"),
    *("resourceVersionMatch", "dryRun", "fieldManager", "fieldValidation", "force", "pretty"),
    *("gracePeriodSeconds", "propagationPolicy", "orphanDependents", "includeObject"),
]
SELECTORS = [
    *(
        "a=b",
        "a!=b",
        "!a",
        "a in (b,c)",
        "a notin (",
        "a>9" + "9" * 5000,
        "a<²",
        "(" * 4000,
        "," * 4000,
    ),
    *(
        "a in (" + "b," * 2000 + "c)",
        "metadata.name=x",
        "metadata.name!=\x00",
        "spec.size=",
        "=",
        "!=",
    ),
    *("=" * 4000, "!" * 4000, "a" * 7000, " " * 4000, "a in (b" * 900, "a>", "a<", "a==b==c"),
]
ACCEPTS = [
    *(b"application/json", b"*/*", b"", b"text/html", b"application/yaml", b"," * 2000),
    b"application/json;as=Table;v=v1;g=meta.k8s.io",
    b"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
]


def _json(chance: Chance, depth: int = 0) -> bytes:
    """JSON text, mostly well-formed."""
    kind = chance.random()
    if depth > 6 or kind < 0.2:
        return chance.choice(NUMBERS if chance.random() < 0.2 else _VALID_NUMBERS)
    if kind < 0.45:
        return json.dumps(chance.choice(TEXTS)).encode()
    if kind < 0.55:
        return chance.choice([b"null", b"true", b"false", b"{}", b"[]", b'""', b"[{}]", b"[[]]"])
    if kind < 0.7:
        return b"[%s]" % b",".join(_json(chance, depth + 1) for _ in range(chance.randrange(4)))
    if kind < 0.72:
        levels = chance.choice([50, 127, 128, 129, 500, 1100, 20_000])
        opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"}")])
        return opening * levels + b"1" + closing * levels
    pairs = (
        b"%s:%s" % (json.dumps(chance.choice(KEYS)).encode(), _json(chance, depth + 1))
        for _ in range(chance.randrange(6))
    )
    return b"{%s}" % b",".join(pairs)


def _spoil(chance: Chance, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Replaces one part of a valid object by `Ellipsis`, where an absurd value goes."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice([*value, chance.choice(KEYS)])
        if chance.random() < 0.02:
            key = chance.choice(LONG_KEYS)
        return {**value, key: _spoil(chance, value.get(key))}
    if isinstance(value, list) and value and chance.random() < 0.85:
        index = chance.randrange(len(value))
        return [*value[:index], _spoil(chance, value[index]), *value[index + 1 :]]
    return "@absurd@"


def _spoiled(chance: Chance, valid: dict[str, Any]) -> bytes:
    text = json.dumps(_spoil(chance, valid)).encode()
    for _again in range(chance.randrange(3)):
        text = json.dumps(_spoil(chance, json.loads(text))).encode()
    return text.replace(b'"@absurd@"', _json(chance))


_META = {
    "name": "fuzz",
    "namespace": "default",
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "finalizers": [],
    "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}],
    "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}],
    "creationTimestamp": "2026-11-24T08:00:00Z",
}
_POD_SPEC = {
    "containers": [
        {
            "name": "c",
            "image": "i",
            "env": [{"name": "A", "value": "1"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        }
    ],
    "terminationGracePeriodSeconds": 5,
    "nodeName": "n",
}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD_SPEC}
VALID: dict[str, dict[str, Any]] = {
    CONFIG_MAPS: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _META, "data": {"a": "b"}},
    PODS: {"apiVersion": "v1", "kind": "Pod", "metadata": _META, "spec": _POD_SPEC},
    DEPLOYMENTS: {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _META,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}, "matchExpressions": []},
            "template": _TEMPLATE,
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
        },
    },
    JOBS: {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _META,
        "spec": {
            "template": {"spec": {**_POD_SPEC, "restartPolicy": "Never"}},
            "completions": 1,
        },
    },
    EVENTS: {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": _META,
        "involvedObject": {"kind": "Pod", "name": "p"},
        "series": {"count": 2, "lastObservedTime": "2026-11-24T08:00:00.000000Z"},
        "lastTimestamp": "2026-11-24T08:00:00Z",
    },
    LEASES: {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": _META,
        "spec": {"leaseDurationSeconds": 15, "renewTime": "2026-11-24T08:00:00.000000Z"},
    },
    WIDGETS: {
        "apiVersion": "fuzz.kapok.dev/v1",
        "kind": "Widget",
        "metadata": _META,
        "spec": {
            "size": "small",
            "replicas": 1,
            "weight": 1.5,
            "since": "2026-11-24T08:00:00Z",
            "tags": ["a"],
            "parts": [{"name": "a", "count": 1}],
            "labels": {"a": "b"},
            "port": 1,
            "manifest": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}},
            "free": {"a": [1]},
        },
        "status": {"epoch": 1, "conditions": [{"type": "Ready", "status": "True"}]},
    },
    CRDS: widget_crd("fuzz2.kapok.dev"),
    REVIEWS: {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}},
}


def _patch(chance: Chance) -> bytes:
    pointers = ["", "/", "/data", "/data/a", "/spec/parts/0", "/spec/parts/-", "/spec/tags/1"]
    pointers += ["/a~2", "/metadata/labels/" + "x" * 5000, "/x" * 3000, "/spec/parts/" + "9" * 5000]
    operations = []
    for _ in range(chance.randrange(1, 8)):
        operation = {
            "op": chance.choice(["add", "remove", "replace", "move", "copy", "test", "fly", 5]),
            "path": chance.choice([*pointers, 5, None, []]),
            "from": chance.choice([*pointers, {}]),
            "value": "@absurd@",
        }
        for key in chance.sample(sorted(operation), chance.choice([0, 0, 1])):
            del operation[key]
        operations.append(json.dumps(operation).encode().replace(b'"@absurd@"', _json(chance)))
    return b"[%s]" % b",".join(operations)


def _protobuf(chance: Chance) -> bytes:
    return b"k8s\x00" * chance.randrange(2) + _message(chance, 0)


def _message(chance: Chance, depth: int) -> bytes:
    made = b""
    for _ in range(chance.randrange(6)):
        number = chance.choice([1, 1, 2, 2, 3, 4, 5, 7, 8, 12, 13, 14, 17, 100, 2**28])
        if depth > 4 or chance.random() < 0.3:
            made += _varint(number << 3) + _varint(chance.choice([0, 1, 2**31, 2**63, 2**64 - 1]))
        elif chance.random() < 0.3:
            made += chance.randbytes(chance.randrange(12))
        else:
            below = chance.choice(TEXTS).encode("utf-8", "surrogatepass")
            if chance.random() < 0.5:
                below = _message(chance, depth + 1)
            made += _varint(number << 3 | 2) + _varint(len(below)) + below
    return made


def _varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])


def _many_values(chance: Chance) -> bytes:
    """More values than a body may have, or nearly; mostly fewer, because it takes time."""
    count = chance.choice([1_000, 1_000, 1_000, 20_000, 250_000])
    value = chance.choice([b"[]", b"1", b'{"a":1}', b'"a"'])
    return b'{"metadata":{"name":"fuzz"},"data":{},"x":[%s]}' % b",".join([value] * count)


def _body(chance: Chance, path: str) -> bytes:
    maker: Callable[[], bytes] = chance.choice(
        [
            *(lambda: _spoiled(chance, VALID[path]),) * 6,
            lambda: _json(chance),
            lambda: _patch(chance),
            lambda: _protobuf(chance),
            lambda: chance.randbytes(chance.randrange(200)),
            lambda: b"&a [*a]\n" + _json(chance),
            lambda: b"- " * chance.choice([1, 100, 20_000]) + _json(chance),
            lambda: b'{"a": "\xff", "b": "\\ud800"}',
            lambda: _many_values(chance),
            lambda: b"",
        ]
    )
    body: bytes = maker()
    if chance.random() < 0.1 and body:
        cut = chance.randrange(len(body))
        body = (
            body[:cut] + chance.choice([b"", b"\x00", b"\xff", b'"', b"{", b"\\ud800"]) + body[cut:]
        )
    return body


def _query(chance: Chance) -> str:
    pairs = ["fieldManager=fuzz"] * chance.randrange(2)
    for _ in range(chance.choice([0, 0, 0, 0, 1, 2, 3])):
        key = chance.choice(QUERY_KEYS)
        if key.endswith("Selector"):
            value = chance.choice(SELECTORS)
        else:
            number = chance.choice(NUMBERS).decode()
            value = chance.choice([number, chance.choice(TEXTS), "eyJydiI6MSwic3RhcnQiOiJhIn0"])
        pairs.append(f"{key}={quote(value.encode('utf-8', 'surrogatepass'))}"[:8000])
    return "?" + "&".join(pairs) if pairs else ""


def _target(chance: Chance, path: str, method: bytes) -> bytes:
    name = chance.choice(["", "/base", "/fuzz", "/" + "x" * 3000, "/%00", "/%ff%fe"])
    if chance.random() < 0.8:
        name = "" if method in {b"POST", b"GET"} else "/base"
    subresources = [
        *("",) * 30,
        "/status",
        "/status",
        "/scale",
        "/eviction",
        "/binding",
        "/none",
        "/a/b",
    ]
    odd = [
        "//",
        "/%2e%2e/",
        "/api/v1/namespaces/%ff/configmaps",
        "/openapi/v3/%00",
        "/apis/a/b/c/d",
    ]
    subresource = chance.choice(subresources) if name else ""
    where = path + name + subresource if chance.random() < 0.97 else chance.choice(odd)
    return (where + _query(chance)).encode()[:8100]


def absurd_request(
    chance: Chance, path: str, method: bytes
) -> tuple[tuple[bytes, bytes, bytes], dict[bytes, bytes]]:
    """Method, target and body of a request, and its headers."""
    body = _body(chance, path)
    kind = chance.choice(CONTENT_TYPES)
    if chance.random() < 0.8:
        kinds = CONTENT_TYPES[2:6] if method == b"PATCH" else CONTENT_TYPES[:2]
        kind = JSON_PATCH if body.startswith(b'[{"op') else chance.choice(kinds)
        kind = PROTOBUF if body.startswith(b"k8s") else kind
    if method != b"POST":
        body = body.replace(b'"name": "fuzz"', b'"name": "base"')
    headers = {b"Content-Type": kind, b"Accept": chance.choice([*ACCEPTS, b"*/*", b"*/*"])}
    return (method, _target(chance, path, method), body), headers
