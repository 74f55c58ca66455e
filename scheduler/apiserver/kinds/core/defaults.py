"""The strategies of the core kinds: defaults, initial status and checks.

They cover what clients see and depend on; controllers and admission plugins of a cluster are not
implemented. Source: the API reference of each kind ("Defaults to ...").
"""

import base64
import ipaddress
import secrets
from collections.abc import Callable

from scheduler.apiserver.kinds.core.apps import APPS_STRATEGIES
from scheduler.apiserver.kinds.core.pods import POD_STRATEGY
from scheduler.apiserver.kinds.names import dns_label_problems, path_segment_problems
from scheduler.apiserver.kinds.resources import KindStrategy
from scheduler.apiserver.kinds.unstructured import map_at, maps_in, set_missing
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value

_MAX_DATA_BYTES = 1024 * 1024
"""The size limit of the data of a ConfigMap or a Secret."""
_SERVICE_NETWORK = ipaddress.ip_network("10.96.0.0/12")


def _init_namespace(item: JsonObject) -> None:
    item["spec"] = {"finalizers": ["kubernetes"]}
    item["status"] = {"phase": "Active"}


def _set_namespace_defaults(item: JsonObject) -> None:
    metadata = item["metadata"]
    if metadata.get("name"):
        labels = metadata.setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = metadata["name"]
    set_missing(item, spec={}, status={})


def _keep_namespace_spec(item: JsonObject, old: JsonObject) -> None:
    item["spec"] = old.get("spec", {})


def _set_service_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_missing(spec, type="ClusterIP", sessionAffinity="None")
    for port in maps_in(spec.get("ports")):
        set_missing(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] != "ExternalName":
        set_missing(
            spec,
            internalTrafficPolicy="Cluster",
            ipFamilyPolicy="SingleStack",
            ipFamilies=["IPv4"],
        )


def _init_service(item: JsonObject) -> None:
    item["status"] = {"loadBalancer": {}}
    spec = map_at(item, "spec")
    if spec.get("type") != "ExternalName" and not spec.get("clusterIP"):
        spec["clusterIP"] = str(
            _SERVICE_NETWORK[1 + secrets.randbelow(_SERVICE_NETWORK.num_addresses - 2)]
        )
    if spec.get("clusterIP"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def _keep_cluster_ip(item: JsonObject, old: JsonObject) -> None:
    spec, before = map_at(item, "spec"), map_at(old, "spec")
    for key in ("clusterIP", "clusterIPs"):
        if not spec.get(key) and before.get(key):
            spec[key] = before[key]


def _service_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    problems: list[FieldProblem] = []
    headless = spec.get("clusterIP") == "None" or spec.get("type") == "ExternalName"
    if not spec.get("ports") and not headless:
        problems.append(required_value("spec.ports"))
    for index, port in enumerate(maps_in(spec.get("ports"))):
        number = port.get("port")
        if not isinstance(number, int) or not 0 < number < 65536:  # noqa: PLR2004 - the port range
            why = "must be between 1 and 65535, inclusive"
            problems.append(invalid_value(f"spec.ports[{index}].port", number, why))
    if old is not None:
        before = map_at(old, "spec").get("clusterIP")
        if before and spec.get("clusterIP") != before and spec.get("type") != "ExternalName":
            why = "may not change once set"
            problems.append(invalid_value("spec.clusterIP", spec.get("clusterIP"), why))
    return problems


def _set_secret_defaults(item: JsonObject) -> None:
    set_missing(item, type="Opaque")
    plain = item.pop("stringData", None)
    if isinstance(plain, dict):
        data = item.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()


def _data_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    size = sum(
        len(key) + len(str(value))
        for field in ("data", "binaryData")
        for key, value in map_at(item, field).items()
    )
    if size > _MAX_DATA_BYTES:
        why = f"Too long: may not be more than {_MAX_DATA_BYTES} bytes"
        problems.append(FieldProblem("FieldValueTooLong", "[]", why))
    if old is not None and old.get("immutable"):
        for key in ("data", "binaryData", "immutable"):
            if item.get(key) != old.get(key):
                why = "Forbidden: field is immutable when `immutable` is set"
                problems.append(FieldProblem("FieldValueForbidden", key, why))
    if old is not None and item.get("type") != old.get("type"):
        problems.append(invalid_value("type", item.get("type"), "field is immutable"))
    return problems


def _set_claim_defaults(item: JsonObject) -> None:
    set_missing(map_at(item, "spec"), volumeMode="Filesystem")


def _init_claim(item: JsonObject) -> None:
    item["status"] = {"phase": "Pending"}


def _init_node(item: JsonObject) -> None:
    set_missing(item, spec={}, status={})


def _lease_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    problems: list[FieldProblem] = []
    if isinstance(seconds, int) and seconds <= 0:
        why = "must be greater than 0"
        problems.append(invalid_value("spec.leaseDurationSeconds", seconds, why))
    if isinstance(transitions, int) and transitions < 0:
        why = "must be greater than or equal to 0"
        problems.append(invalid_value("spec.leaseTransitions", transitions, why))
    return problems


def _event_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    """An event must be in the namespace of its object, or in `default` for cluster-scoped ones."""
    namespace = item["metadata"].get("namespace", "")
    about = map_at(item, "involvedObject").get("namespace") or ""
    if about == namespace or (not about and namespace in {"default", "kube-system"}):
        return []
    why = "does not match event.namespace"
    return [invalid_value("involvedObject.namespace", about, why)]


def _set_event_defaults(item: JsonObject) -> None:
    set_missing(item, source={}, involvedObject={})


def _specless_strategy(
    problems: Callable[[JsonObject, JsonObject | None], list[FieldProblem]] | None = None,
    *,
    set_defaults: Callable[[JsonObject], None] | None = None,
) -> KindStrategy:
    """The strategy of a kind without a spec, which has no generation."""
    nothing = KindStrategy()
    return KindStrategy(
        problems=problems or nothing.problems,
        set_defaults=set_defaults or nothing.set_defaults,
        has_generation=False,
    )


CORE_STRATEGIES: dict[str, KindStrategy] = {
    "Namespace": KindStrategy(
        prepare_for_create=_init_namespace,
        prepare_for_update=_keep_namespace_spec,
        set_defaults=_set_namespace_defaults,
        name_problems=dns_label_problems,
        has_generation=False,
    ),
    "Node": KindStrategy(
        prepare_for_create=_init_node, has_generation=False, status_on_create=True
    ),
    "Pod": POD_STRATEGY,
    "Service": KindStrategy(
        prepare_for_create=_init_service,
        prepare_for_update=_keep_cluster_ip,
        set_defaults=_set_service_defaults,
        problems=_service_problems,
        name_problems=dns_label_problems,
        has_generation=False,
        returns_deleted=True,
    ),
    "ConfigMap": _specless_strategy(_data_problems),
    "Secret": _specless_strategy(_data_problems, set_defaults=_set_secret_defaults),
    "ServiceAccount": _specless_strategy(),
    "ControllerRevision": _specless_strategy(),
    "PersistentVolumeClaim": KindStrategy(
        prepare_for_create=_init_claim,
        set_defaults=_set_claim_defaults,
        has_generation=False,
        returns_deleted=True,
    ),
    "Event": _specless_strategy(_event_problems, set_defaults=_set_event_defaults),
    **APPS_STRATEGIES,
    "Lease": KindStrategy(
        has_generation=False, name_problems=path_segment_problems, problems=_lease_problems
    ),
}
