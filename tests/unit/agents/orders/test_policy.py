"""What the agent refuses, what makes an object ours, and how objects stand."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.orders.journal import ObjectKey
from agents.orders.labels import (
    object_key_of,
    order_token_of,
    with_ownership_labels,
)
from agents.orders.policy import find_refusals
from agents.orders.readiness import Readiness, readiness_of, runs_to_completion
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL, OrderContent
from agents.protocol.topics import order_token
from tests.support.counts import examples
from tests.support.wire_hub import Manifest, WireHub, config_map, deployment, job

HUB = WireHub()
PATHS = (
    "metadata",
    "labels",
    "annotations",
    "ownerReferences",
    "spec",
    "template",
    "jobTemplate",
    "restartPolicy",
    "replicas",
    "parallelism",
    "ttlSecondsAfterFinished",
    "status",
    "conditions",
    "generation",
)
CLUSTER_KINDS = {"ClusterRole", "Namespace", "PersistentVolume"}


def scope(_api_version: str, kind: str) -> bool | None:
    return None if kind == "Unheard" else kind not in CLUSTER_KINDS


def with_metadata(manifest: Manifest, **metadata: object) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], **metadata}}


def refused(*manifests: Any, **more: Any) -> str:  # noqa: ANN401 - anything may be sent
    return "; ".join(find_refusals(HUB.content("health", *manifests, **more), scope))


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({}, "manifests[0]: not a Kubernetes object: apiVersion"),
        ({"apiVersion": 1, "kind": "A"}, "not a Kubernetes object: apiVersion"),
        ({"apiVersion": "../v1", "kind": "A"}, "not a Kubernetes object: apiVersion"),
        ({"apiVersion": "v1", "kind": "pod/exec"}, "not a Kubernetes object: kind"),
        ({"apiVersion": "v1", "kind": "Pod"}, "not a Kubernetes object: metadata"),
        (with_metadata(config_map(), name=""), "metadata.name is missing or malformed"),
        (with_metadata(config_map(), name="../../secrets/x"), "metadata.name is missing or malf"),
        (with_metadata(config_map(), name=None, generateName="x-"), "generateName"),
        (with_metadata(config_map(), namespace="tax"), "names namespace 'tax'"),
        (with_metadata(config_map(), namespace="kapok-system"), "names namespace 'kapok-system'"),
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}, "cluster-scoped"),
        (
            {
                "apiVersion": "v1",
                "kind": "ConfigMapList",
                "metadata": {"name": "x"},
                "items": [],
            },
            "lists are not supported",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "x"},
                "data": {"a": "eA=="},
            },
            "has inline data",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "x"},
                "stringData": {"a": "b"},
            },
            "has inline data",
        ),
    ],
)
def test_a_manifest_is_refused_with_what_to_write_instead(manifest: Manifest, words: str) -> None:
    assert words in refused(manifest)


def test_good_manifests_pass() -> None:
    empty_secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    own = with_metadata(config_map("own"), namespace="health")
    unheard = {"apiVersion": "a.example/v1", "kind": "Unheard", "metadata": {"name": "u"}}
    assert refused(config_map(), own, empty_secret, deployment(), job(), unheard) == ""


def test_one_object_twice_is_refused() -> None:
    assert "duplicate object" in refused(
        config_map("a"), with_metadata(config_map("a"), namespace="health")
    )


def test_what_the_tenant_may_touch_besides_is_let_through() -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "r"},
    }
    other = with_metadata(config_map(), namespace="tax")
    more = {
        "namespaces": ("tax",),
        "cluster_kinds": ("rbac.authorization.k8s.io/ClusterRole",),
    }
    assert refused(role, other, **more) == ""
    assert "cluster-scoped" in refused(role)


@pytest.mark.parametrize("namespace", ["kapok-system", "A", "a/b"])
def test_a_workloads_namespace_is_checked_too(namespace: str) -> None:
    assert refused(config_map(), namespace=namespace)


# ---------------------------------------------------------------- dressing


def order(*manifests: Manifest, **more: Any) -> OrderContent:  # noqa: ANN401 - fields of the content
    return HUB.content("health", *manifests, **more)


def test_an_object_gets_one_label_and_one_annotation_and_nothing_else() -> None:
    content = order(config_map())
    tree = with_ownership_labels(content, config_map(a="1"), is_namespaced=True)
    assert tree == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"a": "1"},
        "metadata": {
            "name": "settings",
            "namespace": "health",
            "labels": {ORDER_LABEL: order_token(content.id)},
            "annotations": {ORDER_ID_ANNOTATION: content.id},
        },
    }


CRON = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "c"},
    "spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}},
}


@pytest.mark.parametrize(
    ("manifest", "path"),
    [
        (deployment(), ("spec", "template")),
        (job(), ("spec", "template")),
        (CRON, ("spec", "jobTemplate", "spec", "template")),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}, ()),
    ],
    ids=["Deployment", "Job", "CronJob", "Pod"],
)
def test_pods_carry_the_order_too(manifest: Manifest, path: tuple[str, ...]) -> None:
    content = order(manifest)
    tree = with_ownership_labels(content, manifest, is_namespaced=True)
    for step in path:
        tree = tree[step]
    assert tree["metadata"]["labels"][ORDER_LABEL] == order_token(content.id)
    assert tree["metadata"]["annotations"][ORDER_ID_ANNOTATION] == content.id


def test_pods_of_kinds_with_templates_elsewhere_carry_the_order_too() -> None:
    pod = {"spec": {"containers": [{"name": "c"}]}}
    claim = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    tasks = [{"name": "worker", "template": pod, "volumeClaimTemplate": claim}]
    manifest = {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": {"name": "a"},
        "spec": {"tasks": tasks},
    }
    content = order(manifest)
    (task,) = with_ownership_labels(content, manifest, is_namespaced=True)["spec"]["tasks"]
    assert task["template"]["metadata"]["labels"][ORDER_LABEL] == order_token(content.id)
    assert task["volumeClaimTemplate"] == claim, "a claim is no pod, and is not pruned as one"


def test_the_manifest_itself_is_not_changed() -> None:
    manifest = deployment()
    with_ownership_labels(order(manifest), manifest, is_namespaced=True)
    assert manifest == deployment()


def test_what_the_server_owns_is_left_out_and_replicas_are_set_where_they_belong() -> None:
    manifest = with_metadata(deployment(), uid="u", resourceVersion="7", managedFields=[])
    manifest["status"] = {"replicas": 9}
    content = order(manifest, replicas=5, scales="Deployment/web")
    tree = with_ownership_labels(content, manifest, is_namespaced=True)
    assert set(tree["metadata"]) == {"name", "namespace", "labels", "annotations"}
    assert "status" not in tree
    assert tree["spec"]["replicas"] == 5


def test_ownership_is_read_back_also_when_the_label_was_taken_off() -> None:
    content = order(config_map())
    tree = with_ownership_labels(content, config_map(), is_namespaced=True)
    token = order_token(content.id)
    assert order_token_of(tree) == token
    del tree["metadata"]["labels"]
    assert order_token_of(tree) == token
    assert order_token_of(config_map()) is None
    assert object_key_of(tree) == ObjectKey("v1", "ConfigMap", "health", "settings")
    assert str(object_key_of(tree)) == "ConfigMap health/settings"


# ---------------------------------------------------------------- standing


def status(manifest: Manifest, generation: int = 1, **fields: object) -> Manifest:
    return with_metadata({**manifest, "status": fields}, generation=generation)


COMPLETE = {"type": "Complete", "status": "True"}
FAILED = {"type": "Failed", "status": "True", "message": "too often"}
CLAIM: Manifest = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}}
DEFINITION: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example"},
}
TAKEN = {"type": "NamesAccepted", "message": "widgets is taken"}
STANDINGS: list[tuple[str, Manifest, Readiness]] = [
    ("nothing known", status(deployment()), Readiness(is_ready=False, desired=2, ready=0)),
    (
        "ready",
        status(deployment(), observedGeneration=1, readyReplicas=2, updatedReplicas=2),
        Readiness(is_ready=True, desired=2, ready=2),
    ),
    (
        "not seen yet",
        status(deployment(), 2, observedGeneration=1, readyReplicas=2, updatedReplicas=2),
        Readiness(is_ready=False, desired=2, ready=2),
    ),
    (
        "rolling out",
        status(deployment(), observedGeneration=1, readyReplicas=2, updatedReplicas=1),
        Readiness(is_ready=False, desired=2, ready=2),
    ),
    (
        "a job runs",
        status(job(), ready=1),
        Readiness(is_ready=True, desired=1, ready=1, succeeded=0),
    ),
    (
        "a job is done",
        status(job(), succeeded=1, conditions=[COMPLETE]),
        Readiness(is_ready=False, desired=0, ready=0, succeeded=1, finished="Succeeded"),
    ),
    (
        "a job has failed",
        status(job(), conditions=[FAILED]),
        Readiness(
            is_ready=False, desired=0, ready=0, succeeded=0, finished="Failed", message="too often"
        ),
    ),
    (
        "a wide job",
        status(job(parallelism=3, completions=4), succeeded=2, ready=2),
        Readiness(is_ready=True, desired=2, ready=2, succeeded=2),
    ),
    ("a config map", config_map(), Readiness(is_ready=True)),
    ("a claim that waits for a pod", status(CLAIM, phase="Pending"), Readiness(is_ready=True)),
    (
        "a claim without its volume",
        status(CLAIM, phase="Lost"),
        Readiness(is_ready=False, message="the volume of the claim is gone, and its data with it"),
    ),
    ("a definition that is new", DEFINITION, Readiness(is_ready=False)),
    (
        "a definition whose names are taken",
        status(DEFINITION, conditions=[{**TAKEN, "status": "False"}]),
        Readiness(is_ready=False, message="widgets is taken"),
    ),
    (
        "a definition that is served",
        status(DEFINITION, conditions=[{"type": "Established", "status": "True"}]),
        Readiness(is_ready=True),
    ),
]


@pytest.mark.parametrize(("_name", "tree", "expected"), STANDINGS, ids=[s[0] for s in STANDINGS])
def test_an_object_stands_as_its_status_says(
    _name: str, tree: Manifest, expected: Readiness
) -> None:
    assert readiness_of(tree) == expected


def test_a_pod_that_is_not_restarted_ends_and_another_does_not() -> None:
    pod: Manifest = {"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "Never"}}
    pod["status"] = {"phase": "Succeeded"}
    assert readiness_of(pod).finished == "Succeeded"
    pod["spec"] = {}
    assert readiness_of(pod).finished is None
    assert [runs_to_completion(tree) for tree in (job(), pod, deployment())] == [True, False, False]


# ---------------------------------------------------------------- whatever is sent

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PATHS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    parts=st.dictionaries(st.sampled_from(PATHS), ODD, max_size=4),
    kind=st.sampled_from(["Deployment", "Job", "CronJob", "Pod", "DaemonSet", "ConfigMap"]),
)
@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow])
def test_no_manifest_whatever_stops_the_agent(parts: Manifest, kind: str) -> None:
    versions = {"Job": "batch/v1", "CronJob": "batch/v1", "Pod": "v1", "ConfigMap": "v1"}
    manifest = {"apiVersion": versions.get(kind, "apps/v1"), "kind": kind, **parts}
    metadata = parts.get("metadata")
    manifest["metadata"] = (metadata if isinstance(metadata, dict) else {}) | {"name": "x"}
    content = order(manifest)
    if not find_refusals(content, scope):
        tree = with_ownership_labels(content, manifest, is_namespaced=True)
        assert order_token_of(tree) == order_token(content.id)
        runs_to_completion(tree)
        readiness_of(tree)
