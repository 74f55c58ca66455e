"""Typed views of the Kubernetes objects that the controllers read.

They hold only the fields that are read here; writes are patches, so other fields survive. Names and
meanings of fields are those of the Kubernetes API reference, v1.36.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import field

from scheduler.control.ports.hub import ApiResource, Object
from scheduler.model.kinds.fields import LabelSelector, Taint, Toleration
from scheduler.model.manifests.pods import NodeRequirement


class _ObjectPart(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of an object; unknown fields are ignored."""


class OwnerReference(_ObjectPart, frozen=True, kw_only=True):
    """An owner of an object; the object is deleted when all its owners are gone."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(_ObjectPart, frozen=True, kw_only=True):
    """`metadata`."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    owner_references: list[OwnerReference] = field(default_factory=list)
    finalizers: list[str] = field(default_factory=list)

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that manages this object; None: it has no controller."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class NodeSelectorTerm(_ObjectPart, frozen=True, kw_only=True):
    """One alternative of a node affinity; its labels and fields must all match."""

    match_expressions: list[NodeRequirement] = field(default_factory=list)
    match_fields: list[NodeRequirement] = field(default_factory=list)


class _NodeSelector(_ObjectPart, frozen=True, kw_only=True):
    node_selector_terms: list[NodeSelectorTerm] = field(default_factory=list)


class _NodeAffinity(_ObjectPart, frozen=True, kw_only=True):
    required: _NodeSelector | None = field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class PodAffinityTerm(_ObjectPart, frozen=True, kw_only=True):
    """A selector of pods that must, or must not, run in the same topology domain."""

    topology_key: str
    label_selector: LabelSelector | None = None
    namespaces: list[str] = field(default_factory=list)


