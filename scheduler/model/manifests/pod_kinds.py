"""The kinds whose pods are read: where each has its pod templates, and how many pods of each run.

Kinds are compared with their group: a Job of `batch.volcano.sh` is no Job of `batch`. A kind that
is not in this table and shows pods is refused until `spec.demand` says what they ask for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from scheduler.model.manifests.checks import BadManifest, title_of
from scheduler.model.manifests.containers import mapping_or_empty, mappings_in
from scheduler.model.manifests.templates import (
    GroupKind,
    find_pod_specs,
    find_uncounted_pods,
    group_kind,
    values_at,
)

MAX_MANIFEST_REPLICAS = 1_000_000
"""The most in one manifest; the same as `Count` for `spec.replicas`."""

Role = Literal["Scalable", "Job", "Single", "Set", "PerNode"]
"""Scalable: `replicas` says how many equal pods run. Job: as many, but each ends. Single: pods
without a number. Set: pods that stay together at one site. PerNode: one pod on each fitting node.
"""


class TemplateCount(NamedTuple):
    """A pod template and how many pods of it run at once."""

    path: str
    template: Mapping[str, Any]
    pods: int


_Reader = Callable[[Mapping[str, Any]], Iterator[TemplateCount]]


class PodKind(NamedTuple):
    """How the pods of one kind are read."""

    role: Role
    read: _Reader
    has_state: bool = False


def pod_kind_of(manifest: Mapping[str, Any]) -> PodKind | None:
    """How the pods of a manifest are read; None: its kind is not known to make any."""
    return _POD_KINDS.get(group_kind(manifest))


def kinds_with_pods() -> frozenset[GroupKind]:
    """Every kind that is known by its name to make pods."""
    return frozenset(_POD_KINDS) | _UNREADABLE_KINDS


def makes_pods(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is known, or seen, to make pods; of some kinds only the name is known."""
    return (
        pod_kind_of(manifest) is not None
        or group_kind(manifest) in _UNREADABLE_KINDS
        or any(find_uncounted_pods(manifest))
        or any(find_pod_specs(manifest))
    )


def check_is_counted(
    manifest: Mapping[str, Any], path: str, *, has_demand: bool, template_paths: Sequence[str] = ()
) -> None:
    """Refuses a kind that makes pods which are not counted.

    Args:
        manifest: the object.
        path: of the object in the workload.
        has_demand: whether `spec.demand` says what the pods ask for.
        template_paths: `spec.demand.podTemplatePaths`.

    Raises:
        BadManifest: the message gives the form of `spec.demand`.
    """
    if has_demand and not template_paths:
        return
    if pod_kind_of(manifest) is not None:
        if group_kind(manifest) == _ROLLOUT and not _spec(manifest).get("template"):
            raise BadManifest(
                f"{path}: pods of {title_of(manifest)} are not counted, because it refers to a "
                "template elsewhere; write spec.template, or spec.demand"
            )
        return
    counted = [where for each in template_paths for where, _, _ in values_at(manifest, each)]
    left = [
        each
        for each in find_uncounted_pods(manifest)
        if not any(each == one or each.startswith((f"{one}.", f"{one}[")) for one in counted)
    ]
    if left or (not counted and group_kind(manifest) in _UNREADABLE_KINDS):
        where = f" at {left[0]}" if left else ""
        paths = f", or spec.demand.podTemplatePaths: [{left[0]}]" if left else ""
        raise BadManifest(
            f"{path}: pods that {title_of(manifest)} makes{where} are not counted, because the "
            "kind is not known; write spec.demand: {replicas: N, requests: {cpu: …, memory: …}}"
            f"{paths}"
        )


def check_template_paths(manifests: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> None:
    """Refuses paths that match no pod template.

    Raises:
        BadManifest: the message gives the form of a path.
    """
    for _ in templates_at_paths(manifests, paths):
        pass


def templates_at_paths(
    manifests: Sequence[Mapping[str, Any]], paths: Sequence[str]
) -> Iterator[TemplateCount]:
    """The pod templates of unknown kinds; each counts `replicas` times, a number beside it.

    Raises:
        BadManifest: a path matches nothing, or no pod template.
    """
    for path in paths:
        is_found = False
        for manifest in manifests:
            if pod_kind_of(manifest) is not None:
                continue
            for where, template, parent in values_at(manifest, path):
                is_found = True
                if not mappings_in(mapping_or_empty(_spec(template)).get("containers")):
                    raise BadManifest(
                        f"spec.demand.podTemplatePaths: {path} of {title_of(manifest)} is no pod "
                        "template; it has no spec.containers"
                    )
                count = read_count(manifest, mapping_or_empty(parent), "replicas", where)
                yield TemplateCount(where, template, count)
        if not is_found:
            raise BadManifest(
                f"spec.demand.podTemplatePaths: {path} matches nothing in the manifests of kinds "
                "that are not known; write it as spec.workers[*].template"
            )


def read_count(
    manifest: Mapping[str, Any],
    holder: Mapping[str, Any],
    field: str,
    path: str = "spec",
    default: int = 1,
) -> int:
    """A number of pods; `default` when it is left out.

    Raises:
        BadManifest: it is no number, or too large.
    """
    value = holder.get(field)
    if value is None:
        return default
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not 0 <= value <= MAX_MANIFEST_REPLICAS
    ):
        shown = repr(value)[:64]
        raise BadManifest(
            f"{title_of(manifest)}: {path}.{field} is {shown}; "
            f"write a number from 0 to {MAX_MANIFEST_REPLICAS}"
        )
    return value


