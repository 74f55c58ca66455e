"""The readiness of a member's object: pods it asks for, pods ready, whether it has ended. Pure.

It reads the fields that `kubectl rollout status` and `kubectl wait` read. An object whose
`observedGeneration` is older than its generation is not ready.

Not every cluster has a controller that gives addresses to load balancers and Ingresses, and what
runs without one must not count as failed. So an object that waits for its address is not ready only
if a controller has taken it up: it holds a finalizer for its clean-up (KEP-980), or has written its
status. Otherwise it is ready, and the message says that it has no address.

A manifest can state when it is ready (`agents/member/ready_when.py`), in addition.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from agents.member.addresses import Address, addresses_of
from agents.member.ready_when import find_unready
from agents.member.trees import integer_at, map_at, message_at, objects_at, text_at
from agents.protocol.orders import api_group_of
from agents.protocol.status import JobOutcome

Tree = Mapping[str, Any]

_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
_BETA_PROVISIONER: Final = "volume.beta.kubernetes.io/storage-provisioner"
_BALANCER_FINALIZERS: Final = ("service.kubernetes.io/load-balancer-cleanup",)


@dataclass(frozen=True, slots=True)
class Readiness:
    """The readiness of one object.

    Attributes:
        is_ready: whether it is ready; kinds without a readiness are ready once they exist.
        desired: number of pods that it asks for; None if its kind has no pods.
        ready: number of ready pods.
        succeeded: number of pods that succeeded.
        finished: outcome, once it has ended; such an object is never created again.
        message: message of a condition that shows a failure.
        addresses: where it is reachable from outside the cluster.
    """

    is_ready: bool
    desired: int | None = None
    ready: int | None = None
    succeeded: int | None = None
    finished: JobOutcome | None = None
    message: str | None = None
    addresses: tuple[Address, ...] = ()


def readiness_of(tree: Tree) -> Readiness:
    """The readiness of one object."""
    rule = _READINESS_BY_KIND.get(_group_kind_of(tree))
    found = rule(tree) if rule else Readiness(is_ready=True)
    unready = find_unready(tree)
    if not unready or found.finished:
        return found
    name = f"{tree.get('kind')} {text_at(map_at(tree, 'metadata'), 'name')}"
    return replace(found, is_ready=False, message=found.message or f"{name}: {unready}")


def runs_to_completion(tree: Tree) -> bool:
    """Whether the object runs once: a Job, or a bare pod that is not always restarted."""
    kind = _group_kind_of(tree)
    if kind == ("batch", "Job"):
        return True
    policy = map_at(tree, "spec").get("restartPolicy", "Always")
    return kind == ("", "Pod") and policy != "Always"


def _replicated_readiness(tree: Tree) -> Readiness:
    """Readiness of a Deployment, StatefulSet, ReplicaSet or ReplicationController."""
    spec, status = map_at(tree, "spec"), map_at(tree, "status")
    desired = integer_at(spec, "replicas", 1)
    ready = integer_at(status, "readyReplicas", 0)
    updated = integer_at(status, "updatedReplicas", integer_at(status, "replicas", 0))
    return Readiness(
        is_ready=_is_generation_observed(tree) and ready >= desired and updated >= desired,
        desired=desired,
        ready=ready,
        message=_failing_condition_message(
            status, (("Progressing", "False"), ("ReplicaFailure", "True"))
        ),
    )


def _daemon_set_readiness(tree: Tree) -> Readiness:
    status = map_at(tree, "status")
    desired = integer_at(status, "desiredNumberScheduled", 0)
    ready = integer_at(status, "numberReady", 0)
    return Readiness(
        is_ready=_is_generation_observed(tree) and bool(status) and ready >= desired,
        desired=desired,
        ready=ready,
    )


def _job_readiness(tree: Tree) -> Readiness:
    spec, status = map_at(tree, "spec"), map_at(tree, "status")
    parallel = integer_at(spec, "parallelism", 1)
    ends = integer_at(spec, "completions", parallel)
    done = integer_at(status, "succeeded", 0)
    finished = _job_outcome(status)
    ready = integer_at(status, "ready", 0)
    desired = 0 if finished else min(parallel, max(0, ends - done))
    return Readiness(
        is_ready=finished is None and (ready >= desired or bool(spec.get("suspend"))),
        desired=desired,
        ready=ready,
        succeeded=done,
        finished=finished,
        message=_failing_condition_message(status, (("Failed", "True"),)),
    )


def _pod_readiness(tree: Tree) -> Readiness:
    status = map_at(tree, "status")
    phase = status.get("phase")
    if runs_to_completion(tree) and phase in ("Succeeded", "Failed"):
        outcome: JobOutcome = "Succeeded" if phase == "Succeeded" else "Failed"
        return Readiness(
            is_ready=False,
            desired=0,
            ready=0,
            succeeded=int(phase == "Succeeded"),
            finished=outcome,
        )
    is_ready = _find_condition(status, "Ready").get("status") == "True"
    return Readiness(is_ready=is_ready, desired=1, ready=int(is_ready))


def _definition_readiness(tree: Tree) -> Readiness:
    """A CustomResourceDefinition is ready once its kind is served."""
    status = map_at(tree, "status")
    return Readiness(
        is_ready=_find_condition(status, "Established").get("status") == "True",
        message=_failing_condition_message(status, (("NamesAccepted", "False"),)),
    )


def _claim_readiness(tree: Tree) -> Readiness:
    """A claim that lost its volume, or whose volume is being made, is not ready.

    One that is not bound yet may wait for the first pod that uses it (WaitForFirstConsumer), and
    that pod says so. Kubernetes names a provisioner in it only once a volume is to be made.
    """
    phase, metadata = map_at(tree, "status").get("phase"), map_at(tree, "metadata")
    if phase == "Lost":
        text = "the volume of the claim is gone, and its data with it"
        return Readiness(is_ready=False, message=text)
    notes = map_at(metadata, "annotations")
    provisioner = text_at(notes, _PROVISIONER) or text_at(notes, _BETA_PROVISIONER)
    if phase != "Pending" or not provisioner:
        return Readiness(is_ready=True)
    name = f"claim {text_at(metadata, 'name')}"
    text = f"{name} is not bound: {provisioner[:100]} has not made its volume yet"
    return Readiness(is_ready=False, message=text)


def _service_readiness(tree: Tree) -> Readiness:
    """A Service of type LoadBalancer has an address; other Services are ready once they exist."""
    if map_at(tree, "spec").get("type") != "LoadBalancer":
        return Readiness(is_ready=True)
    return _address_readiness(tree)


def _address_readiness(tree: Tree) -> Readiness:
    if objects_at(map_at(tree, "status", "loadBalancer"), "ingress"):
        return Readiness(is_ready=True)
    metadata = map_at(tree, "metadata")
    name = f"{tree.get('kind')} {text_at(metadata, 'name')}"
    held = metadata.get("finalizers")
    is_taken_up = isinstance(held, list) and any(each in _BALANCER_FINALIZERS for each in held)
    is_taken_up = is_taken_up or any(
        each.get("subresource") == "status" for each in objects_at(metadata, "managedFields")
    )
    if is_taken_up:
        return Readiness(is_ready=False, message=f"{name} waits for its address")
    text = (
        f"{name} has no address, and no controller of the site has taken it up; it counts as ready"
    )
    return Readiness(is_ready=True, message=text)


def _exposed_readiness(tree: Tree) -> Readiness:
    """What a Service or Ingress is ready by, with its addresses."""
    judge = _service_readiness if tree.get("kind") == "Service" else _address_readiness
    return replace(judge(tree), addresses=addresses_of(tree))


_READINESS_BY_KIND: Final[Mapping[tuple[str, str], Callable[[Tree], Readiness]]] = {
    ("apps", "Deployment"): _replicated_readiness,
    ("apps", "StatefulSet"): _replicated_readiness,
    ("apps", "ReplicaSet"): _replicated_readiness,
    ("", "ReplicationController"): _replicated_readiness,
    ("apps", "DaemonSet"): _daemon_set_readiness,
    ("batch", "Job"): _job_readiness,
    ("", "Pod"): _pod_readiness,
    ("", "Service"): _exposed_readiness,
    ("networking.k8s.io", "Ingress"): _exposed_readiness,
    ("", "PersistentVolumeClaim"): _claim_readiness,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition_readiness,
}


def _group_kind_of(tree: Tree) -> tuple[str, str]:
    return api_group_of(str(tree.get("apiVersion"))), str(tree.get("kind"))


def _is_generation_observed(tree: Tree) -> bool:
    """Whether the controller has observed this generation."""
    wanted = _generation_of(map_at(tree, "metadata"), "generation")
    return _generation_of(map_at(tree, "status"), "observedGeneration") >= wanted


def _generation_of(tree: Tree, name: str) -> int:
    """A generation, which has 64 bits; 0 if it is unknown."""
    value = tree.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _job_outcome(status: Tree) -> JobOutcome | None:
    if _find_condition(status, "Complete").get("status") == "True":
        return "Succeeded"
    return "Failed" if _find_condition(status, "Failed").get("status") == "True" else None


def _failing_condition_message(status: Tree, failing: Iterable[tuple[str, str]]) -> str | None:
    for kind, value in failing:
        condition = _find_condition(status, kind)
        if condition.get("status") == value:
            return (
                message_at(condition, "message", 500)
                or message_at(condition, "reason", 500)
                or kind
            )
    return None


def _find_condition(status: Tree, kind: str) -> Tree:
    for each in objects_at(status, "conditions"):
        if each.get("type") == kind:
            return each
    return {}
