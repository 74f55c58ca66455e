"""Deployments, sets and jobs: defaults and checks.

Sources: the API reference of the groups apps and batch.
"""

from scheduler.apiserver.kinds.core.pods import default_pod_spec, pod_spec_problems
from scheduler.apiserver.kinds.resources import Behaviour
from scheduler.apiserver.kinds.tolerant import fill_in, map_at, maps
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value


def _default_template(item: JsonObject) -> None:
    template = map_at(map_at(item, "spec"), "template")
    spec = template.get("spec")
    if isinstance(spec, dict):
        default_pod_spec(spec)


def _default_deployment(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    fill_in(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
        strategy={},
    )
    strategy = map_at(spec, "strategy")
    fill_in(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        fill_in(strategy, rollingUpdate={})
        fill_in(strategy["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _default_template(item)


def _default_stateful_set(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    fill_in(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        podManagementPolicy="OrderedReady",
        updateStrategy={},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    strategy = map_at(spec, "updateStrategy")
    fill_in(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        fill_in(strategy, rollingUpdate={})
        fill_in(strategy["rollingUpdate"], partition=0)
    for claim in maps(spec.get("volumeClaimTemplates")):
        fill_in(claim.get("spec"), volumeMode="Filesystem")
    _default_template(item)


def _default_daemon_set(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    fill_in(spec, revisionHistoryLimit=10, updateStrategy={})
    strategy = map_at(spec, "updateStrategy")
    fill_in(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        fill_in(strategy, rollingUpdate={})
        fill_in(strategy["rollingUpdate"], maxSurge=0, maxUnavailable=1)
    _default_template(item)


def _default_replica_set(item: JsonObject) -> None:
    fill_in(map_at(item, "spec"), replicas=1)
    _default_template(item)


def _empty_status(item: JsonObject) -> None:
    item["status"] = {}


def _new_replicas(item: JsonObject) -> None:
    item["status"] = {"replicas": 0}


def _new_daemons(item: JsonObject) -> None:
    item["status"] = dict.fromkeys(
        ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"), 0
    )


def _workload_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    """Selector and template must agree, and the selector must stay as it is."""
    spec = map_at(item, "spec")
    problems: list[FieldProblem] = []
    selector = map_at(spec, "selector")
    template = map_at(spec, "template")
    wanted = map_at(selector, "matchLabels")
    labels = map_at(map_at(template, "metadata"), "labels")
    if not selector:
        problems.append(required_value("spec.selector"))
    elif not wanted and not selector.get("matchExpressions"):
        problems.append(
            invalid_value("spec.selector", selector, "empty selector is invalid for deployment")
        )
    elif any(labels.get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        problems.append(invalid_value("spec.template.metadata.labels", labels, why))
    if old is not None and selector != map_at(map_at(old, "spec"), "selector"):
        problems.append(invalid_value("spec.selector", selector, "field is immutable"))
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        why = "must be greater than or equal to 0"
        problems.append(invalid_value("spec.replicas", replicas, why))
    return problems + pod_spec_problems(map_at(template, "spec"), "spec.template.spec")


def _default_job_spec(spec: JsonObject) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        fill_in(spec, completions=1)
    fill_in(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    default_pod_spec(map_at(map_at(spec, "template"), "spec"))


def _default_job(item: JsonObject) -> None:
    _default_job_spec(map_at(item, "spec"))


def _new_job(item: JsonObject) -> None:
    """Gives a job the selector and the labels by which its pods are found."""
    item["status"] = {}
    spec = map_at(item, "spec")
    if spec.get("manualSelector"):
        return
    uid, name = item["metadata"]["uid"], item["metadata"].get("name", "")
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    template = spec.setdefault("template", {})
    if template.get("metadata") is None:
        template["metadata"] = {}
    labels = template["metadata"].setdefault("labels", {})
    owned = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    labels |= owned
    item["metadata"]["labels"] = {**(item["metadata"].get("labels") or {}), **owned}


def _job_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    pod = map_at(map_at(spec, "template"), "spec")
    problems = pod_spec_problems(pod, "spec.template.spec")
    if pod.get("restartPolicy") == "Always":
        problems.append(
            FieldProblem(
                "FieldValueNotSupported",
                "spec.template.spec.restartPolicy",
                'Unsupported value: "Always": supported values: "OnFailure", "Never"',
            )
        )
    before = map_at(old, "spec") if old else {}
    for key in ("completions", "selector", "template", "completionMode"):
        if old is not None and spec.get(key) != before.get(key):
            problems.append(invalid_value(f"spec.{key}", spec.get(key), "field is immutable"))
    return problems


def _default_cron_job(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    fill_in(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    template = map_at(map_at(map_at(spec, "jobTemplate"), "spec"), "template")
    default_pod_spec(map_at(template, "spec"))


APPS: dict[str, Behaviour] = {
    "Deployment": Behaviour(
        on_create=_empty_status, defaults=_default_deployment, problems=_workload_problems
    ),
    "StatefulSet": Behaviour(
        on_create=_new_replicas, defaults=_default_stateful_set, problems=_workload_problems
    ),
    "DaemonSet": Behaviour(
        on_create=_new_daemons, defaults=_default_daemon_set, problems=_workload_problems
    ),
    "ReplicaSet": Behaviour(
        on_create=_new_replicas, defaults=_default_replica_set, problems=_workload_problems
    ),
    "Job": Behaviour(on_create=_new_job, defaults=_default_job, problems=_job_problems),
    "CronJob": Behaviour(on_create=_empty_status, defaults=_default_cron_job),
}
