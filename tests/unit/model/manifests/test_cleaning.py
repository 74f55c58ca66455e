"""What `kubectl get -o yaml` prints of another cluster is not applied, and named."""

import copy
from typing import Any

import pytest

from scheduler.model.manifests.cleaning import clean_manifests
from tests.support.sites import Raw

EXPORTED: dict[str, Any] = {
    "uid": "00000000-0000-0000-0000-000000000002",
    "resourceVersion": "71",
    "generation": 3,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "deletionTimestamp": "2026-01-02T00:00:00Z",
    "deletionGracePeriodSeconds": 30,
    "managedFields": [{"manager": "kubectl"}],
    "selfLink": "/api/v1/namespaces/a/configmaps/a",
    "finalizers": ["example.com/never"],
    "ownerReferences": [{"kind": "ConfigMap", "name": "b", "uid": "2", "controller": True}],
}
LAST_APPLIED = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}


def item(api_version: str, kind: str, *, metadata: Raw | None = None, **fields: Any) -> Raw:  # noqa: ANN401
    named = {"name": "a", **(metadata or {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": named, **fields}


def clean(manifest: Raw) -> tuple[Raw, list[str]]:
    before = copy.deepcopy(manifest)
    (cleaned,), paths = clean_manifests([manifest])
    assert manifest == before, "the manifest itself stays as it is"
    again, nothing = clean_manifests([cleaned])
    assert again == (cleaned,)
    assert nothing == ()
    return cleaned, [each.removeprefix("spec.manifests[0].") for each in paths]


@pytest.mark.parametrize("field", EXPORTED)
def test_metadata_of_another_cluster_is_stripped_and_named(field: str) -> None:
    found, paths = clean(
        item("v1", "ConfigMap", metadata={field: EXPORTED[field]}, data={"a": "b"})
    )
    assert found == item("v1", "ConfigMap", data={"a": "b"})
    assert paths == [f"metadata.{field}"]


def test_status_and_last_applied_annotations_are_stripped() -> None:
    found, paths = clean(
        item("v1", "ConfigMap", metadata={"annotations": LAST_APPLIED}, status={"a": 1})
    )
    assert found == item("v1", "ConfigMap")
    assert "status" in paths
    kept = {"annotations": {**LAST_APPLIED, "a": "b"}}
    assert clean(item("v1", "ConfigMap", metadata=kept))[0]["metadata"]["annotations"] == {"a": "b"}


def test_empty_values_are_stripped_without_a_word() -> None:
    made = item("v1", "ConfigMap", metadata={"creationTimestamp": None}, status={})
    assert clean(made) == (item("v1", "ConfigMap"), [])


def test_a_manifest_with_nothing_to_strip_is_returned_as_it_is() -> None:
    made = item("apps/v1", "Deployment", spec={"template": {"metadata": {}, "spec": {}}})
    (found,), _ = clean_manifests([made])
    assert found is made


@pytest.mark.parametrize(
    "path",
    [
        ("apps/v1", "Deployment", "template"),
        ("batch/v1", "CronJob", "jobTemplate"),
        ("batch/v1", "CronJob", "jobTemplate", "spec", "template"),
        ("apps/v1", "StatefulSet", "volumeClaimTemplates", 0),
        ("ray.io/v1", "RayCluster", "workerGroupSpecs", 0, "template"),
        ("a.example/v1", "Wrapper", "forProvider", "manifest"),
    ],
)
def test_owners_are_stripped_wherever_an_object_is_described(path: tuple[Any, ...]) -> None:
    api_version, kind, *steps = path
    value: Any = {"metadata": {"name": "b", **EXPORTED}, "spec": {"a": 1}}
    for step in reversed(steps):
        value = [value] if step == 0 else {step: value}
    found, paths = clean(item(api_version, kind, spec=value))
    assert "ownerReferences" not in str(found)
    assert "uid" not in str(found)
    assert len(paths) == len(EXPORTED)


def test_what_only_looks_like_metadata_stays() -> None:
    data = {"metadata": {"finalizers": ["a"], "uid": "b"}}
    made = item("a.example/v1", "Note", spec=data)
    assert clean(made) == (made, [])


SERVICE = {
    "clusterIP": "10.0.0.7",
    "clusterIPs": ["10.0.0.7"],
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
    "healthCheckNodePort": 30001,
    "ports": [{"port": 80, "nodePort": 30080}],
    "type": "LoadBalancer",
}


def test_addresses_and_ports_that_a_cluster_gave_to_a_service_are_stripped() -> None:
    found, paths = clean(item("v1", "Service", spec=SERVICE))
    assert found["spec"] == {"ports": [{"port": 80}], "type": "LoadBalancer"}
    assert "spec.ports[0].nodePort" in paths
    assert "spec.clusterIP" in paths


def test_a_headless_service_and_a_written_ip_family_stay() -> None:
    headless = item("v1", "Service", spec={"clusterIP": "None", "clusterIPs": ["None"]})
    assert clean(headless) == (headless, [])
    dual = item("v1", "Service", spec={"ipFamilyPolicy": "PreferDualStack"})
    assert clean(dual) == (dual, [])


def test_the_volume_that_a_cluster_bound_is_stripped_and_a_named_one_stays() -> None:
    bound = {
        "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
        "uid": "00000000-0000-0000-0000-000000000002",
    }
    found, paths = clean(
        item("v1", "PersistentVolumeClaim", metadata=bound, spec={"volumeName": "pv-7"})
    )
    assert found["spec"] == {}
    assert "spec.volumeName" in paths
    provisioned = "pvc-0f0f0f0f-1111-2222-3333-444444444444"
    claim = item("v1", "PersistentVolumeClaim", spec={"volumeName": provisioned})
    assert clean(claim)[0]["spec"] == {}
    named = item("v1", "PersistentVolumeClaim", spec={"volumeName": "archive"})
    assert clean(named) == (named, [])


def test_the_selector_and_labels_that_a_cluster_gave_to_a_job_are_stripped() -> None:
    labels = {"batch.kubernetes.io/controller-uid": "1", "controller-uid": "1", "job-name": "a"}
    template = {"metadata": {"labels": {**labels, "app": "a"}}, "spec": {}}
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": "1"}}
    found, paths = clean(item("batch/v1", "Job", spec={"selector": selector, "template": template}))
    assert found["spec"] == {"template": {"metadata": {"labels": {"app": "a"}}, "spec": {}}}
    assert "spec.selector" in paths
    own = item(
        "batch/v1", "Job", spec={"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}}
    )
    assert clean(own) == (own, [])


def test_the_node_and_the_owner_labels_of_an_exported_pod_are_stripped() -> None:
    metadata = {
        "uid": "00000000-0000-0000-0000-000000000002",
        "generateName": "a-",
        "labels": {"pod-template-hash": "7", "app": "a"},
    }
    found, _ = clean(
        item("v1", "Pod", metadata=metadata, spec={"nodeName": "n1", "containers": []})
    )
    assert found == item("v1", "Pod", metadata={"labels": {"app": "a"}}, spec={"containers": []})


def test_token_secrets_of_a_service_account_are_stripped() -> None:
    secrets = [{"name": "a-token-x7k2p"}, {"name": "registry"}]
    found, paths = clean(item("v1", "ServiceAccount", secrets=secrets))
    assert found["secrets"] == [{"name": "registry"}]
    assert paths == ["secrets"]


def test_the_schema_of_a_definition_stays() -> None:
    schema = {"properties": {"metadata": {"type": "object"}, "spec": {}, "status": {}}}
    made = item("apiextensions.k8s.io/v1", "CustomResourceDefinition", spec={"versions": [schema]})
    assert clean(made) == (made, [])
