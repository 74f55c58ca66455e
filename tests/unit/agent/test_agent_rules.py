"""What the agent refuses, what makes an object ours, how objects stand, and what must be done."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.orders.applier import Applied
from agents.orders.dressing import (
    ORDER_ID_ANNOTATION,
    ORDER_LABEL,
    dressed,
    is_controlled,
    key_of,
    token_of,
)
from agents.orders.journal import ObjectKey
from agents.orders.plan import Held, must_apply, status_of, surplus
from agents.orders.rules import refusals
from agents.orders.standing import Standing, ends_by_itself, standing
from agents.orders.view import Seen, View
from agents.protocol.index import IndexEntry
from agents.protocol.orders import OrderContent
from agents.protocol.topics import order_token
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
    return "; ".join(refusals(HUB.content("health", *manifests, **more), scope))


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
            "a list; write its items",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "x"},
                "data": {"a": "eA=="},
            },
            "carries its data inline",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "x"},
                "stringData": {"a": "b"},
            },
            "carries its data inline",
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
    assert "is given twice" in refused(
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
    tree = dressed(content, config_map(a="1"), is_namespaced=True)
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
    tree = dressed(content, manifest, is_namespaced=True)
    for step in path:
        tree = tree[step]
    assert tree["metadata"]["labels"][ORDER_LABEL] == order_token(content.id)
    assert tree["metadata"]["annotations"][ORDER_ID_ANNOTATION] == content.id


def test_the_manifest_itself_is_not_changed() -> None:
    manifest = deployment()
    dressed(order(manifest), manifest, is_namespaced=True)
    assert manifest == deployment()


def test_what_the_server_owns_is_left_out_and_replicas_are_set_where_they_belong() -> None:
    manifest = with_metadata(deployment(), uid="u", resourceVersion="7", managedFields=[])
    manifest["status"] = {"replicas": 9}
    content = order(manifest, replicas=5, scales="Deployment/web")
    tree = dressed(content, manifest, is_namespaced=True)
    assert set(tree["metadata"]) == {"name", "namespace", "labels", "annotations"}
    assert "status" not in tree
    assert tree["spec"]["replicas"] == 5


def test_ownership_is_read_back_also_when_the_label_was_taken_off() -> None:
    content = order(config_map())
    tree = dressed(content, config_map(), is_namespaced=True)
    token = order_token(content.id)
    assert token_of(tree) == token
    del tree["metadata"]["labels"]
    assert token_of(tree) == token
    assert token_of(config_map()) is None
    assert key_of(tree) == ObjectKey("v1", "ConfigMap", "health", "settings")
    assert str(key_of(tree)) == "ConfigMap health/settings"


# ---------------------------------------------------------------- standing


def status(manifest: Manifest, generation: int = 1, **fields: object) -> Manifest:
    return with_metadata({**manifest, "status": fields}, generation=generation)


COMPLETE = {"type": "Complete", "status": "True"}
FAILED = {"type": "Failed", "status": "True", "message": "too often"}
STANDINGS: list[tuple[str, Manifest, Standing]] = [
    ("nothing known", status(deployment()), Standing(is_ready=False, desired=2, ready=0)),
    (
        "ready",
        status(deployment(), observedGeneration=1, readyReplicas=2, updatedReplicas=2),
        Standing(is_ready=True, desired=2, ready=2),
    ),
    (
        "not seen yet",
        status(deployment(), 2, observedGeneration=1, readyReplicas=2, updatedReplicas=2),
        Standing(is_ready=False, desired=2, ready=2),
    ),
    (
        "rolling out",
        status(deployment(), observedGeneration=1, readyReplicas=2, updatedReplicas=1),
        Standing(is_ready=False, desired=2, ready=2),
    ),
    (
        "a job runs",
        status(job(), ready=1),
        Standing(is_ready=True, desired=1, ready=1, succeeded=0),
    ),
    (
        "a job is done",
        status(job(), succeeded=1, conditions=[COMPLETE]),
        Standing(is_ready=False, desired=0, ready=0, succeeded=1, finished="Succeeded"),
    ),
    (
        "a job has failed",
        status(job(), conditions=[FAILED]),
        Standing(
            is_ready=False, desired=0, ready=0, succeeded=0, finished="Failed", message="too often"
        ),
    ),
    (
        "a wide job",
        status(job(parallelism=3, completions=4), succeeded=2, ready=2),
        Standing(is_ready=True, desired=2, ready=2, succeeded=2),
    ),
    ("a config map", config_map(), Standing(is_ready=True)),
]


@pytest.mark.parametrize(("_name", "tree", "expected"), STANDINGS, ids=[s[0] for s in STANDINGS])
def test_an_object_stands_as_its_status_says(
    _name: str, tree: Manifest, expected: Standing
) -> None:
    assert standing(tree) == expected


def test_a_pod_that_is_not_restarted_ends_and_another_does_not() -> None:
    pod: Manifest = {"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "Never"}}
    pod["status"] = {"phase": "Succeeded"}
    assert standing(pod).finished == "Succeeded"
    pod["spec"] = {}
    assert standing(pod).finished is None
    assert [ends_by_itself(tree) for tree in (job(), pod, deployment())] == [True, False, False]


# ---------------------------------------------------------------- plan


def seen(content: OrderContent, manifest: Manifest, **more: Any) -> Seen:  # noqa: ANN401 - fields
    tree = dressed(content, manifest, is_namespaced=True)
    words: dict[str, Any] = {
        "key": key_of(tree),
        "uid": "u1",
        "mark": "g1",
        "token": order_token(content.id),
        "order_id": content.id,
        "is_leaving": False,
        "standing": standing(tree),
    }
    return Seen(**(words | more))


def view(*objects: Seen) -> View:
    visible = frozenset({("apps", "Deployment"), ("", "ConfigMap")})
    return View({(*o.key.group_kind, o.key.namespace, o.key.name): o for o in objects}, visible)


CONTENT = HUB.content("health", deployment())
WEB = seen(CONTENT, deployment())
NAME = ("apps", "Deployment", "health", "web")
ENTRY = IndexEntry(id=CONTENT.id, generation=1, digest="sha256:1")


def held(**more: Any) -> Held:  # noqa: ANN401 - fields
    applied = Applied(marks={NAME: ("u1", "g1")}, standings={NAME: WEB.standing})
    words: dict[str, Any] = {"digest": "sha256:1", "generation": 1, "objects": 1}
    return Held(**(words | {"applied": applied} | more))


def test_what_is_as_it_was_applied_is_let_be() -> None:
    assert not must_apply(held(), ENTRY, view(WEB), now=0)


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [seen(CONTENT, deployment(), mark="g2")],
        [seen(CONTENT, deployment(), uid="u2")],
    ],
    ids=["gone", "changed", "remade"],
)
def test_what_drifted_is_applied_again(objects: list[Seen]) -> None:
    assert must_apply(held(), ENTRY, view(*objects), now=0)


def test_what_is_new_or_of_another_generation_is_applied() -> None:
    assert must_apply(None, ENTRY, view(), now=0)
    assert must_apply(held(digest="sha256:0"), ENTRY, view(WEB), now=0)


def test_what_failed_is_tried_again_at_its_time() -> None:
    failed = held(retry_at=10.0)
    assert not must_apply(failed, ENTRY, view(), now=9)
    assert must_apply(failed, ENTRY, view(), now=10)


def test_of_a_kind_that_could_not_be_listed_nothing_is_concluded() -> None:
    assert not must_apply(held(), ENTRY, View({}, frozenset()), now=0)


def test_what_no_index_lists_is_surplus() -> None:
    token = order_token(CONTENT.id)
    assert surplus(view(WEB), {}, frozenset()) == [WEB]
    assert surplus(view(WEB), {token: held()}, frozenset({token})) == []
    assert surplus(view(WEB), {}, frozenset({token})) == [], "not applied by us yet"


def test_what_a_newer_generation_dropped_is_surplus_only_once_that_is_whole() -> None:
    token = order_token(CONTENT.id)
    old = seen(CONTENT, config_map("old"))
    whole, partly = held(), held()
    partly.applied.errors.append("no room")
    assert surplus(view(WEB, old), {token: whole}, frozenset({token})) == [old]
    assert surplus(view(WEB, old), {token: partly}, frozenset({token})) == []


def test_what_we_did_not_make_is_never_surplus() -> None:
    labelled = seen(CONTENT, deployment(), order_id=None)  # as Endpoints copy a Service's labels
    leaving = seen(CONTENT, deployment(), is_leaving=True)
    assert surplus(view(labelled), {}, frozenset()) == []
    assert surplus(view(leaving), {}, frozenset()) == []
    owners = [{"kind": "Deployment", "name": "web", "controller": True}]
    assert is_controlled({"metadata": {"ownerReferences": owners}})
    assert not is_controlled(deployment())


def phase(order: Held | None, **more: Any) -> str:  # noqa: ANN401 - fields
    words = {"bound": None, "applied_generation": None} | more
    return status_of(ENTRY, order, **words).phase


def applied(*standings: Standing, **more: Any) -> Held:  # noqa: ANN401 - fields
    names = {("", "X", "", str(n)): each for n, each in enumerate(standings)}
    marks = dict.fromkeys(names, ("u", "g"))
    return held(applied=Applied(marks=marks, standings=names, **more))


UP = Standing(is_ready=True, desired=1, ready=1)
DOWN = Standing(is_ready=False, desired=1, ready=0)
PLAIN = Standing(is_ready=True)
DONE = Standing(is_ready=False, desired=0, finished="Succeeded")
LOST = Standing(is_ready=False, desired=0, finished="Failed")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, "Fetching"),
        (held(digest="sha256:0"), "Fetching"),
        (held(refusals=("no",)), "Refused"),
        (applied(UP, conflicts=["x"]), "Conflict"),
        (applied(UP, errors=["x"]), "Applying"),
        (applied(UP, errors=["x"], may_pass=False), "Failed"),
        (applied(UP, DOWN), "Applied"),
        (applied(UP, PLAIN), "Ready"),
        (applied(DONE, PLAIN), "Finished"),
        (applied(DONE, UP), "Ready"),
        (applied(DONE, DOWN), "Applied"),
        (applied(ended={NAME}), "Finished"),
    ],
    ids=str,
)
def test_the_phase_of_an_order(order: Held | None, expected: str) -> None:
    assert phase(order) == expected


def test_jobs_together_end_well_only_if_all_did() -> None:
    both = status_of(ENTRY, applied(DONE, LOST), bound=0, applied_generation=1)
    unseen = status_of(ENTRY, applied(ended={NAME}), bound=0, applied_generation=1)
    assert (both.phase, both.finished) == ("Finished", "Failed")
    assert (unseen.phase, unseen.finished) == ("Finished", None), "nobody saw how"


def test_a_status_adds_up_its_objects() -> None:
    words = status_of(ENTRY, applied(UP, DOWN, PLAIN), bound=2, applied_generation=1)
    assert (words.desired, words.ready, words.bound, words.applied) == (2, 1, 2, 3)


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
@settings(max_examples=150)
def test_no_manifest_whatever_stops_the_agent(parts: Manifest, kind: str) -> None:
    versions = {"Job": "batch/v1", "CronJob": "batch/v1", "Pod": "v1", "ConfigMap": "v1"}
    manifest = {"apiVersion": versions.get(kind, "apps/v1"), "kind": kind, **parts}
    metadata = parts.get("metadata")
    manifest["metadata"] = (metadata if isinstance(metadata, dict) else {}) | {"name": "x"}
    content = order(manifest)
    if not refusals(content, scope):
        tree = dressed(content, manifest, is_namespaced=True)
        assert token_of(tree) == order_token(content.id)
        ends_by_itself(tree)
        standing(tree)
