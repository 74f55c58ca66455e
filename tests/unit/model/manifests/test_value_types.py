"""Values that no cluster takes are refused with their path, before anything is placed."""

from typing import Any

import pytest

from scheduler.model.demand.demand import Demand, NotAccepted
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
