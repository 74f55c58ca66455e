"""Refuses manifests that are no Kubernetes objects, or that a workload may not have. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from scheduler.model.manifests.cleaning import MAX_DEPTH
from scheduler.model.manifests.containers import SCALARS, mapping_or_empty
from scheduler.model.manifests.secrets import carries_secret_data, is_secret
from scheduler.model.manifests.templates import GroupKind, group_kind
from scheduler.model.manifests.texts import (
    has_long_number,
    is_surely_flat,
    may_hold,
    text_of,
)

MAX_MANIFESTS_BYTES = 1_000_000
"""The most for one workload, as JSON: etcd refuses objects above 1.5 MB, and status needs space.

Orders carry them to agents in parts, so that no message is larger than a broker's limit of 1 MiB.
"""

MAX_KEY_LENGTH = 1024
MAX_INTEGER = 2**63 - 1
"""What agents accept, or a little less: what is accepted here can always be ordered."""

OWN_PREFIX = "kapok.dev/"
READY_WHEN = "kapok.dev/ready-when"
"""Annotation of a manifest that states when its object is ready, for the agents."""
SIMULATION_KEYS = frozenset(
    {
        "kapok.dev/simulated-seconds",
        "kapok.dev/simulated-load",
        "kapok.dev/simulated-log",
        "kapok.dev/simulate-fault",
    }
)
"""Only simulated clusters read these annotations."""
_TENANTS_KEYS = SIMULATION_KEYS | {READY_WHEN}
"""The annotations of ours that a manifest may have."""

_IDENTITY_PATTERNS = {
    "apiVersion": re.compile(r"([a-z0-9]([a-z0-9.-]{0,198}[a-z0-9])?/)?v[a-z0-9]{1,30}"),
    "kind": re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}"),
}
_NAME_PATTERN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9:._-]{0,251}[A-Za-z0-9])?")
"""Names of all kinds, of which those of RBAC may have capitals and colons; as agents read them."""

_CORE_KINDS = frozenset(
    {
        "Binding",
        "ConfigMap",
        "Endpoints",
        "Event",
        "LimitRange",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ReplicationController",
        "ResourceQuota",
        "Secret",
        "Service",
        "ServiceAccount",
    }
)
"""The kinds of `v1`; other spellings of them are refused."""

_CLUSTER_SCOPED_KINDS: frozenset[GroupKind] = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("networking.k8s.io", "IPAddress"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("node.k8s.io", "RuntimeClass"),
        ("policy", "PodSecurityPolicy"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("resource.k8s.io", "DeviceClass"),
        ("resource.k8s.io", "ResourceSlice"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
        ("storage.k8s.io", "VolumeAttributesClass"),
    }
)
_BUILT_IN_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "extensions", "policy"}) | {
    group for group, _ in _CLUSTER_SCOPED_KINDS
}
_MORE_BUILT_IN_GROUPS = frozenset({"coordination.k8s.io", "discovery.k8s.io", "events.k8s.io"})


class BadManifest(ValueError):
    """A manifest is not a Kubernetes object, or has what a workload may not have."""


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
    text = msgspec.json.encode(list(manifests))
    if len(text) > MAX_MANIFESTS_BYTES:
        raise BadManifest(
            f"spec.manifests: {len(text)} bytes; at most {MAX_MANIFESTS_BYTES}: divide the objects "
            "among several workloads, and keep large files in an image"
        )
    for index, manifest in enumerate(manifests):
        check_depth(manifest, f"spec.manifests[{index}]")
        _check_identity(manifest, f"spec.manifests[{index}]")
    defined = _defined_scopes(manifests)
    allowed_kinds, others = frozenset(cluster_kinds), frozenset(extra_namespaces)
    has_own_keys = may_hold(text, OWN_PREFIX)
    seen: set[tuple[str, str, str, str]] = set()
    identities = identities_of(manifests, namespace)
    for index, (manifest, identity) in enumerate(zip(manifests, identities, strict=True)):
        path = f"spec.manifests[{index}]"
        is_cluster_scoped = _is_cluster_scoped(manifest, defined)
        if is_cluster_scoped:
            _check_cluster_kind(manifest, path, allowed_kinds)
            _check_own_namespace(manifest, path, frozenset({namespace, *others}))
        else:
            _check_namespace(manifest, path, namespace, others)
        if identity in seen:
            raise BadManifest(f"{path}: {title_of(manifest)} is listed twice; keep one")
        seen.add(identity)
        if carries_secret_data(manifest):
            raise BadManifest(
                f"{path}: {title_of(manifest)} has inline data; "
                "refer to a Secret that exists at the site"
                + ("" if is_secret(manifest) else ", and leave copies of it in annotations out")
            )
        if has_own_keys:
            _check_own_keys(manifest, path)


def identities_of(
    manifests: Sequence[Mapping[str, Any]], namespace: str
) -> Iterator[tuple[str, str, str, str]]:
    """(namespace, group, kind, name) of each manifest; no namespace for cluster-scoped kinds."""
    defined = _defined_scopes(manifests)
    for each in manifests:
        metadata = mapping_or_empty(each.get("metadata"))
        where = str(metadata.get("namespace") or namespace)
        if _is_cluster_scoped(each, defined):
            where = ""
        yield (where, *group_kind(each), str(metadata.get("name")))


def is_readable_object(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is one Kubernetes object with a usable kind and name."""
    try:
        check_depth(manifest, "")
        _check_identity(manifest, "")
    except BadManifest:
        return False
    return True


