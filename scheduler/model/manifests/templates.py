"""Finds pod specs in manifests of any kind, by what they look like and by path. Pure.

A pod spec is a mapping with a list of containers, or the `spec` of a key that ends in `template`.
Kinds that only describe others (definitions, stored revisions) hold none.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from scheduler.model.manifests.containers import SCALARS, mapping_or_empty, mappings_in

GroupKind = tuple[str, str]
"""(API group, kind); the group of core kinds is empty."""

_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_ONE_CONTAINER = ("container", "script")
_POD_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_DESCRIBING_KINDS: frozenset[GroupKind] = frozenset(
    {
        ("", "ConfigMap"),
        ("", "PodTemplate"),
        ("", "Secret"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apps", "ControllerRevision"),
        ("kueue.x-k8s.io", "Workload"),
        ("policy", "PodSecurityPolicy"),
        ("security.openshift.io", "SecurityContextConstraints"),
    }
)


class PodSpecAt(NamedTuple):
    """A pod spec in a manifest.

    Attributes:
        path: of the mapping that holds `metadata` and `spec`; "" for a Pod.
        spec_path: of the pod spec itself.
        template: what holds the spec, with the metadata of the pods if it has any.
        spec: the pod spec.
        is_possible: whether it is only a part of a custom object, which an operator may copy into
            a pod or into a container.
    """

    path: str
    spec_path: str
    template: Mapping[str, Any]
    spec: Mapping[str, Any]
    is_possible: bool = False


def group_kind(manifest: Mapping[str, Any]) -> GroupKind:
    """The API group and the kind of a manifest: kinds are never compared without their group."""
    group, slash, _ = str(manifest.get("apiVersion")).partition("/")
    return (group if slash else "", str(manifest.get("kind")))


def describes_others(manifest: Mapping[str, Any]) -> bool:
    """Whether what looks like pods in a manifest is data, or the form of other objects."""
    return group_kind(manifest) in _DESCRIBING_KINDS


def find_pod_specs(manifest: Mapping[str, Any]) -> Iterator[PodSpecAt]:
    """All pod specs of a manifest, whatever its kind."""
    if group_kind(manifest) in _DESCRIBING_KINDS:
        return
    found: list[PodSpecAt] = []
    _find_in(manifest, "", "", manifest, "", found)
    yield from found


def find_possible_pod_parts(manifest: Mapping[str, Any]) -> Iterator[PodSpecAt]:
    """The parts of a custom object that have fields of pods or of containers, at any depth.

    Operators make pods of forms of their own: a single container, steps, fields of a pod spec
    beside their own ones. What these fields are called is the same everywhere.
    """
    if is_custom(manifest):
        yield from _find_parts(manifest, "")


def is_custom(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is of a kind that Kubernetes itself does not have."""
    group = group_kind(manifest)[0]
    is_built_in = "." not in group or group in _GROUPS_OF_KUBERNETES
    return not is_built_in and group_kind(manifest) not in _DESCRIBING_KINDS


