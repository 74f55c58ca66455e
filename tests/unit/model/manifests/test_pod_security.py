"""The Pod Security Standards, control by control, for every kind with a pod."""

import copy
from typing import Any

import pytest

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.manifests.pod_security import LEVELS, PodSecurity, violations
from tests.support.one_site import tenant
from tests.support.sites import Raw, demand_or_refusal, workload

GOOD_CONTEXT = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    "capabilities": {"drop": ["ALL"]},
}
GOOD = {"containers": [{"name": "c", "image": "i", "securityContext": GOOD_CONTEXT}]}
LISTS = ("containers", "initContainers", "ephemeralContainers")


def pod(spec: Raw, **metadata: Any) -> Raw:  # noqa: ANN401 - any JSON
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", **metadata},
        "spec": spec,
    }


def found(manifest: Raw, level: PodSecurity) -> list[tuple[str, str]]:
    return [(each.path, each.allowed_by) for each in violations(manifest, level)]


def with_container(where: str, **fields: Any) -> Raw:  # noqa: ANN401 - any JSON
    """A good pod with one more container that has these fields."""
    spec = copy.deepcopy(GOOD)
    context = {**GOOD_CONTEXT, **fields.pop("securityContext", {})}
    one = {"name": "x", "image": "i", "securityContext": context, **fields}
    spec[where] = [*spec.get(where, []), one]
    return pod(spec)


BASELINE_OF_A_CONTAINER: dict[str, Raw] = {
    "securityContext.privileged": {"securityContext": {"privileged": True}},
    "securityContext.windowsOptions.hostProcess": {
        "securityContext": {"windowsOptions": {"hostProcess": True}}
    },
    "securityContext.capabilities.add": {
        "securityContext": {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}
    },
    "securityContext.procMount": {"securityContext": {"procMount": "Unmasked"}},
    "securityContext.seccompProfile.type": {
        "securityContext": {"seccompProfile": {"type": "Unconfined"}}
    },
    "securityContext.appArmorProfile.type": {
        "securityContext": {"appArmorProfile": {"type": "Unconfined"}}
    },
    "securityContext.seLinuxOptions.type": {
        "securityContext": {"seLinuxOptions": {"type": "spc_t"}}
    },
    "securityContext.seLinuxOptions.user": {
        "securityContext": {"seLinuxOptions": {"user": "system_u"}}
    },
    "securityContext.seLinuxOptions.role": {
        "securityContext": {"seLinuxOptions": {"role": "system_r"}}
    },
    "ports[0].hostPort": {"ports": [{"containerPort": 80, "hostPort": 80}]},
    "livenessProbe.httpGet.host": {"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}},
    "readinessProbe.tcpSocket.host": {"readinessProbe": {"tcpSocket": {"host": "10.0.0.1"}}},
    "lifecycle.preStop.httpGet.host": {"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1"}}}},
}


@pytest.mark.parametrize("where", LISTS)
@pytest.mark.parametrize("field", BASELINE_OF_A_CONTAINER)
def test_baseline_refuses_a_field_of_every_list_of_containers(field: str, where: str) -> None:
    manifest = with_container(where, **copy.deepcopy(BASELINE_OF_A_CONTAINER[field]))
    index = 1 if where == "containers" else 0
    assert (f"spec.{where}[{index}].{field}", "privileged") in found(manifest, "baseline")
    assert (f"spec.{where}[{index}].{field}", "privileged") in found(manifest, "restricted")
    assert found(manifest, "privileged") == []


BASELINE_OF_A_POD: dict[str, Raw] = {
    "hostNetwork": {"hostNetwork": True},
    "hostPID": {"hostPID": True},
    "hostIPC": {"hostIPC": True},
    "volumes[0].hostPath": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    "securityContext.windowsOptions.hostProcess": {
        "securityContext": {"windowsOptions": {"hostProcess": True}}
    },
    "securityContext.seccompProfile.type": {
        "securityContext": {"seccompProfile": {"type": "Unconfined"}}
    },
    "securityContext.appArmorProfile.type": {
        "securityContext": {"appArmorProfile": {"type": "Unconfined"}}
    },
    "securityContext.seLinuxOptions.type": {
        "securityContext": {"seLinuxOptions": {"type": "spc_t"}}
    },
    "securityContext.sysctls[0].name": {
        "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}
    },
}


