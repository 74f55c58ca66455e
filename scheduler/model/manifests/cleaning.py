"""Strips what a cluster wrote into an exported object, and means nothing in another cluster. Pure.

`kubectl get -o yaml` prints the identity, state and choices of one cluster: uids, owners, cluster
IPs, the names of bound volumes. Sent elsewhere they make objects that are collected as garbage,
refused, or bound to nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.model.manifests.containers import SCALARS, field_names, mapping_or_empty
from scheduler.model.manifests.templates import GroupKind, group_kind
from scheduler.model.remembered import remembered_of_manifests

MAX_DEPTH = 60
"""The deepest nesting of a manifest: what agents accept, or a little less."""

LAST_APPLIED_ANNOTATIONS = frozenset(
    {
        "banzaicloud.com/last-applied",
        "kapp.k14s.io/original",
        "kubectl.kubernetes.io/last-applied-configuration",
        "objectset.rio.cattle.io/applied",
    }
)
"""Annotations in which clients repeat a whole object, with its data."""
_LAST_APPLIED = tuple(sorted(LAST_APPLIED_ANNOTATIONS))

_METADATA_OF_A_CLUSTER = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "finalizers",
    "ownerReferences",
)
_NAMES_OF_A_CLUSTER = frozenset({*_METADATA_OF_A_CLUSTER, "annotations", "status"})
"""A manifest without a field of these names has nothing inside that is stripped."""
_SIGNS_OF_EXPORT = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink")

_ANNOTATIONS: dict[GroupKind, tuple[str, ...]] = {
    ("", "PersistentVolumeClaim"): (
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node",
        "volume.kubernetes.io/storage-provisioner",
    ),
    ("", "PersistentVolume"): ("pv.kubernetes.io/bound-by-controller",),
    ("", "Secret"): ("kubernetes.io/service-account.uid",),
    ("apps", "DaemonSet"): ("deprecated.daemonset.template.generation",),
    ("apps", "Deployment"): ("deployment.kubernetes.io/revision",),
    ("apps", "ReplicaSet"): (
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deployment.kubernetes.io/revision",
        "deployment.kubernetes.io/revision-history",
    ),
}
"""Annotations that controllers write, by the kind that has them."""

_BOUND = "pv.kubernetes.io/bind-completed"

_JOB_LABELS = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)
_JOB_SELECTORS = frozenset({"controller-uid", "batch.kubernetes.io/controller-uid"})
_POD_LABELS = (
    *_JOB_LABELS,
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
)
_TOKEN_SECRET = re.compile(r".+-(token|dockercfg)-[a-z0-9]{5}")
_PROVISIONED_VOLUME = re.compile(r"pvc-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def clean_manifests(
    manifests: Sequence[dict[str, Any]],
) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The manifests as they are applied, and the paths of what was stripped.

    A manifest without anything to strip is returned as it is. Empty values (`status: {}`,
    `creationTimestamp: null`) are stripped without being named. Of manifests as a spec holds
    them the answer is remembered: a reconciliation asks several times.
    """
    return _cleaned_of(manifests)


def _clean(
    manifests: Sequence[dict[str, Any]],
) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    removed: list[str] = []
    cleaned = tuple(
        _Cleaner(removed).clean(each, f"spec.manifests[{index}]")
        for index, each in enumerate(manifests)
    )
    return cleaned, tuple(removed)


_cleaned_of = remembered_of_manifests(_clean)


