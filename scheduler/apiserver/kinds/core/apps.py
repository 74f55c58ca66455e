"""Deployments, stateful, daemon and replica sets, jobs and cron jobs: defaults and checks.

Sources: the API reference of the groups apps and batch.
"""

from scheduler.apiserver.kinds.core.pods import pod_spec_problems, set_pod_spec_defaults
from scheduler.apiserver.kinds.core.schedules import cron_job_problems
from scheduler.apiserver.kinds.resources import KindStrategy
from scheduler.apiserver.kinds.unstructured import map_at, maps_in, set_missing
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value


def _set_template_defaults(item: JsonObject) -> None:
    template = map_at(map_at(item, "spec"), "template")
    spec = template.get("spec")
    if isinstance(spec, dict):
        set_pod_spec_defaults(spec)


def _set_deployment_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_missing(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
        strategy={},
    )
    strategy = map_at(spec, "strategy")
    set_missing(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        set_missing(strategy, rollingUpdate={})
        set_missing(strategy["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _set_template_defaults(item)


def _set_stateful_set_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_missing(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        podManagementPolicy="OrderedReady",
        updateStrategy={},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    strategy = map_at(spec, "updateStrategy")
    set_missing(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        set_missing(strategy, rollingUpdate={})
        set_missing(strategy["rollingUpdate"], partition=0)
    for claim in maps_in(spec.get("volumeClaimTemplates")):
        set_missing(claim.get("spec"), volumeMode="Filesystem")
    _set_template_defaults(item)


def _set_daemon_set_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_missing(spec, revisionHistoryLimit=10, updateStrategy={})
    strategy = map_at(spec, "updateStrategy")
    set_missing(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        set_missing(strategy, rollingUpdate={})
        set_missing(strategy["rollingUpdate"], maxSurge=0, maxUnavailable=1)
    _set_template_defaults(item)


def _set_replica_set_defaults(item: JsonObject) -> None:
    set_missing(map_at(item, "spec"), replicas=1)
    _set_template_defaults(item)


def _init_status(item: JsonObject) -> None:
    item["status"] = {}


def _init_replicas_status(item: JsonObject) -> None:
    item["status"] = {"replicas": 0}


def _init_daemon_set_status(item: JsonObject) -> None:
    item["status"] = dict.fromkeys(
        ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"), 0
    )


def _workload_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    """The problems of selector, template and replicas; the selector is immutable."""
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


def _set_job_spec_defaults(spec: JsonObject) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        set_missing(spec, completions=1)
    set_missing(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    set_pod_spec_defaults(map_at(map_at(spec, "template"), "spec"))


def _set_job_defaults(item: JsonObject) -> None:
    _set_job_spec_defaults(map_at(item, "spec"))


def _init_job(item: JsonObject) -> None:
    """Sets the selector of a job and the labels that its pods are found by."""
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


def _set_cron_job_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_missing(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    template = map_at(map_at(map_at(spec, "jobTemplate"), "spec"), "template")
    set_pod_spec_defaults(map_at(template, "spec"))


APPS_STRATEGIES: dict[str, KindStrategy] = {
    "Deployment": KindStrategy(
        prepare_for_create=_init_status,
        set_defaults=_set_deployment_defaults,
        problems=_workload_problems,
    ),
    "StatefulSet": KindStrategy(
        prepare_for_create=_init_replicas_status,
        set_defaults=_set_stateful_set_defaults,
        problems=_workload_problems,
    ),
    "DaemonSet": KindStrategy(
        prepare_for_create=_init_daemon_set_status,
        set_defaults=_set_daemon_set_defaults,
        problems=_workload_problems,
    ),
    "ReplicaSet": KindStrategy(
        prepare_for_create=_init_replicas_status,
        set_defaults=_set_replica_set_defaults,
        problems=_workload_problems,
    ),
    "Job": KindStrategy(
        prepare_for_create=_init_job, set_defaults=_set_job_defaults, problems=_job_problems
    ),
    "CronJob": KindStrategy(
        prepare_for_create=_init_status,
        set_defaults=_set_cron_job_defaults,
        problems=cron_job_problems,
    ),
}