def _check_identity(manifest: Mapping[str, Any], path: str) -> None:
    for field in ("apiVersion", "kind"):
        if not isinstance(manifest.get(field), str) or not manifest[field]:
            raise BadManifest(f"{path}: not a Kubernetes object, it has no {field}")
        if not _IDENTITY_PATTERNS[field].fullmatch(manifest[field]):
            raise BadManifest(f"{path}.{field}: {manifest[field][:64]!r} is no {field}")
    kind = manifest["kind"]
    _check_is_no_list(manifest, path)
    if manifest["apiVersion"] == "v1" and kind not in _CORE_KINDS:
        hint = next((each for each in _CORE_KINDS if each.casefold() == kind.casefold()), "")
        raise BadManifest(
            f"{path}.kind: v1 has no kind {kind}"
            + (f"; write {hint}" if hint else "; write the apiVersion of its group")
        )
    if not kind[0].isupper():
        raise BadManifest(f"{path}.kind: {kind} is no kind; kinds begin with a capital letter")
    metadata = mapping_or_empty(manifest.get("metadata"))
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        if metadata.get("generateName"):
            raise BadManifest(
                f"{path}.metadata.generateName: {kind} cannot be kept track of by a generated "
                "name; write metadata.name"
            )
        if name is not None and not isinstance(name, str):
            raise BadManifest(
                f"{path}.metadata.name: {kind}: {str(name)[:_MAX_NAME_SHOWN]} is no text; "
                "write it in quotes"
            )
        raise BadManifest(f"{path}: {kind} has no metadata.name")
    if not _NAME_PATTERN.fullmatch(name):
        raise BadManifest(
            f"{path}.metadata.name: {name[:64]!a} is no name of an object; write at most 253 "
            "letters, digits, '-', '.', '_' or ':', with a letter or digit first and last"
        )


def _check_is_no_list(manifest: Mapping[str, Any], path: str) -> None:
    """Refuses lists by any name: an object with `items` is a list to every client of the API."""
    kind = str(manifest["kind"])
    is_core_list = manifest["apiVersion"] == "v1" and kind.casefold().endswith("list")
    if is_core_list or isinstance(manifest.get("items"), list | tuple):
        raise BadManifest(
            f"{path}: {kind} is a list; write each item as a manifest of its own"
            + (", and refer to Secrets that exist at the site" if "ecret" in kind else "")
        )


def check_depth(value: object, path: str) -> None:
    """Refuses deep nesting and long keys, before anything else walks through a manifest.

    Raises:
        BadManifest: the message names the manifest.
    """
    text = text_of(value)
    if text is None or not is_surely_flat(
        text, max_depth=MAX_DEPTH, max_name_length=MAX_KEY_LENGTH
    ):
        _check_depth(value, path, 1)


