"""What the core kinds do beyond their schemas: defaults, what a new object starts with, checks.

Only what clients see and depend on; the controllers and admission plugins of a cluster are not
here. Sources: the API reference of each kind ("Defaults to ...").
"""

import base64
import ipaddress
import secrets
from collections.abc import Callable

from scheduler.hub.embedded.names import dns_label_problems, path_segment_problems
from scheduler.hub.embedded.resources import Behaviour
from scheduler.hub.jsontypes import Json, JsonObject
from scheduler.hub.schema import FieldProblem, invalid_value, required_value

_DATA_LIMIT_BYTES = 1024 * 1024
"""Of a ConfigMap or a Secret."""
_SERVICE_NETWORK = ipaddress.ip_network("10.96.0.0/12")


def _set(target: Json, **defaults: Json) -> None:
    if isinstance(target, dict):
        for key, value in defaults.items():
            if target.get(key) is None:
                target[key] = value


def _maps(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _map(item: JsonObject, key: str) -> JsonObject:
    found = item.get(key)
    return found if isinstance(found, dict) else {}


# ---------------------------------------------------------------- pods


def default_pod_spec(spec: JsonObject) -> None:
    """Fills in the defaults of a pod's spec."""
    _set(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
        securityContext={},
    )
    for container in [*_maps(spec.get("initContainers")), *_maps(spec.get("containers"))]:
        _default_container(container)
    for volume in _maps(spec.get("volumes")):
        _set(volume.get("configMap"), defaultMode=420)
        _set(volume.get("secret"), defaultMode=420)
        _set(volume.get("projected"), defaultMode=420)
        _set(volume.get("downwardAPI"), defaultMode=420)


def _default_container(container: JsonObject) -> None:
    image = str(container.get("image") or "")
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    always = "@" not in image and tag in {"", "latest"}
    _set(
        container,
        imagePullPolicy="Always" if always else "IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    resources = _map(container, "resources")
    for name, quantity in _map(resources, "limits").items():
        resources.setdefault("requests", {}).setdefault(name, quantity)
    for port in _maps(container.get("ports")):
        _set(port, protocol="TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        _default_probe(container.get(probe))


def _default_probe(probe: Json) -> None:
    _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if isinstance(probe, dict):
        _set(probe.get("httpGet"), path="/", scheme="HTTP")


def _default_template(item: JsonObject) -> None:
    template = _map(_map(item, "spec"), "template")
    spec = template.get("spec")
    if isinstance(spec, dict):
        default_pod_spec(spec)


def _default_pod(item: JsonObject) -> None:
    spec = _map(item, "spec")
    default_pod_spec(spec)
    _set(spec, enableServiceLinks=True)


def _new_pod(item: JsonObject) -> None:
    item["status"] = {"phase": "Pending", "qosClass": _qos(_map(item, "spec"))}


def _qos(spec: JsonObject) -> str:
    """The quality-of-service class (documentation: "Pod Quality of Service Classes")."""
    containers = [*_maps(spec.get("initContainers")), *_maps(spec.get("containers"))]
    stated = [_map(container, "resources") for container in containers]
    if not any(_map(one, "requests") or _map(one, "limits") for one in stated):
        return "BestEffort"
    names = {"cpu", "memory"}
    guaranteed = all(
        names <= set(_map(one, "limits")) and _map(one, "limits") == _map(one, "requests")
        for one in stated
    )
    return "Guaranteed" if guaranteed else "Burstable"


_MUTABLE_POD_FIELDS = frozenset(
    {
        "activeDeadlineSeconds",
        "nodeName",  # through `binding`; a pod without a node may get one
        "schedulingGates",
        "terminationGracePeriodSeconds",
        "tolerations",
    }
)


def _pod_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = _map(item, "spec")
    problems = _pod_spec_problems(spec, "spec")
    if old is not None and _frozen_pod_spec(spec) != _frozen_pod_spec(_map(old, "spec")):
        why = (
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)"
        )
        problems.append(FieldProblem("FieldValueForbidden", "spec", why))
    return problems


def _frozen_pod_spec(spec: JsonObject) -> JsonObject:
    frozen = {key: value for key, value in spec.items() if key not in _MUTABLE_POD_FIELDS}
    for key in ("containers", "initContainers"):
        if key in spec:
            frozen[key] = [{**one, "image": ""} for one in _maps(spec[key])]
    return frozen


def _pod_spec_problems(spec: JsonObject, path: str) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    containers = _maps(spec.get("containers"))
    if not containers:
        problems.append(required_value(f"{path}.containers"))
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        if not container.get("image"):
            problems.append(required_value(f"{where}.image"))
        name = str(container.get("name") or "")
        if name:
            problems += [
                invalid_value(f"{where}.name", name, why) for why in dns_label_problems(name)
            ]
    return problems


# ---------------------------------------------------------------- apps


def _default_deployment(item: JsonObject) -> None:
    spec = _map(item, "spec")
    _set(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
        strategy={},
    )
    strategy = _map(spec, "strategy")
    _set(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _set(strategy, rollingUpdate={})
        _set(strategy["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _default_template(item)


def _default_stateful_set(item: JsonObject) -> None:
    spec = _map(item, "spec")
    _set(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        podManagementPolicy="OrderedReady",
        updateStrategy={},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    strategy = _map(spec, "updateStrategy")
    _set(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _set(strategy, rollingUpdate={})
        _set(strategy["rollingUpdate"], partition=0)
    for claim in _maps(spec.get("volumeClaimTemplates")):
        _set(claim.get("spec"), volumeMode="Filesystem")
    _default_template(item)


def _default_daemon_set(item: JsonObject) -> None:
    spec = _map(item, "spec")
    _set(spec, revisionHistoryLimit=10, updateStrategy={})
    strategy = _map(spec, "updateStrategy")
    _set(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _set(strategy, rollingUpdate={})
        _set(strategy["rollingUpdate"], maxSurge=0, maxUnavailable=1)
    _default_template(item)


def _default_replica_set(item: JsonObject) -> None:
    _set(_map(item, "spec"), replicas=1)
    _default_template(item)


def _empty_status(item: JsonObject) -> None:
    item["status"] = {}


def _new_replicas(item: JsonObject) -> None:
    item["status"] = {"replicas": 0}


def _new_daemons(item: JsonObject) -> None:
    item["status"] = dict.fromkeys(
        ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"), 0
    )


def _workload_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    """Selector and template must agree, and the selector must stay as it is."""
    spec = _map(item, "spec")
    problems: list[FieldProblem] = []
    selector = _map(spec, "selector")
    template = _map(spec, "template")
    wanted = _map(selector, "matchLabels")
    labels = _map(_map(template, "metadata"), "labels")
    if not selector:
        problems.append(required_value("spec.selector"))
    elif not wanted and not selector.get("matchExpressions"):
        problems.append(
            invalid_value("spec.selector", selector, "empty selector is invalid for deployment")
        )
    elif any(labels.get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        problems.append(invalid_value("spec.template.metadata.labels", labels, why))
    if old is not None and selector != _map(_map(old, "spec"), "selector"):
        problems.append(invalid_value("spec.selector", selector, "field is immutable"))
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        why = "must be greater than or equal to 0"
        problems.append(invalid_value("spec.replicas", replicas, why))
    return problems + _pod_spec_problems(_map(template, "spec"), "spec.template.spec")


# ---------------------------------------------------------------- batch


def _default_job_spec(spec: JsonObject) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        _set(spec, completions=1)
    _set(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    default_pod_spec(_map(_map(spec, "template"), "spec"))


def _default_job(item: JsonObject) -> None:
    _default_job_spec(_map(item, "spec"))


def _new_job(item: JsonObject) -> None:
    """Gives a job the selector and the labels by which its pods are found."""
    item["status"] = {}
    spec = _map(item, "spec")
    if spec.get("manualSelector"):
        return
    uid, name = item["metadata"]["uid"], item["metadata"].get("name", "")
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    template = spec.setdefault("template", {})
    if template.get("metadata") is None:
        template["metadata"] = {}
    labels = template["metadata"].setdefault("labels", {})
    labels |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }


def _job_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = _map(item, "spec")
    pod = _map(_map(spec, "template"), "spec")
    problems = _pod_spec_problems(pod, "spec.template.spec")
    if pod.get("restartPolicy") == "Always":
        problems.append(
            FieldProblem(
                "FieldValueNotSupported",
                "spec.template.spec.restartPolicy",
                'Unsupported value: "Always": supported values: "OnFailure", "Never"',
            )
        )
    before = _map(old, "spec") if old else {}
    for key in ("completions", "selector", "template", "completionMode"):
        if old is not None and spec.get(key) != before.get(key):
            problems.append(invalid_value(f"spec.{key}", spec.get(key), "field is immutable"))
    return problems


def _default_cron_job(item: JsonObject) -> None:
    spec = _map(item, "spec")
    _set(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    template = _map(_map(_map(spec, "jobTemplate"), "spec"), "template")
    default_pod_spec(_map(template, "spec"))


# ---------------------------------------------------------------- the rest of core


def _new_namespace(item: JsonObject) -> None:
    item["spec"] = {"finalizers": ["kubernetes"]}
    item["status"] = {"phase": "Active"}


def _default_namespace(item: JsonObject) -> None:
    metadata = item["metadata"]
    if metadata.get("name"):
        labels = metadata.setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = metadata["name"]
    _set(item, spec={}, status={})


def _keep_namespace_spec(item: JsonObject, old: JsonObject) -> None:
    item["spec"] = old.get("spec", {})


def _default_service(item: JsonObject) -> None:
    spec = _map(item, "spec")
    _set(spec, type="ClusterIP", sessionAffinity="None")
    for port in _maps(spec.get("ports")):
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] != "ExternalName":
        _set(
            spec,
            internalTrafficPolicy="Cluster",
            ipFamilyPolicy="SingleStack",
            ipFamilies=["IPv4"],
        )


def _new_service(item: JsonObject) -> None:
    item["status"] = {"loadBalancer": {}}
    spec = _map(item, "spec")
    if spec.get("type") != "ExternalName" and not spec.get("clusterIP"):
        spec["clusterIP"] = str(
            _SERVICE_NETWORK[1 + secrets.randbelow(_SERVICE_NETWORK.num_addresses - 2)]
        )
    if spec.get("clusterIP"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def _keep_service_address(item: JsonObject, old: JsonObject) -> None:
    spec, before = _map(item, "spec"), _map(old, "spec")
    for key in ("clusterIP", "clusterIPs"):
        if not spec.get(key) and before.get(key):
            spec[key] = before[key]


def _service_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    spec = _map(item, "spec")
    problems: list[FieldProblem] = []
    headless = spec.get("clusterIP") == "None" or spec.get("type") == "ExternalName"
    if not spec.get("ports") and not headless:
        problems.append(required_value("spec.ports"))
    for index, port in enumerate(_maps(spec.get("ports"))):
        number = port.get("port")
        if not isinstance(number, int) or not 0 < number < 65536:  # noqa: PLR2004 - the port range
            why = "must be between 1 and 65535, inclusive"
            problems.append(invalid_value(f"spec.ports[{index}].port", number, why))
    if old is not None:
        before = _map(old, "spec").get("clusterIP")
        if before and spec.get("clusterIP") != before and spec.get("type") != "ExternalName":
            why = "may not change once set"
            problems.append(invalid_value("spec.clusterIP", spec.get("clusterIP"), why))
    return problems


def _default_secret(item: JsonObject) -> None:
    _set(item, type="Opaque")
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
        for key, value in _map(item, field).items()
    )
    if size > _DATA_LIMIT_BYTES:
        why = f"Too long: may not be more than {_DATA_LIMIT_BYTES} bytes"
        problems.append(FieldProblem("FieldValueTooLong", "[]", why))
    if old is not None and old.get("immutable"):
        for key in ("data", "binaryData", "immutable"):
            if item.get(key) != old.get(key):
                why = "Forbidden: field is immutable when `immutable` is set"
                problems.append(FieldProblem("FieldValueForbidden", key, why))
    if old is not None and item.get("type") != old.get("type"):
        problems.append(invalid_value("type", item.get("type"), "field is immutable"))
    return problems


def _default_claim(item: JsonObject) -> None:
    _set(_map(item, "spec"), volumeMode="Filesystem")


def _new_claim(item: JsonObject) -> None:
    item["status"] = {"phase": "Pending"}


def _new_node(item: JsonObject) -> None:
    _set(item, spec={}, status={})


def _lease_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    spec = _map(item, "spec")
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
    """An event lives in the namespace of its object; of cluster-scoped ones in `default`."""
    namespace = item["metadata"].get("namespace", "")
    about = _map(item, "involvedObject").get("namespace") or ""
    if about == namespace or (not about and namespace in {"default", "kube-system"}):
        return []
    why = "does not match event.namespace"
    return [invalid_value("involvedObject.namespace", about, why)]


def _default_event(item: JsonObject) -> None:
    _set(item, source={}, involvedObject={})


def _plain(
    problems: Callable[[JsonObject, JsonObject | None], list[FieldProblem]] | None = None,
    *,
    defaults: Callable[[JsonObject], None] | None = None,
) -> Behaviour:
    """A kind without a spec."""
    nothing = Behaviour()
    return Behaviour(
        problems=problems or nothing.problems,
        defaults=defaults or nothing.defaults,
        has_generation=False,
    )


BEHAVIOURS: dict[str, Behaviour] = {
    "Namespace": Behaviour(
        on_create=_new_namespace,
        on_update=_keep_namespace_spec,
        defaults=_default_namespace,
        name_problems=dns_label_problems,
        has_generation=False,
    ),
    "Node": Behaviour(on_create=_new_node, has_generation=False, status_on_create=True),
    "Pod": Behaviour(
        on_create=_new_pod, defaults=_default_pod, problems=_pod_problems, returns_deleted=True
    ),
    "Service": Behaviour(
        on_create=_new_service,
        on_update=_keep_service_address,
        defaults=_default_service,
        problems=_service_problems,
        name_problems=dns_label_problems,
        has_generation=False,
        returns_deleted=True,
    ),
    "ConfigMap": _plain(_data_problems),
    "Secret": _plain(_data_problems, defaults=_default_secret),
    "ServiceAccount": _plain(),
    "PersistentVolumeClaim": Behaviour(
        on_create=_new_claim,
        defaults=_default_claim,
        has_generation=False,
        returns_deleted=True,
    ),
    "Event": _plain(_event_problems, defaults=_default_event),
    "Deployment": Behaviour(
        on_create=_empty_status, defaults=_default_deployment, problems=_workload_problems
    ),
    "StatefulSet": Behaviour(
        on_create=_new_replicas, defaults=_default_stateful_set, problems=_workload_problems
    ),
    "DaemonSet": Behaviour(
        on_create=_new_daemons, defaults=_default_daemon_set, problems=_workload_problems
    ),
    "ReplicaSet": Behaviour(
        on_create=_new_replicas, defaults=_default_replica_set, problems=_workload_problems
    ),
    "Job": Behaviour(on_create=_new_job, defaults=_default_job, problems=_job_problems),
    "CronJob": Behaviour(on_create=_empty_status, defaults=_default_cron_job),
    "Lease": Behaviour(
        has_generation=False, name_problems=path_segment_problems, problems=_lease_problems
    ),
}
