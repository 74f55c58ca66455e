"""A cluster without an API server: writes of planners change objects directly, tests move the time.

It replaces the API only in unit tests, where every planner runs to completion in microseconds; the
same planners run against real servers in tests/integration.
"""

import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler.control.ports.hub import ApiResource, Object
from scheduler.simulation.cluster.controllers.autoscalers import plan_autoscaler
from scheduler.simulation.cluster.controllers.budgets import plan_disruption_budget
from scheduler.simulation.cluster.controllers.cron_jobs import plan_cron_job
from scheduler.simulation.cluster.controllers.daemon_sets import plan_daemon_set
from scheduler.simulation.cluster.controllers.deployments import plan_deployment
from scheduler.simulation.cluster.controllers.garbage import plan_garbage_collection
from scheduler.simulation.cluster.controllers.jobs import plan_job
from scheduler.simulation.cluster.controllers.quotas import plan_quota
from scheduler.simulation.cluster.controllers.replica_sets import plan_replica_set
from scheduler.simulation.cluster.controllers.stateful_sets import plan_stateful_set
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.kubelet import SimulationPace, plan_pod
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.nodes import plan_node, registration_writes
from scheduler.simulation.cluster.objects import (
    AUTOSCALERS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    RESOURCES_BY_KIND,
    STATEFUL_SETS,
    Pod,
    decode_view,
)
from scheduler.simulation.cluster.plan import (
    Bind,
    ControllerPlan,
    Create,
    Delete,
    DeleteIfOrphaned,
    Patch,
    RecordEvent,
    Write,
    shorter_wait,
)

_CONTROLLERS = {
    DEPLOYMENTS: plan_deployment,
    REPLICA_SETS: plan_replica_set,
    STATEFUL_SETS: plan_stateful_set,
    DAEMON_SETS: plan_daemon_set,
    JOBS: plan_job,
    CRON_JOBS: plan_cron_job,
    AUTOSCALERS: plan_autoscaler,
    DISRUPTION_BUDGETS: plan_disruption_budget,
    RESOURCE_QUOTAS: plan_quota,
}
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
_MAX_ROUNDS = 500


