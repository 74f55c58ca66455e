"""Reads and checks the Kubernetes objects of a workload: pods, replicas, API kinds, scope."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from scheduler.model.kinds.fields import Part
from scheduler.model.manifests.containers import (
    Container,
    containers_of,
    mapping_or_empty,
    pod_amounts,
)
from scheduler.model.manifests.pods import PodShape, shape_of_template

MAX_MANIFESTS_BYTES = 200_000
"""The most for one workload, as JSON: etcd refuses objects above 1.5 MB, and status needs space."""

MAX_DEPTH = 60
MAX_KEY_LENGTH = 1024
MAX_INTEGER = 2**63 - 1
MAX_NAME_LENGTH = 253
"""What agents accept, or a little less: what is accepted here can always be ordered."""

_IDENTITY_PATTERNS = {
    "apiVersion": re.compile(r"([a-z0-9][a-z0-9.-]{0,252}/)?[a-z0-9]{1,63}"),
    "kind": re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}"),
}

MAX_MANIFEST_REPLICAS = 1_000_000
"""The most in one manifest; the same as `Count` for `spec.replicas`."""

_SCALABLE_KINDS = ("Deployment", "StatefulSet", "ReplicaSet")
_ZEROED_KINDS = (*_SCALABLE_KINDS, "ReplicationController")
_KINDS_WITHOUT_ZERO = ("Job", "CronJob", "Pod", "DaemonSet")
_ALWAYS_SERVED_API_VERSIONS = ("v1",)
_CLUSTER_SCOPED_KINDS = frozenset(
    {
        "APIService",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "CSIDriver",
        "CustomResourceDefinition",
        "FlowSchema",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    }
)


class BadManifest(ValueError):
    """A manifest is not a Kubernetes object, or has what a workload may not have."""


class Pods(Part, frozen=True, kw_only=True):
    """Equal pods that are placed together."""

    shape: PodShape
    count: int
    containers: tuple[Container, ...] = ()
    """The containers of one pod; empty when only the sum is known (`spec.demand`)."""
    limits: dict[str, int] = msgspec.field(default_factory=dict)
    """The limits of one pod; millicores for cpu, whole units for all else."""


class ParsedManifests(Part, frozen=True, kw_only=True):
    """The pods, replicas and kinds of a workload's manifests."""

    replicas: int
    unit: tuple[Pods, ...]
    """The pods of one replica of the workload: one pod, or a set that stays together."""
    beside: tuple[Pods, ...] = ()
    """Pods that every site gets once, whatever its replicas."""
    per_node: tuple[PodShape, ...] = ()
    """Pods that every fitting node gets once (DaemonSets)."""
    api_kinds: tuple[str, ...] = ()
    has_state: bool = False
    """Whether there is a StatefulSet, or any work with a claim."""
    scalable: int | None = None
    """The index of the one manifest that `replicas` scales."""
    scalables: tuple[str, ...] = ()
    """All manifests that `replicas` could scale, as `KIND NAME`."""


def read_manifests(manifests: Sequence[Mapping[str, Any]]) -> ParsedManifests:
    """Reads pods, replicas and kinds of manifests.

    Deployments, StatefulSets and ReplicaSets are the replicated unit if there are any, else Jobs,
    else Pods and CronJobs; the others of these come once beside them at every site.

    Raises:
        BadManifest: replicas are not a number.
        NotAQuantity: a request or a limit cannot be read.
        NotReadable: a selector, toleration or affinity cannot be read.
    """
    scalables = [
        index for index, each in enumerate(manifests) if each.get("kind") in _SCALABLE_KINDS
    ]
    jobs = [index for index, each in enumerate(manifests) if each.get("kind") == "Job"]
    singles = [
        index for index, each in enumerate(manifests) if each.get("kind") in ("Pod", "CronJob")
    ]
    replica_indexes = scalables or jobs or singles
    pods = {index: _read_pods(manifests[index]) for index in (*scalables, *jobs, *singles)}
    unit = tuple(pods[index] for index in replica_indexes)
    replicas, scalable = 1, None
    if len(replica_indexes) == 1 and replica_indexes[0] not in singles:
        scalable = replica_indexes[0]
        replicas = pods[scalable].count
        unit = (msgspec.structs.replace(pods[scalable], count=1),)
    return ParsedManifests(
        replicas=replicas,
        unit=unit,
        beside=tuple(pods[index] for index in sorted(pods) if index not in replica_indexes),
        per_node=tuple(
            shape_of_template(_template(each))
            for each in manifests
            if each.get("kind") == "DaemonSet"
        ),
        api_kinds=_api_kinds(manifests),
        has_state=any(each.get("kind") == "StatefulSet" for each in manifests)
        or holds_data(manifests),
        scalable=scalable,
        scalables=tuple(_title(manifests[index]) for index in (scalables or jobs)),
    )


