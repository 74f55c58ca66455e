"""The table columns of roles, policies and classes, as on the real API server.

Source: pkg/printers/internalversion of Kubernetes, used as a specification.
"""

from scheduler.apiserver.kinds.resources import TableColumn
from scheduler.apiserver.kinds.table_cells import AGE_COLUMN, NAME_COLUMN, make_column
from scheduler.apiserver.kinds.unstructured import maps_in, value_at
from scheduler.hub.schema.json_types import Json, JsonObject


def _hosts_of(item: JsonObject) -> str:
    hosts = [str(rule.get("host") or "*") for rule in maps_in(value_at(item, "spec", "rules"))]
    return ",".join(hosts) or "*"


def _addresses_of(item: JsonObject) -> str:
    points = maps_in(value_at(item, "status", "loadBalancer", "ingress"))
    return ",".join(str(one.get("ip") or one.get("hostname") or "") for one in points)


def _pod_selector_of(item: JsonObject) -> str:
    labels = value_at(item, "spec", "podSelector", "matchLabels", default={})
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>"


def _target_of(item: JsonObject) -> str:
    kind, name = (value_at(item, "spec", "scaleTargetRef", key) for key in ("kind", "name"))
    return f"{kind}/{name}"


def _role_of(item: JsonObject) -> str:
    return "/".join(str(value_at(item, "roleRef", key)) for key in ("kind", "name"))


def _metric_of(metric: JsonObject, side: str) -> Json:
    found = value_at(metric, "resource", side, default={})
    percent = found.get("averageUtilization")
    value = found.get("averageValue")
    return f"{percent}%" if percent is not None else value


def _metrics_of(item: JsonObject) -> str:
    current = maps_in(value_at(item, "status", "currentMetrics"))
    shown = []
    for index, metric in enumerate(maps_in(value_at(item, "spec", "metrics"))):
        found = _metric_of(current[index], "current") if index < len(current) else None
        name = value_at(metric, "resource", "name", default=metric.get("type"))
        shown.append(f"{name}: {found or '<unknown>'}/{_metric_of(metric, 'target')}")
    return ", ".join(shown) or "<none>"


def _spec_column(title: str, field: str, default: Json = "<none>") -> TableColumn:
    return make_column(title, lambda item: value_at(item, "spec", field, default=default))


_CREATED_AT = TableColumn(
    "Created At", lambda item: value_at(item, "metadata", "creationTimestamp"), "date"
)
_BINDING_COLUMNS = (NAME_COLUMN, make_column("Role", _role_of), AGE_COLUMN)

POLICY_COLUMNS: dict[str, tuple[TableColumn, ...]] = {
    "Ingress": (
        NAME_COLUMN,
        _spec_column("Class", "ingressClassName"),
        make_column("Hosts", _hosts_of),
        make_column("Address", _addresses_of),
        make_column("Ports", lambda item: "80, 443" if value_at(item, "spec", "tls") else "80"),
        AGE_COLUMN,
    ),
    "IngressClass": (NAME_COLUMN, _spec_column("Controller", "controller"), AGE_COLUMN),
    "NetworkPolicy": (NAME_COLUMN, make_column("Pod-Selector", _pod_selector_of), AGE_COLUMN),
    "PodDisruptionBudget": (
        NAME_COLUMN,
        _spec_column("Min Available", "minAvailable", "N/A"),
        _spec_column("Max Unavailable", "maxUnavailable", "N/A"),
        make_column(
            "Allowed Disruptions",
            lambda item: value_at(item, "status", "disruptionsAllowed", default=0),
            "integer",
        ),
        AGE_COLUMN,
    ),
    "HorizontalPodAutoscaler": (
        NAME_COLUMN,
        make_column("Reference", _target_of),
        make_column("Targets", _metrics_of),
        _spec_column("MinPods", "minReplicas"),
        _spec_column("MaxPods", "maxReplicas"),
        make_column(
            "Replicas", lambda item: value_at(item, "status", "currentReplicas", default=0)
        ),
        AGE_COLUMN,
    ),
    "Role": (NAME_COLUMN, _CREATED_AT),
    "ClusterRole": (NAME_COLUMN, _CREATED_AT),
    "RoleBinding": _BINDING_COLUMNS,
    "ClusterRoleBinding": _BINDING_COLUMNS,
    "LimitRange": (NAME_COLUMN, _CREATED_AT),
    "PriorityClass": (
        NAME_COLUMN,
        make_column("Value", lambda item: item.get("value", 0), "integer"),
        make_column("Global-Default", lambda item: bool(item.get("globalDefault")), "boolean"),
        AGE_COLUMN,
        make_column("PreemptionPolicy", lambda item: item.get("preemptionPolicy")),
    ),
    "StorageClass": (
        NAME_COLUMN,
        make_column("Provisioner", lambda item: item.get("provisioner")),
        make_column("ReclaimPolicy", lambda item: item.get("reclaimPolicy")),
        make_column("VolumeBindingMode", lambda item: item.get("volumeBindingMode")),
        make_column("AllowVolumeExpansion", lambda item: bool(item.get("allowVolumeExpansion"))),
        AGE_COLUMN,
    ),
}
