"""Reads what the Kubernetes objects of a workload ask for: pods, replicas, storage, API kinds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from scheduler.model.kinds.fields import Part
from scheduler.model.manifests.checks import (
    api_kind,
    definitions_in,
    kinds_of_unknown_scope,
    title_of,
)
from scheduler.model.manifests.containers import (
    Container,
    containers_of,
    field_names,
    mapping_or_empty,
    mappings_in,
    pod_amounts,
)
from scheduler.model.manifests.pod_kinds import (
    PodKind,
    TemplateCount,
    makes_pods,
    pod_kind_of,
    templates_at_paths,
)
from scheduler.model.manifests.pods import PodShape, shape_of_template
from scheduler.model.manifests.templates import find_pod_specs, group_kind
from scheduler.model.quantities import requests_of
from scheduler.model.remembered import remembered_of_manifests

_ALWAYS_SERVED_API_VERSIONS = ("v1",)
_CLAIM = "persistentVolumeClaim"
_NODE_FOLDER = "hostPath"
_RETENTION = "persistentVolumeClaimRetentionPolicy"
STORAGE = "requests.storage"
CLAIMS = "persistentvolumeclaims"
"""The names of a ResourceQuota (core/v1): all claimed bytes, and how many claims there are."""


class Pods(Part, frozen=True, kw_only=True):
    """Equal pods that are placed together."""

    shape: PodShape
    count: int
    containers: tuple[Container, ...] = ()
    """The containers of one pod; empty when only the sum is known (`spec.demand`)."""
    limits: dict[str, int] = msgspec.field(default_factory=dict)
    """The limits of one pod; millicores for cpu, whole units for all else."""
    claims: dict[str, int] = msgspec.field(default_factory=dict)
    """The storage that one pod claims, by the names that quotas use."""


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
    gang: bool = False
    """Whether a kind starts all of its pods together or none (a Volcano Job)."""
    claims: dict[str, int] = msgspec.field(default_factory=dict)
    """The storage that is claimed once at every site, by the names that quotas use."""
    unknown_scope: tuple[str, ...] = ()
    """Custom kinds of which only a site's cluster knows whether they are cluster-scoped."""
    is_undivided: bool = False
    """Whether an object holds all replicas, so that one site gets them."""
    scalable: int | None = None
    """The index of the one manifest that `replicas` scales."""
    scalables: tuple[str, ...] = ()
    """All manifests that `replicas` could scale, as `KIND NAME`."""


def read_manifests(
    manifests: Sequence[Mapping[str, Any]],
    *,
    namespace: str = "",
    template_paths: Sequence[str] = (),
) -> ParsedManifests:
    """Reads pods, replicas and kinds of manifests.

    Kinds with replicas are the replicated unit if there are any, else Jobs, else sets of pods that
    stay together, else single pods; the others of these come once beside them at every site.

    Args:
        manifests: the objects.
        namespace: of the workload; anti-affinity may look at other namespaces only.
        template_paths: where manifests of unknown kinds have pod templates.

    Raises:
        BadManifest: replicas are not a number, or a path matches nothing.
        NotAQuantity: a request or a limit cannot be read.
        NotReadable: a selector, toleration or affinity cannot be read.
    """
    kinds = [pod_kind_of(each) for each in manifests]
    by_role: dict[str, list[int]] = {}
    for index, kind in enumerate(kinds):
        if kind is not None:
            by_role.setdefault(kind.role, []).append(index)
    scalables, jobs = by_role.get("Scalable", []), by_role.get("Job", [])
    sets, singles = by_role.get("Set", []), by_role.get("Single", [])
    replica_indexes = scalables or jobs or sets or singles
    pods = {
        index: tuple(_read_pods(manifests[index], kinds[index], namespace))
        for index in (*scalables, *jobs, *sets, *singles)
    }
    unit = tuple(each for index in replica_indexes for each in pods[index])
    replicas, scalable = 1, _scalable_index(kinds)
    if scalable is not None:
        (one,) = pods[scalable]
        replicas, unit = one.count, (msgspec.structs.replace(one, count=1),)
    unit += tuple(
        _pods_of_template(each, namespace) for each in templates_at_paths(manifests, template_paths)
    )
    return ParsedManifests(
        replicas=replicas,
        unit=unit,
        beside=tuple(
            each for index in sorted(pods) if index not in replica_indexes for each in pods[index]
        ),
        per_node=tuple(
            each.shape
            for index in by_role.get("PerNode", [])
            for each in _read_pods(manifests[index], kinds[index], namespace)
        ),
        api_kinds=_api_kinds(manifests),
        has_state=keeps_state(manifests),
        scalable=scalable,
        scalables=tuple(title_of(manifests[index]) for index in (scalables or jobs)),
        gang=any(group_kind(each)[0] == "batch.volcano.sh" for each in manifests),
        claims=claims_of(manifests),
        unknown_scope=kinds_of_unknown_scope(manifests),
    )