def holds_data(manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a workload has claims: of its own, in a StatefulSet, or named by its pods."""
    for each in manifests:
        spec = mapping_or_empty(each.get("spec"))
        if each.get("kind") == "PersistentVolumeClaim" or spec.get("volumeClaimTemplates"):
            return True
        volumes = mapping_or_empty(_template(each).get("spec")).get("volumes")
        if isinstance(volumes, list | tuple) and any(
            isinstance(one, Mapping) and one.get("persistentVolumeClaim") for one in volumes
        ):
            return True
    return False


def without_pods(manifests: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The manifests of an order that keeps everything but pods, as 0 replicas do in Kubernetes.

    What cannot have 0 replicas (Jobs, pods, daemon sets) is left out.
    """
    kept: list[dict[str, Any]] = []
    for each in manifests:
        spec = mapping_or_empty(each.get("spec"))
        if each.get("kind") in _ZEROED_KINDS or isinstance(spec.get("replicas"), int):
            kept.append({**each, "spec": {**spec, "replicas": 0}})
        elif each.get("kind") not in _KINDS_WITHOUT_ZERO:
            kept.append(dict(each))
    return tuple(kept)


def with_replicas(
    manifests: Sequence[Mapping[str, Any]], replicas: int, *, sets_default: bool = True
) -> tuple[dict[str, Any], ...]:
    """The manifests, with `replicas` set in the scalable one.

    A Job is scaled by its parallelism. Without exactly one scalable manifest all are unchanged.

    Args:
        manifests: the manifests.
        replicas: the number to set.
        sets_default: whether a single replica is written where the manifest leaves the number out.
            Left out, it belongs to another controller at the site, such as an autoscaler.
    """
    index = read_manifests(manifests).scalable
    scaled = [dict(each) for each in manifests]
    if index is not None:
        field = "parallelism" if scaled[index].get("kind") == "Job" else "replicas"
        spec = mapping_or_empty(scaled[index].get("spec"))
        if sets_default or replicas != 1 or spec.get(field) is not None:
            scaled[index]["spec"] = {**spec, field: replicas}
    return tuple(scaled)


def check_manifests(
    manifests: Sequence[Mapping[str, Any]],
    *,
    namespace: str,
    extra_namespaces: Iterable[str] = (),
    cluster_kinds: Iterable[str] = (),
) -> None:
    """Refuses manifests that are not Kubernetes objects or that a workload may not have.

    Args:
        manifests: the objects.
        namespace: the workload's namespace.
        extra_namespaces: other namespaces that the tenant may use.
        cluster_kinds: cluster-scoped kinds that the tenant may use.

    Raises:
        BadManifest: the message names the manifest and says what to write instead.
    """
    size = len(msgspec.json.encode(list(manifests)))
    if size > MAX_MANIFESTS_BYTES:
        raise BadManifest(
            f"spec.manifests: {size} bytes; at most {MAX_MANIFESTS_BYTES}: keep large files "
            "in an image"
        )
    allowed = {namespace, *extra_namespaces}
    seen: set[tuple[str, str, str]] = set()
    for index, manifest in enumerate(manifests):
        path = f"spec.manifests[{index}]"
        identity = _object_identity(manifest, path)
        if identity in seen:
            raise BadManifest(f"{path}: {_title(manifest)} is listed twice; keep one")
        seen.add(identity)
        _check_scope(manifest, path, allowed, frozenset(cluster_kinds))
        if manifest.get("kind") == "Secret" and (
            manifest.get("data") or manifest.get("stringData")
        ):
            raise BadManifest(
                f"{path}: {_title(manifest)} has inline data; "
                "refer to a Secret that exists at the site"
            )


def _object_identity(manifest: Mapping[str, Any], path: str) -> tuple[str, str, str]:
    for field in ("apiVersion", "kind"):
        if not isinstance(manifest.get(field), str) or not manifest[field]:
            raise BadManifest(f"{path}: not a Kubernetes object, it has no {field}")
        if not _IDENTITY_PATTERNS[field].fullmatch(manifest[field]):
            raise BadManifest(f"{path}.{field}: {manifest[field][:64]!r} is no {field}")
    name = mapping_or_empty(manifest.get("metadata")).get("name")
    if not isinstance(name, str) or not name:
        raise BadManifest(f"{path}: {manifest['kind']} has no metadata.name")
    if len(name) > MAX_NAME_LENGTH or name in (".", "..") or "/" in name or "%" in name:
        raise BadManifest(f"{path}.metadata.name: {name[:64]!r} is no name of an object")
    return (manifest["apiVersion"], manifest["kind"], name)


def check_values(manifests: Sequence[Mapping[str, Any]]) -> None:
    """Refuses what no agent would accept: deep nesting, long keys, integers beyond 64 bits.

    Raises:
        BadManifest: the message names the manifest.
    """
    for index, manifest in enumerate(manifests):
        _check_values(manifest, f"spec.manifests[{index}]", 1)


def _check_values(value: object, path: str, depth: int) -> None:
    if isinstance(value, Mapping | list | tuple) and depth > MAX_DEPTH:
        raise BadManifest(f"{path}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        for key, each in value.items():
            if len(key) > MAX_KEY_LENGTH:
                raise BadManifest(f"{path}: a key has more than {MAX_KEY_LENGTH} characters")
            _check_values(each, path, depth + 1)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_values(each, path, depth + 1)
    elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise BadManifest(f"{path}: a number has more than 64 bits")


def _check_scope(
    manifest: Mapping[str, Any], path: str, allowed: set[str], cluster_kinds: frozenset[str]
) -> None:
    kind = manifest["kind"]
    full = api_kind(manifest)
    if kind in _CLUSTER_SCOPED_KINDS:
        if not cluster_kinds & {kind, full}:
            raise BadManifest(
                f"{path}: {_title(manifest)} is cluster-scoped; "
                f"the Tenant's clusterKinds must list {full}"
            )
        return
    inside = mapping_or_empty(manifest.get("metadata")).get("namespace")
    if inside is not None and not (isinstance(inside, str) and inside in allowed):
        raise BadManifest(
            f"{path}: {_title(manifest)} names namespace {str(inside)[:64]}; "
            f"leave metadata.namespace out or write {min(allowed)}"
        )


def api_kind(manifest: Mapping[str, Any]) -> str:
    """The kind in the form of site reports: `apps/v1/Deployment`, `v1/Service`."""
    return f"{manifest.get('apiVersion')}/{manifest.get('kind')}"


def _api_kinds(manifests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    needed = {
        api_kind(each)
        for each in manifests
        if each.get("apiVersion") not in _ALWAYS_SERVED_API_VERSIONS
    }
    return tuple(sorted(needed))


def _read_pods(manifest: Mapping[str, Any]) -> Pods:
    spec = mapping_or_empty(manifest.get("spec"))
    match manifest.get("kind"):
        case "Job":
            count = _read_count(manifest, spec, "parallelism")
        case "CronJob":
            job = mapping_or_empty(mapping_or_empty(spec.get("jobTemplate")).get("spec"))
            count = _read_count(manifest, job, "parallelism")
        case "Pod":
            count = 1
        case _:
            count = _read_count(manifest, spec, "replicas")
    template = _template(manifest)
    containers = containers_of(mapping_or_empty(template.get("spec")))
    return Pods(
        shape=shape_of_template(template),
        count=count,
        containers=containers,
        limits=pod_amounts(containers, "limits"),
    )


def _template(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    if manifest.get("kind") == "Pod":
        return manifest
    spec = mapping_or_empty(manifest.get("spec"))
    if manifest.get("kind") == "CronJob":
        spec = mapping_or_empty(mapping_or_empty(spec.get("jobTemplate")).get("spec"))
    template = mapping_or_empty(spec.get("template"))
    if not spec.get("volumeClaimTemplates"):
        return template
    pod = mapping_or_empty(template.get("spec"))
    written = pod.get("volumes")
    volumes = written if isinstance(written, list | tuple) else ()
    # Each replica of the StatefulSet gets claims of its own; one stands for them here.
    claimed = [*volumes, {"persistentVolumeClaim": {}}]
    return {**template, "spec": {**pod, "volumes": claimed}}


def _read_count(manifest: Mapping[str, Any], spec: Mapping[str, Any], field: str) -> int:
    value = spec.get(field, 1)
    if value is None:
        return 1
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not 0 <= value <= MAX_MANIFEST_REPLICAS
    ):
        raise BadManifest(
            f"{_title(manifest)}: spec.{field} is {value!r}; "
            f"write a number from 0 to {MAX_MANIFEST_REPLICAS}"
        )
    return value


def _title(manifest: Mapping[str, Any]) -> str:
    metadata = mapping_or_empty(manifest.get("metadata"))
    return f"{manifest.get('kind')} {metadata.get('name', '')}".strip()
