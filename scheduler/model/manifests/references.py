"""What pod templates refer to by name: objects that go along with an order. Pure.

These are ConfigMaps, Secrets, ServiceAccounts and claims of the template's namespace, and
PriorityClasses. What the manifests contain themselves, and what every cluster has by itself, is no
reference.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from scheduler.model.manifests.cleaning import LAST_APPLIED_ANNOTATIONS
from scheduler.model.manifests.containers import mapping_or_empty, mappings_in
from scheduler.model.manifests.templates import find_pod_specs, group_kind

ReferredKind = Literal[
    "ConfigMap", "PersistentVolumeClaim", "PriorityClass", "Secret", "ServiceAccount"
]
REFERRED_KINDS: Final[tuple[ReferredKind, ...]] = get_args(ReferredKind)

MAX_REFERENCES: Final = 64
"""The most that go along with one workload."""

MAX_REFERRED_NAME: Final = 220
"""Characters of a name that goes along: with its kind it is a part of an order id."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_GROUP_OF: Final = {"PriorityClass": "scheduling.k8s.io"}
"""The groups of the cluster-scoped kinds; all others are of the core group."""
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_ROOT_CERTIFICATES = "kube-root-ca.crt"
_SECRET_FIELDS = ("secretRef", "nodePublishSecretRef")
_NOT_COPIED_PREFIXES = (
    "kapok.dev/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
)


class Reference(NamedTuple):
    """An object that a pod template refers to.

    Attributes:
        kind: its kind.
        name: its name.
        is_optional: pods start without it.
        namespace: its namespace; "": that of the workload, or none for a cluster-scoped kind.
    """

    kind: ReferredKind
    name: str
    is_optional: bool = False
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}".replace(" /", " ")


def references_of(manifests: Sequence[Mapping[str, Any]], namespace: str) -> tuple[Reference, ...]:
    """What the pod templates of a workload refer to, sorted by namespace, kind and name.

    Pod templates in another namespace refer to objects of that one.

    Args:
        manifests: the objects of the workload.
        namespace: the workload's namespace.
    """
    contained: set[tuple[str, str, str]] = set()
    found: dict[tuple[str, ReferredKind, str], bool] = {}
    for manifest in manifests:
        metadata = mapping_or_empty(manifest.get("metadata"))
        stated = metadata.get("namespace")
        at = "" if stated in (None, "", namespace) else str(stated)
        group, kind = group_kind(manifest)
        if group == _GROUP_OF.get(kind, ""):
            contained.add((_namespace_of(kind, at), kind, str(metadata.get("name"))))
        for template in find_pod_specs(manifest):
            for one in _references_in(template.spec):
                key = (_namespace_of(one.kind, at), one.kind, one.name)
                found[key] = found.get(key, True) and one.is_optional
    return tuple(
        Reference(kind, name, is_optional, at)
        for (at, kind, name), is_optional in sorted(found.items())
        if (at, kind, name) not in contained
    )


def _namespace_of(kind: str, namespace: str) -> str:
    """The namespace of an object to which a template in a namespace refers."""
    return "" if kind in _GROUP_OF else namespace


def is_referred_name(name: str) -> bool:
    """Whether an object of this name may go along."""
    return len(name) <= MAX_REFERRED_NAME and _NAME.fullmatch(name) is not None


def pull_secrets_of(account: Mapping[str, Any]) -> tuple[Reference, ...]:
    """The image pull secrets of a ServiceAccount; pods start without them."""
    names = {each.get("name") for each in mappings_in(account.get("imagePullSecrets"))}
    return tuple(Reference("Secret", name, True) for name in sorted(_texts(names)))  # noqa: FBT003 - optional


