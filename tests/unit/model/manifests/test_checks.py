"""Manifests that a workload may not have, each refused with what to write instead."""

import copy
from typing import Any

import pytest

from agents.orders.policy import find_refusals
from agents.protocol.orders import OrderContent
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.manifests.recorded import recorded_manifests
from tests.support.one_site import tenant
from tests.support.sites import Raw, demand_or_refusal, workload

MARKER = "bWFya2VyLW9mLXNlY3JldC1kYXRh"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def item(api_version: str = "v1", kind: str = "ConfigMap", **fields: Any) -> Raw:  # noqa: ANN401
    metadata = {"name": "a", **fields.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def pod_template(**metadata: Any) -> Raw:  # noqa: ANN401 - any JSON
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def answer(*manifests: Any, **of_tenant: Any) -> Demand | NotAccepted:  # noqa: ANN401 - any JSON
    raw = workload(manifests=list(manifests))
    del raw["spec"]["demand"]
    return demand_or_refusal(raw, tenants=[tenant(**of_tenant)] if of_tenant else None)


def refusal(*manifests: Any, **of_tenant: Any) -> str:  # noqa: ANN401 - any JSON
    found = answer(*manifests, **of_tenant)
    assert isinstance(found, NotAccepted), found
    return found.message


SECRET = item(kind="Secret", data={"k": MARKER})
TEXT = f'{{"kind":"Secret","data":{{"k":"{MARKER}"}}}}'
FORMS_OF_SECRETS: dict[str, Raw] = {
    "plain": SECRET,
    "stringData": item(kind="Secret", stringData={"k": MARKER}),
    "lower case": {**SECRET, "kind": "secret"},
    "upper case": {**SECRET, "kind": "SECRET"},
    "space": {**SECRET, "kind": "Secret "},
    "tab": {**SECRET, "kind": "\tSecret"},
    "invisible": {**SECRET, "kind": "Sec\u200bret"},
    "full width": {**SECRET, "kind": "\uff33\uff45\uff43\uff52\uff45\uff54"},
    "plural": {**SECRET, "kind": "Secrets"},
    "other version": {**SECRET, "apiVersion": "core/v1"},
    "version with space": {**SECRET, "apiVersion": "v1 "},
    "no version": {key: each for key, each in SECRET.items() if key != "apiVersion"},
    "no kind": {key: each for key, each in SECRET.items() if key != "kind"},
    "kind in capitals": {"KIND": "Secret", **{k: v for k, v in SECRET.items() if k != "kind"}},
    "kind is a list": {**SECRET, "kind": ["Secret"]},
    "no name": {**SECRET, "metadata": {}},
    "generated name": {**SECRET, "metadata": {"generateName": "a-"}},
    "data in capitals": {**item(kind="Secret"), "DATA": {"k": MARKER}},
    "List": item(kind="List", items=[SECRET]),
    "list": item(kind="list", items=[SECRET]),
    "SecretList": item(
        kind="SecretList", items=[{"metadata": {"name": "b"}, "data": {"k": MARKER}}]
    ),
    "AnyList": item("a.example/v1", "AnyList", items=[SECRET]),
    "items of anything": item(items=[{"data": {"k": MARKER}}]),
    "list in a list": item(kind="List", items=[item(kind="List", items=[SECRET])]),
    "inside a custom object": item("a.example/v1", "Wrapper", spec={"manifest": SECRET}),
    "inside a list of one": item("a.example/v1", "Wrapper", spec={"objects": [SECRET]}),
    "another annotation": item(kind="Secret", metadata={"annotations": {"tool/copy": TEXT}}),
    "annotation of another object": item(metadata={"annotations": {"tool/copy": TEXT}}),
    "annotation in YAML": item(
        metadata={"annotations": {"a": f"kind: Secret\nstringData:\n  k: {MARKER}\n"}}
    ),
    "annotation with escapes": item(
        metadata={"annotations": {"a": TEXT.replace("Secret", "\\u0053ecret")}}
    ),
    "annotation in an annotation": item(
        metadata={"annotations": {"a": '{"b": "' + TEXT.replace('"', '\\"') + '"}'}}
    ),
    "annotation of a template": item(
        "apps/v1", "Deployment", spec={"template": pod_template(annotations={"a": TEXT})}
    ),
    "too deep": item("a.example/v1", "Wrapper", spec={"a": [[[[[SECRET]]]] * 1]}),
}


@pytest.mark.parametrize("name", FORMS_OF_SECRETS)
def test_secret_data_in_any_form_is_refused_and_never_recorded(name: str) -> None:
    manifest = FORMS_OF_SECRETS[name]
    assert MARKER not in refusal(manifest)
    assert MARKER not in str(recorded_manifests([manifest]))


@pytest.mark.parametrize(
    "manifest",
    [
        item(metadata={"annotations": {LAST_APPLIED: TEXT}}),
        item(kind="Secret", metadata={"annotations": {LAST_APPLIED: TEXT}}),
        item(
            "apps/v1",
            "Deployment",
            spec={"template": pod_template(annotations={LAST_APPLIED: TEXT})},
        ),
    ],
)
def test_a_copy_in_a_last_applied_annotation_is_accepted_and_never_recorded(manifest: Raw) -> None:
    assert isinstance(answer(manifest), Demand)
    assert MARKER not in str(recorded_manifests([manifest]))


def test_nested_beyond_every_bound_is_refused_and_recorded_by_name() -> None:
    deep: Any = {"kind": "Secret", "data": {"k": MARKER}}
    for _ in range(400):
        deep = {"a": deep}
    manifest = item("a.example/v1", "Wrapper", spec=deep)
    assert "nested deeper" in refusal(manifest)
    assert MARKER not in str(recorded_manifests([manifest]))


@pytest.mark.parametrize(
    "manifest",
    [
        item(kind="Secret", type="kubernetes.io/service-account-token"),
        item("external-secrets.io/v1", "ExternalSecret", spec={"data": [{"secretKey": "k"}]}),
        item("bitnami.com/v1alpha1", "SealedSecret", spec={"encryptedData": {"k": "x"}}),
        item("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass", spec={"provider": "p"}),
        item("a.example/v1", "AllowList", spec={"entries": []}),
        item(metadata={"annotations": {"a": "data: read from the Secret by the app"}}),
        item(metadata={"annotations": {"a": '{"kind": "SecretStore", "data": 1}'}}),
    ],
)
def test_objects_that_only_sound_like_secrets_or_lists_are_accepted(manifest: Raw) -> None:
    assert isinstance(answer(manifest), Demand)


OWN = {"kapok.dev/order": "x"}


@pytest.mark.parametrize(
    "manifest",
    [
        item(metadata={"labels": OWN}),
        item(metadata={"annotations": {"kapok.dev/order-id": "a/b/c/d"}}),
        item(metadata={"labels": {"Kapok.dev/order": "x"}}),
        item("apps/v1", "Deployment", spec={"template": pod_template(labels=OWN)}),
        item(
            "batch/v1",
            "CronJob",
            spec={"jobTemplate": {"metadata": {"annotations": OWN}, "spec": {}}},
        ),
        item(
            "apps/v1",
            "StatefulSet",
            spec={
                "template": pod_template(),
                "volumeClaimTemplates": [{"metadata": {"name": "v", "labels": OWN}}],
            },
        ),
        item("a.example/v1", "Farm", spec={"podLabels": OWN}),
    ],
)
def test_keys_by_which_agents_recognise_objects_are_refused(manifest: Raw) -> None:
    assert "reserved" in refusal(manifest)


def test_a_selector_of_such_keys_and_the_annotations_of_simulations_are_accepted() -> None:
    pods = pod_template(annotations={"kapok.dev/simulated-seconds": "8"})
    pods["spec"]["nodeSelector"] = {"kapok.dev/province": "CN-GD"}
    assert isinstance(answer(item("apps/v1", "Deployment", spec={"template": pods})), Demand)


def test_a_generated_name_is_refused_in_its_own_words() -> None:
    message = refusal(item("batch/v1", "Job", metadata={"name": None, "generateName": "a-"}))
    assert "generateName" in message
    assert "metadata.name" in message


NAMES = [
    "a",
    "system:auth-reader",
    "UPPER_case.1",
    "a" * 253,
    "a" * 254,
    "\u5e94\u7528",
    "a\nb",
    "a\u202eb",
    "a b",
    "a/b",
    "a%2fb",
    ".",
    "..",
    "-a",
    "a-",
    " a",
]
VERSIONS = [
    *("v1", "apps/v1", "a.example/v1beta1", "a.example/stable", "a.example/v1/v2", "v1 ", "/v1"),
    *(f"{'a' * 200}/v1", f"{'a' * 201}/v1", f"a.example/v{'1' * 30}", f"a.example/v{'1' * 31}"),
    *("a./v1", "-a/v1", "A.example/v1", ""),
]
KINDS = ["ConfigMap", "configMap", "Configmap2", "K" * 63, "K" * 64, "2Kind", "Kind ", ""]


def agent_accepts(manifest: Raw) -> bool:
    content = OrderContent(
        id="hub/ns/w/1", generation=1, site="s1", namespace="ns", name="w", manifests=(manifest,)
    )
    return not find_refusals(content, lambda _version, _kind: True)


def test_what_the_hub_accepts_is_what_agents_accept() -> None:
    manifests = [
        *(item("a.example/v1", "Farm", metadata={"name": each}) for each in NAMES),
        *(item(each, "Farm") for each in VERSIONS if each != "v1"),
        *(item("a.example/v1", each) for each in KINDS),
    ]
    accepted = [each for each in manifests if isinstance(answer(each), Demand)]
    assert accepted == [each for each in manifests if agent_accepts(each)]
    assert len(accepted) > 8


def test_a_refused_name_is_shown_without_its_hidden_characters() -> None:
    message = refusal(item(metadata={"name": "a\u202e\nb"}))
    assert message.isascii()
    assert message.isprintable()


def test_a_namespace_of_others_is_refused_even_with_the_kind_permitted() -> None:
    for name in ("kube-system", "other"):
        message = refusal(
            item(kind="Namespace", metadata={"name": name}), clusterKinds=["Namespace"]
        )
        assert f"Namespace {name} is not the workload's" in message
        assert "extraNamespaces" in message
    for name in ("ns", "shared"):
        own = item(kind="Namespace", metadata={"name": name})
        found = answer(own, clusterKinds=["Namespace"], extraNamespaces=["shared"])
        assert isinstance(found, Demand)


def test_the_hint_names_the_namespace_of_the_workload() -> None:
    message = refusal(item(metadata={"namespace": "prod"}), extraNamespaces=["aaa"])
    assert message.endswith("write ns")


def test_one_name_in_two_namespaces_is_two_objects() -> None:
    role = item("rbac.authorization.k8s.io/v1", "Role", rules=[])
    other = copy.deepcopy(role)
    other["metadata"]["namespace"] = "shared"
    assert isinstance(answer(role, other, extraNamespaces=["shared"]), Demand)
    assert "twice" in refusal(role, {**role, "apiVersion": "rbac.authorization.k8s.io/v1beta1"})
    other["metadata"]["namespace"] = "ns"
    assert "twice" in refusal(role, other)


def definition(scope: str) -> Raw:
    names = {"kind": "Lamp", "plural": "lamps"}
    versions = [{"name": "v1", "served": True}, {"name": "v0", "served": False}]
    spec = {"group": "city.example", "names": names, "scope": scope, "versions": versions}
    return item("apiextensions.k8s.io/v1", "CustomResourceDefinition", spec=spec)


LAMP = item("city.example/v1", "Lamp", spec={})
DEFINITIONS = "apiextensions.k8s.io/v1/CustomResourceDefinition"


def test_a_workload_brings_the_kinds_that_it_defines() -> None:
    found = answer(definition("Namespaced"), LAMP, clusterKinds=["CustomResourceDefinition"])
    assert isinstance(found, Demand)
    assert found.api_kinds == (DEFINITIONS,)
    assert found.unknown_scope == ()
    unserved = {**LAMP, "apiVersion": "city.example/v0"}
    found = answer(definition("Namespaced"), unserved, clusterKinds=["CustomResourceDefinition"])
    assert isinstance(found, Demand)
    assert "city.example/v0/Lamp" in found.api_kinds


def test_a_cluster_scoped_kind_that_the_workload_defines_needs_permission() -> None:
    permitted = ["CustomResourceDefinition"]
    assert "clusterKinds" in refusal(definition("Cluster"), LAMP, clusterKinds=permitted)
    for form in ("Lamp", "city.example/Lamp", "city.example/v1/Lamp"):
        found = answer(definition("Cluster"), LAMP, clusterKinds=[*permitted, form])
        assert isinstance(found, Demand)


def test_a_custom_kind_may_have_the_name_of_a_cluster_scoped_one() -> None:
    assert isinstance(answer(item("a.example/v1", "Node"), clusterKinds=["X"]), Demand)
    assert "cluster-scoped" in refusal(item(kind="Node"), clusterKinds=["X"])


def test_the_scope_of_a_custom_kind_is_not_guessed() -> None:
    issuer = item("cert-manager.io/v1", "ClusterIssuer")
    found = answer(issuer, clusterKinds=["X"])
    assert isinstance(found, Demand)
    assert found.unknown_scope == ("cert-manager.io/v1/ClusterIssuer",)
    found = answer(issuer, clusterKinds=["cert-manager.io/ClusterIssuer"])
    assert isinstance(found, Demand)
    assert found.unknown_scope == ()
