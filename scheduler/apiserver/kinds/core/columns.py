"""The columns of the core kinds, as the real API server prints them.

Source: pkg/printers/internalversion of Kubernetes, read as a specification. Cells that show an age
are `Age` values; the table turns them into text at the time of the request.
"""

from collections.abc import Callable

from scheduler.apiserver.kinds.resources import Column
from scheduler.apiserver.kinds.table_cells import AGE, NAME, Age, Span, at, column
from scheduler.hub.schema.json_types import Json, JsonObject


def _labels(selector: Json) -> str:
    labels = selector.get("matchLabels", selector) if isinstance(selector, dict) else {}
    shown = ",".join(
        f"{key}={value}" for key, value in sorted(labels.items()) if isinstance(value, str)
    )
    return shown or "<none>"


def _selector(item: JsonObject) -> str:
    return _labels(at(item, "spec", "selector", default={}))


def _containers(item: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = at(item, "spec", "template", "spec", "containers", default=[])
    return found


_TEMPLATE = (
    column(
        "Containers",
        lambda item: ",".join(str(c.get("name")) for c in _containers(item)),
        wide=True,
    ),
    column(
        "Images",
        lambda item: ",".join(str(c.get("image")) for c in _containers(item)),
        wide=True,
    ),
    column("Selector", _selector, wide=True),
)


# ---------------------------------------------------------------- pods


def _ready_containers(item: JsonObject) -> str:
    statuses = at(item, "status", "containerStatuses", default=[])
    total = len(at(item, "spec", "containers", default=[]))
    return f"{sum(status.get('ready') is True for status in statuses)}/{total}"


def _restarts(item: JsonObject) -> str:
    statuses = at(item, "status", "containerStatuses", default=[])
    return str(sum(int(status.get("restartCount") or 0) for status in statuses))


def _pod_status(item: JsonObject) -> str:
    if at(item, "metadata", "deletionTimestamp"):
        return "Terminating"
    reason = at(item, "status", "reason") or at(item, "status", "phase", default="Unknown")
    for status in at(item, "status", "containerStatuses", default=[]):
        state = status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason = waiting.get("reason") or ended.get("reason") or reason
    return str(reason)


_PODS = (
    NAME,
    column("Ready", _ready_containers),
    column("Status", _pod_status),
    column("Restarts", _restarts),
    AGE,
    column("IP", lambda item: at(item, "status", "podIP", default="<none>"), wide=True),
    column("Node", lambda item: at(item, "spec", "nodeName", default="<none>"), wide=True),
    column(
        "Nominated Node",
        lambda item: at(item, "status", "nominatedNodeName", default="<none>"),
        wide=True,
    ),
    column("Readiness Gates", lambda _item: "<none>", wide=True),
)


# ---------------------------------------------------------------- nodes


def _node_status(item: JsonObject) -> str:
    ready = next(
        (c for c in at(item, "status", "conditions", default=[]) if c.get("type") == "Ready"), None
    )
    words = "Unknown"
    if ready is not None:
        words = "Ready" if ready.get("status") == "True" else "NotReady"
    return words + (",SchedulingDisabled" if at(item, "spec", "unschedulable") else "")


def _node_roles(item: JsonObject) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = at(item, "metadata", "labels", default={})
    roles = sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))
    return ",".join(filter(None, roles)) or "<none>"


def _address(kind: str) -> Callable[[JsonObject], Json]:
    def find(item: JsonObject) -> Json:
        for address in at(item, "status", "addresses", default=[]):
            if address.get("type") == kind:
                return address.get("address")
        return "<none>"

    return find


def _node_info(key: str) -> Callable[[JsonObject], Json]:
    return lambda item: at(item, "status", "nodeInfo", key, default="<unknown>")


