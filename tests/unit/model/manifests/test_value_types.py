"""Values that no cluster takes are refused with their path, before anything is placed."""

from typing import Any

import pytest

from scheduler.apiserver.kinds.core.schedules import schedule_problem
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.manifests.value_types import find_refused_values
from tests.support.sites import demand_or_refusal, workload

Json = dict[str, Any]


def refusal_of(pod: Json, *, metadata: Json | None = None, labels: Json | None = None) -> str:
    raw = workload(1, name="w")
    raw["spec"].pop("demand", None)
    template = {
        "metadata": {"labels": labels or {}},
        "spec": {"containers": [{"name": "c"}], **pod},
    }
    raw["spec"]["manifests"] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "w", **(metadata or {})},
            "spec": {"template": template},
        }
    ]
    found = demand_or_refusal(raw)
    return found.message if isinstance(found, NotAccepted) else ""


POD = "spec.manifests[0].spec.template.spec"


def container(**fields: Any) -> Json:  # noqa: ANN401 - any JSON
    return {"containers": [{"name": "c", **fields}]}


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (container(env=[{"name": "A", "value": 1}]), "containers[0].env[0].value is 1 and no text"),
        (container(env=[{"name": "A", "value": True}]), 'write it in quotes, as "true"'),
        (container(args=["a", False]), "containers[0].args[1] is false and no text"),
        (container(command="sh -c"), "containers[0].command is 'sh -c'; write a list of texts"),
        (container(image=1.2), "containers[0].image is 1.2 and no text"),
        (container(ports=[{"containerPort": "80"}]), "containerPort is '80'; write a number"),
        ({"containers": {"name": "c"}}, "containers is no list"),
        ({"initContainers": ["c"]}, "initContainers[0] is 'c'; write name and image"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector.gpu is true and no text"),
    ],
)
def test_a_pod_with_a_value_of_the_wrong_type_is_refused(pod: Json, said: str) -> None:
    found = refusal_of(pod)
    assert found.startswith(POD)
    assert said in found


def test_labels_and_annotations_are_texts() -> None:
    assert "metadata.labels.on is true" in refusal_of({}, metadata={"labels": {"on": True}})
    assert "metadata.annotations.a is 1" in refusal_of({}, metadata={"annotations": {"a": 1}})
    assert "template.metadata.labels.v is 1.5" in refusal_of({}, labels={"v": 1.5})
    assert refusal_of({}, metadata={"labels": {"a": "1"}}, labels={"b": "on"}) == ""


def test_null_is_an_empty_text_and_custom_kinds_have_types_of_their_own() -> None:
    assert refusal_of(container(env=[{"name": "A", "value": None}], args=None, ports=None)) == ""
    raw = workload(1, name="w")
    custom = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t"},
        "spec": {"template": {"spec": container(args=[1])}},
    }
    raw["spec"]["manifests"] = [custom]
    assert isinstance(demand_or_refusal(raw), Demand)
    custom["metadata"] = {"name": "t", "labels": {"a": 1}}
    assert isinstance(demand_or_refusal(raw), NotAccepted)


@pytest.mark.parametrize("data", [{"a": 1}, {"a": True}, ["a"]])
def test_the_data_of_a_config_map_is_text(data: Any) -> None:  # noqa: ANN401 - any JSON
    raw = workload(1, name="w")
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
    raw["spec"]["manifests"] = [settings]
    found = demand_or_refusal(raw)
    assert isinstance(found, NotAccepted)
    assert "spec.manifests[0].data" in found.message


def of_kind(api_version: str, kind: str, spec: Json, name: str = "x") -> list[str]:
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    return list(find_refused_values(manifest))


def deployment(**spec: Any) -> list[str]:  # noqa: ANN401 - any JSON
    return of_kind("apps/v1", "Deployment", spec)


def autoscaler(**spec: Any) -> list[str]:  # noqa: ANN401 - any JSON
    return of_kind("autoscaling/v2", "HorizontalPodAutoscaler", spec)


def budget(**spec: Any) -> list[str]:  # noqa: ANN401 - any JSON
    return of_kind("policy/v1", "PodDisruptionBudget", spec)


