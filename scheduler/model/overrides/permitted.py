"""Which fields of which kinds an override may change. Pure.

The list names what may be changed, never what may not, so that an unknown field is refused. What a
decision, a quota or a check counts by is not in it: requests, replicas, nodes, claims, names, kinds
and namespaces. `checked.py` also compares what is read of the result.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scheduler.model.manifests.checks import title_of
from scheduler.model.manifests.pod_kinds import pod_kind_of
from scheduler.model.manifests.templates import GroupKind, group_kind, values_at
from scheduler.model.overrides.json_patch import Pointer, format_pointer

_METADATA = (("metadata", "annotations"), ("metadata", "labels"))
_TEMPLATE_METADATA = ("metadata", "annotations")
_POD_FIELDS = frozenset(
    {
        "automountServiceAccountToken",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "hostAliases",
        "imagePullSecrets",
        "securityContext",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "volumes",
    }
)
_CONTAINER_LISTS = ("containers", "initContainers")
_CONTAINER_FIELDS = frozenset(
    {
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "ports",
        "readinessProbe",
        "securityContext",
        "startupProbe",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "volumeMounts",
        "workingDir",
    }
)
_FIELDS_OF_KINDS: Mapping[GroupKind, tuple[Pointer, ...]] = {
    ("", "ConfigMap"): (("data",), ("binaryData",)),
    ("", "Service"): (
        ("spec", "externalTrafficPolicy"),
        ("spec", "internalTrafficPolicy"),
        ("spec", "loadBalancerClass"),
        ("spec", "loadBalancerSourceRanges"),
        ("spec", "ports"),
        ("spec", "sessionAffinity"),
        ("spec", "type"),
    ),
    ("networking.k8s.io", "Ingress"): (("spec",),),
}
"""Of kinds without pods, what is a matter of the site: addresses, names and settings."""

_SHARES = (
    "the decision divides replicas; write spec.placement: weights for shares, spread by site with "
    "maxPerGroup for the most at each site, or a workload of its own for a number at one site"
)
_HINTS = {
    "affinity": "nodes are required by spec.placement and the decision",
    "kind": "it would be another object",
    "apiVersion": "it would be another object",
    "name": "orders and reports know the object by it",
    "namespace": "orders and reports know the object by it",
    "nodeName": "nodes are chosen at the site",
    "nodeSelector": "the decision has counted the nodes that it selects",
    "replicas": _SHARES,
    "parallelism": _SHARES,
    "completions": "the decision divides them",
    "requests": "the decision has counted them",
    "limits": "the decision has counted them",
    "resources": "the decision has counted them; a workload of its own can have others",
    "tolerations": "the decision has counted the nodes that they tolerate",
    "topologySpreadConstraints": "the decision has counted by them",
}


def template_pointers(manifest: Mapping[str, Any], paths: Iterable[str]) -> tuple[Pointer, ...]:
    """Where a manifest has pod templates; of an unknown kind those at `podTemplatePaths`.

    Args:
        manifest: the object.
        paths: `spec.demand.podTemplatePaths`.
    """
    kind = pod_kind_of(manifest)
    where = paths if kind is None else [each.path for each in kind.read(manifest)]
    found = [
        tuple(_steps(at))
        for path in dict.fromkeys(where)
        for at, template, _ in values_at(manifest, path)
        if isinstance(template, Mapping)
    ]
    return tuple(dict.fromkeys(found))


def _steps(path: str) -> Iterator[str]:
    """The steps of a path such as `spec.tasks[0].template`.

    A name with a dot is cut, and then nothing inside is permitted.
    """
    for part in filter(None, path.split(".")):
        name, *indexes = part.split("[")
        yield name
        yield from (each.rstrip("]") for each in indexes)


def problem_of_path(
    manifest: Mapping[str, Any], templates: Iterable[Pointer], pointer: Pointer
) -> str:
    """Why a field of a manifest cannot be changed; empty if it can.

    Args:
        manifest: the object.
        templates: where it has pod templates.
        pointer: of the field.
    """
    templates = tuple(templates)
    fields = _FIELDS_OF_KINDS.get(group_kind(manifest), ())
    if not templates and not fields:
        return f"{title_of(manifest)}: objects of this kind are the same at every site"
    # The labels of a Pod are those that selectors and budgets know it by.
    metadata = _METADATA[:1] if () in templates else _METADATA
    is_permitted = any(_is_in(pointer, each) for each in (*fields, *metadata)) or any(
        _is_in_template(pointer[len(each) :]) for each in templates if _is_in(pointer, each)
    )
    if is_permitted:
        return ""
    hint = next((_HINTS[each] for each in reversed(pointer) if each in _HINTS), "")
    return f"{format_pointer(pointer)} of {title_of(manifest)} is the same at every site" + (
        f": {hint}"
        if hint
        else "; overrides change containers' images, commands, environment, "
        "probes and mounts, pod settings without requests, ConfigMaps, Services and Ingresses"
    )


def _is_in(pointer: Pointer, place: Pointer) -> bool:
    return pointer[: len(place)] == place


def _is_in_template(inside: Pointer) -> bool:
    """Whether a pointer into a pod template leads to what may be changed."""
    if _is_in(inside, _TEMPLATE_METADATA):
        return True
    if len(inside) < 2 or inside[0] != "spec":  # noqa: PLR2004 - spec and a field of it
        return False
    if inside[1] in _POD_FIELDS:
        return True
    has_field = len(inside) > 3 and inside[1] in _CONTAINER_LISTS  # noqa: PLR2004 - list, index
    return has_field and inside[3] in _CONTAINER_FIELDS
