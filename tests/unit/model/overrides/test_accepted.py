"""Overrides that could be applied nowhere, or that would change what is decided, are refused."""

from copy import deepcopy
from typing import Any

import pytest

from scheduler.control.status.accepted import is_complete
from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.kinds import Workload
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.overrides.recorded import recorded_spec
from tests.support.one_site import tenant

Raw = dict[str, Any]

DEPLOYMENT: Raw = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "web:1",
                        "args": ["--a"],
                        "resources": {"requests": {"cpu": "1"}},
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A", "value": "1"}],
                    }
                ],
            },
        },
    },
}
SERVICE: Raw = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"ports": [{"port": 80}]},
}
BUDGET: Raw = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "web"},
    "spec": {"minAvailable": 1},
}
CONTAINER = "/spec/template/spec/containers/0"
COPY_OF_AN_OBJECT = '{"kind": "Secret", "data": {"password": "bWFya2Vy"}}'


def workload(*overrides: Raw, manifests: list[Raw] | None = None, **spec: object) -> Workload:
    raw = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": "app", "namespace": "ns"},
        "spec": {
            "dataClass": "general-2",
            "manifests": deepcopy(manifests or [DEPLOYMENT, SERVICE, BUDGET]),
            "overrides": list(overrides),
            **spec,
        },
    }
    return decode_as(raw, Workload)


def patch(*operations: Raw, **more: object) -> Raw:
    return {"patch": list(operations), **more}


def replace(path: str, value: object = "x", op: str = "replace") -> Raw:
    return {"op": op, "path": path, "value": value}


def answer(one: Workload, owner: Tenant | None = None) -> Demand | NotAccepted:
    return demand_of(one, tenants=[owner or tenant()])


def copy(source: str, path: str) -> Raw:
    return {"op": "copy", "from": source, "path": path}


def named(kind: str, name: str) -> Raw:
    return {"kind": kind, "name": name}


ACCEPTED = {
    "image": patch(replace(f"{CONTAINER}/image", "web:2")),
    "args": patch(replace(f"{CONTAINER}/args/-", "--b", op="add")),
    "remove": patch({"op": "remove", "path": f"{CONTAINER}/args/0"}),
    "environment": patch(replace(f"{CONTAINER}/env/0/value", "2")),
    "probe": patch(replace(f"{CONTAINER}/livenessProbe", {"httpGet": {"port": 80}}, op="add")),
    "secret by name": patch(
        replace(f"{CONTAINER}/envFrom", [{"secretRef": {"name": "s"}}], op="add")
    ),
    "test": patch(
        replace(f"{CONTAINER}/resources/requests/cpu", "1", op="test"),
        replace(f"{CONTAINER}/image", "web:2"),
    ),
    "move": patch(
        replace(f"{CONTAINER}/command", ["x"], op="add"),
        {"op": "move", "from": f"{CONTAINER}/args", "path": f"{CONTAINER}/command/0"},
        replace(f"{CONTAINER}/command", ["y"]),
    ),
    "annotation": patch(
        replace("/metadata/annotations", {}, op="add"),
        replace("/metadata/annotations/example.com~1key", "v", op="add"),
    ),
    "service": patch(
        replace("/spec/type", "LoadBalancer", op="add"), target=named("Service", "web")
    ),
    "short forms": {
        "siteSelector": {"matchLabels": {"zone": "isolated"}},
        "args": [{"container": "c", "args": ["--c"]}],
        "imageRegistries": [{"from": "docker.io", "to": "mirror.local"}],
    },
}


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_what_differs_from_site_to_site_is_accepted(name: str) -> None:
    with_override, without = answer(workload(ACCEPTED[name])), answer(workload())
    assert isinstance(with_override, Demand), with_override
    assert with_override == without, "an override changes nothing of what is decided on"


