"""The core kinds that the embedded API server serves, as resources."""

from collections.abc import Iterator

from scheduler.apiserver.base.errors import GroupResource
from scheduler.apiserver.kinds.core.columns import CORE_COLUMNS, DEFAULT_COLUMNS
from scheduler.apiserver.kinds.core.defaults import CORE_STRATEGIES
from scheduler.apiserver.kinds.core.schemas import definition_name, schema_node_of
from scheduler.apiserver.kinds.resources import KindStrategy, ScalePaths, ServerResource
from scheduler.hub.schema.json_types import JsonObject

# Group, kind, plural, short names, `n` if namespaced, subresources, `all` if in `kubectl get all`.
_CORE_RESOURCE_LINES = """
- Namespace namespaces ns - status -
- Node nodes no - status -
- Pod pods po n status,binding,eviction all
- Service services svc n status all
- ConfigMap configmaps cm n - -
- Secret secrets - n - -
- ServiceAccount serviceaccounts sa n - -
- PersistentVolumeClaim persistentvolumeclaims pvc n status -
- Event events ev n - -
apps Deployment deployments deploy n status,scale all
apps StatefulSet statefulsets sts n status,scale all
apps DaemonSet daemonsets ds n status all
apps ReplicaSet replicasets rs n status,scale all
batch Job jobs - n status all
batch CronJob cronjobs cj n status all
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
    group, kind, plural, short, scope, subresources, category = cells
    stored_kind = definition_name("" if kind == "Event" else group, kind)
    found = frozenset(filter(None, subresources.split(",")))
    is_events_v1 = group == "events.k8s.io"
    selectable = frozenset(_SELECTABLE_FIELDS.get(kind, ()))
    return ServerResource(
        group_resource=GroupResource(group, plural, kind),
        version="v1",
        singular=kind.lower(),
        namespaced=bool(scope),
        schema_node=schema_node_of(stored_kind),
        short_names=tuple(filter(None, short.split(","))),
        categories=tuple(filter(None, (category,))),
        subresources=found,
        columns=CORE_COLUMNS.get(kind, DEFAULT_COLUMNS),
        selectable_fields=selectable | _EVENTS_V1_FIELDS if is_events_v1 else selectable,
        scale_paths=_SCALE_PATHS if "scale" in found else None,
        strategy=CORE_STRATEGIES.get(kind, KindStrategy()),
        openapi_name=definition_name(group, kind),
        collection_name="/events" if is_events_v1 else "",  # both Event versions share it
        from_storage_version=_to_events_v1 if is_events_v1 else None,
        to_storage_version=_from_events_v1 if is_events_v1 else None,
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
