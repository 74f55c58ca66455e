"""What the agent refuses, even when the hub has signed it. Pure.

The hub makes the same checks before it sends an order; a site does not rely on that. Each refusal
is a sentence for the tenant: which manifest, what is wrong, what to write instead.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agents.member.api import Tree
from agents.orders.labels import SYSTEM_NAMESPACE
from agents.protocol.errors import WireError
from agents.protocol.orders import OrderContent, api_group_of, format_group_kind
from agents.protocol.sealing.box import SealingKey

ScopeLookup = Callable[[str, str], bool | None]
"""Whether a kind (apiVersion, kind) is namespaced; None if the member does not serve it."""

_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9:._-]{0,251}[A-Za-z0-9])?")
_NAMESPACE_PATTERN: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_API_VERSION_PATTERN: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,198}[a-z0-9])?/)?v[a-z0-9]{1,30}")
_KIND_PATTERN: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")


def find_refusals(
    content: OrderContent,
    is_namespaced: ScopeLookup,
    secrets: Sequence[Mapping[str, Any]] = (),
) -> tuple[str, ...]:
    """The reasons not to apply an order; empty if it may be applied.

    A kind that the member does not serve is not refused, because it may be installed later.

    Args:
        content: the order.
        is_namespaced: the scope of a kind.
        secrets: what was sealed in it; these are Secrets and nothing else.
    """
    found: list[str] = []
    if not _NAMESPACE_PATTERN.fullmatch(content.namespace):
        found.append(f"namespace {content.namespace!r} is not a valid namespace name")
    seen: set[tuple[str, str, str]] = set()
    sealed_from = len(content.manifests)
    for at, manifest in enumerate((*content.manifests, *secrets)):
        is_sealed = at >= sealed_from
        where = f"sealed[{at - sealed_from}]" if is_sealed else f"manifests[{at}]"
        problem = (
            _check_form(manifest)
            or _check_namespace(content, manifest, is_namespaced)
            or (_check_sealed(manifest) if is_sealed else _check_inline_secret(manifest))
        )
        if problem:
            found.append(f"{where}: {problem}")
            continue
        key = _manifest_identity(content, manifest)
        if key in seen:
            found.append(f"{where}: duplicate object {key[1]} {key[2]}; merge the two manifests")
        seen.add(key)
    return tuple(found)


def _check_form(manifest: Mapping[str, Any]) -> str | None:
    api_version, kind, metadata = (manifest.get(k) for k in ("apiVersion", "kind", "metadata"))
    if not isinstance(api_version, str) or not _API_VERSION_PATTERN.fullmatch(api_version):
        return "not a Kubernetes object: apiVersion is missing or malformed, expected e.g. apps/v1"
    if not isinstance(kind, str) or not _KIND_PATTERN.fullmatch(kind):
        return "not a Kubernetes object: kind is missing or malformed, expected e.g. Deployment"
    if not isinstance(metadata, dict):
        return "not a Kubernetes object: metadata is missing"
    name = metadata.get("name")
    if not isinstance(name, str) or not _NAME_PATTERN.fullmatch(name):
        return f"{kind}: metadata.name is missing or malformed; generateName is not supported"
    if kind.endswith("List") and "items" in manifest:
        return f"{kind}: lists are not supported; write each item as a manifest of its own"
    return None


def _check_namespace(
    content: OrderContent, manifest: Mapping[str, Any], is_namespaced: ScopeLookup
) -> str | None:
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    name, namespace = manifest["metadata"]["name"], manifest["metadata"].get("namespace")
    scope = is_namespaced(api_version, kind)
    if scope is False:
        if format_group_kind(api_version, kind) in content.cluster_kinds:
            return None
        return (
            f"{kind} {name} is cluster-scoped, and the tenant may not use that kind; "
            f"{format_group_kind(api_version, kind)} would have to be in Tenant.spec.clusterKinds"
        )
    if namespace in (None, content.namespace):
        return (
            None
            if content.namespace != SYSTEM_NAMESPACE
            else f"namespace {SYSTEM_NAMESPACE} is reserved for Kapok"
        )
    if namespace in content.namespaces and namespace != SYSTEM_NAMESPACE:
        return None
    return (
        f"{kind} {name} names namespace {namespace!r}; manifests go into the workload's namespace "
        f"{content.namespace!r}: leave metadata.namespace out"
    )


def _check_inline_secret(manifest: Mapping[str, Any]) -> str | None:
    if manifest["apiVersion"] != "v1" or manifest["kind"] != "Secret":
        return None
    if not manifest.get("data") and not manifest.get("stringData"):
        return None
    return (
        f"Secret {manifest['metadata']['name']} has inline data, which the hub would store; "
        "create the Secret at the site and refer to it"
    )


def _check_sealed(manifest: Mapping[str, Any]) -> str | None:
    if (manifest["apiVersion"], manifest["kind"]) == ("v1", "Secret"):
        return None
    return (
        f"{manifest['kind']} {manifest['metadata']['name']} is no Secret, and only these are sealed"
    )


def _manifest_identity(content: OrderContent, manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    group = api_group_of(manifest["apiVersion"])
    namespace = manifest["metadata"].get("namespace") or content.namespace
    return group, manifest["kind"], f"{namespace}/{manifest['metadata']['name']}"


def open_secrets(
    content: OrderContent, key: SealingKey | None
) -> tuple[tuple[Tree, ...], tuple[str, ...]]:
    """The sealed Secrets of an order, or why they cannot be opened.

    They are opened to be applied, and are on no disk of the agent.

    Args:
        content: the order, with sealed content.
        key: opens it; None: there is none.
    """
    if key is None or content.sealed is None:
        return (), ("this agent has no key to open sealed content",)
    try:
        plain = key.open(content.sealed, site=content.site, order_id=content.id)
    except WireError as error:
        return (), (f"{error}; the hub seals it again when it has the site's present key",)
    return tuple(json.loads(plain)), ()