_NODES = (
    NAME,
    column("Status", _node_status),
    column("Roles", _node_roles),
    AGE,
    column("Version", lambda item: at(item, "status", "nodeInfo", "kubeletVersion", default="")),
    column("Internal-IP", _address("InternalIP"), wide=True),
    column("External-IP", _address("ExternalIP"), wide=True),
    column("OS-Image", _node_info("osImage"), wide=True),
    column("Kernel-Version", _node_info("kernelVersion"), wide=True),
    column("Container-Runtime", _node_info("containerRuntimeVersion"), wide=True),
)


# ---------------------------------------------------------------- services and storage


def _ports(item: JsonObject) -> str:
    shown = []
    for port in at(item, "spec", "ports", default=[]):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _external_ip(item: JsonObject) -> str:
    if at(item, "spec", "type") == "LoadBalancer":
        ingress = at(item, "status", "loadBalancer", "ingress", default=[])
        return ",".join(str(i.get("ip") or i.get("hostname")) for i in ingress) or "<pending>"
    if at(item, "spec", "type") == "ExternalName":
        return str(at(item, "spec", "externalName", default=""))
    return ",".join(at(item, "spec", "externalIPs", default=[])) or "<none>"


_SERVICES = (
    NAME,
    column("Type", lambda item: at(item, "spec", "type")),
    column("Cluster-IP", lambda item: at(item, "spec", "clusterIP", default="<none>")),
    column("External-IP", _external_ip),
    column("Port(s)", _ports),
    AGE,
    column("Selector", _selector, wide=True),
)

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _access_modes(item: JsonObject) -> str:
    modes = at(item, "status", "accessModes", default=[])
    return ",".join(_MODES.get(mode, mode) for mode in modes)


_CLAIMS = (
    NAME,
    column("Status", lambda item: at(item, "status", "phase", default="")),
    column("Volume", lambda item: at(item, "spec", "volumeName", default="")),
    column("Capacity", lambda item: at(item, "status", "capacity", "storage", default="")),
    column("Access Modes", _access_modes),
    column("StorageClass", lambda item: at(item, "spec", "storageClassName", default="")),
    column(
        "VolumeAttributesClass",
        lambda item: at(item, "spec", "volumeAttributesClassName", default="<unset>"),
    ),
    AGE,
    column("VolumeMode", lambda item: at(item, "spec", "volumeMode", default=""), wide=True),
)


# ---------------------------------------------------------------- apps and batch


def _number(*path: str) -> Callable[[JsonObject], Json]:
    return lambda item: at(item, *path, default=0)


def _ratio(item: JsonObject) -> str:
    ready = at(item, "status", "readyReplicas", default=0)
    return f"{ready}/{at(item, 'spec', 'replicas', default=0)}"


_DEPLOYMENTS = (
    NAME,
    column("Ready", _ratio),
    column("Up-to-date", _number("status", "updatedReplicas"), "integer"),
    column("Available", _number("status", "availableReplicas"), "integer"),
    AGE,
    *_TEMPLATE,
)
_STATEFUL_SETS = (NAME, column("Ready", _ratio), AGE, *_TEMPLATE[:2])
_DAEMON_SETS = (
    NAME,
    column("Desired", _number("status", "desiredNumberScheduled"), "integer"),
    column("Current", _number("status", "currentNumberScheduled"), "integer"),
    column("Ready", _number("status", "numberReady"), "integer"),
    column("Up-to-date", _number("status", "updatedNumberScheduled"), "integer"),
    column("Available", _number("status", "numberAvailable"), "integer"),
    column(
        "Node Selector",
        lambda item: _labels(at(item, "spec", "template", "spec", "nodeSelector", default={})),
    ),
    AGE,
    *_TEMPLATE,
)
_REPLICA_SETS = (
    NAME,
    column("Desired", _number("spec", "replicas"), "integer"),
    column("Current", _number("status", "replicas"), "integer"),
    column("Ready", _number("status", "readyReplicas"), "integer"),
    AGE,
    *_TEMPLATE,
)


