"""What a server refuses, and in which words: what users see when something is wrong."""

from typing import Any

import pytest

from tests.contract.conftest import Server
from tests.support.api_client import JSON_PATCH, Client

_BATCH = "/apis/batch/v1/namespaces/{}/cronjobs"
_AUTOSCALING = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers"
_NO_POLICY = {"type": "Pods", "value": 0, "periodSeconds": 0}
_REJECTED = "the server rejected our request due to an error in our request"


def _cron_job(server: Server, schedule: str = "* * * * *", **spec: object) -> dict[str, object]:
    container = {"name": "c", "image": "busybox"}
    pod = {"restartPolicy": "Never", "containers": [container]}
    job = {"spec": {"template": {"spec": pod}}}
    name = server.name("cron")
    return {
        "metadata": {"name": name},
        "spec": {"schedule": schedule, "jobTemplate": job, "suspend": True, **spec},
    }


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("bogus", "expected exactly 5 fields, found 1: [bogus]"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("a,b * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("-1 * * * *", 'failed to parse int from : strconv.Atoi: parsing "": invalid syntax'),
        ("\N{ARABIC-INDIC DIGIT THREE} * * * *", "failed to parse int from"),
        ("@often", "unrecognized descriptor: @often"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
        ("@every 1h30", 'time: missing unit in duration "1h30"'),
        ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        ("TZ=UTC", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        ("CRON_TZ=No/No * * * * *", "provided bad location No/No: unknown time zone No/No"),
        ("", "Required value"),
    ],
)
def test_a_schedule_that_never_comes_is_refused(
    server: Server, client: Client, schedule: str, words: str
) -> None:
    body = _cron_job(server, schedule)
    answer = client.create(_BATCH.format(server.namespace), body)
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw
    causes = answer.json["details"]["causes"]
    assert {each["field"] for each in causes} == {"spec.schedule"}
    assert any(words in each["message"] for each in causes), causes


@pytest.mark.parametrize(
    "schedule",
    [
        *("* * * * *", "? * * * ?", "0-30/5,45 2,4 1 jan-MAR mon", " */15  0 * * 0-6 "),
        *("@hourly", "@midnight", "@annually", "@every 1h30m", "@every 0.5s", ",, * * * *"),
    ],
)
def test_a_schedule_is_accepted(server: Server, client: Client, schedule: str) -> None:
    path = _BATCH.format(server.namespace)
    client.create(path, _cron_job(server, schedule), dryRun="All").ok()


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"timeZone": ""}, "spec.timeZone"),
        ({"timeZone": "No/No"}, "spec.timeZone"),
        ({"timeZone": "local"}, "spec.timeZone"),
        ({"timeZone": "../etc/passwd"}, "spec.timeZone"),
        ({"concurrencyPolicy": "Sometimes"}, "spec.concurrencyPolicy"),
        ({"startingDeadlineSeconds": -1}, "spec.startingDeadlineSeconds"),
        ({"failedJobsHistoryLimit": -1}, "spec.failedJobsHistoryLimit"),
    ],
)
def test_a_cron_job_is_refused_by_the_field_that_is_wrong(
    server: Server, client: Client, spec: dict[str, Any], field: str
) -> None:
    answer = client.create(_BATCH.format(server.namespace), _cron_job(server, **spec))
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw
    assert {each["field"] for each in answer.json["details"]["causes"]} == {field}