class _Cleaner:
    """Copies what it changes, and notes the paths of what it strips."""

    def __init__(self, removed: list[str]) -> None:
        self._removed = removed

    def clean(self, manifest: dict[str, Any], path: str) -> dict[str, Any]:
        kind = group_kind(manifest)
        metadata = mapping_or_empty(manifest.get("metadata"))
        notes = mapping_or_empty(metadata.get("annotations"))
        is_exported = any(metadata.get(each) for each in _SIGNS_OF_EXPORT) or _BOUND in notes
        result = self._without(manifest, ("status",), path)
        if metadata.get("name"):
            result = self._at(result, path, ("metadata",), ("generateName",))
        for name in ("labels", "annotations"):
            stripped = _ANNOTATIONS.get(kind, ()) if name == "annotations" else _labels_of(kind)
            result = self._at(result, path, ("metadata", name), stripped)
        result = self._with_clean_metadata(result, path)
        is_inside = not _NAMES_OF_A_CLUSTER.isdisjoint(field_names(manifest))
        if is_inside and kind[1] != "CustomResourceDefinition":
            result = self._clean_inside(result, path, 1)
        specific = _CLEAN_KIND.get(kind)
        return result if specific is None else specific(self, result, path, is_exported)

    def _clean_inside(self, value: Any, path: str, depth: int) -> Any:  # noqa: ANN401 - any JSON
        """Cleans the metadata of templates and of objects inside an object.

        What is nested deeper than a workload may nest is left: it is refused.
        """
        if depth > MAX_DEPTH:
            return value
        if isinstance(value, Mapping):
            result: Any = value
            for name, each in [one for one in value.items() if not isinstance(one[1], SCALARS)]:
                where = f"{path}.{name}"
                inner = self._clean_inside(each, where, depth + 1) if name != "metadata" else each
                if isinstance(inner, dict) and _is_object(name, inner):
                    inner = self._with_clean_metadata(inner, where)
                if inner is not each:
                    result = {**result, name: inner}
            return result
        if isinstance(value, list):
            items = [
                each if isinstance(each, SCALARS) else self._clean_item(each, index, path, depth)
                for index, each in enumerate(value)
            ]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else items
        return value

    def _clean_item(self, item: Any, index: int, path: str, depth: int) -> Any:  # noqa: ANN401 - any JSON
        where = f"{path}[{index}]"
        inner = self._clean_inside(item, where, depth + 1)
        if isinstance(inner, dict) and _is_object("", inner):
            if "kind" in inner or path.endswith("Templates"):
                inner = self._without(inner, ("status",), where)
            inner = self._with_clean_metadata(inner, where)
        return inner

    def _with_clean_metadata(self, holder: dict[str, Any], path: str) -> dict[str, Any]:
        result = self._at(holder, path, ("metadata",), _METADATA_OF_A_CLUSTER)
        notes = mapping_or_empty(result.get("metadata")).get("annotations")
        if notes is None:
            return result
        result = self._at(result, path, ("metadata", "annotations"), _LAST_APPLIED)
        if mapping_or_empty(result.get("metadata")).get("annotations") == {}:
            result = self._at(result, path, ("metadata",), ("annotations",))
        return result

    def _at(
        self, holder: dict[str, Any], path: str, steps: tuple[str, ...], names: Sequence[str]
    ) -> dict[str, Any]:
        """Strips fields of a mapping inside a mapping."""
        if not steps:
            return self._without(holder, names, path)
        if not names:
            return holder
        inner = holder.get(steps[0])
        if not isinstance(inner, dict):
            return holder
        cleaned = self._at(inner, f"{path}.{steps[0]}", steps[1:], names)
        return holder if cleaned is inner else {**holder, steps[0]: cleaned}

    def _without(self, holder: dict[str, Any], names: Sequence[str], path: str) -> dict[str, Any]:
        found = [name for name in names if name in holder]
        if not found:
            return holder
        self._removed.extend(f"{path}.{name}" for name in found if holder[name])
        return {name: each for name, each in holder.items() if name not in found}

    def service(self, item: dict[str, Any], path: str, is_exported: bool) -> dict[str, Any]:  # noqa: FBT001 - one signature for all kinds
        """Strips addresses and ports that a cluster gave; a headless Service stays headless."""
        spec = item.get("spec")
        if not isinstance(spec, dict):
            return item
        where = f"{path}.spec"
        names = ["healthCheckNodePort"]
        is_exported = is_exported or bool(spec.get("clusterIPs"))
        if is_exported:
            names += ["ipFamilies", "ipFamilyPolicy"]
        if spec.get("clusterIP") != "None":
            names.append("clusterIP")
        if spec.get("clusterIPs") != ["None"]:
            names.append("clusterIPs")
        cleaned = self._without(spec, names, where)
        ports = cleaned.get("ports")
        if isinstance(ports, list):
            kept = [
                self._without(each, ("nodePort",), f"{where}.ports[{index}]")
                if isinstance(each, dict)
                else each
                for index, each in enumerate(ports)
            ]
            cleaned = {**cleaned, "ports": kept}
        return {**item, "spec": cleaned}

    def claim(self, item: dict[str, Any], path: str, is_exported: bool) -> dict[str, Any]:  # noqa: FBT001 - one signature for all kinds
        """Strips the volume that a cluster bound; a volume that the tenant named stays."""
        volume = str(mapping_or_empty(item.get("spec")).get("volumeName", ""))
        if is_exported or _PROVISIONED_VOLUME.fullmatch(volume):
            return self._at(item, path, ("spec",), ("volumeName",))
        return item

    def volume(self, item: dict[str, Any], path: str, is_exported: bool) -> dict[str, Any]:  # noqa: FBT001 - one signature for all kinds
        """Strips the identity of the claim that a volume was bound to."""
        del is_exported
        return self._at(item, path, ("spec", "claimRef"), ("uid", "resourceVersion"))

    def job(self, item: dict[str, Any], path: str, is_exported: bool) -> dict[str, Any]:  # noqa: FBT001 - one signature for all kinds
        """Strips the selector that a cluster made for a Job, and its labels."""
        del is_exported
        return self._job_at(item, path, ("spec",))

    def cron_job(self, item: dict[str, Any], path: str, is_exported: bool) -> dict[str, Any]:  # noqa: FBT001 - one signature for all kinds
        """As for Jobs."""
        del is_exported
        return self._job_at(item, path, ("spec", "jobTemplate", "spec"))

    def _job_at(self, item: dict[str, Any], path: str, steps: tuple[str, ...]) -> dict[str, Any]:
        spec: Mapping[str, Any] = item
        for each in steps:
            spec = mapping_or_empty(spec.get(each))
        labels = mapping_or_empty(mapping_or_empty(spec.get("selector")).get("matchLabels"))
        template = mapping_or_empty(mapping_or_empty(spec.get("template")).get("metadata"))
        written = mapping_or_empty(template.get("labels"))
        if not (_JOB_SELECTORS & set(labels) or _JOB_SELECTORS & set(written)):
            return item
        if _JOB_SELECTORS & set(labels):
            item = self._at(item, path, steps, ("selector", "manualSelector"))
        return self._at(item, path, (*steps, "template", "metadata", "labels"), _JOB_LABELS)

    def pod(self, item: dict[str, Any], path: str, is_exported: bool) -> dict[str, Any]:  # noqa: FBT001 - one signature for all kinds
        """Strips the node that a scheduler chose, and what only a running pod may have."""
        names = ("ephemeralContainers", "nodeName") if is_exported else ("ephemeralContainers",)
        return self._at(item, path, ("spec",), names)

    def service_account(self, item: dict[str, Any], path: str, is_exported: bool) -> dict[str, Any]:  # noqa: FBT001 - one signature for all kinds
        """Strips the names of token Secrets that a cluster made."""
        del is_exported
        for field in ("secrets", "imagePullSecrets"):
            written = item.get(field)
            if not isinstance(written, list):
                continue
            kept = [
                each
                for each in written
                if not _TOKEN_SECRET.fullmatch(str(mapping_or_empty(each).get("name")))
            ]
            if len(kept) < len(written):
                self._removed.append(f"{path}.{field}")
                item = {name: each for name, each in item.items() if name != field}
                item |= {field: kept} if kept else {}
        return item


def _labels_of(kind: GroupKind) -> tuple[str, ...]:
    if kind == ("", "Pod"):
        return _POD_LABELS
    return _JOB_LABELS if kind == ("batch", "Job") else ()


def _is_object(name: str, value: Mapping[str, Any]) -> bool:
    """Whether the `metadata` in a mapping is that of an object or a template."""
    if not isinstance(value.get("metadata"), Mapping):
        return False
    is_named = name.casefold().endswith(("template", "templates"))
    return is_named or "spec" in value or "template" in value or "kind" in value


_CLEAN_KIND = {
    ("", "PersistentVolume"): _Cleaner.volume,
    ("", "PersistentVolumeClaim"): _Cleaner.claim,
    ("", "Pod"): _Cleaner.pod,
    ("", "Service"): _Cleaner.service,
    ("", "ServiceAccount"): _Cleaner.service_account,
    ("batch", "CronJob"): _Cleaner.cron_job,
    ("batch", "Job"): _Cleaner.job,
}