def _spec(holder: object) -> Mapping[str, Any]:
    return mapping_or_empty(mapping_or_empty(holder).get("spec"))


def _replicated(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    spec = _spec(manifest)
    template = mapping_or_empty(spec.get("template"))
    if spec.get("volumeClaimTemplates"):
        pod = mapping_or_empty(template.get("spec"))
        written = pod.get("volumes")
        volumes = written if isinstance(written, list | tuple) else ()
        # Each replica of the StatefulSet gets claims of its own; one stands for them here.
        claimed = [*volumes, {"persistentVolumeClaim": {}}]
        template = {**template, "spec": {**pod, "volumes": claimed}}
    yield TemplateCount("spec.template", template, read_count(manifest, spec, "replicas"))


def _per_node(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    yield TemplateCount("spec.template", mapping_or_empty(_spec(manifest).get("template")), 1)


def _pod(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    yield TemplateCount("", manifest, 1)


def _job(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    yield _job_pods(manifest, _spec(manifest), "spec")


def _cron_job(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    yield _job_pods(manifest, _spec(_spec(manifest).get("jobTemplate")), "spec.jobTemplate.spec")


def _job_pods(
    manifest: Mapping[str, Any], job: Mapping[str, Any], path: str, jobs: int = 1
) -> TemplateCount:
    """The pods of jobs that run at once: never more than are to complete (batch/v1)."""
    count = read_count(manifest, job, "parallelism", path)
    completions = read_count(manifest, job, "completions", path, default=count)
    template = mapping_or_empty(job.get("template"))
    return TemplateCount(f"{path}.template", template, jobs * min(count, completions))


def _job_set(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    for index, each in enumerate(mappings_in(_spec(manifest).get("replicatedJobs"))):
        path = f"spec.replicatedJobs[{index}]"
        jobs = read_count(manifest, each, "replicas", path)
        yield _job_pods(manifest, _spec(each.get("template")), f"{path}.template.spec", jobs)


def _tasks(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    for index, each in enumerate(mappings_in(_spec(manifest).get("tasks"))):
        path = f"spec.tasks[{index}]"
        count = read_count(manifest, each, "replicas", path)
        yield TemplateCount(f"{path}.template", mapping_or_empty(each.get("template")), count)


def _kubeflow_roles(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    for field, roles in _spec(manifest).items():
        if not field.endswith("ReplicaSpecs"):
            continue
        for role, each in mapping_or_empty(roles).items():
            path, one = f"spec.{field}.{role}", mapping_or_empty(each)
            count = read_count(manifest, one, "replicas", path)
            yield TemplateCount(f"{path}.template", mapping_or_empty(one.get("template")), count)


def _ray_cluster(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    yield from _ray_groups(manifest, _spec(manifest), "spec")


def _ray_job(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    spec = _spec(manifest)
    path = "spec.rayClusterSpec"
    yield from _ray_groups(manifest, mapping_or_empty(spec.get("rayClusterSpec")), path)
    if spec.get("submissionMode") in (None, "", "K8sJobMode"):
        template = mapping_or_empty(spec.get("submitterPodTemplate")) or _RAY_SUBMITTER
        yield TemplateCount("spec.submitterPodTemplate", template, 1)


def _ray_service(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    cluster = mapping_or_empty(_spec(manifest).get("rayClusterConfig"))
    yield from _ray_groups(manifest, cluster, "spec.rayClusterConfig")


def _ray_groups(
    manifest: Mapping[str, Any], cluster: Mapping[str, Any], path: str
) -> Iterator[TemplateCount]:
    """The head, and the most workers that the autoscaler may start."""
    head = mapping_or_empty(cluster.get("headGroupSpec"))
    yield TemplateCount(f"{path}.headGroupSpec.template", mapping_or_empty(head.get("template")), 1)
    scales = cluster.get("enableInTreeAutoscaling") is True
    for index, each in enumerate(mappings_in(cluster.get("workerGroupSpecs"))):
        where = f"{path}.workerGroupSpecs[{index}]"
        least = read_count(manifest, each, "minReplicas", where, default=0)
        count = max(least, read_count(manifest, each, "replicas", where, default=least))
        if scales:
            count = max(count, read_count(manifest, each, "maxReplicas", where, default=count))
        count *= read_count(manifest, each, "numOfHosts", where)
        yield TemplateCount(f"{where}.template", mapping_or_empty(each.get("template")), count)


_RAY_SUBMITTER: Mapping[str, Any] = {
    "spec": {
        "containers": [
            {"name": "ray-job-submitter", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
        ]
    }
}
"""The pod that submits a RayJob where the manifest does not write it; the limits of KubeRay."""


def _leader_workers(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    spec = _spec(manifest)
    groups = read_count(manifest, spec, "replicas")
    each = mapping_or_empty(spec.get("leaderWorkerTemplate"))
    path = "spec.leaderWorkerTemplate"
    size = read_count(manifest, each, "size", path)
    worker = mapping_or_empty(each.get("workerTemplate"))
    leader = mapping_or_empty(each.get("leaderTemplate")) or worker
    yield TemplateCount(f"{path}.leaderTemplate", leader, groups)
    yield TemplateCount(f"{path}.workerTemplate", worker, groups * max(0, size - 1))


def _knative(manifest: Mapping[str, Any]) -> Iterator[TemplateCount]:
    template = mapping_or_empty(_spec(manifest).get("template"))
    notes = mapping_or_empty(mapping_or_empty(template.get("metadata")).get("annotations"))
    least = 1
    for name in ("min-scale", "minScale", "initial-scale"):
        value = str(notes.get(f"autoscaling.knative.dev/{name}", ""))
        if value.isascii() and value.isdigit():
            least = max(least, min(int(value[:8]), MAX_MANIFEST_REPLICAS))
    yield TemplateCount("spec.template", template, least)


_SCALABLE = PodKind("Scalable", _replicated)
_STATEFUL = PodKind("Scalable", _replicated, has_state=True)
_DAEMON = PodKind("PerNode", _per_node)
_KUBEFLOW = PodKind("Set", _kubeflow_roles)

_ROLLOUT: GroupKind = ("argoproj.io", "Rollout")
_POD_KINDS: dict[GroupKind, PodKind] = {
    ("", "Pod"): PodKind("Single", _pod),
    ("", "ReplicationController"): _SCALABLE,
    ("apps", "DaemonSet"): _DAEMON,
    ("apps", "Deployment"): _SCALABLE,
    ("apps", "ReplicaSet"): _SCALABLE,
    ("apps", "StatefulSet"): _STATEFUL,
    ("apps.kruise.io", "BroadcastJob"): _DAEMON,
    ("apps.kruise.io", "CloneSet"): _SCALABLE,
    ("apps.kruise.io", "DaemonSet"): _DAEMON,
    ("apps.kruise.io", "StatefulSet"): _STATEFUL,
    ("apps.openshift.io", "DeploymentConfig"): _SCALABLE,
    _ROLLOUT: _SCALABLE,
    ("batch", "CronJob"): PodKind("Single", _cron_job),
    ("batch", "Job"): PodKind("Job", _job),
    ("batch.volcano.sh", "Job"): PodKind("Set", _tasks),
    ("extensions", "DaemonSet"): _DAEMON,
    ("extensions", "Deployment"): _SCALABLE,
    ("extensions", "ReplicaSet"): _SCALABLE,
    ("jobset.x-k8s.io", "JobSet"): PodKind("Set", _job_set),
    ("kubeflow.org", "JAXJob"): _KUBEFLOW,
    ("kubeflow.org", "MPIJob"): _KUBEFLOW,
    ("kubeflow.org", "MXJob"): _KUBEFLOW,
    ("kubeflow.org", "PaddleJob"): _KUBEFLOW,
    ("kubeflow.org", "PyTorchJob"): _KUBEFLOW,
    ("kubeflow.org", "TFJob"): _KUBEFLOW,
    ("kubeflow.org", "XGBoostJob"): _KUBEFLOW,
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): PodKind("Set", _leader_workers),
    ("ray.io", "RayCluster"): PodKind("Set", _ray_cluster),
    ("ray.io", "RayJob"): PodKind("Set", _ray_job),
    ("ray.io", "RayService"): PodKind("Set", _ray_service),
    ("serving.knative.dev", "Service"): PodKind("Single", _knative),
}

_UNREADABLE_KINDS: frozenset[GroupKind] = frozenset(
    {
        ("argoproj.io", "CronWorkflow"),
        ("argoproj.io", "Workflow"),
        ("flink.apache.org", "FlinkDeployment"),
        ("sparkoperator.k8s.io", "ScheduledSparkApplication"),
        ("sparkoperator.k8s.io", "SparkApplication"),
        ("tekton.dev", "PipelineRun"),
        ("tekton.dev", "TaskRun"),
        ("trainer.kubeflow.org", "TrainJob"),
    }
)
"""Kinds that make pods of something else than pod templates."""