def test_the_pods_and_the_name_of_a_cron_job_are_checked(server: Server, client: Client) -> None:
    path, template = _BATCH.format(server.namespace), "spec.jobTemplate.spec.template.spec"
    pod = {"restartPolicy": "Always", "containers": [{"name": "c", "image": ""}]}
    body = _cron_job(server, jobTemplate={"spec": {"template": {"spec": pod}}})
    answer = client.create(path, body)
    found = {each["field"] for each in answer.json["details"]["causes"]}
    assert found == {f"{template}.containers[0].image", f"{template}.restartPolicy"}
    body = {**_cron_job(server), "metadata": {"name": "x" * 53}}
    answer = client.create(path, body)
    assert [each["field"] for each in answer.json["details"]["causes"]] == ["metadata.name"]
    client.create(path, _cron_job(server, timeZone="Asia/Shanghai"), dryRun="All").ok()


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"maxReplicas": 0}, ["spec.maxReplicas", "spec.maxReplicas"]),
        ({"minReplicas": 0}, ["spec.minReplicas", "spec.metrics"]),
        ({"minReplicas": 9}, ["spec.maxReplicas"]),
        ({"metrics": [{"type": "Resource"}]}, ["spec.metrics[0].resource"]),
        (
            {"scaleTargetRef": {"kind": "Deployment", "name": "web"}},
            ["spec.scaleTargetRef.apiVersion"],
        ),
        (
            {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "a/b", "name": "c%d"}},
            ["spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"],
        ),
        (
            {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 4000}}},
            ["spec.behavior.scaleUp.stabilizationWindowSeconds"],
        ),
        (
            {
                "behavior": {
                    "scaleDown": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 0}]}
                }
            },
            [
                "spec.behavior.scaleDown.policies[0].value",
                "spec.behavior.scaleDown.policies[0].periodSeconds",
            ],
        ),
    ],
)
def test_an_autoscaler_is_refused_by_the_field_that_is_wrong(
    server: Server, client: Client, spec: dict[str, object], fields: list[str]
) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = {
        "metadata": {"name": server.name("hpa")},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, **spec},
    }
    answer = client.create(_AUTOSCALING.format(server.namespace), body)
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw
    assert [each["field"] for each in answer.json["details"]["causes"]] == fields


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/k", "value": "other"},
        {"op": "test", "path": "/data", "value": None},
        {"op": "remove", "path": "/data/none"},
        {"op": "remove", "path": "/metadata/managedFields/7"},
        {"op": "remove", "path": "/data/k/deeper"},
        {"op": "remove", "path": ""},
        {"op": "add", "path": "/none/such/place", "value": 1},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "add", "path": "/metadata/managedFields/x", "value": {}},
        {"op": "replace", "path": "", "value": 1},
        {"op": "bogus", "path": "/data"},
        {"op": "add"},
        {"path": "/data"},
    ],
    ids=lambda one: f"{one.get('op')} {one.get('path')}",
)
def test_a_json_patch_that_does_not_apply_is_answered_without_words_of_the_server(
    server: Server, client: Client, operation: dict[str, object]
) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    answer = client.patch(path, [operation], JSON_PATCH)
    assert (answer.code, answer.reason, answer.json["message"]) == (422, "Invalid", _REJECTED)
    assert client.get(path).ok() == made


@pytest.mark.parametrize("patch", [{"op": "add"}, [1], ["add"], "add"])
def test_a_json_patch_of_another_form_is_malformed(
    server: Server, client: Client, patch: object
) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    answer = client.patch(server.core("configmaps", made["metadata"]["name"]), patch, JSON_PATCH)
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_a_json_patch_replaces_a_member_that_is_missing(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    operation = {"op": "replace", "path": "/data/new", "value": "1"}
    assert client.patch(path, [operation], JSON_PATCH).ok()["data"] == {"k": "v", "new": "1"}


def test_nothing_is_applied_into_a_namespace_that_is_being_deleted(
    server: Server, client: Client
) -> None:
    name, kept = server.name(f"{server.run}-dying"), {"name": "kept", "finalizers": ["e.com/keep"]}
    space, maps = f"/api/v1/namespaces/{name}", f"/api/v1/namespaces/{name}/configmaps"
    client.create("/api/v1/namespaces", {"metadata": {"name": name}}).ok()
    client.create(maps, {"metadata": kept}).ok()
    client.delete(space)
    try:
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}
        for answer in (
            client.apply(f"{maps}/new", wanted, "tests"),
            client.apply(f"{maps}/new", wanted, "tests", dryRun="All"),
            client.create(maps, wanted),
        ):
            assert (answer.code, answer.reason) == (403, "Forbidden")
            assert answer.json["message"] == (
                f'configmaps "new" is forbidden: unable to create new content in namespace {name} '
                "because it is being terminated"
            )
            [cause] = answer.json["details"]["causes"]
            assert cause["reason"] == "NamespaceTerminating"
        changed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
        client.apply(f"{maps}/kept", {**changed, "data": {"a": "b"}}, "tests").ok()
    finally:
        client.patch(f"{maps}/kept", {"metadata": {"finalizers": None}})
