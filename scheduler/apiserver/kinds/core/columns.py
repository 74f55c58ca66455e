"""The table columns of the core kinds, as on the real API server.

Source: pkg/printers/internalversion of Kubernetes, used as a specification. Cells that show an age
are `AgeCell` values, which the table formats at the time of the request.
"""

from collections.abc import Callable

from scheduler.apiserver.kinds.resources import TableColumn
from scheduler.apiserver.kinds.table_cells import (
    AGE_COLUMN,
    NAME_COLUMN,
    AgeCell,
    DurationCell,
    make_column,
)
from scheduler.apiserver.kinds.unstructured import value_at
from scheduler.hub.schema.json_types import Json, JsonObject


def _format_labels(selector: Json) -> str:
    labels = selector.get("matchLabels", selector) if isinstance(selector, dict) else {}
    shown = ",".join(
        f"{key}={value}" for key, value in sorted(labels.items()) if isinstance(value, str)
    )
    return shown or "<none>"


def _format_selector(item: JsonObject) -> str:
    return _format_labels(value_at(item, "spec", "selector", default={}))


def _template_containers(item: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = value_at(item, "spec", "template", "spec", "containers", default=[])
    return found


_POD_TEMPLATE_COLUMNS = (
    make_column(
        "Containers",
        lambda item: ",".join(str(c.get("name")) for c in _template_containers(item)),
        is_wide=True,
    ),
    make_column(
        "Images",
        lambda item: ",".join(str(c.get("image")) for c in _template_containers(item)),
        is_wide=True,
    ),
    make_column("Selector", _format_selector, is_wide=True),
)


# ---------------------------------------------------------------- pods


def _format_ready_containers(item: JsonObject) -> str:
    statuses = value_at(item, "status", "containerStatuses", default=[])
    total = len(value_at(item, "spec", "containers", default=[]))
    return f"{sum(status.get('ready') is True for status in statuses)}/{total}"


def _format_restarts(item: JsonObject) -> str:
    statuses = value_at(item, "status", "containerStatuses", default=[])
    return str(sum(int(status.get("restartCount") or 0) for status in statuses))


def _pod_status(item: JsonObject) -> str:
    if value_at(item, "metadata", "deletionTimestamp"):
        return "Terminating"
    reason = value_at(item, "status", "reason") or value_at(
        item, "status", "phase", default="Unknown"
    )
    for status in value_at(item, "status", "containerStatuses", default=[]):
        state = status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason = waiting.get("reason") or ended.get("reason") or reason
    return str(reason)


_POD_COLUMNS = (
    NAME_COLUMN,
    make_column("Ready", _format_ready_containers),
    make_column("Status", _pod_status),
    make_column("Restarts", _format_restarts),
    AGE_COLUMN,
    make_column(
        "IP", lambda item: value_at(item, "status", "podIP", default="<none>"), is_wide=True
    ),
    make_column(
        "Node", lambda item: value_at(item, "spec", "nodeName", default="<none>"), is_wide=True
    ),
    make_column(
        "Nominated Node",
        lambda item: value_at(item, "status", "nominatedNodeName", default="<none>"),
        is_wide=True,
    ),
    make_column("Readiness Gates", lambda _item: "<none>", is_wide=True),
)


# ---------------------------------------------------------------- nodes


def _node_status(item: JsonObject) -> str:
    ready = next(
        (c for c in value_at(item, "status", "conditions", default=[]) if c.get("type") == "Ready"),
        None,
    )
    words = "Unknown"
    if ready is not None:
        words = "Ready" if ready.get("status") == "True" else "NotReady"
    return words + (",SchedulingDisabled" if value_at(item, "spec", "unschedulable") else "")


def _format_node_roles(item: JsonObject) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = value_at(item, "metadata", "labels", default={})
    roles = sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))
    return ",".join(filter(None, roles)) or "<none>"


def _node_address(kind: str) -> Callable[[JsonObject], Json]:
    def find(item: JsonObject) -> Json:
        for address in value_at(item, "status", "addresses", default=[]):
            if address.get("type") == kind:
                return address.get("address")
        return "<none>"

    return find


def _node_info(key: str) -> Callable[[JsonObject], Json]:
    return lambda item: value_at(item, "status", "nodeInfo", key, default="<unknown>")


_NODE_COLUMNS = (
    NAME_COLUMN,
    make_column("Status", _node_status),
    make_column("Roles", _format_node_roles),
    AGE_COLUMN,
    make_column(
        "Version", lambda item: value_at(item, "status", "nodeInfo", "kubeletVersion", default="")
    ),
    make_column("Internal-IP", _node_address("InternalIP"), is_wide=True),
    make_column("External-IP", _node_address("ExternalIP"), is_wide=True),
    make_column("OS-Image", _node_info("osImage"), is_wide=True),
    make_column("Kernel-Version", _node_info("kernelVersion"), is_wide=True),
    make_column("Container-Runtime", _node_info("containerRuntimeVersion"), is_wide=True),
)


