"""How a member's object stands: what it asks for, what is ready, whether it has ended. Pure.

By the fields that `kubectl rollout status` and `kubectl wait` go by; a status of an older
generation than the object's own says nothing yet.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.protocol.status import Finish

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """One object.

    Attributes:
        is_ready: as far as this kind can tell; kinds without readiness are ready once they exist.
        desired: pods that it asks for; None: makes no pods.
        ready: pods that are ready.
        succeeded: pods that ended well.
        finished: it has ended, how; such an object is never made again.
        message: what its own conditions complain about.
    """

    is_ready: bool
    desired: int | None = None
    ready: int | None = None
    succeeded: int | None = None
    finished: Finish | None = None
    message: str | None = None


def standing(tree: Tree) -> Standing:
    """How one object stands."""
    api_version, kind = str(tree.get("apiVersion")), str(tree.get("kind"))
    group = api_version.rpartition("/")[0]
    rule = _RULES.get((group, kind))
    return rule(tree) if rule else Standing(is_ready=True)


def ends_by_itself(tree: Tree) -> bool:
    """Whether it is a kind that runs once: a Job, or a bare pod that is not restarted."""
    kind = (str(tree.get("apiVersion")).rpartition("/")[0], tree.get("kind"))
    if kind == ("batch", "Job"):
        return True
    policy = _part(tree, "spec").get("restartPolicy", "Always")
    return kind == ("", "Pod") and policy != "Always"


def _replicated(tree: Tree) -> Standing:
    """Deployment, StatefulSet, ReplicaSet, ReplicationController."""
    spec, status = _part(tree, "spec"), _part(tree, "status")
    desired = _number(spec.get("replicas"), 1)
    ready = _number(status.get("readyReplicas"), 0)
    updated = _number(status.get("updatedReplicas", status.get("replicas")), 0)
    return Standing(
        is_ready=_is_seen(tree) and ready >= desired and updated >= desired,
        desired=desired,
        ready=ready,
        message=_complaint(status, (("Progressing", "False"), ("ReplicaFailure", "True"))),
    )


def _daemon_set(tree: Tree) -> Standing:
    status = _part(tree, "status")
    desired = _number(status.get("desiredNumberScheduled"), 0)
    ready = _number(status.get("numberReady"), 0)
    return Standing(
        is_ready=_is_seen(tree) and bool(status) and ready >= desired, desired=desired, ready=ready
    )


def _job(tree: Tree) -> Standing:
    spec, status = _part(tree, "spec"), _part(tree, "status")
    parallel = _number(spec.get("parallelism"), 1)
    ends = _number(spec.get("completions"), parallel)
    done = _number(status.get("succeeded"), 0)
    finished = _finish(status)
    ready = _number(status.get("ready"), 0)
    desired = 0 if finished else min(parallel, max(0, ends - done))
    return Standing(
        is_ready=finished is None and (ready >= desired or bool(spec.get("suspend"))),
        desired=desired,
        ready=ready,
        succeeded=done,
        finished=finished,
        message=_complaint(status, (("Failed", "True"),)),
    )


def _pod(tree: Tree) -> Standing:
    status = _part(tree, "status")
    phase = status.get("phase")
    if ends_by_itself(tree) and phase in ("Succeeded", "Failed"):
        outcome: Finish = "Succeeded" if phase == "Succeeded" else "Failed"
        return Standing(
            is_ready=False,
            desired=0,
            ready=0,
            succeeded=int(phase == "Succeeded"),
            finished=outcome,
        )
    is_ready = _condition(status, "Ready").get("status") == "True"
    return Standing(is_ready=is_ready, desired=1, ready=int(is_ready))


_RULES: Final[Mapping[tuple[str, str], Callable[[Tree], Standing]]] = {
    ("apps", "Deployment"): _replicated,
    ("apps", "StatefulSet"): _replicated,
    ("apps", "ReplicaSet"): _replicated,
    ("", "ReplicationController"): _replicated,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
}


def _is_seen(tree: Tree) -> bool:
    """Whether the controller has looked at this generation."""
    wanted = _number(_part(tree, "metadata").get("generation"), 0)
    return _number(_part(tree, "status").get("observedGeneration"), 0) >= wanted


def _finish(status: Tree) -> Finish | None:
    if _condition(status, "Complete").get("status") == "True":
        return "Succeeded"
    return "Failed" if _condition(status, "Failed").get("status") == "True" else None


def _complaint(status: Tree, bad: Iterable[tuple[str, str]]) -> str | None:
    for kind, value in bad:
        condition = _condition(status, kind)
        if condition.get("status") == value:
            return str(condition.get("message") or condition.get("reason") or kind)[:500]
    return None


def _condition(status: Tree, kind: str) -> Tree:
    for each in status.get("conditions") or ():
        if isinstance(each, dict) and each.get("type") == kind:
            return each
    return {}


def _part(tree: Tree, name: str) -> Tree:
    part = tree.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