class _PodAffinity(_ObjectPart, frozen=True, kw_only=True):
    required: list[PodAffinityTerm] = field(
        default_factory=list, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(_ObjectPart, frozen=True, kw_only=True):
    """`spec.affinity`, only its required parts; preferences are not simulated."""

    node_affinity: _NodeAffinity = field(default_factory=_NodeAffinity)
    pod_affinity: _PodAffinity = field(default_factory=_PodAffinity)
    pod_anti_affinity: _PodAffinity = field(default_factory=_PodAffinity)


class PodSpreadConstraint(_ObjectPart, frozen=True, kw_only=True):
    """One topology spread constraint."""

    topology_key: str
    max_skew: int = 1
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: LabelSelector | None = None


class PodSpec(_ObjectPart, frozen=True, kw_only=True):
    """`spec` of a pod."""

    node_name: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    affinity: Affinity = field(default_factory=Affinity)
    tolerations: list[Toleration] = field(default_factory=list)
    topology_spread_constraints: list[PodSpreadConstraint] = field(default_factory=list)
    containers: list[dict[str, Any]] = field(default_factory=list)
    init_containers: list[dict[str, Any]] = field(default_factory=list)
    overhead: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    scheduling_gates: list[dict[str, str]] = field(default_factory=list)
    scheduler_name: str = "default-scheduler"
    restart_policy: str = "Always"


class PodStatus(_ObjectPart, frozen=True, kw_only=True):
    """`status` of a pod; conditions stay raw, since other clients may write some of them."""

    phase: str = "Pending"
    reason: str = ""
    conditions: list[dict[str, Any]] = field(default_factory=list)
    container_statuses: list[dict[str, Any]] = field(default_factory=list)
    start_time: datetime | None = None


class Pod(_ObjectPart, frozen=True, kw_only=True):
    """A pod."""

    metadata: ObjectMeta
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class _NodeSpec(_ObjectPart, frozen=True, kw_only=True):
    taints: list[Taint] = field(default_factory=list)
    unschedulable: bool = False


class _NodeInfo(_ObjectPart, frozen=True, kw_only=True):
    kubelet_version: str = ""


class _NodeStatus(_ObjectPart, frozen=True, kw_only=True):
    allocatable: dict[str, str | int | float] = field(default_factory=dict)
    capacity: dict[str, str | int | float] = field(default_factory=dict)
    conditions: list[dict[str, Any]] = field(default_factory=list)
    node_info: _NodeInfo = field(default_factory=_NodeInfo)


class SimulatedNode(_ObjectPart, frozen=True, kw_only=True):
    """A node."""

    metadata: ObjectMeta
    spec: _NodeSpec = field(default_factory=_NodeSpec)
    status: _NodeStatus = field(default_factory=_NodeStatus)


class RollingUpdate(_ObjectPart, frozen=True, kw_only=True):
    """Bounds of a rolling update above and below the desired number of replicas."""

    max_surge: int | str | None = None
    max_unavailable: int | str | None = None
    partition: int = 0


class UpdateStrategy(_ObjectPart, frozen=True, kw_only=True):
    """`strategy` of a Deployment, `updateStrategy` of a StatefulSet or DaemonSet."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = field(default_factory=RollingUpdate)


class Ordinals(_ObjectPart, frozen=True, kw_only=True):
    """`spec.ordinals` of a StatefulSet."""

    start: int = 0


class AppsObjectSpec(_ObjectPart, frozen=True, kw_only=True):
    """The common part of Deployment, ReplicaSet, StatefulSet and DaemonSet."""

    replicas: int = 1
    selector: LabelSelector = field(default_factory=LabelSelector)
    template: dict[str, Any] = field(default_factory=dict)
    min_ready_seconds: int = 0
    paused: bool = False
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    pod_management_policy: str = "OrderedReady"
    service_name: str = ""
    ordinals: Ordinals = field(default_factory=Ordinals)
    strategy: UpdateStrategy = field(default_factory=UpdateStrategy)
    update_strategy: UpdateStrategy = field(default_factory=UpdateStrategy)


class AppsObject(_ObjectPart, frozen=True, kw_only=True):
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet; `status` is raw JSON of the API."""

    metadata: ObjectMeta
    spec: AppsObjectSpec = field(default_factory=AppsObjectSpec)
    status: dict[str, Any] = field(default_factory=dict)


class JobSpec(_ObjectPart, frozen=True, kw_only=True):
    """`spec` of a Job."""

    parallelism: int = 1
    completions: int | None = None
    completion_mode: str = "NonIndexed"
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    suspend: bool = False
    template: dict[str, Any] = field(default_factory=dict)


class Job(_ObjectPart, frozen=True, kw_only=True):
    """A Job; `status` is raw JSON of the API."""

    metadata: ObjectMeta
    spec: JobSpec = field(default_factory=JobSpec)
    status: dict[str, Any] = field(default_factory=dict)


class CronJobSpec(_ObjectPart, frozen=True, kw_only=True):
    """`spec` of a CronJob."""

    schedule: str = ""
    time_zone: str = ""
    suspend: bool = False
    concurrency_policy: str = "Allow"
    successful_jobs_history_limit: int = 3
    failed_jobs_history_limit: int = 1
    job_template: dict[str, Any] = field(default_factory=dict)


class _CronJobStatus(_ObjectPart, frozen=True, kw_only=True):
    last_schedule_time: datetime | None = None


class CronJob(_ObjectPart, frozen=True, kw_only=True):
    """A CronJob."""

    metadata: ObjectMeta
    spec: CronJobSpec = field(default_factory=CronJobSpec)
    status: _CronJobStatus = field(default_factory=_CronJobStatus)


class ScaleTarget(_ObjectPart, frozen=True, kw_only=True):
    """`spec.scaleTargetRef` of an autoscaler."""

    kind: str = ""
    name: str = ""


class MetricTarget(_ObjectPart, frozen=True, kw_only=True):
    """The value that a metric shall have, per pod."""

    type: str = ""
    average_utilization: int | None = None
    average_value: str | int | None = None


class ResourceMetric(_ObjectPart, frozen=True, kw_only=True):
    """A metric of the pods' cpu or memory."""

    name: str = ""
    target: MetricTarget = field(default_factory=MetricTarget)


class Metric(_ObjectPart, frozen=True, kw_only=True):
    """One metric of an autoscaler; only type Resource is simulated."""

    type: str = ""
    resource: ResourceMetric | None = None


class ScalingRules(_ObjectPart, frozen=True, kw_only=True):
    """`scaleDown` of an autoscaler; its policies are not simulated."""

    stabilization_window_seconds: int | None = None


class ScalingBehavior(_ObjectPart, frozen=True, kw_only=True):
    """`spec.behavior` of an autoscaler."""

    scale_down: ScalingRules = field(default_factory=ScalingRules)


class AutoscalerSpec(_ObjectPart, frozen=True, kw_only=True):
    """`spec` of a HorizontalPodAutoscaler."""

    scale_target_ref: ScaleTarget = field(default_factory=ScaleTarget)
    min_replicas: int = 1
    max_replicas: int = 1
    metrics: list[Metric] = field(default_factory=list)
    behavior: ScalingBehavior = field(default_factory=ScalingBehavior)


class Autoscaler(_ObjectPart, frozen=True, kw_only=True):
    """A HorizontalPodAutoscaler; `status` is raw JSON of the API."""

    metadata: ObjectMeta
    spec: AutoscalerSpec = field(default_factory=AutoscalerSpec)
    status: dict[str, Any] = field(default_factory=dict)


class DisruptionBudgetSpec(_ObjectPart, frozen=True, kw_only=True):
    """`spec` of a PodDisruptionBudget."""

    selector: LabelSelector | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class DisruptionBudget(_ObjectPart, frozen=True, kw_only=True):
    """A PodDisruptionBudget; `status` is raw JSON of the API."""

    metadata: ObjectMeta
    spec: DisruptionBudgetSpec = field(default_factory=DisruptionBudgetSpec)
    status: dict[str, Any] = field(default_factory=dict)


class QuotaSpec(_ObjectPart, frozen=True, kw_only=True):
    """`spec` of a ResourceQuota."""

    hard: dict[str, Any] = field(default_factory=dict)
    scopes: list[str] = field(default_factory=list)
    scope_selector: dict[str, Any] = field(default_factory=dict)


class SimulatedQuota(_ObjectPart, frozen=True, kw_only=True):
    """A ResourceQuota; `status` is raw JSON of the API."""

    metadata: ObjectMeta
    spec: QuotaSpec = field(default_factory=QuotaSpec)
    status: dict[str, Any] = field(default_factory=dict)


class SimulatedNamespace(_ObjectPart, frozen=True, kw_only=True):
    """A namespace; only its existence matters."""

    metadata: ObjectMeta


ObjectView = (
    Pod
    | SimulatedNode
    | AppsObject
    | Job
    | CronJob
    | Autoscaler
    | DisruptionBudget
    | SimulatedQuota
    | SimulatedNamespace
)

PODS = ApiResource("", "v1", "pods", "Pod", namespaced=True)
NODES = ApiResource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace", namespaced=False)
DEPLOYMENTS = ApiResource("apps", "v1", "deployments", "Deployment", namespaced=True)
REPLICA_SETS = ApiResource("apps", "v1", "replicasets", "ReplicaSet", namespaced=True)
STATEFUL_SETS = ApiResource("apps", "v1", "statefulsets", "StatefulSet", namespaced=True)
DAEMON_SETS = ApiResource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
JOBS = ApiResource("batch", "v1", "jobs", "Job", namespaced=True)
CRON_JOBS = ApiResource("batch", "v1", "cronjobs", "CronJob", namespaced=True)
AUTOSCALERS = ApiResource(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", namespaced=True
)
DISRUPTION_BUDGETS = ApiResource(
    "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True
)
RESOURCE_QUOTAS = ApiResource("", "v1", "resourcequotas", "ResourceQuota", namespaced=True)

VIEW_TYPES: dict[ApiResource, type[ObjectView]] = {
    NAMESPACES: SimulatedNamespace,
    NODES: SimulatedNode,
    DEPLOYMENTS: AppsObject,
    REPLICA_SETS: AppsObject,
    STATEFUL_SETS: AppsObject,
    DAEMON_SETS: AppsObject,
    JOBS: Job,
    CRON_JOBS: CronJob,
    AUTOSCALERS: Autoscaler,
    DISRUPTION_BUDGETS: DisruptionBudget,
    RESOURCE_QUOTAS: SimulatedQuota,
    PODS: Pod,
}
"""The watched resources with their views; pods come last, so that their owners are known."""

RESOURCES_BY_KIND = {resource.kind: resource for resource in VIEW_TYPES}


def decode_view(resource: ApiResource, body: Object) -> ObjectView:
    """Decodes an object; `null` means absent, as for the API server.

    Raises:
        msgspec.ValidationError: the object does not match its kind; the message has the path.
    """
    try:
        return msgspec.convert(body, VIEW_TYPES[resource], strict=False)
    except msgspec.ValidationError:
        return msgspec.convert(_drop_nulls(body), VIEW_TYPES[resource], strict=False)


def _drop_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON in, the same JSON out
    if isinstance(value, dict):
        return {key: _drop_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_drop_nulls(inner) for inner in value]
    return value
