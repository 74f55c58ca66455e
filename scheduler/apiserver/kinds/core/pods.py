"""Pods: defaults, quality-of-service class, and which fields of an existing pod may change.

Source: the API reference of Pod.
"""

from scheduler.apiserver.kinds.names import dns_label_problems
from scheduler.apiserver.kinds.resources import KindStrategy
from scheduler.apiserver.kinds.unstructured import map_at, maps_in, set_missing
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value


def set_pod_spec_defaults(spec: JsonObject) -> None:
    """Sets the defaults of a pod's spec."""
    set_missing(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
        securityContext={},
    )
    for container in [*maps_in(spec.get("initContainers")), *maps_in(spec.get("containers"))]:
        _set_container_defaults(container)
    for volume in maps_in(spec.get("volumes")):
        set_missing(volume.get("configMap"), defaultMode=420)
        set_missing(volume.get("secret"), defaultMode=420)
        set_missing(volume.get("projected"), defaultMode=420)
        set_missing(volume.get("downwardAPI"), defaultMode=420)


def _set_container_defaults(container: JsonObject) -> None:
    image = str(container.get("image") or "")
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    always = "@" not in image and tag in {"", "latest"}
    set_missing(
        container,
        imagePullPolicy="Always" if always else "IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    resources = map_at(container, "resources")
    for name, quantity in map_at(resources, "limits").items():
        resources.setdefault("requests", {}).setdefault(name, quantity)
    for port in maps_in(container.get("ports")):
        set_missing(port, protocol="TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        _set_probe_defaults(container.get(probe))


def _set_probe_defaults(probe: Json) -> None:
    set_missing(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if isinstance(probe, dict):
        set_missing(probe.get("httpGet"), path="/", scheme="HTTP")


def _set_pod_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_pod_spec_defaults(spec)
    set_missing(spec, enableServiceLinks=True)


def _init_pod(item: JsonObject) -> None:
    item["status"] = {"phase": "Pending", "qosClass": _qos_class_of(map_at(item, "spec"))}


def _qos_class_of(spec: JsonObject) -> str:
    """The quality-of-service class (documentation: "Pod Quality of Service Classes")."""
    containers = [*maps_in(spec.get("initContainers")), *maps_in(spec.get("containers"))]
    stated = [map_at(container, "resources") for container in containers]
    if not any(map_at(one, "requests") or map_at(one, "limits") for one in stated):
        return "BestEffort"
    names = {"cpu", "memory"}
    guaranteed = all(
        names <= set(map_at(one, "limits")) and map_at(one, "limits") == map_at(one, "requests")
        for one in stated
    )
    return "Guaranteed" if guaranteed else "Burstable"


_MUTABLE_POD_FIELDS = frozenset(
    {
        "activeDeadlineSeconds",
        "nodeName",  # set through `binding`
        "schedulingGates",
        "terminationGracePeriodSeconds",
        "tolerations",
    }
)


def _pod_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    problems = pod_spec_problems(spec, "spec")
    if old is not None and _immutable_pod_spec_of(spec) != _immutable_pod_spec_of(
        map_at(old, "spec")
    ):
        why = (
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)"
        )
        problems.append(FieldProblem("FieldValueForbidden", "spec", why))
    return problems


def _immutable_pod_spec_of(spec: JsonObject) -> JsonObject:
    frozen = {key: value for key, value in spec.items() if key not in _MUTABLE_POD_FIELDS}
    for key in ("containers", "initContainers"):
        if key in spec:
            frozen[key] = [{**one, "image": ""} for one in maps_in(spec[key])]
    return frozen


def pod_spec_problems(spec: JsonObject, path: str) -> list[FieldProblem]:
    """The problems of the containers of a pod's spec."""
    problems: list[FieldProblem] = []
    containers = maps_in(spec.get("containers"))
    if not containers:
        problems.append(required_value(f"{path}.containers"))
    named = [
        (f"{path}.initContainers[{n}]", c)
        for n, c in enumerate(maps_in(spec.get("initContainers")))
    ]
    named += [(f"{path}.containers[{n}]", c) for n, c in enumerate(containers)]
    for where, container in named:
        if not container.get("image"):
            problems.append(required_value(f"{where}.image"))
        name = str(container.get("name") or "")
        if name:
            problems += [
                invalid_value(f"{where}.name", name, why) for why in dns_label_problems(name)
            ]
    return problems


POD_STRATEGY = KindStrategy(
    prepare_for_create=_init_pod,
    set_defaults=_set_pod_defaults,
    problems=_pod_problems,
    returns_deleted=True,
)
