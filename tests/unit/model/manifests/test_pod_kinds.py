"""Kinds whose pods are read: each pod counts, and what cannot be counted is refused by name."""

from typing import Any

import pytest

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.manifests.manifests import with_replicas, without_pods
from tests.support.pod_kinds import COUNTED, CPU, job, of_kind, template
from tests.support.sites import Raw, demand_or_refusal, workload


def asked(*manifests: Raw, **spec: Any) -> Demand | NotAccepted:  # noqa: ANN401 - fields of a spec
    raw = workload(manifests=list(manifests))
    del raw["spec"]["demand"]
    raw["spec"] |= spec
    return demand_or_refusal(raw)


@pytest.mark.parametrize("name", COUNTED)
def test_every_pod_of_a_known_kind_counts_against_the_quota(name: str) -> None:
    manifest, pods = COUNTED[name]
    found = asked(manifest)
    assert isinstance(found, Demand), found
    usage = found.quota_usage(found.replicas, 1) if name != "Knative Service" else {}
    if name == "Knative Service":  # `spec.replicas` does not scale it
        usage = found.quota_usage(1, 1)
    assert (usage["pods"], usage["cpu"]) == (pods, pods * CPU)


@pytest.mark.parametrize("name", COUNTED)
def test_beside_a_deployment_every_pod_of_a_known_kind_counts_too(name: str) -> None:
    manifest, pods = COUNTED[name]
    web = of_kind("apps/v1", "Deployment", replicas=2, template=template())
    other = {**web, "metadata": {"name": "web"}}
    found = asked(manifest, other)
    assert isinstance(found, Demand), found
    assert found.quota_usage(found.replicas, 1)["pods"] >= pods + 2


@pytest.mark.parametrize("name", COUNTED)
def test_a_statement_of_demand_leaves_no_pod_of_a_known_kind_out(name: str) -> None:
    manifest, _ = COUNTED[name]
    found = asked(manifest, demand={"replicas": 1, "requests": {}})
    assert isinstance(found, Demand), found
    assert found.quota_usage(1, 1)["cpu"] >= CPU


def test_the_job_of_another_group_is_not_scaled_as_a_job() -> None:
    manifest, _ = COUNTED["Volcano Job"]
    assert with_replicas([manifest], 7) == (manifest,)
    replicated, _ = COUNTED["ReplicationController"]
    assert with_replicas([replicated], 7)[0]["spec"]["replicas"] == 7


def test_the_tasks_of_a_volcano_job_start_together_or_not_at_all() -> None:
    found = asked(COUNTED["Volcano Job"][0])
    assert isinstance(found, Demand)
    assert found.gang