REFUSED: dict[str, tuple[Raw, str]] = {
    "requests": (patch(replace(f"{CONTAINER}/resources/requests/cpu", "2")), "has counted"),
    "resources": (patch(replace(f"{CONTAINER}/resources", {})), "/resources"),
    "limits": (
        patch(replace(f"{CONTAINER}/resources/limits", {"cpu": "9"}, op="add")),
        "has counted",
    ),
    "container": (patch(replace("/spec/template/spec/containers/-", {}, op="add")), "the same"),
    "whole pod": (patch(replace("/spec/template/spec", {})), "the same"),
    "replicas": (patch(replace("/spec/replicas", 9)), "spec.placement"),
    "selector": (patch(replace("/spec/selector", {})), "the same"),
    "nodeSelector": (
        patch(replace("/spec/template/spec/nodeSelector", {"a": "b"}, op="add")),
        "nodes that it selects",
    ),
    "affinity": (patch(replace("/spec/template/spec/affinity", {}, op="add")), "spec.placement"),
    "tolerations": (patch(replace("/spec/template/spec/tolerations", [], op="add")), "tolerate"),
    "hostNetwork": (
        patch(replace("/spec/template/spec/hostNetwork", True, op="add")),  # noqa: FBT003
        "the same",
    ),
    "priority": (
        patch(replace("/spec/template/spec/priorityClassName", "high", op="add")),
        "the same",
    ),
    "pod labels": (patch(replace("/spec/template/metadata/labels/app", "y")), "the same"),
    "kind": (patch(replace("/kind", "Secret")), "another object"),
    "apiVersion": (patch(replace("/apiVersion", "v1")), "another object"),
    "name": (patch(replace("/metadata/name", "other")), "knows? the object|know the object"),
    "namespace": (patch(replace("/metadata/namespace", "kube-system", op="add")), "know"),
    "metadata": (patch(replace("/metadata", {"name": "x"})), "the same"),
    "whole object": (patch(replace("", {"kind": "Job"})), "the same"),
    "another kind": (patch(replace("", {"kind": "Secret", "data": {}})), "data of a Secret|same"),
    "move out": (
        patch({"op": "move", "from": f"{CONTAINER}/resources", "path": f"{CONTAINER}/env/0/x"}),
        "has counted",
    ),
    "privileged": (
        patch(replace(f"{CONTAINER}/securityContext", {"privileged": True}, op="add")),
        "privileged",
    ),
    "host port": (patch(replace(f"{CONTAINER}/ports/0/hostPort", 80, op="add")), "hostPort"),
    "host path": (
        patch(
            replace(
                "/spec/template/spec/volumes",
                [{"name": "v", "hostPath": {"path": "/"}}],
                op="add",
            )
        ),
        "hostPath",
    ),
    "claim": (
        patch(
            replace(
                "/spec/template/spec/volumes",
                [{"name": "v", "persistentVolumeClaim": {"claimName": "other"}}],
                op="add",
            )
        ),
        "volumes than",
    ),
    "own annotation": (
        patch(replace("/metadata/annotations", {"kapok.dev/order": "x"}, op="add")),
        "reserved",
    ),
    "secret data": (
        patch(replace("/metadata/annotations", {"a": COPY_OF_AN_OBJECT}, op="add")),
        "data of a Secret",
    ),
    "wrong type": (patch(replace(f"{CONTAINER}/args", "text")), "args"),
    "missing": (patch(replace(f"{CONTAINER}/command/0", "x")), "there is no"),
    "far index": (patch(replace(f"{CONTAINER}/args/7", "x", op="add")), "there is no"),
    "leading zero": (patch(replace(f"{CONTAINER}/args/00", "x")), "there is no"),
    "dots": (patch(replace(f"{CONTAINER}/args/../image", "x")), "there is no"),
    "dots to resources": (patch(replace(f"{CONTAINER}/image/../resources", {})), "there is no"),
    "dots first": (patch(replace("/../kind", "x")), "another object|the same"),
    "tilde": (patch(replace("/metadata/annotations/a~2b", "x")), "~0"),
    "no slash": (patch(replace("metadata/annotations", "x")), "begin it with /"),
    "escaped": (patch(replace("/spec~1replicas", 9)), "the same"),
    "escaped kind": (patch(replace("/metadata/annotations~1x", "x")), "the same"),
    "test": (patch(replace(f"{CONTAINER}/image", "other", op="test")), "another value"),
    "into itself": (
        patch({"op": "move", "from": f"{CONTAINER}/args", "path": f"{CONTAINER}/args/0/x"}),
        "into itself",
    ),
    "null": (patch({"op": "add", "path": f"{CONTAINER}/args"}), "needs a value"),
    "no from": (patch({"op": "copy", "path": f"{CONTAINER}/args"}), "needs from"),
    "nothing": ({}, "changes nothing"),
    "no such container": ({"args": [{"container": "d", "args": []}]}, "no container d"),
    "no such target": (
        patch(replace("/data", {}), target=named("ConfigMap", "x")),
        "there is no ConfigMap x",
    ),
    "budget": (
        patch(replace("/spec/minAvailable", 0), target=named("PodDisruptionBudget", "web")),
        "same at every site",
    ),
    "service selector": (
        patch(
            replace("/spec/externalIPs", ["10.0.0.1"], op="add"),
            target=named("Service", "web"),
        ),
        "the same",
    ),
    "selector without values": (
        {
            "siteSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]},
            "args": [{"container": "c", "args": []}],
        },
        "needs values",
    ),
    "many bytes": (
        patch(*[replace(f"{CONTAINER}/args/-", "x" * 4000, op="add")] * 40),
        "bytes; at most",
    ),
    "doubling": (
        patch(
            replace(f"{CONTAINER}/env/0/value", ["x" * 4000]),
            *[{"op": "copy", "from": f"{CONTAINER}/env", "path": f"{CONTAINER}/env/0/value/0"}]
            * 60,
        ),
        "writes more than",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_would_change_a_decision_or_fit_nowhere_is_refused_by_name(name: str) -> None:
    override, expected = REFUSED[name]
    refusal = answer(workload(override))
    assert isinstance(refusal, NotAccepted)
    assert "spec.overrides" in refusal.message
    assert any(each in refusal.message for each in expected.split("|")), refusal.message
    assert len(refusal.message) < 1000


def test_a_value_beyond_the_depth_of_manifests_is_refused() -> None:
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    refusal = answer(workload(patch(replace(f"{CONTAINER}/args", deep))))
    assert isinstance(refusal, NotAccepted)
    assert "nested deeper" in refusal.message


def test_ten_thousand_operations_are_not_read() -> None:
    with pytest.raises(NotReadable, match="patch"):
        workload(patch(*[replace(f"{CONTAINER}/args/-", "x", op="add")] * 10_000))
    with pytest.raises(NotReadable, match="overrides"):
        workload(*[ACCEPTED["image"]] * 10_000)


def test_a_secret_cannot_be_patched_and_its_data_is_not_recorded() -> None:
    secret: Raw = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    for override in (
        patch(replace("/data", {"p": "bWFya2Vy"}, op="add"), target=named("Secret", "s")),
        patch(replace(f"{CONTAINER}/args", [COPY_OF_AN_OBJECT])),
    ):
        one = workload(override, manifests=[DEPLOYMENT, secret])
        assert isinstance(answer(one), NotAccepted)
        recorded = recorded_spec(one.spec)
        assert "bWFya2Vy" not in str(recorded)
        assert not is_complete(recorded)
    assert is_complete(recorded_spec(workload(*ACCEPTED.values()).spec))


def test_a_later_override_of_the_same_object_may_need_the_first() -> None:
    needs_first = patch(replace(f"{CONTAINER}/command/0", "y"))
    first = patch(replace(f"{CONTAINER}/command", ["x"], op="add"))
    assert isinstance(answer(workload(needs_first, first)), NotAccepted)
    assert isinstance(answer(workload(first, needs_first)), Demand)
    other = patch(replace("/spec/type", "NodePort", op="add"), target=named("Service", "web"))
    assert isinstance(answer(workload(other, needs_first)), NotAccepted)


def test_the_pod_security_of_the_tenant_holds_for_patched_pods() -> None:
    override = patch(replace(f"{CONTAINER}/securityContext", {"privileged": True}, op="add"))
    refusal = answer(workload(override), tenant(podSecurity="baseline"))
    assert isinstance(refusal, NotAccepted)
    assert (refusal.reason, refusal.condition) == ("pod-security", "PodSecurity")
    assert isinstance(answer(workload(override), tenant(podSecurity="privileged")), Demand)


def test_custom_kinds_can_be_patched_inside_their_pod_templates_alone() -> None:
    farm: Raw = {
        "apiVersion": "x.example/v1",
        "kind": "Farm",
        "metadata": {"name": "f"},
        "spec": {
            "workers": [
                {"replicas": 2, "template": {"spec": {"containers": [{"name": "w", "image": "w"}]}}}
            ]
        },
    }
    demand = {"replicas": 1, "podTemplatePaths": ["spec.workers[*].template"]}
    inside = patch(replace("/spec/workers/0/template/spec/containers/0/image", "v"))
    outside = patch(replace("/spec/workers/0/replicas", 1))
    assert isinstance(answer(workload(inside, manifests=[farm], demand=demand)), Demand)
    assert isinstance(answer(workload(outside, manifests=[farm], demand=demand)), NotAccepted)
    plain = {"replicas": 1, "requests": {"cpu": "1"}}
    assert isinstance(answer(workload(inside, manifests=[farm], demand=plain)), NotAccepted)


def test_many_overrides_of_a_large_object_are_refused_before_they_take_long() -> None:
    large = deepcopy(DEPLOYMENT)
    entries = [{"name": f"N{number}", "value": "x" * 60} for number in range(150)]
    large["spec"]["template"]["spec"]["containers"][0]["env"] = entries
    assert isinstance(answer(workload(ACCEPTED["image"], manifests=[large])), Demand)
    refusal = answer(workload(*[ACCEPTED["image"]] * 32, manifests=[large]))
    assert isinstance(refusal, NotAccepted)
    assert "in all" in refusal.message