@pytest.mark.parametrize("field", BASELINE_OF_A_POD)
def test_baseline_refuses_a_field_of_a_pod(field: str) -> None:
    manifest = pod({**GOOD, **BASELINE_OF_A_POD[field]})
    assert (f"spec.{field}", "privileged") in found(manifest, "baseline")
    assert found(manifest, "privileged") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("container.apparmor.security.beta.kubernetes.io/c", "unconfined"),
        ("seccomp.security.alpha.kubernetes.io/pod", "unconfined"),
    ],
)
def test_baseline_refuses_profiles_in_annotations(name: str, value: str) -> None:
    manifest = pod(GOOD, annotations={name: value})
    assert found(manifest, "baseline") == [(f"metadata.annotations.{name}", "privileged")]
    template = {"metadata": {"annotations": {name: value}}, "spec": GOOD}
    manifest = {**pod({"template": template}), "apiVersion": "apps/v1", "kind": "Deployment"}
    path = f"spec.template.metadata.annotations.{name}"
    assert found(manifest, "baseline") == [(path, "privileged")]


RESTRICTED: dict[str, Raw] = {
    "securityContext.allowPrivilegeEscalation": {
        "securityContext": {"allowPrivilegeEscalation": None}
    },
    "securityContext.runAsNonRoot": {"securityContext": {"runAsNonRoot": None}},
    "securityContext.runAsUser": {"securityContext": {"runAsUser": 0}},
    "securityContext.seccompProfile.type": {"securityContext": {"seccompProfile": None}},
    "securityContext.capabilities.drop": {"securityContext": {"capabilities": None}},
    "securityContext.capabilities.add": {
        "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}
    },
}


@pytest.mark.parametrize("where", LISTS)
@pytest.mark.parametrize("field", RESTRICTED)
def test_restricted_refuses_what_baseline_allows(field: str, where: str) -> None:
    manifest = with_container(where, **copy.deepcopy(RESTRICTED[field]))
    index = 1 if where == "containers" else 0
    assert found(manifest, "restricted") == [(f"spec.{where}[{index}].{field}", "baseline")]
    assert found(manifest, "baseline") == []


def test_restricted_allows_the_listed_volume_types_only() -> None:
    nfs = pod({**GOOD, "volumes": [{"name": "v", "nfs": {"server": "a", "path": "/"}}]})
    assert found(nfs, "restricted") == [("spec.volumes[0].nfs", "baseline")]
    kinds = ("configMap", "csi", "emptyDir", "persistentVolumeClaim", "projected", "secret")
    allowed = pod({**GOOD, "volumes": [{"name": each, each: {}} for each in kinds]})
    assert found(allowed, "restricted") == []


def test_the_pod_may_set_for_all_containers_what_restricted_wants() -> None:
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    whole = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "c", "securityContext": context}
    spec: Raw = {"securityContext": whole, "containers": [container]}
    assert found(pod(spec), "restricted") == []
    spec["securityContext"] = {**whole, "runAsNonRoot": False}
    assert "spec.securityContext.runAsNonRoot" in [
        each for each, _ in found(pod(spec), "restricted")
    ]


@pytest.mark.parametrize("value", ["true", 1, [True], {"a": 1}])
def test_a_value_of_another_type_is_not_taken_for_an_allowed_one(value: object) -> None:
    manifest = with_container("containers", securityContext={"privileged": value})
    assert found(manifest, "baseline")
    assert found(pod({**GOOD, "hostNetwork": value}), "baseline")


def test_what_every_level_allows_is_allowed() -> None:
    safe = {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}
    manifest = with_container(
        "containers",
        ports=[{"containerPort": 80, "hostPort": 0}],
        livenessProbe={"httpGet": {"path": "/", "host": ""}},
        securityContext={
            "privileged": False,
            "seLinuxOptions": {"type": "container_t"},
            "procMount": "Default",
        },
    )
    manifest["spec"] |= {"hostNetwork": False, "securityContext": safe}
    assert all(found(manifest, level) == [] for level in LEVELS)