def as_sent(body: Mapping[str, Any]) -> dict[str, Any]:
    """A referred object as sites get it: what people wrote, without what its cluster added.

    Args:
        body: the object as the hub has it.
    """
    metadata, kind = mapping_or_empty(body.get("metadata")), str(body.get("kind"))
    copied: dict[str, Any] = {"name": metadata.get("name")}
    labels = dict(mapping_or_empty(metadata.get("labels")))
    annotations = {
        name: value
        for name, value in mapping_or_empty(metadata.get("annotations")).items()
        if name not in LAST_APPLIED_ANNOTATIONS and not name.startswith(_NOT_COPIED_PREFIXES)
    }
    labels = {name: value for name, value in labels.items() if not name.startswith("kapok.dev/")}
    copied |= {
        field: value for field, value in (("labels", labels), ("annotations", annotations)) if value
    }
    sent = {"apiVersion": body.get("apiVersion"), "kind": kind, "metadata": copied}
    sent |= {field: body[field] for field in _FIELDS[kind] if body.get(field) is not None}
    if kind == "PersistentVolumeClaim":
        spec = dict(mapping_or_empty(sent.get("spec")))
        spec.pop("volumeName", None)  # a volume of another cluster
        sent["spec"] = spec
    return sent


_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ConfigMap": ("data", "binaryData", "immutable"),
    "PersistentVolumeClaim": ("spec",),
    "PriorityClass": ("value", "globalDefault", "description", "preemptionPolicy"),
    "Secret": ("type", "data", "immutable"),
    "ServiceAccount": ("imagePullSecrets", "automountServiceAccountToken"),
}


def _references_in(spec: Mapping[str, Any]) -> Iterator[Reference]:
    for field in _CONTAINER_LISTS:
        for container in mappings_in(spec.get(field)):
            yield from _references_of_container(container)
    for volume in mappings_in(spec.get("volumes")):
        yield from _references_of_volume(volume)
    for each in mappings_in(spec.get("imagePullSecrets")):
        yield from _reference("Secret", each.get("name"), is_optional=True)  # as kubelet takes it
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account != "default":  # every namespace has it
        yield from _reference("ServiceAccount", account)
    priority = spec.get("priorityClassName")
    if isinstance(priority, str) and not priority.startswith("system-"):  # every cluster has these
        yield from _reference("PriorityClass", priority)


def _references_of_container(container: Mapping[str, Any]) -> Iterator[Reference]:
    for variable in mappings_in(container.get("env")):
        source = mapping_or_empty(variable.get("valueFrom"))
        yield from _named("ConfigMap", source.get("configMapKeyRef"))
        yield from _named("Secret", source.get("secretKeyRef"))
    for source in mappings_in(container.get("envFrom")):
        yield from _named("ConfigMap", source.get("configMapRef"))
        yield from _named("Secret", source.get("secretRef"))


def _references_of_volume(volume: Mapping[str, Any]) -> Iterator[Reference]:
    yield from _named("ConfigMap", volume.get("configMap"))
    claim = mapping_or_empty(volume.get("persistentVolumeClaim"))
    yield from _reference("PersistentVolumeClaim", claim.get("claimName"))
    for source in mappings_in(mapping_or_empty(volume.get("projected")).get("sources")):
        yield from _named("ConfigMap", source.get("configMap"))
        yield from _named("Secret", source.get("secret"))
    for driver in volume.values():
        source = mapping_or_empty(driver)
        is_optional = source.get("optional") is True
        yield from _reference("Secret", source.get("secretName"), is_optional=is_optional)
        for field in _SECRET_FIELDS:
            yield from _named("Secret", source.get(field))


def _named(kind: ReferredKind, source: object) -> Iterator[Reference]:
    """A reference by `name`, with `optional` beside it."""
    found = mapping_or_empty(source)
    yield from _reference(kind, found.get("name"), is_optional=found.get("optional") is True)


def _reference(
    kind: ReferredKind, name: object, *, is_optional: bool = False
) -> Iterator[Reference]:
    is_everywhere = kind == "ConfigMap" and name == _ROOT_CERTIFICATES
    if isinstance(name, str) and name and not is_everywhere:
        yield Reference(kind, name, is_optional)


def _texts(values: Iterable[object]) -> Iterator[str]:
    return (each for each in values if isinstance(each, str) and each)
