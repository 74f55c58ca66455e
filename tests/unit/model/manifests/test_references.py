"""What pod templates refer to, and what of it goes to sites."""

from typing import Any

import pytest

from scheduler.model.manifests.references import (
    Reference,
    as_sent,
    is_referred_name,
    pull_secrets_of,
    references_of,
)

Tree = dict[str, Any]


def deployment(spec: Tree, namespace: str | None = None) -> Tree:
    metadata = {"name": "web"} | ({"namespace": namespace} if namespace else {})
    template = {"spec": {"containers": [{"name": "web", "image": "web"}]} | spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"template": template},
    }


def container(**fields: Any) -> Tree:  # noqa: ANN401 - any field
    return {"containers": [{"name": "web", "image": "web"} | fields]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            container(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a"}}}]),
            Reference("ConfigMap", "a"),
        ),
        (
            container(
                env=[
                    {
                        "name": "A",
                        "valueFrom": {"secretKeyRef": {"name": "a", "key": "k", "optional": True}},
                    }
                ]
            ),
            Reference("Secret", "a", is_optional=True),
        ),
        (container(envFrom=[{"configMapRef": {"name": "a"}}]), Reference("ConfigMap", "a")),
        (container(envFrom=[{"secretRef": {"name": "a"}}]), Reference("Secret", "a")),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "a"}}]},
            Reference("ConfigMap", "a"),
        ),
        ({"volumes": [{"name": "v", "secret": {"secretName": "a"}}]}, Reference("Secret", "a")),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "a", "optional": True}}]},
            Reference("Secret", "a", is_optional=True),
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "a"}}]}}]},
            Reference("Secret", "a"),
        ),
        (
            {"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "a"}}}]},
            Reference("Secret", "a"),
        ),
        (
            {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "a"}}]},
            Reference("PersistentVolumeClaim", "a"),
        ),
        ({"imagePullSecrets": [{"name": "a"}]}, Reference("Secret", "a", is_optional=True)),
        ({"serviceAccountName": "a"}, Reference("ServiceAccount", "a")),
        ({"priorityClassName": "a"}, Reference("PriorityClass", "a")),
        (
            {"initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "a"}}]}]},
            Reference("ConfigMap", "a"),
        ),
    ],
)
def test_each_form_of_a_reference_is_found(spec: Tree, expected: Reference) -> None:
    assert references_of([deployment(spec)], "ns") == (expected,)


@pytest.mark.parametrize(
    "spec",
    [
        {"serviceAccountName": "default"},
        {"priorityClassName": "system-node-critical"},
        {"volumes": [{"name": "v", "configMap": {"name": "kube-root-ca.crt"}}]},
        {"volumes": "none", "imagePullSecrets": 3, "serviceAccountName": ["a"]},
        container(env="none", envFrom=[7]),
    ],
)
def test_what_every_cluster_has_is_no_reference(spec: Tree) -> None:
    assert references_of([deployment(spec)], "ns") == ()


def test_what_the_manifests_contain_is_no_reference() -> None:
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    user = deployment(container(envFrom=[{"configMapRef": {"name": "a"}}]))
    assert references_of([own, user], "ns") == ()
    elsewhere = own | {"metadata": {"name": "a", "namespace": "other"}}
    assert references_of([elsewhere, user], "ns") == (Reference("ConfigMap", "a"),)


def test_templates_in_another_namespace_refer_to_its_objects() -> None:
    spec = {"serviceAccountName": "a", "priorityClassName": "gold"}
    user = deployment(spec, namespace="other")
    assert references_of([user, deployment({"serviceAccountName": "a"})], "ns") == (
        Reference("PriorityClass", "gold"),
        Reference("ServiceAccount", "a"),
        Reference("ServiceAccount", "a", namespace="other"),
    )


def test_a_reference_is_optional_only_if_all_of_its_uses_are() -> None:
    uses = [{"configMapRef": {"name": "a", "optional": True}}, {"configMapRef": {"name": "a"}}]
    assert references_of([deployment(container(envFrom=uses))], "ns") == (
        Reference("ConfigMap", "a"),
    )


def test_a_cron_job_refers_as_its_pods_do() -> None:
    template = deployment({"serviceAccountName": "a"})["spec"]["template"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "web"},
        "spec": {"jobTemplate": {"spec": {"template": template}}},
    }
    assert references_of([job], "ns") == (Reference("ServiceAccount", "a"),)


def test_only_what_people_wrote_is_sent() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "data": {"k": "dg=="},
        "metadata": {
            "name": "a",
            "namespace": "ns",
            "uid": "u",
            "resourceVersion": "5",
            "ownerReferences": [{"name": "o"}],
            "labels": {"app": "web", "kapok.dev/order": "x"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": '{"data":{"k":"dg=="}}',
                "note": "n",
            },
        },
    }
    assert as_sent(body) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "data": {"k": "dg=="},
        "metadata": {"name": "a", "labels": {"app": "web"}, "annotations": {"note": "n"}},
    }


def test_a_claim_travels_without_its_volume() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "a", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "pv-1", "storageClassName": "fast"},
        "status": {"phase": "Bound"},
    }
    sent = as_sent(body)
    assert sent["spec"] == {"storageClassName": "fast"}
    assert sent["metadata"] == {"name": "a"}
    assert "status" not in sent


def test_pull_secrets_of_an_account_are_optional() -> None:
    account = {"imagePullSecrets": [{"name": "a"}, {"name": 3}, "x"], "secrets": [{"name": "t"}]}
    assert pull_secrets_of(account) == (Reference("Secret", "a", is_optional=True),)


@pytest.mark.parametrize(
    ("name", "is_usable"),
    [("a", True), ("a.b-c", True), ("", False), ("A", False), ("a/b", False), ("a" * 221, False)],
)
def test_a_name_that_no_object_has_is_not_sent(name: str, *, is_usable: bool) -> None:
    assert is_referred_name(name) is is_usable
