"""Manifests of every kind whose pods are read, with the number of pods that run at once."""

from typing import Any

from tests.support.sites import Raw

CPU = 250


def template(milli: int = CPU, **pod: Any) -> Raw:  # noqa: ANN401 - fields of a pod spec
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": f"{milli}m"}}}
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container], **pod}}


def of_kind(api_version: str, kind: str, **spec: Any) -> Raw:  # noqa: ANN401 - fields of a spec
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}


def roles(**counts: int) -> Raw:
    return {
        role: {"replicas": count, "template": template()} for role, count in sorted(counts.items())
    }


def job(**spec: int) -> Raw:
    return {"spec": {**spec, "template": template()}}


RAY = {
    "headGroupSpec": {"template": template()},
    "workerGroupSpecs": [{"replicas": 3, "numOfHosts": 2, "template": template()}],
}
COUNTED: dict[str, tuple[Raw, int]] = {
    "Pod": ({"apiVersion": "v1", "kind": "Pod", **template(), "metadata": {"name": "a"}}, 1),
    "ReplicationController": (
        of_kind("v1", "ReplicationController", replicas=50, template=template()),
        50,
    ),
    "Deployment": (of_kind("apps/v1", "Deployment", replicas=4, template=template()), 4),
    "ReplicaSet": (of_kind("apps/v1", "ReplicaSet", replicas=2, template=template()), 2),
    "StatefulSet": (of_kind("apps/v1", "StatefulSet", replicas=3, template=template()), 3),
    "Job": (of_kind("batch/v1", "Job", parallelism=40, completions=2, template=template()), 2),
    "CronJob": (of_kind("batch/v1", "CronJob", jobTemplate=job(parallelism=5)), 5),
    "Volcano Job": (
        of_kind(
            "batch.volcano.sh/v1alpha1",
            "Job",
            minAvailable=3,
            tasks=[
                {"name": "ps", "template": template()},
                {"name": "worker", "replicas": 60, "template": template()},
            ],
        ),
        61,
    ),
    "RayCluster": (of_kind("ray.io/v1", "RayCluster", **RAY), 7),
    "RayCluster that scales": (
        of_kind(
            "ray.io/v1",
            "RayCluster",
            enableInTreeAutoscaling=True,
            headGroupSpec={"template": template()},
            workerGroupSpecs=[{"minReplicas": 1, "maxReplicas": 9, "template": template()}],
        ),
        10,
    ),
    "RayJob": (of_kind("ray.io/v1", "RayJob", submissionMode="HTTPMode", rayClusterSpec=RAY), 7),
    "RayService": (of_kind("ray.io/v1", "RayService", rayClusterConfig=RAY), 7),
    "PyTorchJob": (
        of_kind("kubeflow.org/v1", "PyTorchJob", pytorchReplicaSpecs=roles(Master=1, Worker=8)),
        9,
    ),
    "TFJob": (
        of_kind("kubeflow.org/v1", "TFJob", tfReplicaSpecs=roles(Chief=1, PS=2, Worker=4)),
        7,
    ),
    "MPIJob": (
        of_kind("kubeflow.org/v2beta1", "MPIJob", mpiReplicaSpecs=roles(Launcher=1, Worker=2)),
        3,
    ),
    "JobSet": (
        of_kind(
            "jobset.x-k8s.io/v1alpha2",
            "JobSet",
            replicatedJobs=[
                {"name": "a", "replicas": 2, "template": job(parallelism=3)},
                {"name": "b", "template": job(parallelism=9, completions=4)},
            ],
        ),
        10,
    ),
    "LeaderWorkerSet": (
        of_kind(
            "leaderworkerset.x-k8s.io/v1",
            "LeaderWorkerSet",
            replicas=2,
            leaderWorkerTemplate={"size": 4, "workerTemplate": template()},
        ),
        8,
    ),
    "Rollout": (of_kind("argoproj.io/v1alpha1", "Rollout", replicas=6, template=template()), 6),
    "Knative Service": (
        of_kind(
            "serving.knative.dev/v1",
            "Service",
            template={
                **template(),
                "metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "3"}},
            },
        ),
        3,
    ),
    "CloneSet": (
        of_kind("apps.kruise.io/v1alpha1", "CloneSet", replicas=5, template=template()),
        5,
    ),
    "DeploymentConfig": (
        of_kind("apps.openshift.io/v1", "DeploymentConfig", replicas=5, template=template()),
        5,
    ),
}
