"""Work that is more than a number of equal pods: pods with a number each, or a total to complete.

The pods of a StatefulSet and the indexes of an Indexed Job have numbers. Divided by count, the same
number would run at two sites, so such work stays at one site unless `placement.identity` says
otherwise. The completions of any other Job are a total, which is divided along with the pods.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from scheduler.model.manifests.checks import title_of
from scheduler.model.manifests.containers import mapping_or_empty, mappings_in
from scheduler.model.manifests.manifests import scalable_index
from scheduler.model.manifests.templates import group_kind

_JOB = ("batch", "Job")
_STATEFUL_SETS = (("apps", "StatefulSet"), ("apps.kruise.io", "StatefulSet"))
_POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"

MAX_SET_NAME_LENGTH = 52
"""Kubernetes labels the pods of a set with its name and 11 more characters, 63 in all."""
_DIGEST_LENGTH = 8


def numbered_set_in(manifests: Sequence[Mapping[str, Any]]) -> str:
    """The manifest that `replicas` scales, as `KIND NAME`, if its pods have numbers; else ""."""
    index = scalable_index(manifests)
    return "" if index is None or not _is_numbered(manifests[index]) else title_of(manifests[index])


def total_completions(manifests: Sequence[Mapping[str, Any]]) -> int | None:
    """What the Job that `replicas` scales has to complete in all; None: it is not to be divided.

    An Indexed Job stays whole. A Job without `completions` ends when its queue of work is empty.
    """
    index = scalable_index(manifests)
    if index is None or group_kind(manifests[index]) != _JOB or _is_numbered(manifests[index]):
        return None
    return _count_at(manifests[index], "completions")


def max_replicas(manifests: Sequence[Mapping[str, Any]]) -> int | None:
    """The most pods that ever run at once, by the completions of a Job; None: no such limit."""
    index = scalable_index(manifests)
    if index is None or group_kind(manifests[index]) != _JOB:
        return None
    return _count_at(manifests[index], "completions")


def with_completions(
    manifests: Sequence[Mapping[str, Any]], completions: int, total: int
) -> tuple[dict[str, Any], ...]:
    """The manifests with a part of the completions in the Job that `replicas` scales.

    No more pods run than are to complete. Tolerated failures are divided too, rounded up.

    Args:
        manifests: the manifests, with the pods of the site.
        completions: the part.
        total: the completions of all sites.
    """
    divided = [dict(each) for each in manifests]
    index = scalable_index(divided)
    if index is None:
        return tuple(divided)
    spec = {**mapping_or_empty(divided[index].get("spec")), "completions": completions}
    parallelism = spec.get("parallelism", 1)
    spec["parallelism"] = min(parallelism, completions)
    limit = spec.get("backoffLimit")
    if isinstance(limit, int) and total > 0:
        spec["backoffLimit"] = -(-limit * completions // total)
    divided[index]["spec"] = spec
    return tuple(divided)


def has_ordinals_start(manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the manifest that `replicas` scales can begin with another number than 0.

    `spec.ordinals.start` of StatefulSets is in Kubernetes since 1.27.
    """
    index = scalable_index(manifests)
    return index is not None and group_kind(manifests[index]) == _STATEFUL_SETS[0]


def with_ordinals(manifests: Sequence[Mapping[str, Any]], first: int) -> tuple[dict[str, Any], ...]:
    """The manifests with the numbered set beginning `first` after the number it begins with."""
    numbered = [dict(each) for each in manifests]
    index = scalable_index(numbered)
    if index is None or not has_ordinals_start(numbered):
        return tuple(numbered)
    spec = dict(mapping_or_empty(numbered[index].get("spec")))
    ordinals = mapping_or_empty(spec.get("ordinals"))
    own = ordinals.get("start")
    start = first + (own if isinstance(own, int) else 0)
    numbered[index]["spec"] = {**spec, "ordinals": {**ordinals, "start": start}}
    return tuple(numbered)


