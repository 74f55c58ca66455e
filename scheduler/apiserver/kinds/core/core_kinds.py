"""The core kinds that the embedded API server serves, as resources."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scheduler.apiserver.base.errors import GroupResource
from scheduler.apiserver.kinds.core.autoscalers import autoscaler_from_v1, autoscaler_to_v1
from scheduler.apiserver.kinds.core.columns import CORE_COLUMNS, DEFAULT_COLUMNS
from scheduler.apiserver.kinds.core.defaults import CORE_STRATEGIES
from scheduler.apiserver.kinds.core.network_kinds import NETWORK_STRATEGIES
from scheduler.apiserver.kinds.core.policy_columns import POLICY_COLUMNS
from scheduler.apiserver.kinds.core.policy_kinds import (
    POLICY_STRATEGIES,
)
from scheduler.apiserver.kinds.core.schemas import definition_name, schema_node_of
from scheduler.apiserver.kinds.resources import KindStrategy, ScalePaths, ServerResource
from scheduler.hub.schema.json_types import JsonObject

# Group (with its version if that is not v1), kind, plural, short names, `n` if namespaced,
# subresources, `all` if in `kubectl get all`.
_CORE_RESOURCE_LINES = """
- Namespace namespaces ns - status -
- Node nodes no - status -
- Pod pods po n status,binding,eviction,log all
- Service services svc n status all
- ConfigMap configmaps cm n - -
- Secret secrets - n - -
- ServiceAccount serviceaccounts sa n - -
- PersistentVolumeClaim persistentvolumeclaims pvc n status -
- Event events ev n - -
- Endpoints endpoints ep n - -
- LimitRange limitranges limits n - -
- ResourceQuota resourcequotas quota n status -
- PersistentVolume persistentvolumes pv - status -
apps Deployment deployments deploy n status,scale all
apps StatefulSet statefulsets sts n status,scale all
apps DaemonSet daemonsets ds n status all
apps ReplicaSet replicasets rs n status,scale all
apps ControllerRevision controllerrevisions - n - -
batch Job jobs - n status all
batch CronJob cronjobs cj n status all
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers hpa n status all
autoscaling/v1 HorizontalPodAutoscaler horizontalpodautoscalers hpa n status all
policy PodDisruptionBudget poddisruptionbudgets pdb n status -
networking.k8s.io Ingress ingresses ing n status -
networking.k8s.io IngressClass ingressclasses - - - -
networking.k8s.io NetworkPolicy networkpolicies netpol n - -
rbac.authorization.k8s.io Role roles - n - -
rbac.authorization.k8s.io RoleBinding rolebindings - n - -
rbac.authorization.k8s.io ClusterRole clusterroles - - - -
rbac.authorization.k8s.io ClusterRoleBinding clusterrolebindings - - - -
scheduling.k8s.io PriorityClass priorityclasses pc - - -
storage.k8s.io StorageClass storageclasses sc - - -
storage.k8s.io CSIDriver csidrivers - - - -
node.k8s.io RuntimeClass runtimeclasses - - - -
discovery.k8s.io EndpointSlice endpointslices - n - -
admissionregistration.k8s.io ValidatingWebhookConfiguration validatingwebhookconfigurations - - - -
admissionregistration.k8s.io MutatingWebhookConfiguration mutatingwebhookconfigurations - - - -
coordination.k8s.io Lease leases - n - -
events.k8s.io Event events ev n - -
apiextensions.k8s.io CustomResourceDefinition customresourcedefinitions crd,crds - status -
"""
_SELECTABLE_FIELDS = {
    "Pod": {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    },
    "Event": {
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    },
    "Namespace": {"status.phase"},
    "Node": {"spec.unschedulable"},
    "Secret": {"type"},
    "Job": {"status.successful"},
    "ReplicaSet": {"status.replicas"},
    "Service": {"spec.clusterIP", "spec.type"},
}
_EVENTS_V1_FIELDS = frozenset(
    field.replace("involvedObject", "regarding") for field in _SELECTABLE_FIELDS["Event"]
)
_STRATEGIES = CORE_STRATEGIES | POLICY_STRATEGIES | NETWORK_STRATEGIES
_COLUMNS = CORE_COLUMNS | POLICY_COLUMNS
_SCALE_PATHS = ScalePaths(
    spec=("spec", "replicas"), status=("status", "replicas"), selector=("spec", "selector")
)
_EVENTS_V1_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
"""Fields of Event that events.k8s.io/v1 names otherwise than v1, in which Events are stored.