# ---------------------------------------------------------------- services and storage


def _format_ports(item: JsonObject) -> str:
    shown = []
    for port in value_at(item, "spec", "ports", default=[]):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _external_ip(item: JsonObject) -> str:
    if value_at(item, "spec", "type") == "LoadBalancer":
        ingress = value_at(item, "status", "loadBalancer", "ingress", default=[])
        return ",".join(str(i.get("ip") or i.get("hostname")) for i in ingress) or "<pending>"
    if value_at(item, "spec", "type") == "ExternalName":
        return str(value_at(item, "spec", "externalName", default=""))
    return ",".join(value_at(item, "spec", "externalIPs", default=[])) or "<none>"


_SERVICE_COLUMNS = (
    NAME_COLUMN,
    make_column("Type", lambda item: value_at(item, "spec", "type")),
    make_column("Cluster-IP", lambda item: value_at(item, "spec", "clusterIP", default="<none>")),
    make_column("External-IP", _external_ip),
    make_column("Port(s)", _format_ports),
    AGE_COLUMN,
    make_column("Selector", _format_selector, is_wide=True),
)

_ACCESS_MODE_ABBREVIATIONS = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _format_access_modes(item: JsonObject) -> str:
    modes = value_at(item, "status", "accessModes", default=[])
    return ",".join(_ACCESS_MODE_ABBREVIATIONS.get(mode, mode) for mode in modes)


_CLAIM_COLUMNS = (
    NAME_COLUMN,
    make_column("Status", lambda item: value_at(item, "status", "phase", default="")),
    make_column("Volume", lambda item: value_at(item, "spec", "volumeName", default="")),
    make_column(
        "Capacity", lambda item: value_at(item, "status", "capacity", "storage", default="")
    ),
    make_column("Access Modes", _format_access_modes),
    make_column(
        "StorageClass", lambda item: value_at(item, "spec", "storageClassName", default="")
    ),
    make_column(
        "VolumeAttributesClass",
        lambda item: value_at(item, "spec", "volumeAttributesClassName", default="<unset>"),
    ),
    AGE_COLUMN,
    make_column(
        "VolumeMode", lambda item: value_at(item, "spec", "volumeMode", default=""), is_wide=True
    ),
)


# ---------------------------------------------------------------- apps and batch


def _number_at(*path: str) -> Callable[[JsonObject], Json]:
    return lambda item: value_at(item, *path, default=0)


def _format_ready_replicas(item: JsonObject) -> str:
    ready = value_at(item, "status", "readyReplicas", default=0)
    return f"{ready}/{value_at(item, 'spec', 'replicas', default=0)}"


_DEPLOYMENT_COLUMNS = (
    NAME_COLUMN,
    make_column("Ready", _format_ready_replicas),
    make_column("Up-to-date", _number_at("status", "updatedReplicas"), "integer"),
    make_column("Available", _number_at("status", "availableReplicas"), "integer"),
    AGE_COLUMN,
    *_POD_TEMPLATE_COLUMNS,
)
_STATEFUL_SET_COLUMNS = (
    NAME_COLUMN,
    make_column("Ready", _format_ready_replicas),
    AGE_COLUMN,
    *_POD_TEMPLATE_COLUMNS[:2],
)
_DAEMON_SET_COLUMNS = (
    NAME_COLUMN,
    make_column("Desired", _number_at("status", "desiredNumberScheduled"), "integer"),
    make_column("Current", _number_at("status", "currentNumberScheduled"), "integer"),
    make_column("Ready", _number_at("status", "numberReady"), "integer"),
    make_column("Up-to-date", _number_at("status", "updatedNumberScheduled"), "integer"),
    make_column("Available", _number_at("status", "numberAvailable"), "integer"),
    make_column(
        "Node Selector",
        lambda item: _format_labels(
            value_at(item, "spec", "template", "spec", "nodeSelector", default={})
        ),
    ),
    AGE_COLUMN,
    *_POD_TEMPLATE_COLUMNS,
)
_REPLICA_SET_COLUMNS = (
    NAME_COLUMN,
    make_column("Desired", _number_at("spec", "replicas"), "integer"),
    make_column("Current", _number_at("status", "replicas"), "integer"),
    make_column("Ready", _number_at("status", "readyReplicas"), "integer"),
    AGE_COLUMN,
    *_POD_TEMPLATE_COLUMNS,
)


def _job_status(item: JsonObject) -> str:
    for condition in value_at(item, "status", "conditions", default=[]):
        if condition.get("status") == "True" and condition.get("type") in {
            "Complete",
            "Failed",
            "Suspended",
            "FailureTarget",
            "SuccessCriteriaMet",
        }:
            return str(condition["type"])
    return "Terminating" if value_at(item, "metadata", "deletionTimestamp") else "Running"


