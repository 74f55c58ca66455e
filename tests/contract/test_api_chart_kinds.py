"""The kinds that charts bring beside pods: what is stored, defaulted and refused."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Ran, Server
from tests.support.api_client import Client

Object = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
_LIMIT = {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}
_SELECTOR = {"matchLabels": {"app": "web"}}


def _ingress(path: Object) -> Object:
    return {"spec": {"rules": [{"host": "a.example.gov.cn", "http": {"paths": [path]}}]}}


def _binding(kind: str, **subject: object) -> Object:
    return {
        "roleRef": {"kind": kind, "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", **subject}],
    }


def _autoscaler(**spec: object) -> Object:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"spec": {"scaleTargetRef": reference, "maxReplicas": 5, **spec}}


def _webhooks(**fields: object) -> Object:
    return {
        "webhooks": [
            {
                "name": "check.web.example",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": {"namespace": "default", "name": "web"}},
                **fields,
            }
        ]
    }


# Group and version, plural, whether it is namespaced, the object, and a part of what is stored.
STORED: list[tuple[str, str, bool, Object, Object]] = [
    (
        "networking.k8s.io/v1",
        "ingresses",
        True,
        _ingress({"path": "/", "pathType": "Prefix", "backend": _BACKEND}),
        {"status": {"loadBalancer": {}}, "metadata": {"generation": 1}},
    ),
    (
        "networking.k8s.io/v1",
        "networkpolicies",
        True,
        {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}},
        {
            "spec": {
                "policyTypes": ["Ingress", "Egress"],
                "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
            }
        },
    ),
    (
        "policy/v1",
        "poddisruptionbudgets",
        True,
        {"spec": {"minAvailable": "50%", "selector": _SELECTOR}},
        {"status": {"disruptionsAllowed": 0, "expectedPods": 0}, "metadata": {"generation": 1}},
    ),
    (
        "autoscaling/v2",
        "horizontalpodautoscalers",
        True,
        _autoscaler(),
        {
            "spec": {
                "minReplicas": 1,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
            }
        },
    ),
    (
        "autoscaling/v1",
        "horizontalpodautoscalers",
        True,
        _autoscaler(targetCPUUtilizationPercentage=60),
        {"spec": {"minReplicas": 1, "targetCPUUtilizationPercentage": 60}},
    ),
    (
        "v1",
        "resourcequotas",
        True,
        {"spec": {"hard": {"requests.cpu": "1000m", "pods": 10}}},
        {"spec": {"hard": {"requests.cpu": "1", "pods": "10"}}},
    ),
    (
        "v1",
        "limitranges",
        True,
        {
            "spec": {
                "limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]
            }
        },
        {
            "spec": {
                "limits": [
                    {
                        **_LIMIT,
                        "default": {"cpu": "2"},
                        "defaultRequest": {"cpu": "2", "memory": "1Mi"},
                    }
                ]
            }
        },
    ),
    (
        f"{_RBAC}/v1",
        "roles",
        True,
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    ),
    (
        f"{_RBAC}/v1",
        "rolebindings",
        True,
        _binding("ClusterRole", namespace="default"),
        {"roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": _RBAC}},
    ),
    (
        f"{_RBAC}/v1",
        "clusterroles",
        False,
        {"rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
        {"rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
    ),
    (
        f"{_RBAC}/v1",
        "clusterrolebindings",
        False,
        _binding("ClusterRole", namespace="default"),
        {"subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]},
    ),
    (
        "scheduling.k8s.io/v1",
        "priorityclasses",
        False,
        {"value": 1000},
        {"preemptionPolicy": "PreemptLowerPriority", "value": 1000},
    ),
    (
        "storage.k8s.io/v1",
        "storageclasses",
        False,
        {"provisioner": "disk.example"},
        {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    ),
    (
        "discovery.k8s.io/v1",
        "endpointslices",
        True,
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.9"]}], "ports": [{"port": 1}]},
        {"ports": [{"port": 1, "name": "", "protocol": "TCP"}]},
    ),
    (
        "admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        False,
        _webhooks(),
        {
            "webhooks": [
                {
                    "name": "check.web.example",
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "clientConfig": {
                        "service": {"namespace": "default", "name": "web", "port": 443}
                    },
                    "failurePolicy": "Fail",
                    "matchPolicy": "Equivalent",
                    "namespaceSelector": {},
                    "objectSelector": {},
                    "timeoutSeconds": 10,
                }
            ]
        },
    ),
]

# Group and version, plural, whether it is namespaced, the object, and the field that is refused.
REFUSED: list[tuple[str, str, bool, Object, str]] = [
    ("networking.k8s.io/v1", "ingresses", True, {"spec": {}}, "spec"),
    (
        "networking.k8s.io/v1",
        "ingresses",
        True,
        _ingress({"path": "web", "pathType": "Prefix", "backend": _BACKEND}),
        "spec.rules[0].http.paths[0].path",
    ),
    (
        "networking.k8s.io/v1",
        "ingresses",
        True,
        _ingress({"path": "/", "pathType": "Regex", "backend": _BACKEND}),
        "spec.rules[0].http.paths[0].pathType",
    ),
    (
        "networking.k8s.io/v1",
        "networkpolicies",
        True,
        {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "everywhere"}}]}]}},
        "spec.ingress[0].from[0].ipBlock.cidr",
    ),
    (
        "policy/v1",
        "poddisruptionbudgets",
        True,
        {"spec": {"minAvailable": 1, "maxUnavailable": 1, "selector": _SELECTOR}},
        "spec",
    ),
    (
        "policy/v1",
        "poddisruptionbudgets",
        True,
        {"spec": {"minAvailable": "half", "selector": _SELECTOR}},
        "spec.minAvailable",
    ),
    (
        "autoscaling/v2",
        "horizontalpodautoscalers",
        True,
        _autoscaler(maxReplicas=0),
        "spec.maxReplicas",
    ),
    (
        "autoscaling/v2",
        "horizontalpodautoscalers",
        True,
        _autoscaler(minReplicas=9),
        "spec.maxReplicas",
    ),
    ("v1", "resourcequotas", True, {"spec": {"hard": {"pods": "-1"}}}, "spec.hard[pods]"),
    (
        f"{_RBAC}/v1",
        "roles",
        True,
        {"rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
        "rules[0].nonResourceURLs",
    ),
    (
        f"{_RBAC}/v1",
        "clusterroles",
        False,
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]},
        "rules[0].verbs",
    ),
    (
        f"{_RBAC}/v1",
        "clusterrolebindings",
        False,
        _binding("ClusterRole"),
        "subjects[0].namespace",
    ),
    (f"{_RBAC}/v1", "rolebindings", True, _binding("Role", name=""), "subjects[0].name"),
    (f"{_RBAC}/v1", "rolebindings", True, _binding("Role", apiGroup="x"), "subjects[0].apiGroup"),
    (
        f"{_RBAC}/v1",
        "clusterrolebindings",
        False,
        _binding("Role", namespace="default"),
        "roleRef.kind",
    ),
    ("scheduling.k8s.io/v1", "priorityclasses", False, {"value": 2_000_000_000}, "value"),
    (
        "storage.k8s.io/v1",
        "storageclasses",
        False,
        {"provisioner": "disk.example", "reclaimPolicy": "Shred"},
        "reclaimPolicy",
    ),
    (
        "discovery.k8s.io/v1",
        "endpointslices",
        True,
        {"addressType": "IPv4", "endpoints": [{"addresses": []}]},
        "endpoints[0].addresses",
    ),
    (
        "admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        False,
        _webhooks(sideEffects="Some"),
        "webhooks[0].sideEffects",
    ),
]


def _path(server: Server, version: str, plural: str, *, namespaced: bool) -> str:
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return (
        f"{prefix}/namespaces/{server.namespace}/{plural}" if namespaced else f"{prefix}/{plural}"
    )


def _named(server: Server, plural: str, item: Object) -> Object:
    return {**copy.deepcopy(item), "metadata": {"name": f"{server.run}-{server.name(plural[:9])}"}}


def _assert_has(found: Any, wanted: Any, path: str = "") -> None:  # noqa: ANN401 - any JSON
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            _assert_has(found.get(key), value, f"{path}.{key}")
    elif isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        assert len(found) == len(wanted), path
        for index, value in enumerate(wanted):
            _assert_has(found[index], value, f"{path}[{index}]")
    else:
        assert found == wanted, path


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row[0]} {row[1]}")
def test_a_kind_of_charts_is_stored_with_its_defaults(
    server: Server, client: Client, row: tuple[str, str, bool, Object, Object]
) -> None:
    version, plural, namespaced, item, part = row
    path = _path(server, version, plural, namespaced=namespaced)
    body = _named(server, plural, item)
    made = client.create(path, body, fieldValidation="Strict").ok()
    try:
        _assert_has(made, part)
        name = made["metadata"]["name"]
        assert client.get(f"{path}/{name}").ok()["metadata"]["uid"] == made["metadata"]["uid"]
        strict = client.create(path, {**body, "bogus": 1}, fieldValidation="Strict")
        assert (strict.code, 'unknown field "bogus"' in strict.json["message"]) == (400, True)
        changed = client.patch(f"{path}/{name}", {"metadata": {"labels": {"a": "b"}}}).ok()
        before = made["metadata"].get("generation")
        is_raised = plural == "endpointslices"  # by labels too
        assert changed["metadata"].get("generation") == (before + 1 if is_raised else before)
    finally:
        client.delete(f"{path}/{body['metadata']['name']}")


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{n} {row[1]} {row[4]}") for n, row in enumerate(REFUSED)]
)
def test_a_kind_of_charts_is_refused_by_the_field_that_is_wrong(
    server: Server, client: Client, row: tuple[str, str, bool, Object, str]
) -> None:
    version, plural, namespaced, item, field = row
    path = _path(server, version, plural, namespaced=namespaced)
    answer = client.create(path, _named(server, plural, item))
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw
    assert field in [cause["field"] for cause in answer.json["details"]["causes"]]


def test_the_role_of_a_binding_never_changes(server: Server, client: Client) -> None:
    path = _path(server, f"{_RBAC}/v1", "rolebindings", namespaced=True)
    body = _named(server, "rolebindings", _binding("ClusterRole", namespace="default"))
    client.create(path, body).ok()
    where = f"{path}/{body['metadata']['name']}"
    answer = client.patch(where, {"roleRef": {"name": "edit"}})
    assert (answer.code, answer.json["details"]["causes"][0]["field"]) == (422, "roleRef")
    client.delete(where)


def test_both_versions_of_an_autoscaler_show_one_object(server: Server, client: Client) -> None:
    old = _path(server, "autoscaling/v1", "horizontalpodautoscalers", namespaced=True)
    new = old.replace("/v1/", "/v2/")
    body = _named(server, "hpa", _autoscaler(targetCPUUtilizationPercentage=60))
    name = body["metadata"]["name"]
    full = {**body, "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"}
    applied = client.apply(f"{old}/{name}", full, "tests").ok()
    again = client.apply(f"{old}/{name}", full, "tests").ok()
    assert again["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"]
    assert applied["spec"]["targetCPUUtilizationPercentage"] == 60
    shown = client.get(f"{new}/{name}").ok()
    assert shown["metadata"]["uid"] == applied["metadata"]["uid"]
    target = {"type": "Utilization", "averageUtilization": 60}
    assert shown["spec"]["metrics"][0]["resource"] == {"name": "cpu", "target": target}
    client.delete(f"{new}/{name}")
    assert client.get(f"{old}/{name}").code == 404


def test_a_client_may_name_a_kind_that_is_only_stored_and_is_told_so(
    server: Server, client: Client
) -> None:
    if not server.embedded:
        pytest.skip("a real server acts on its own kinds")
    path = _path(server, f"{_RBAC}/v1", "roles", namespaced=True)
    answer = client.create(path, _named(server, "roles", {"rules": []}))
    assert "Role is stored; rights at this server come from" in str(answer.headers["Warning"])


# What kubectl makes, the kind, the path to a value, and the value.
MADE_BY_KUBECTL = [
    ("role r --verb=get --resource=pods", "rules", [{"verbs": ["get"]}]),
    ("rolebinding b --clusterrole=view --user=amei", "subjects", [{"name": "amei"}]),
    ("clusterrole c --verb=get --non-resource-url=/x", "rules", [{"nonResourceURLs": ["/x"]}]),
    ("clusterrolebinding d --clusterrole=view --group=g", "roleRef", {"name": "view"}),
    ("quota q --hard=pods=2,cpu=1", "spec", {"hard": {"pods": "2", "cpu": "1"}}),
    ("pdb p --selector=app=web --min-available=1", "spec", {"minAvailable": 1}),
    ("priorityclass h --value=7", "value", 7),
    (
        "ingress i --rule=a.example/x=web:80",
        "spec",
        {"rules": [{"http": {"paths": [{"path": "/x", "backend": _BACKEND}]}}]},
    ),
]


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        pytest.param(*row, id=row[0], marks=[] if row[0].startswith("i") else [pytest.mark.soak])
        for row in MADE_BY_KUBECTL
    ],
)
def test_kubectl_makes_kinds_of_charts(
    server: Server, kubectl: Callable[..., Ran], words: str, field: str, value: object
) -> None:
    kind, name, *options = words.split()
    own = f"{server.run}-{name}"
    kubectl("create", kind, own, *options)
    try:
        shown = json.loads(kubectl("get", kind, own, "-o", "json").out)
        _assert_has(shown[field], value)
        assert own in kubectl("get", kind, own).out
    finally:
        kubectl("delete", kind, own, "--wait=false")
