"""Values of core kinds that no API server takes are found before the manifests are placed."""

from typing import Any

import pytest

from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.apiserver.kinds.core.refused_values import refused_value
from scheduler.hub.schema.manifest_checks import find_problem
from scheduler.hub.schema.structural import SchemaNode

NODES = {
    (f"{one.group_resource.group}/{one.version}".lstrip("/"), one.group_resource.kind): (
        one.schema_node
    )
    for one in core_resources()
}
POD = {"containers": [{"name": "main", "image": "registry.example/main:1"}]}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "main"}


def deployment(**spec: object) -> dict[str, Any]:
    whole = {
        "selector": {"matchLabels": {"app": "main"}},
        "template": {"metadata": {"labels": {"app": "main"}}, "spec": POD},
        **spec,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": whole}


def autoscaler(version: str, least: int, most: int) -> dict[str, Any]:
    spec = {"scaleTargetRef": TARGET, "minReplicas": least, "maxReplicas": most}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a"},
        "spec": spec,
    }


def cron_job(schedule: str) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "a"},
        "spec": {
            "schedule": schedule,
            "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
        },
    }


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (
            autoscaler("v2", 5, 2),
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
        ),
        (
            autoscaler("v1", 5, 2),
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
        ),
        (
            deployment(selector={"matchLabels": {"app": "other"}}),
            (
                'spec.template.metadata.labels: Invalid value: {"app":"main"}: '
                "`selector` does not match template `labels`"
            ),
        ),
        (
            cron_job("bogus"),
            'spec.schedule: Invalid value: "bogus": expected exactly 5 fields, found 1: [bogus]',
        ),
    ],
)
def test_a_value_that_no_api_server_takes_is_named(manifest: dict[str, Any], problem: str) -> None:
    assert find_problem(core(manifest), manifest, refused_value) == problem


@pytest.mark.parametrize(
    "manifest",
    [
        autoscaler("v2", 2, 5),
        deployment(),
        cron_job("*/5 * * * *"),
        {"apiVersion": "e.com/v1", "kind": "Deployment", "spec": {"replicas": -1}},
    ],
)
def test_a_manifest_without_such_a_value_stays_as_it_is(manifest: dict[str, Any]) -> None:
    before = repr(manifest)
    assert refused_value_of(manifest) == ""
    assert repr(manifest) == before, "defaults are set in a copy"


def test_a_missing_field_is_left_to_the_webhooks_of_a_site() -> None:
    manifest = autoscaler("v2", 1, 3)
    del manifest["spec"]["scaleTargetRef"]["name"]
    assert refused_value(manifest) == ""


def refused_value_of(manifest: dict[str, Any]) -> str:
    node = NODES.get((manifest["apiVersion"], manifest["kind"]))
    return find_problem(node, manifest, refused_value) if node else refused_value(manifest)


def core(manifest: dict[str, Any]) -> SchemaNode:
    node = NODES[(manifest["apiVersion"], manifest["kind"])]
    node.is_core = True
    return node