def _find_parts(value: object, path: str) -> Iterator[PodSpecAt]:
    if isinstance(value, Mapping):
        if not _FIELDS_OF_PODS.isdisjoint(value) or any(is_context(each) for each in value):
            yield PodSpecAt(path, path, {}, value, is_possible=True)
        for name, each in value.items():
            yield from _find_parts(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _find_parts(each, f"{path}[{index}]")


_PRIVILEGED_TEXT = re.compile(
    r"""\b(?:hostIPC|hostNetwork|hostPID|hostProcess|privileged)["']?\s*:\s*["']?true\b"""
    r"""|\bhostPath["']?\s*:"""
)


def find_texts_of_privileged_pods(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Paths of texts of a custom object that hold YAML or JSON of a pod, as patches of pods do."""
    if is_custom(manifest):
        yield from _texts_of_privileged_pods(manifest, "")


def _texts_of_privileged_pods(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts_of_privileged_pods(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _texts_of_privileged_pods(each, f"{path}[{index}]")
    elif isinstance(value, str) and _PRIVILEGED_TEXT.search(value):
        yield path


def is_context(field: str) -> bool:
    """Whether a field holds a security context, by whatever name: `podSecurityContext` too."""
    return field.casefold().endswith("securitycontext")


_FIELDS_OF_PODS = frozenset(
    {
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostPath",
        "lifecycle",
        "livenessProbe",
        "ports",
        "readinessProbe",
        "startupProbe",
        "volumes",
    }
)
_GROUPS_OF_KUBERNETES = frozenset(
    {
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)


def _find_in(  # noqa: PLR0917 - where it is, and where its holder is
    value: object,
    path: str,
    key: str,
    parent: Mapping[str, Any],
    parent_path: str,
    found: list[PodSpecAt],
) -> None:
    """Adds the pod specs in a value; scalars are passed over before their path is written."""
    if isinstance(value, Mapping):
        is_template = key == "spec" and _is_name_of_template(parent_path)
        if is_template or any(
            each in value and mappings_in(value[each]) for each in _CONTAINER_LISTS
        ):
            in_template = key == "spec"
            where = parent_path if in_template else path
            found.append(PodSpecAt(where, path, parent if in_template else {}, value))
        for name, each in value.items():
            if not isinstance(each, SCALARS):
                where = f"{path}.{name}" if path else str(name)
                _find_in(each, where, name, value, path, found)
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            if not isinstance(each, SCALARS):
                where = f"{path}[{index}]"
                _find_in(each, where, "", parent, where, found)


def _is_name_of_template(path: str) -> bool:
    key = path.rpartition(".")[2].partition("[")[0]
    return key.casefold().endswith(("template", "templates"))


def find_uncounted_pods(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Paths of all that shows that a manifest of an unknown kind makes pods.

    These are pod specs, single containers with an image, and requests or limits of compute
    resources, which operators copy into the pods that they make.
    """
    if group_kind(manifest) in _DESCRIBING_KINDS:
        return
    for found in find_pod_specs(manifest):
        if any(mappings_in(found.spec.get(each)) for each in _CONTAINER_LISTS):
            yield found.path or found.spec_path
    yield from _find_requests(manifest.get("spec"), "spec")


def _find_requests(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        resources = mapping_or_empty(value.get("resources"))
        asked = [mapping_or_empty(resources.get(each)) for each in ("requests", "limits")]
        has_image = any(mapping_or_empty(value.get(each)).get("image") for each in _ONE_CONTAINER)
        if has_image or any(_POD_RESOURCES & set(each) for each in asked):
            yield path
        for name, each in value.items():
            if name not in _CONTAINER_LISTS:
                yield from _find_requests(each, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _find_requests(each, f"{path}[{index}]")


_STEP = re.compile(r"([^.\[\]]+)((?:\[(?:\*|\d+)\])*)(?:\.|$)")


def values_at(manifest: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    """(path, value, what holds it) for all that a path matches.

    Args:
        manifest: the object.
        path: as `spec.workers[*].template`; `*` also stands for any key of a mapping.
    """
    steps: list[str] = []
    for name, indexes in _STEP.findall(path.strip().removeprefix(".")):
        steps += [name, *(each.strip("[]") for each in re.findall(r"\[[^\]]*\]", indexes))]
    found: list[tuple[str, Any, Any]] = [("", manifest, {})]
    for step in steps:
        found = [each for one in found for each in _children(one, step)]
    yield from found


def _children(at: tuple[str, Any, Any], step: str) -> Iterator[tuple[str, Any, Any]]:
    path, value, _ = at
    if isinstance(value, Mapping):
        for name in value if step == "*" else (step,):
            if name in value:
                yield (f"{path}.{name}" if path else str(name), value[name], value)
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            if step in ("*", str(index)):
                yield (f"{path}[{index}]", each, value)