BAD_POD = {**GOOD, "hostPID": True}
KINDS: dict[str, tuple[str, Raw, str]] = {
    "Deployment": ("apps/v1", {"template": {"spec": BAD_POD}}, "spec.template.spec"),
    "DaemonSet": ("apps/v1", {"template": {"spec": BAD_POD}}, "spec.template.spec"),
    "CronJob": (
        "batch/v1",
        {"jobTemplate": {"spec": {"template": {"spec": BAD_POD}}}},
        "spec.jobTemplate.spec.template.spec",
    ),
    "RayCluster": (
        "ray.io/v1",
        {"workerGroupSpecs": [{"template": {"spec": BAD_POD}}]},
        "spec.workerGroupSpecs[0].template.spec",
    ),
    "Elasticsearch": (
        "elasticsearch.k8s.elastic.co/v1",
        {"nodeSets": [{"podTemplate": {"spec": {"hostPID": True}}}]},
        "spec.nodeSets[0].podTemplate.spec",
    ),
    "Unheard": ("a.example/v1", {"deep": [{"er": BAD_POD}]}, "spec.deep[0].er"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_with_a_pod_is_looked_at(kind: str) -> None:
    api_version, spec, path = KINDS[kind]
    manifest = {**pod(spec), "apiVersion": api_version, "kind": kind}
    assert (f"{path}.hostPID", "privileged") in found(manifest, "baseline")


PARTS: dict[str, tuple[Raw, str]] = {
    "a single container": (
        {"templates": [{"container": {"image": "i", "securityContext": {"privileged": True}}}]},
        "spec.templates[0].container.securityContext.privileged",
    ),
    "steps": (
        {"steps": [{"image": "i", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        "spec.steps[0].securityContext.capabilities.add",
    ),
    "a folder of the node": (
        {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        "spec.volumes[0].hostPath",
    ),
    "a folder without a list": ({"storage": {"hostPath": {"path": "/"}}}, "spec.storage.hostPath"),
    "a field of a pod beside others": (
        {"driver": {"hostNetwork": True}},
        "spec.driver.hostNetwork",
    ),
    "a context by another name": (
        {"podSecurityContext": {"windowsOptions": {"hostProcess": True}}},
        "spec.podSecurityContext.windowsOptions.hostProcess",
    ),
    "a port of the node": ({"ports": [{"hostPort": 80}]}, "spec.ports[0].hostPort"),
    "a patch of pods in JSON": ({"podSpecPatch": '{"hostNetwork": true}'}, "spec.podSpecPatch"),
    "values in YAML": ({"values": "a:\n  privileged: true\n"}, "spec.values"),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_every_part_of_a_custom_object_is_looked_at(name: str, level: PodSecurity) -> None:
    spec, path = PARTS[name]
    manifest = {**pod(spec), "apiVersion": "a.example/v1", "kind": "Farm"}
    assert [(path, "privileged")] == found(manifest, level)
    assert found(manifest, "privileged") == []


def test_plain_fields_of_custom_objects_are_allowed_at_every_level() -> None:
    spec = {
        "ports": [{"containerPort": 80}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "podSecurityContext": {"fsGroup": 5},
        "hostNetwork": False,
        "note": "not privileged; hostPath is left out",
        "host": {"hostPath": "a.example/path"},
    }
    manifest = {**pod(spec), "apiVersion": "a.example/v1", "kind": "Farm"}
    assert all(found(manifest, level) == [] for level in LEVELS)


def test_a_namespace_may_only_enforce_the_level_or_a_stricter_one() -> None:
    def of(value: str) -> Raw:
        labels = {"pod-security.kubernetes.io/enforce": value}
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "ns", "labels": labels},
        }

    where = ("metadata.labels.pod-security.kubernetes.io/enforce", "privileged")
    for value in ("privileged", "", "unknown"):
        assert found(of(value), "baseline") == [where]
    assert found(of("baseline"), "restricted") == [where]
    assert found(of("restricted"), "baseline") == found(of("privileged"), "privileged") == []


def answer(level: str | None, manifest: Raw) -> Demand | NotAccepted:
    raw = workload(manifests=[manifest])
    of = tenant() if level is None else tenant(podSecurity=level)
    return demand_or_refusal(raw, tenants=[of])


def test_the_refusal_names_the_field_and_the_level_that_allows_it() -> None:
    for level in (None, "baseline"):
        refused = answer(level, pod(BAD_POD))
        assert isinstance(refused, NotAccepted)
        assert (refused.reason, refused.condition) == ("pod-security", "PodSecurity")
        assert "spec.manifests[0].spec.hostPID" in refused.message
        assert "podSecurity set to privileged" in refused.message
    assert isinstance(answer("privileged", pod(BAD_POD)), Demand)
    plain = pod({"containers": [{"name": "c", "image": "i"}]})
    assert isinstance(answer(None, plain), Demand)
    refused = answer("restricted", plain)
    assert isinstance(refused, NotAccepted)
    assert "podSecurity set to baseline" in refused.message