def _job_status(item: JsonObject) -> str:
    for condition in at(item, "status", "conditions", default=[]):
        if condition.get("status") == "True" and condition.get("type") in {
            "Complete",
            "Failed",
            "Suspended",
            "FailureTarget",
            "SuccessCriteriaMet",
        }:
            return str(condition["type"])
    return "Terminating" if at(item, "metadata", "deletionTimestamp") else "Running"


def _completions(item: JsonObject) -> str:
    succeeded = at(item, "status", "succeeded", default=0)
    return f"{succeeded}/{at(item, 'spec', 'completions', default=1)}"


_JOBS = (
    NAME,
    column("Status", _job_status),
    column(
        "Completions",
        _completions,
    ),
    column(
        "Duration",
        lambda item: Span(at(item, "status", "startTime"), at(item, "status", "completionTime")),
    ),
    AGE,
    *_TEMPLATE,
)
_CRON_JOBS = (
    NAME,
    column("Schedule", lambda item: at(item, "spec", "schedule")),
    column("Timezone", lambda item: at(item, "spec", "timeZone", default="<none>")),
    column("Suspend", lambda item: str(at(item, "spec", "suspend", default=False))),
    column("Active", lambda item: len(at(item, "status", "active", default=[])), "integer"),
    column(
        "Last Schedule",
        lambda item: (
            Age(at(item, "status", "lastScheduleTime"))
            if at(item, "status", "lastScheduleTime")
            else "<none>"
        ),
    ),
    AGE,
)


# ---------------------------------------------------------------- events


def _event_object(item: JsonObject) -> str:
    about = at(item, "involvedObject", default={})
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


_EVENTS = (
    column(
        "Last Seen",
        lambda item: Age(
            at(item, "lastTimestamp")
            or at(item, "series", "lastObservedTime")
            or at(item, "eventTime")
            or at(item, "metadata", "creationTimestamp")
        ),
    ),
    column("Type", lambda item: at(item, "type", default="")),
    column("Reason", lambda item: at(item, "reason", default="")),
    column("Object", _event_object),
    column(
        "Subobject", lambda item: at(item, "involvedObject", "fieldPath", default=""), wide=True
    ),
    column(
        "Source",
        lambda item: at(item, "source", "component") or at(item, "reportingComponent", default=""),
        wide=True,
    ),
    column("Message", lambda item: str(at(item, "message", default="")).strip()),
    column(
        "First Seen",
        lambda item: Age(at(item, "firstTimestamp") or at(item, "eventTime")),
        wide=True,
    ),
    column("Count", lambda item: at(item, "count", default=1), wide=True),
    column("Name", NAME.value, wide=True),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "Pod": _PODS,
    "Node": _NODES,
    "Service": _SERVICES,
    "PersistentVolumeClaim": _CLAIMS,
    "Deployment": _DEPLOYMENTS,
    "StatefulSet": _STATEFUL_SETS,
    "DaemonSet": _DAEMON_SETS,
    "ReplicaSet": _REPLICA_SETS,
    "Job": _JOBS,
    "CronJob": _CRON_JOBS,
    "Event": _EVENTS,
    "Namespace": (
        NAME,
        column("Status", lambda item: at(item, "status", "phase", default="")),
        AGE,
    ),
    "ConfigMap": (
        NAME,
        column(
            "Data",
            lambda item: len(item.get("data") or {}) + len(item.get("binaryData") or {}),
            "integer",
        ),
        AGE,
    ),
    "Secret": (
        NAME,
        column("Type", lambda item: item.get("type")),
        column("Data", lambda item: len(item.get("data") or {}), "integer"),
        AGE,
    ),
    "ServiceAccount": (
        NAME,
        column("Secrets", lambda item: len(item.get("secrets") or []), "integer"),
        AGE,
    ),
    "Lease": (
        NAME,
        column("Holder", lambda item: at(item, "spec", "holderIdentity", default="")),
        AGE,
    ),
    "CustomResourceDefinition": (
        NAME,
        Column("Created At", lambda item: at(item, "metadata", "creationTimestamp"), "date"),
    ),
}
PLAIN = (NAME, AGE)