def _format_completions(item: JsonObject) -> str:
    succeeded = value_at(item, "status", "succeeded", default=0)
    return f"{succeeded}/{value_at(item, 'spec', 'completions', default=1)}"


_JOB_COLUMNS = (
    NAME_COLUMN,
    make_column("Status", _job_status),
    make_column(
        "Completions",
        _format_completions,
    ),
    make_column(
        "Duration",
        lambda item: DurationCell(
            value_at(item, "status", "startTime"), value_at(item, "status", "completionTime")
        ),
    ),
    AGE_COLUMN,
    *_POD_TEMPLATE_COLUMNS,
)
_CRON_JOB_COLUMNS = (
    NAME_COLUMN,
    make_column("Schedule", lambda item: value_at(item, "spec", "schedule")),
    make_column("Timezone", lambda item: value_at(item, "spec", "timeZone", default="<none>")),
    make_column("Suspend", lambda item: str(value_at(item, "spec", "suspend", default=False))),
    make_column(
        "Active", lambda item: len(value_at(item, "status", "active", default=[])), "integer"
    ),
    make_column(
        "Last Schedule",
        lambda item: (
            AgeCell(value_at(item, "status", "lastScheduleTime"))
            if value_at(item, "status", "lastScheduleTime")
            else "<none>"
        ),
    ),
    AGE_COLUMN,
)


# ---------------------------------------------------------------- events


def _format_event_object(item: JsonObject) -> str:
    about = value_at(item, "involvedObject", default={})
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


_EVENT_COLUMNS = (
    make_column(
        "Last Seen",
        lambda item: AgeCell(
            value_at(item, "lastTimestamp")
            or value_at(item, "series", "lastObservedTime")
            or value_at(item, "eventTime")
            or value_at(item, "metadata", "creationTimestamp")
        ),
    ),
    make_column("Type", lambda item: value_at(item, "type", default="")),
    make_column("Reason", lambda item: value_at(item, "reason", default="")),
    make_column("Object", _format_event_object),
    make_column(
        "Subobject",
        lambda item: value_at(item, "involvedObject", "fieldPath", default=""),
        is_wide=True,
    ),
    make_column(
        "Source",
        lambda item: (
            value_at(item, "source", "component")
            or value_at(item, "reportingComponent", default="")
        ),
        is_wide=True,
    ),
    make_column("Message", lambda item: str(value_at(item, "message", default="")).strip()),
    make_column(
        "First Seen",
        lambda item: AgeCell(value_at(item, "firstTimestamp") or value_at(item, "eventTime")),
        is_wide=True,
    ),
    make_column("Count", lambda item: value_at(item, "count", default=1), is_wide=True),
    make_column("Name", NAME_COLUMN.cell_of, is_wide=True),
)

CORE_COLUMNS: dict[str, tuple[TableColumn, ...]] = {
    "Pod": _POD_COLUMNS,
    "Node": _NODE_COLUMNS,
    "Service": _SERVICE_COLUMNS,
    "PersistentVolumeClaim": _CLAIM_COLUMNS,
    "Deployment": _DEPLOYMENT_COLUMNS,
    "StatefulSet": _STATEFUL_SET_COLUMNS,
    "DaemonSet": _DAEMON_SET_COLUMNS,
    "ReplicaSet": _REPLICA_SET_COLUMNS,
    "Job": _JOB_COLUMNS,
    "CronJob": _CRON_JOB_COLUMNS,
    "Event": _EVENT_COLUMNS,
    "Namespace": (
        NAME_COLUMN,
        make_column("Status", lambda item: value_at(item, "status", "phase", default="")),
        AGE_COLUMN,
    ),
    "ConfigMap": (
        NAME_COLUMN,
        make_column(
            "Data",
            lambda item: len(item.get("data") or {}) + len(item.get("binaryData") or {}),
            "integer",
        ),
        AGE_COLUMN,
    ),
    "Secret": (
        NAME_COLUMN,
        make_column("Type", lambda item: item.get("type")),
        make_column("Data", lambda item: len(item.get("data") or {}), "integer"),
        AGE_COLUMN,
    ),
    "ServiceAccount": (
        NAME_COLUMN,
        make_column("Secrets", lambda item: len(item.get("secrets") or []), "integer"),
        AGE_COLUMN,
    ),
    "Lease": (
        NAME_COLUMN,
        make_column("Holder", lambda item: value_at(item, "spec", "holderIdentity", default="")),
        AGE_COLUMN,
    ),
    "CustomResourceDefinition": (
        NAME_COLUMN,
        TableColumn(
            "Created At", lambda item: value_at(item, "metadata", "creationTimestamp"), "date"
        ),
    ),
}
DEFAULT_COLUMNS = (NAME_COLUMN, AGE_COLUMN)