Source: pkg/apis/core/v1 conversion of Kubernetes; the API reference names the deprecated fields.
"""
_EVENT_V1_NAMES = {new: old for old, new in _EVENTS_V1_NAMES.items()}


def core_resources() -> Iterator[ServerResource]:
    """Every core resource, in the order of discovery."""
    for line in _CORE_RESOURCE_LINES.strip().splitlines():
        yield _parse_resource(["" if cell == "-" else cell for cell in line.split()])


def _parse_resource(cells: list[str]) -> ServerResource:
    group_version, kind, plural, short, scope, subresources, category = cells
    group, _slash, version = group_version.partition("/")
    stored_kind = definition_name(*_STORED_AS.get(kind, (group, "v1")), kind)
    found = frozenset(filter(None, subresources.split(",")))
    conversion = _CONVERSIONS.get((group_version, kind))
    selectable = frozenset(_SELECTABLE_FIELDS.get(kind, ()))
    return ServerResource(
        group_resource=GroupResource(group, plural, kind),
        version=version or "v1",
        singular=kind.lower(),
        namespaced=bool(scope),
        schema_node=schema_node_of(stored_kind),
        short_names=tuple(filter(None, short.split(","))),
        categories=tuple(filter(None, (category,))),
        subresources=found,
        columns=_COLUMNS.get(kind, DEFAULT_COLUMNS),
        selectable_fields=selectable | (conversion.selectable if conversion else frozenset()),
        scale_paths=_SCALE_PATHS if "scale" in found else None,
        strategy=_STRATEGIES.get(kind, KindStrategy()),
        openapi_name=definition_name(group, version or "v1", kind),
        collection_name=conversion.collection_name if conversion else "",
        from_storage_version=conversion.to_served if conversion else None,
        to_storage_version=conversion.to_stored if conversion else None,
    )


# ---------------------------------------------------------------- versions of Event


def _rename_fields(item: JsonObject, names: dict[str, str], api_version: str) -> JsonObject:
    made = {names.get(key, key): value for key, value in item.items()}
    made["apiVersion"] = api_version
    if isinstance(made.get("metadata"), dict):
        made["metadata"] = dict(made["metadata"])
    return made


def _to_events_v1(item: JsonObject) -> JsonObject:
    """Converts a stored Event to events.k8s.io/v1."""
    return _rename_fields(item, _EVENTS_V1_NAMES, "events.k8s.io/v1")


def _from_events_v1(item: JsonObject) -> JsonObject:
    """Converts an Event of events.k8s.io/v1 to v1, in which it is stored."""
    return _rename_fields(item, _EVENT_V1_NAMES, "v1")


# ---------------------------------------------------------------- kinds with two versions


@dataclass(frozen=True, slots=True)
class _Conversion:
    """How a version of a kind that is stored in another one is read and written."""

    to_served: Callable[[JsonObject], JsonObject]
    to_stored: Callable[[JsonObject], JsonObject]
    collection_name: str = ""
    """The collection that both share, where their groups differ."""
    selectable: frozenset[str] = frozenset()


_STORED_AS = {"Event": ("", "v1"), "HorizontalPodAutoscaler": ("autoscaling", "v2")}
"""Group and version in which kinds with two of them are stored and checked."""
_CONVERSIONS = {
    ("events.k8s.io", "Event"): _Conversion(
        _to_events_v1, _from_events_v1, "/events", _EVENTS_V1_FIELDS
    ),
    ("autoscaling/v1", "HorizontalPodAutoscaler"): _Conversion(
        autoscaler_to_v1, autoscaler_from_v1
    ),
}