UNKNOWN: dict[str, tuple[Raw, str]] = {
    "a pod template": (
        of_kind("a.example/v1", "Farm", workers=[{"replicas": 4, "template": template()}]),
        "spec.workers[0].template",
    ),
    "a job template": (
        of_kind("keda.sh/v1alpha1", "ScaledJob", jobTargetRef=job()["spec"]),
        "spec.jobTargetRef.template",
    ),
    "one container": (
        of_kind("a.example/v1", "Flow", templates=[{"container": {"image": "i"}}]),
        "spec.templates[0]",
    ),
    "requests": (
        of_kind("a.example/v1", "Database", resources={"requests": {"cpu": "8"}}),
        "Database a makes",
    ),
    "no template at all": (
        of_kind("sparkoperator.k8s.io/v1beta2", "SparkApplication", executor={"cores": 4}),
        "SparkApplication a makes",
    ),
    "a template elsewhere": (
        of_kind("argoproj.io/v1alpha1", "Rollout", workloadRef={"name": "b"}),
        "spec.template",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_pods_of_an_unknown_kind_are_refused_with_the_form_of_demand(name: str) -> None:
    manifest, where = UNKNOWN[name]
    refused = asked(manifest)
    assert isinstance(refused, NotAccepted)
    assert where in refused.message
    assert "spec.demand" in refused.message
    assert isinstance(asked(manifest, demand={"requests": {"cpu": "1"}}), Demand)


@pytest.mark.parametrize("name", sorted(UNKNOWN.keys() - {"a template elsewhere"}))
def test_0_replicas_keep_no_object_that_makes_pods(name: str) -> None:
    config = of_kind("v1", "ConfigMap")
    kept = without_pods([UNKNOWN[name][0], config])
    assert kept == (config,)


def test_0_replicas_keep_what_makes_no_pods() -> None:
    objects = [
        of_kind("v1", "PersistentVolumeClaim", resources={"requests": {"storage": "1Gi"}}),
        of_kind("v1", "Service", ports=[{"port": 80}]),
        of_kind("v1", "ResourceQuota", hard={"requests.cpu": "1"}),
        of_kind("cert-manager.io/v1", "Certificate", secretName="a"),
    ]
    assert without_pods(objects) == tuple(objects)


def test_pod_templates_of_unknown_kinds_are_read_by_path() -> None:
    manifest, path = UNKNOWN["a pod template"]
    for written in (path, "spec.workers[*].template", ".spec.workers[*].template"):
        found = asked(manifest, demand={"podTemplatePaths": [written]})
        assert isinstance(found, Demand), found
        assert found.quota_usage(found.replicas, 1) == {"cpu": 4 * CPU, "pods": 4}


def test_the_replicas_of_one_custom_object_stay_at_one_site() -> None:
    manifest, path = UNKNOWN["a pod template"]
    for stated in ({"requests": {"cpu": "1"}}, {"podTemplatePaths": [path]}):
        found = asked(manifest, demand={"replicas": 4, **stated})
        assert isinstance(found, Demand)
        assert (found.replicas, [each.max_groups for each in found.spread]) == (4, [1])
        placement = {"strategy": "Duplicated"}
        copied = asked(manifest, demand={"replicas": 4, **stated}, placement=placement)
        assert isinstance(copied, Demand)
        assert copied.spread == ()
    known = asked(of_kind("v1", "ConfigMap"), demand={"replicas": 4, "requests": {"cpu": "1"}})
    assert isinstance(known, Demand)
    assert known.spread == ()


@pytest.mark.parametrize(
    ("path", "message"),
    [("spec.nothing", "matches nothing"), ("spec.workers[*]", "is no pod template")],
)
def test_a_path_to_no_pod_template_is_refused(path: str, message: str) -> None:
    refused = asked(UNKNOWN["a pod template"][0], demand={"podTemplatePaths": [path]})
    assert isinstance(refused, NotAccepted)
    assert message in refused.message


def test_what_a_path_leaves_out_is_refused() -> None:
    both = of_kind(
        "a.example/v1", "Farm", head={"template": template()}, worker={"template": template()}
    )
    refused = asked(both, demand={"podTemplatePaths": ["spec.head.template"]})
    assert isinstance(refused, NotAccepted)
    assert "spec.worker.template" in refused.message


@pytest.mark.parametrize(
    "manifest",
    [
        of_kind("cert-manager.io/v1", "ClusterIssuer", selfSigned={}),
        of_kind("v1", "PodTemplate"),
        of_kind("autoscaling/v2", "HorizontalPodAutoscaler", maxReplicas=3),
        {
            **of_kind("apps/v1", "ControllerRevision"),
            "data": {"spec": {"template": template()}},
        },
    ],
)
def test_a_kind_without_pods_needs_no_demand(manifest: Raw) -> None:
    assert isinstance(asked(manifest), Demand)


def test_claimed_storage_counts_against_the_quota() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    named = {"metadata": {"name": "a"}, "apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": claim}}]
    found = asked(
        of_kind(
            "apps/v1",
            "StatefulSet",
            replicas=3,
            volumeClaimTemplates=[claim],
            template=template(volumes=volumes),
        ),
        {**claim, **named},
    )
    assert isinstance(found, Demand)
    usage = found.quota_usage(3, 1)
    assert (usage["requests.storage"], usage["persistentvolumeclaims"]) == (7 * 2**30, 7)


def test_a_workload_of_a_volcano_job_that_does_not_fit_waits() -> None:
    found = asked(COUNTED["Volcano Job"][0])
    assert isinstance(found, Demand)
    assert found.unit[1].count == 60