def _check_depth(value: object, path: str, depth: int) -> None:
    if isinstance(value, Mapping | list | tuple) and depth > MAX_DEPTH:
        raise BadManifest(f"{path}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        for key, each in value.items():
            if len(key) > MAX_KEY_LENGTH:
                raise BadManifest(f"{path}: a key has more than {MAX_KEY_LENGTH} characters")
            if not isinstance(each, SCALARS):
                _check_depth(each, path, depth + 1)
    elif isinstance(value, list | tuple):
        for each in value:
            if not isinstance(each, SCALARS):
                _check_depth(each, path, depth + 1)


def check_values(manifests: Sequence[Mapping[str, Any]]) -> None:
    """Refuses integers beyond 64 bits, which no agent would accept.

    Raises:
        BadManifest: the message names the manifest.
    """
    text = text_of(list(manifests))
    if text is not None and not has_long_number(text):
        return
    for index, manifest in enumerate(manifests):
        _check_values(manifest, f"spec.manifests[{index}]")


def _check_values(value: object, path: str) -> None:
    if isinstance(value, str):
        return
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise BadManifest(f"{path}: a number has more than 64 bits")
    elif isinstance(value, list | tuple):
        for each in value:
            _check_values(each, path)
    elif isinstance(value, Mapping):
        for each in value.values():
            _check_values(each, path)


def _defined_scopes(manifests: Sequence[Mapping[str, Any]]) -> dict[GroupKind, bool]:
    """Whether kinds that the manifests define themselves are cluster-scoped."""
    found: dict[GroupKind, bool] = {}
    for each in definitions_in(manifests):
        spec = mapping_or_empty(each.get("spec"))
        kind = str(mapping_or_empty(spec.get("names")).get("kind"))
        found[str(spec.get("group")), kind] = spec.get("scope") == "Cluster"
    return found


def definitions_in(manifests: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The CustomResourceDefinitions among manifests."""
    wanted = ("apiextensions.k8s.io", "CustomResourceDefinition")
    return [each for each in manifests if group_kind(each) == wanted]


def kinds_of_unknown_scope(manifests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Custom kinds, as `GROUP/VERSION/KIND`, of which only a site's cluster knows the scope."""
    defined = _defined_scopes(manifests)
    return tuple(
        sorted(
            {
                api_kind(each)
                for each in manifests
                if group_kind(each) not in defined
                and group_kind(each)[0] not in _BUILT_IN_GROUPS | _MORE_BUILT_IN_GROUPS
            }
        )
    )


def _is_cluster_scoped(manifest: Mapping[str, Any], defined: Mapping[GroupKind, bool]) -> bool:
    kind = group_kind(manifest)
    return kind in _CLUSTER_SCOPED_KINDS or defined.get(kind, False)


def _check_cluster_kind(
    manifest: Mapping[str, Any], path: str, cluster_kinds: frozenset[str]
) -> None:
    if not cluster_kinds & names_of_kind(manifest):
        raise BadManifest(
            f"{path}: {title_of(manifest)} is cluster-scoped; "
            f"the Tenant's clusterKinds must list {api_kind(manifest)}"
        )


def _check_own_namespace(
    manifest: Mapping[str, Any], path: str, namespaces: frozenset[str]
) -> None:
    """Refuses Namespaces of others: a withdrawal would delete all that they hold."""
    name = mapping_or_empty(manifest.get("metadata")).get("name")
    if group_kind(manifest) == ("", "Namespace") and name not in namespaces:
        raise BadManifest(
            f"{path}: Namespace {name} is not the workload's; "
            "the Tenant's extraNamespaces must list it"
        )


def names_of_kind(manifest: Mapping[str, Any]) -> frozenset[str]:
    """The forms in which a Tenant's `clusterKinds` may name the kind of a manifest."""
    return names_of_api_kind(api_kind(manifest))


def names_of_api_kind(full: str) -> frozenset[str]:
    """The forms in which a Tenant's `clusterKinds` may name a kind: with and without version."""
    version, _, kind = full.rpartition("/")
    group = version.rpartition("/")[0]
    return frozenset({kind, full, f"{group}/{kind}" if group else kind})


def _check_namespace(
    manifest: Mapping[str, Any], path: str, namespace: str, others: frozenset[str]
) -> None:
    inside = mapping_or_empty(manifest.get("metadata")).get("namespace")
    if inside is not None and not (
        isinstance(inside, str) and (inside == namespace or inside in others)
    ):
        raise BadManifest(
            f"{path}: {title_of(manifest)} names namespace {str(inside)[:64]}; "
            f"leave metadata.namespace out or write {namespace}"
        )


def _check_own_keys(value: object, path: str) -> None:
    """Refuses labels and annotations by which agents recognise their objects, at any depth."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if isinstance(each, SCALARS):
                continue
            where = f"{path}.{name}"
            folded = name.casefold()
            if folded.endswith(("labels", "annotations")) and folded != "matchlabels":
                for key in each if isinstance(each, Mapping) else ():
                    if str(key).casefold().startswith(OWN_PREFIX) and key not in _TENANTS_KEYS:
                        raise BadManifest(
                            f"{where}: {str(key)[:80]} is reserved, because agents recognise their "
                            f"objects by keys under {OWN_PREFIX}; leave it out"
                        )
            _check_own_keys(each, where)
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            if not isinstance(each, SCALARS):
                _check_own_keys(each, f"{path}[{index}]")


def api_kind(manifest: Mapping[str, Any]) -> str:
    """The kind in the form of site reports: `apps/v1/Deployment`, `v1/Service`."""
    return f"{manifest.get('apiVersion')}/{manifest.get('kind')}"


def title_of(manifest: Mapping[str, Any]) -> str:
    """Kind and name, for messages."""
    metadata = mapping_or_empty(manifest.get("metadata"))
    return f"{manifest.get('kind')} {metadata.get('name', '')}".strip()


_MAX_NAME_SHOWN = 40