def pods(**spec: Any) -> Json:  # noqa: ANN401 - any JSON
    return {"metadata": {"labels": {"app": "a"}}, "spec": spec}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (autoscaler(minReplicas=5, maxReplicas=3), "spec.minReplicas is 5, above maxReplicas 3"),
        (autoscaler(maxReplicas=0), "spec.maxReplicas is 0; write 1 or more"),
        (autoscaler(minReplicas=-1), "spec.minReplicas is -1; write 1 or more"),
        (budget(minAvailable=1, maxUnavailable=1), "with minAvailable and maxUnavailable"),
        (budget(minAvailable="101%"), "spec.minAvailable is '101%'; write a number"),
        (budget(maxUnavailable="half"), "spec.maxUnavailable is 'half'; write a number"),
        (budget(maxUnavailable=-1), "spec.maxUnavailable is -1; write 0 or more"),
        (
            deployment(selector={"matchLabels": {"app": "b"}}, template=pods()),
            "spec.selector.matchLabels.app is 'b', but the pods' label is 'a'",
        ),
        (deployment(template=pods(restartPolicy="Never")), "restartPolicy is Never; write Always"),
        (
            deployment(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
            "written beside type Recreate",
        ),
        (
            deployment(strategy={"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}}),
            "spec.strategy.rollingUpdate is 0 twice",
        ),
        (
            of_kind("batch/v1", "Job", {"template": pods(restartPolicy="Always")}),
            "restartPolicy is Always; write OnFailure or Never",
        ),
        (of_kind("batch/v1", "Job", {"backoffLimit": -1}), "spec.backoffLimit is -1"),
        (
            of_kind(
                "batch/v1",
                "CronJob",
                {"jobTemplate": {"spec": {"template": pods(restartPolicy="Always")}}},
            ),
            "spec.jobTemplate.spec.template.spec.restartPolicy is Always",
        ),
        (of_kind("batch/v1", "CronJob", {"timeZone": "local"}), "spec.timeZone is 'local'"),
        (of_kind("batch/v1", "CronJob", {"schedule": "TZ=UTC 0 0 * * *"}), "as spec.timeZone"),
        (of_kind("v1", "Service", {}, "My_Service"), "metadata.name is 'My_Service'; write small"),
        (
            deployment(template=pods(containers=[{"name": "c"}, {"name": "c"}])),
            "containers[1].name is 'c', as of another container",
        ),
        (
            deployment(
                template=pods(
                    containers=[{"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}]
                )
            ),
            "containers[0].resources.requests.cpu is 2, above the limit '1500m'",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_before_a_site_refuses_it(
    found: list[str], said: str
) -> None:
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "found",
    [
        autoscaler(minReplicas=3, maxReplicas=3),
        autoscaler(maxReplicas=1),
        autoscaler(minReplicas=0, maxReplicas=3),  # with an external metric
        budget(minAvailable="100%"),
        budget(maxUnavailable=0),
        budget(),
        deployment(),
        deployment(selector={"matchLabels": {"app": "a"}}, template=pods()),
        deployment(selector={}, template=pods(restartPolicy="Always")),
        deployment(strategy={"type": "Recreate"}),
        deployment(strategy={"type": "Recreate", "rollingUpdate": None}),
        deployment(strategy={"rollingUpdate": {"maxSurge": "200%", "maxUnavailable": 0}}),
        of_kind("batch/v1", "Job", {"template": pods(restartPolicy="Never")}),
        of_kind("batch/v1", "Job", {"template": pods()}),
        of_kind("rbac.authorization.k8s.io/v1", "Role", {}, "system:Reader"),
        of_kind("example.com/v1", "HorizontalPodAutoscaler", {"minReplicas": 5, "maxReplicas": 3}),
        of_kind("image.openshift.io/v1", "ImageStreamTag", {}, "php:8"),
        of_kind("v1", "ConfigMap", {}, "a.b-c"),
        deployment(
            template=pods(
                containers=[{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1000m"}}}]
            )
        ),
        deployment(template=pods(containers=[{"name": "a"}], initContainers=[{"name": "b"}])),
        deployment(strategy="Recreate", selector=[], template=[]),
    ],
)
def test_what_a_cluster_takes_or_completes_is_not_refused(found: list[str]) -> None:
    assert found == []


@pytest.mark.parametrize(
    "schedule",
    [
        *("* * * * *", "0 3 * * 1-5", "*/5 0-23/2 1,15 jan-mar MON", "? ? ? ? ?", "@hourly"),
        *("@every 5m", "0 0 31 2 *", "@midnight", "5/15 * * * *", "0 0 * * sun,", "  0 0 * * 0 "),
        *("99 * * * *", "* * * *", "* * * * * *", "@never", "a b c d e", "0 0 0 * *", "0 0 * * 7"),
        *("*/0 * * * *", "5-1 * * * *", "0 0 * * foo", "-1 * * * *", "0 24 * * *", "1.5 * * * *"),
    ],
)
def test_a_schedule_is_refused_if_and_only_if_the_api_server_refuses_it(schedule: str) -> None:
    is_refused = bool(of_kind("batch/v1", "CronJob", {"schedule": schedule}))
    assert is_refused == bool(schedule_problem(schedule))
