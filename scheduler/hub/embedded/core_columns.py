"""The columns of the core kinds, as the real API server prints them.

Source: pkg/printers/internalversion of Kubernetes, read as a specification. Cells that show an age
are `Age` values; the table turns them into text at the time of the request.
"""

from collections.abc import Callable
from dataclasses import dataclass

from scheduler.hub.embedded.resources import Column
from scheduler.hub.jsontypes import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Age:
    """A cell that grows: printed as the time since an instant."""

    since: str | None


def at(item: JsonObject, *path: str, default: Json = None) -> Json:
    """The value at a path of keys."""
    found: Json = item
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return default if found is None else found


def _column(
    name: str,
    value: Callable[[JsonObject], Json],
    kind: str = "string",
    *,
    wide: bool = False,
) -> Column:
    return Column(name, value, kind, priority=1 if wide else 0)


NAME = Column("Name", lambda item: at(item, "metadata", "name"), format="name")
AGE = _column("Age", lambda item: Age(at(item, "metadata", "creationTimestamp")))


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
    _column(
        "Containers",
        lambda item: ",".join(str(c.get("name")) for c in _containers(item)),
        wide=True,
    ),
    _column(
        "Images",
        lambda item: ",".join(str(c.get("image")) for c in _containers(item)),
        wide=True,
    ),
    _column("Selector", _selector, wide=True),
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
    _column("Ready", _ready_containers),
    _column("Status", _pod_status),
    _column("Restarts", _restarts),
    AGE,
    _column("IP", lambda item: at(item, "status", "podIP", default="<none>"), wide=True),
    _column("Node", lambda item: at(item, "spec", "nodeName", default="<none>"), wide=True),
    _column(
        "Nominated Node",
        lambda item: at(item, "status", "nominatedNodeName", default="<none>"),
        wide=True,
    ),
    _column("Readiness Gates", lambda _item: "<none>", wide=True),
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
    _column("Status", _node_status),
    _column("Roles", _node_roles),
    AGE,
    _column("Version", lambda item: at(item, "status", "nodeInfo", "kubeletVersion", default="")),
    _column("Internal-IP", _address("InternalIP"), wide=True),
    _column("External-IP", _address("ExternalIP"), wide=True),
    _column("OS-Image", _node_info("osImage"), wide=True),
    _column("Kernel-Version", _node_info("kernelVersion"), wide=True),
    _column("Container-Runtime", _node_info("containerRuntimeVersion"), wide=True),
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
    _column("Type", lambda item: at(item, "spec", "type")),
    _column("Cluster-IP", lambda item: at(item, "spec", "clusterIP", default="<none>")),
    _column("External-IP", _external_ip),
    _column("Port(s)", _ports),
    AGE,
    _column("Selector", _selector, wide=True),
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
    _column("Status", lambda item: at(item, "status", "phase", default="")),
    _column("Volume", lambda item: at(item, "spec", "volumeName", default="")),
    _column("Capacity", lambda item: at(item, "status", "capacity", "storage", default="")),
    _column("Access Modes", _access_modes),
    _column("StorageClass", lambda item: at(item, "spec", "storageClassName", default="")),
    _column(
        "VolumeAttributesClass",
        lambda item: at(item, "spec", "volumeAttributesClassName", default="<unset>"),
    ),
    AGE,
    _column("VolumeMode", lambda item: at(item, "spec", "volumeMode", default=""), wide=True),
)


# ---------------------------------------------------------------- apps and batch


def _number(*path: str) -> Callable[[JsonObject], Json]:
    return lambda item: at(item, *path, default=0)


def _ratio(item: JsonObject) -> str:
    ready = at(item, "status", "readyReplicas", default=0)
    return f"{ready}/{at(item, 'spec', 'replicas', default=0)}"