def named_for_site(manifests: Sequence[Mapping[str, Any]], site: str) -> tuple[dict[str, Any], ...]:
    """The manifests with the numbered set named after its site, and all that refers to it by name.

    References are those of autoscalers (`kind` and `name`) and selectors of single pods. Services
    keep their names: each site has its own.
    """
    named = [dict(each) for each in manifests]
    index = scalable_index(named)
    if index is None or not _is_numbered(named[index]):
        return tuple(named)
    target = named[index]
    metadata = mapping_or_empty(target.get("metadata"))
    old = str(metadata.get("name", ""))
    new = set_name_at(old, site)
    renamed = {**target, "metadata": {**metadata, "name": new}}
    references = _References(group_kind(target), old, new)
    return tuple(
        references.rewrite(renamed if position == index else each)
        for position, each in enumerate(named)
    )


def numbered_pods_at(
    manifests: Sequence[Mapping[str, Any]], *, site: str | None, first: int, count: int
) -> tuple[list[str], list[str]]:
    """The pods of a StatefulSet at a site, and the claims that its templates make for them.

    The set is the one that replicas scale; a claim is named `TEMPLATE-SET-ORDINAL` (Kubernetes,
    "StatefulSet basics").

    Args:
        manifests: the objects of the workload.
        site: the site, if the set is named after it (`identity: PerSite`); else None.
        first: the first ordinal there, without the start that the manifest states.
        count: the pods there.

    Returns:
        Names of pods and of claims; none where pods have no ordinals.
    """
    index = scalable_index(manifests)
    if index is None or group_kind(manifests[index]) not in _STATEFUL_SETS:
        return [], []
    spec = mapping_or_empty(manifests[index].get("spec"))
    start = mapping_or_empty(spec.get("ordinals")).get("start")
    begin = first + (start if isinstance(start, int) and not isinstance(start, bool) else 0)
    written = str(mapping_or_empty(manifests[index].get("metadata")).get("name", ""))
    name = written if site is None else set_name_at(written, site)
    pods = [f"{name}-{ordinal}" for ordinal in range(begin, begin + count)]
    templates = [
        str(mapping_or_empty(each.get("metadata")).get("name", ""))
        for each in mappings_in(spec.get("volumeClaimTemplates"))
    ]
    return pods, [f"{template}-{pod}" for template in templates for pod in pods]


def set_name_at(name: str, site: str) -> str:
    """The name of a set at a site; what is too long for Kubernetes ends with a digest."""
    full = f"{name}-{site}".replace(".", "-")
    if len(full) <= MAX_SET_NAME_LENGTH:
        return full
    digest = sha256(f"{name}/{site}".encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{full[: MAX_SET_NAME_LENGTH - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}"


class _References:
    """Rewrites what refers to a set, or to one of its pods, by name."""

    def __init__(self, group_and_kind: tuple[str, str], old: str, new: str) -> None:
        self._group, self._kind = group_and_kind
        self._old, self._new = old, new

    def rewrite(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """A manifest with references rewritten below its top level."""
        return {key: self._value(value) for key, value in manifest.items()}

    def _value(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, list | tuple):
            return [self._value(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        after = {key: self._value(each) for key, each in value.items()}
        if self._is_reference(value):
            after["name"] = self._new
        pod = value.get(_POD_NAME_LABEL)
        if isinstance(pod, str) and pod.startswith(f"{self._old}-"):
            ordinal = pod[len(self._old) + 1 :]
            if ordinal.isdecimal():
                after[_POD_NAME_LABEL] = f"{self._new}-{ordinal}"
        return after

    def _is_reference(self, value: Mapping[str, Any]) -> bool:
        if (value.get("kind"), value.get("name")) != (self._kind, self._old):
            return False
        version = value.get("apiVersion")
        return version is None or str(version).rpartition("/")[0] == self._group


def _is_numbered(manifest: Mapping[str, Any]) -> bool:
    if group_kind(manifest) == _JOB:
        return mapping_or_empty(manifest.get("spec")).get("completionMode") == "Indexed"
    return group_kind(manifest) in _STATEFUL_SETS


def _count_at(manifest: Mapping[str, Any], field: str) -> int | None:
    value = mapping_or_empty(manifest.get("spec")).get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