class FakeCluster:
    """Objects, time and all controllers of one cluster."""

    def __init__(self, *nodes: NodeDescription, pace: SimulationPace | None = None) -> None:
        self.now = START
        self.pace = pace or SimulationPace(start_seconds=1, stop_seconds=1, job_seconds=5)
        self.objects: dict[tuple[ApiResource, NamespacedName], Object] = {}
        self.mirror = Mirror(lambda _resource, _before, _after: None)
        self.writes: list[Write] = []
        self.events: list[RecordEvent] = []
        self._numbers = itertools.count(1)
        self._node_descriptions = {
            one.name: one for described in nodes for one in described.expand()
        }
        for one in self._node_descriptions.values():
            self._execute(ControllerPlan(registration_writes(self.mirror, one)))

    # ------------------------------------------------------------ what a user does

    def apply(self, body: Object) -> None:
        """Creates an object, or replaces its spec."""
        resource = RESOURCES_BY_KIND[body["kind"]]
        name = (body["metadata"].get("namespace", ""), body["metadata"]["name"])
        if (resource, name) in self.objects:
            self.patch(resource, name, {"spec": body["spec"]}, replace=True)
        else:
            self._create(Create(resource, copy.deepcopy(body)))

    def patch(
        self, resource: ApiResource, name: NamespacedName, body: Object, *, replace: bool = False
    ) -> None:
        """A merge patch, or a new value for each named field."""
        found = self.objects[resource, name]
        if replace:
            found |= copy.deepcopy(body)
        else:
            _merge_patch(found, body)
        if "spec" in body:
            found["metadata"]["generation"] += 1
        self._show(resource, found)

    def delete(self, resource: ApiResource, name: NamespacedName, *finalizers: str) -> None:
        """Marks an object with finalizers as deleted; removes any other one."""
        body = self.objects[resource, name]
        if finalizers or resource is PODS:
            body["metadata"]["finalizers"] = list(finalizers)
            body["metadata"]["deletionTimestamp"] = _format_time(self.now + timedelta(seconds=30))
            body["metadata"]["deletionGracePeriodSeconds"] = 30
            self._show(resource, body)
        else:
            self._drop(resource, name)

    # ------------------------------------------------------------ time

    def settle(self, seconds: float = 0.0) -> None:
        """Runs all controllers until nothing changes, while the time advances by `seconds`."""
        end = self.now + timedelta(seconds=seconds)
        for _ in range(_MAX_ROUNDS):
            plans = self._plans()
            if any(plan.writes for plan in plans):
                continue
            waits = shorter_wait(None, None)
            for plan in plans:
                waits = shorter_wait(waits, plan.requeue_after_seconds)
            if waits is None or self.now + timedelta(seconds=waits) > end:
                self.now = end
                return
            self.now += timedelta(seconds=max(waits, 0.01))
        raise AssertionError(f"does not come to rest: {self.writes[-5:]}")

    def _plans(self) -> list[ControllerPlan]:
        """Plans of all objects once; each plan is carried out before the next is made."""
        plans = []
        for resource, name in list(self.objects):
            for plan in self._plans_for(resource, name):
                try:
                    self._execute(plan)
                    plans.append(plan)
                except _NameTakenError:  # as the real loop does: look again a little later
                    plans.append(ControllerPlan(requeue_after_seconds=0.2))
        return plans

    def _plans_for(self, resource: ApiResource, name: NamespacedName) -> list[ControllerPlan]:
        if resource is NODES:
            return [plan_node(self.mirror, name[1], self.now, self._node_descriptions.get(name[1]))]
        found = [plan_garbage_collection(self.mirror, resource, name, self.now)]
        if resource is PODS:
            found.append(plan_pod(self.mirror, name, self.now, self.pace))
        elif resource in _CONTROLLERS:
            found.append(_CONTROLLERS[resource](self.mirror, name, self.now))
        return found

    # ------------------------------------------------------------ what the API server does

    def _execute(self, plan: ControllerPlan) -> None:
        for write in plan.writes:
            self.writes.append(write)
            match write:
                case Create():
                    self._create(write)
                case Patch() if (write.resource, write.name) in self.objects:
                    _merge_patch(self.objects[write.resource, write.name], write.body)
                    self._show(write.resource, self.objects[write.resource, write.name])
                case Delete() if (write.resource, write.name) in self.objects:
                    self._delete(write)
                case Bind():
                    body = self.objects[PODS, write.name]
                    assert "nodeName" not in body["spec"], f"{write.name} is bound twice"
                    body["spec"]["nodeName"] = write.node
                    self._show(PODS, body)
                case RecordEvent():
                    self.events.append(write)
                case DeleteIfOrphaned():
                    self._drop(write.resource, write.name)
                case _:
                    pass

    def _create(self, write: Create) -> None:
        body = copy.deepcopy(write.body)
        meta = body["metadata"]
        name = (meta.get("namespace", ""), meta["name"])
        if (write.resource, name) in self.objects:
            there = self.objects[write.resource, name]["metadata"]
            assert _owner_uids(there) != _owner_uids(meta), f"{name} is made twice"
            raise _NameTakenError
        meta |= {
            "uid": f"uid-{next(self._numbers)}",
            "generation": 1,
            "creationTimestamp": _format_time(self.now),
        }
        body.setdefault("spec", {})
        self.objects[write.resource, name] = body
        self._show(write.resource, body)

    def _delete(self, write: Delete) -> None:
        body = self.objects[write.resource, write.name]
        if write.uid != body["metadata"]["uid"]:
            return
        if write.resource is PODS and not write.is_immediate and body["spec"].get("nodeName"):
            self.delete(PODS, write.name)
        elif not body["metadata"].get("finalizers"):
            self._drop(write.resource, write.name)

    def _show(self, resource: ApiResource, body: Object) -> None:
        body["metadata"]["resourceVersion"] = str(next(self._numbers))
        ended = body["metadata"].get("deletionTimestamp") and resource is not PODS
        if ended and not body["metadata"].get("finalizers"):
            self._drop(resource, (body["metadata"].get("namespace", ""), body["metadata"]["name"]))
        else:
            self.mirror.put(resource, decode_view(resource, copy.deepcopy(body)), self.now)

    def _drop(self, resource: ApiResource, name: NamespacedName) -> None:
        body = self.objects.pop((resource, name), None)
        if body is not None:
            self.mirror.tombstone(resource, decode_view(resource, body))

    # ------------------------------------------------------------ questions

    def pods(self, prefix: str = "") -> list[Pod]:
        """Pods whose name starts with a prefix, by name."""
        found = [pod for pod in self.mirror.pods() if pod.metadata.name.startswith(prefix)]
        return sorted(found, key=lambda pod: pod.metadata.name)

    def status(self, resource: ApiResource, name: str, namespace: str = "city") -> dict[str, Any]:
        """The status of an object."""
        status: dict[str, Any] = self.objects[resource, (namespace, name)].get("status", {})
        return status


class _NameTakenError(Exception):
    """409: an object of this name exists, and has another owner."""


def _owner_uids(meta: dict[str, Any]) -> set[str]:
    return {owner["uid"] for owner in meta.get("ownerReferences", [])}


def deployment(name: str, replicas: int, kind: str = "Deployment", **pod: Any) -> Object:  # noqa: ANN401 - any field of a pod's spec
    """A Deployment, or another set, of one-container pods in the namespace `city`.

    Args:
        name: name of the object, and value of its pods' label `app`.
        replicas: number of pods.
        kind: Deployment, ReplicaSet, StatefulSet or DaemonSet.
        pod: fields of the pod's spec; `cpu` and `image` set those of its container.
    """
    container = {
        "name": "main",
        "image": pod.pop("image", "registry.example/app:1"),
        "resources": {"requests": {"cpu": pod.pop("cpu", "1"), "memory": "1Gi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "city"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], **pod},
            },
        },
    }


def job(name: str, **spec: Any) -> Object:  # noqa: ANN401 - any field of a Job's spec
    """A Job of one-container pods in the namespace `city` that run five seconds."""
    container = {
        "name": "main",
        "image": "registry.example/job:1",
        "resources": {"requests": {"cpu": "1"}},
    }
    annotations = spec.pop("annotations", {})
    pod = {"restartPolicy": "Never", "containers": [container]}
    template = {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "city"},
        "spec": {"template": template, **spec},
    }


def _merge_patch(target: Object, patch: Object) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge_patch(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def _format_time(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