def holds_data(manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a workload has claims: of its own, in a StatefulSet, or named by its pods."""
    return _holds_data_of(manifests)


def _holds_data(manifests: Sequence[Mapping[str, Any]]) -> bool:
    has_claims = _CLAIM in field_names(manifests)
    for each in manifests:
        spec = mapping_or_empty(each.get("spec"))
        if group_kind(each) == ("", "PersistentVolumeClaim") or spec.get("volumeClaimTemplates"):
            return True
        for pod in find_pod_specs(each) if has_claims else ():
            if any(one.get(_CLAIM) for one in mappings_in(pod.spec.get("volumes"))):
                return True
    return False


_holds_data_of = remembered_of_manifests(_holds_data)


def keeps_state(manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a workload has what another site does not: a StatefulSet, claims, data on nodes."""
    return _keeps_state_of(manifests)


def _keeps_state(manifests: Sequence[Mapping[str, Any]]) -> bool:
    kinds = map(pod_kind_of, manifests)
    is_stateful = any(kind is not None and kind.has_state for kind in kinds)
    return is_stateful or holds_data(manifests) or has_node_data(manifests)


_keeps_state_of = remembered_of_manifests(_keeps_state)


def has_node_data(manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether pods keep data in a folder of their node, which no other site has."""
    return _NODE_FOLDER in field_names(manifests) and any(
        one.get(_NODE_FOLDER) is not None
        for each in manifests
        for pod in find_pod_specs(each)
        for one in mappings_in(pod.spec.get("volumes"))
    )


def without_pods(manifests: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The manifests of an order that keeps everything but pods, as 0 replicas do in Kubernetes.

    What cannot have 0 replicas (Jobs, pods, daemon sets, workflows) is left out.
    """
    kept: list[dict[str, Any]] = []
    for each in manifests:
        spec, kind = mapping_or_empty(each.get("spec")), pod_kind_of(each)
        has_count = isinstance(spec.get("replicas"), int)
        if has_count or (kind is not None and kind.role == "Scalable"):
            kept.append({**each, "spec": {**spec, "replicas": 0}})
        elif not makes_pods(each):
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
    index = scalable_index(manifests)
    scaled = [dict(each) for each in manifests]
    if index is not None:
        kind = pod_kind_of(scaled[index])
        field = "parallelism" if kind is not None and kind.role == "Job" else "replicas"
        spec = mapping_or_empty(scaled[index].get("spec"))
        if sets_default or replicas != 1 or spec.get(field) is not None:
            scaled[index]["spec"] = {**spec, field: replicas}
    return tuple(scaled)


def scalable_index(manifests: Sequence[Mapping[str, Any]]) -> int | None:
    """The index of the one manifest that `replicas` scales; None: there is none, or several."""
    return _scalable_index_of(manifests)


def _index_of_scalable(manifests: Sequence[Mapping[str, Any]]) -> int | None:
    return _scalable_index([pod_kind_of(each) for each in manifests])


_scalable_index_of = remembered_of_manifests(_index_of_scalable)


def _scalable_index(kinds: Sequence[PodKind | None]) -> int | None:
    for role in ("Scalable", "Job"):
        found = [index for index, kind in enumerate(kinds) if kind and kind.role == role]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _api_kinds(manifests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The kinds that a site must serve; those that the workload defines itself come with it."""
    defined = {
        f"{spec.get('group')}/{version.get('name')}/{mapping_or_empty(spec.get('names')).get('kind')}"
        for each in definitions_in(manifests)
        for spec in (mapping_or_empty(each.get("spec")),)
        for version in mappings_in(spec.get("versions"))
        if version.get("served") is not False
    }
    needed = {
        api_kind(each)
        for each in manifests
        if each.get("apiVersion") not in _ALWAYS_SERVED_API_VERSIONS
    }
    return tuple(sorted(needed - defined))


def _read_pods(manifest: Mapping[str, Any], kind: PodKind | None, namespace: str) -> Iterator[Pods]:
    if kind is None:
        return
    inside = mapping_or_empty(manifest.get("metadata")).get("namespace")
    for each in kind.read(manifest):
        pods = _pods_of_template(each, str(inside or namespace))
        yield msgspec.structs.replace(pods, claims=_claims_of_pod(manifest, each.template))


def _claims_of_pod(manifest: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, int]:
    spec = mapping_or_empty(manifest.get("spec"))
    return claims_of_template(template, mappings_in(spec.get("volumeClaimTemplates")))


def _pods_of_template(each: TemplateCount, namespace: str) -> Pods:
    containers = containers_of(mapping_or_empty(each.template.get("spec")))
    return Pods(
        shape=shape_of_template(each.template, namespace=namespace),
        count=each.pods,
        containers=containers,
        limits=pod_amounts(containers, "limits"),
    )


def claims_of(manifests: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the PersistentVolumeClaims among manifests ask for.

    Raises:
        NotAQuantity: a request cannot be read.
    """
    wanted = ("", "PersistentVolumeClaim")
    return _sum_claims(each for each in manifests if group_kind(each) == wanted)


def claims_of_template(
    template: Mapping[str, Any], claim_templates: Iterable[Mapping[str, Any]]
) -> dict[str, int]:
    """What one pod claims: by the templates of its StatefulSet, and by ephemeral volumes.

    Raises:
        NotAQuantity: a request cannot be read.
    """
    volumes = mappings_in(mapping_or_empty(template.get("spec")).get("volumes"))
    ephemeral = [
        mapping_or_empty(mapping_or_empty(each.get("ephemeral")).get("volumeClaimTemplate"))
        for each in volumes
        if each.get("ephemeral")
    ]
    return _sum_claims([*claim_templates, *ephemeral])


def _sum_claims(claims: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in claims:
        resources = mapping_or_empty(mapping_or_empty(each.get("spec")).get("resources"))
        asked = requests_of(mapping_or_empty(resources.get("requests"))).get("storage", 0)
        total[STORAGE] = total.get(STORAGE, 0) + asked
        total[CLAIMS] = total.get(CLAIMS, 0) + 1
    return total


def with_claims_retained(
    manifests: Sequence[Mapping[str, Any]], *, is_parked: bool
) -> tuple[dict[str, Any], ...]:
    """The manifests, with StatefulSets whose claims Kubernetes does not delete by itself.

    A move deletes the set at the former site, and a taint parks it at 0 replicas: neither is the
    tenant's word to delete data. The agent deletes claims when that word comes. `whenScaled` stays
    as it is written while replicas run, since then the tenant scales.

    Args:
        manifests: the objects of one site.
        is_parked: whether they run 0 replicas for another reason than the tenant's.
    """
    changed = {"whenDeleted": "Retain", **({"whenScaled": "Retain"} if is_parked else {})}
    found = []
    for each in manifests:
        spec = mapping_or_empty(each.get("spec"))
        policy = mapping_or_empty(spec.get(_RETENTION))
        if group_kind(each) == ("apps", "StatefulSet") and policy:
            found.append({**each, "spec": {**spec, _RETENTION: {**policy, **changed}}})
        else:
            found.append(dict(each))
    return tuple(found)