_DEPLOYMENTS = (
    NAME,
    _column("Ready", _ratio),
    _column("Up-to-date", _number("status", "updatedReplicas"), "integer"),
    _column("Available", _number("status", "availableReplicas"), "integer"),
    AGE,
    *_TEMPLATE,
)
_STATEFUL_SETS = (NAME, _column("Ready", _ratio), AGE, *_TEMPLATE[:2])
_DAEMON_SETS = (
    NAME,
    _column("Desired", _number("status", "desiredNumberScheduled"), "integer"),
    _column("Current", _number("status", "currentNumberScheduled"), "integer"),
    _column("Ready", _number("status", "numberReady"), "integer"),
    _column("Up-to-date", _number("status", "updatedNumberScheduled"), "integer"),
    _column("Available", _number("status", "numberAvailable"), "integer"),
    _column(
        "Node Selector",
        lambda item: _labels(at(item, "spec", "template", "spec", "nodeSelector", default={})),
    ),
    AGE,
    *_TEMPLATE,
)
_REPLICA_SETS = (
    NAME,
    _column("Desired", _number("spec", "replicas"), "integer"),
    _column("Current", _number("status", "replicas"), "integer"),
    _column("Ready", _number("status", "readyReplicas"), "integer"),
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


@dataclass(frozen=True, slots=True)
class Span:
    """A cell that shows the time between two instants; without an end it grows."""

    start: str | None
    end: str | None


_JOBS = (
    NAME,
    _column("Status", _job_status),
    _column(
        "Completions",
        _completions,
    ),
    _column(
        "Duration",
        lambda item: Span(at(item, "status", "startTime"), at(item, "status", "completionTime")),
    ),
    AGE,
    *_TEMPLATE,
)
_CRON_JOBS = (
    NAME,
    _column("Schedule", lambda item: at(item, "spec", "schedule")),
    _column("Timezone", lambda item: at(item, "spec", "timeZone", default="<none>")),
    _column("Suspend", lambda item: str(at(item, "spec", "suspend", default=False))),
    _column("Active", lambda item: len(at(item, "status", "active", default=[])), "integer"),
    _column(
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
    _column(
        "Last Seen",
        lambda item: Age(
            at(item, "lastTimestamp")
            or at(item, "series", "lastObservedTime")
            or at(item, "eventTime")
            or at(item, "metadata", "creationTimestamp")
        ),
    ),
    _column("Type", lambda item: at(item, "type", default="")),
    _column("Reason", lambda item: at(item, "reason", default="")),
    _column("Object", _event_object),
    _column(
        "Subobject", lambda item: at(item, "involvedObject", "fieldPath", default=""), wide=True
    ),
    _column(
        "Source",
        lambda item: at(item, "source", "component") or at(item, "reportingComponent", default=""),
        wide=True,
    ),
    _column("Message", lambda item: str(at(item, "message", default="")).strip()),
    _column(
        "First Seen",
        lambda item: Age(at(item, "firstTimestamp") or at(item, "eventTime")),
        wide=True,
    ),
    _column("Count", lambda item: at(item, "count", default=1), wide=True),
    _column("Name", NAME.value, wide=True),
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
        _column("Status", lambda item: at(item, "status", "phase", default="")),
        AGE,
    ),
    "ConfigMap": (
        NAME,
        _column(
            "Data",
            lambda item: len(item.get("data") or {}) + len(item.get("binaryData") or {}),
            "integer",
        ),
        AGE,
    ),
    "Secret": (
        NAME,
        _column("Type", lambda item: item.get("type")),
        _column("Data", lambda item: len(item.get("data") or {}), "integer"),
        AGE,
    ),
    "ServiceAccount": (
        NAME,
        _column("Secrets", lambda item: len(item.get("secrets") or []), "integer"),
        AGE,
    ),
    "Lease": (
        NAME,
        _column("Holder", lambda item: at(item, "spec", "holderIdentity", default="")),
        AGE,
    ),
    "CustomResourceDefinition": (
        NAME,
        Column("Created At", lambda item: at(item, "metadata", "creationTimestamp"), "date"),
    ),
}
PLAIN = (NAME, AGE)
