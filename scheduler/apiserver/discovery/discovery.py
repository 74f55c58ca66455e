"""API discovery: the groups, versions and resources, in the aggregated form and in the old one.

Source: "API Discovery" of the Kubernetes API concepts; apidiscovery.k8s.io/v2.
"""

import re
from collections.abc import Iterable

from scheduler.apiserver.auth.access_reviews import REVIEW_KINDS, REVIEW_VERSION
from scheduler.apiserver.kinds.resources import ALL_VERBS, ResourceCatalog, ServerResource
from scheduler.hub.schema.json_types import JsonObject

AGGREGATED_CONTENT_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SCALE_GVK = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_SUBRESOURCE_VERBS = ("get", "patch", "update")
_CREATE_ONLY_SUBRESOURCES: dict[str, tuple[str, JsonObject]] = {
    "binding": ("binding", {"group": "", "version": "v1", "kind": "Binding"}),
    "eviction": ("eviction", {"group": "policy", "version": "v1", "kind": "Eviction"}),
}


def accepts_aggregated(accept: str) -> bool:
    """Whether the client accepts the aggregated form."""
    return "as=APIGroupDiscoveryList" in accept and "v=v2;" in accept.replace(" ", "") + ";"


def _resources_by_version(catalog: ResourceCatalog) -> dict[str, dict[str, list[ServerResource]]]:
    """The resources by group and version."""
    found: dict[str, dict[str, list[ServerResource]]] = {"": {"v1": []}}
    for resource in catalog.all():
        group = found.setdefault(resource.group_resource.group, {})
        group.setdefault(resource.version, []).append(resource)
    for review_group, _plural in REVIEW_KINDS:
        found.setdefault(review_group, {}).setdefault(REVIEW_VERSION, [])
    return found


def _version_sort_key(version: str) -> tuple[int, int, int]:
    """Sorts versions as Kubernetes does: v2, v1, v1beta1, v1alpha1, then all others."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, 0, 0)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0))


def make_group_discovery_list(catalog: ResourceCatalog, *, is_core: bool) -> JsonObject:
    """The APIGroupDiscoveryList of `/api` (the core group) or of `/apis`."""
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [
                        *map(_discovered_resource, versions[version]),
                        *_discovered_reviews(group, version),
                    ],
                }
                for version in sorted(versions, key=_version_sort_key)
            ],
        }
        for group, versions in _resources_by_version(catalog).items()
        if (group == "") == is_core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _gvk_of(resource: ServerResource) -> JsonObject:
    return {
        "group": resource.group_resource.group,
        "version": resource.version,
        "kind": resource.group_resource.kind,
    }


def _discovered_resource(resource: ServerResource) -> JsonObject:
    found: JsonObject = {
        "resource": resource.group_resource.plural,
        "responseKind": _gvk_of(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(ALL_VERBS),
    }
    if resource.short_names:
        found["shortNames"] = list(resource.short_names)
    if resource.categories:
        found["categories"] = list(resource.categories)
    subresources = list(_subresources_of(resource))
    if subresources:
        found["subresources"] = [
            {"subresource": name, "responseKind": kind, "verbs": list(verbs)}
            for name, kind, verbs in subresources
        ]
    return found


def _subresources_of(resource: ServerResource) -> Iterable[tuple[str, JsonObject, tuple[str, ...]]]:
    for name in sorted(resource.subresources):
        if name in _CREATE_ONLY_SUBRESOURCES:
            yield name, _CREATE_ONLY_SUBRESOURCES[name][1], ("create",)
        elif name == "log":
            yield name, _gvk_of(resource), ("get",)
        else:
            yield name, _SCALE_GVK if name == "scale" else _gvk_of(resource), _SUBRESOURCE_VERBS


def _discovered_reviews(group: str, version: str) -> list[JsonObject]:
    return [
        {
            "resource": plural,
            "responseKind": {"group": group, "version": version, "kind": kind},
            "scope": "Cluster",
            "singularResource": kind.lower(),
            "verbs": ["create"],
        }
        for (review_group, plural), kind in REVIEW_KINDS.items()
        if (review_group, REVIEW_VERSION) == (group, version)
    ]


# ---------------------------------------------------------------- the old form


def make_api_versions() -> JsonObject:
    """The APIVersions of `/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }


def make_api_group_list(catalog: ResourceCatalog) -> JsonObject:
    """The APIGroupList of `/apis`."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            _api_group(name, versions)
            for name, versions in _resources_by_version(catalog).items()
            if name
        ],
    }


def make_api_group(catalog: ResourceCatalog, name: str) -> JsonObject | None:
    """The APIGroup of `/apis/GROUP`; None if there is no such group."""
    versions = _resources_by_version(catalog).get(name)
    if not name or versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_api_group(name, versions)}


def _api_group(name: str, versions: dict[str, list[ServerResource]]) -> JsonObject:
    shown = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for version in sorted(versions, key=_version_sort_key)
    ]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def make_api_resource_list(catalog: ResourceCatalog, name: str, version: str) -> JsonObject | None:
    """The APIResourceList of `/api/v1` or `/apis/GROUP/VERSION`; None for unknown versions."""
    found = _resources_by_version(catalog).get(name, {}).get(version)
    if found is None:
        return None
    shown: list[JsonObject] = []
    for resource in found:
        shown.extend(_api_resources(resource))
    shown.extend(
        {
            "name": review["resource"],
            "singularName": review["singularResource"],
            "namespaced": False,
            "kind": review["responseKind"]["kind"],
            "verbs": ["create"],
        }
        for review in _discovered_reviews(name, version)
    )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": shown,
    }


def _api_resources(resource: ServerResource) -> Iterable[JsonObject]:
    entry: JsonObject = {
        "name": resource.group_resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.group_resource.kind,
        "verbs": list(ALL_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    for name, kind, verbs in _subresources_of(resource):
        yield {
            "name": f"{resource.group_resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind["kind"],
            "verbs": list(verbs),
        } | (
            {"group": kind["group"], "version": kind["version"]}
            if kind["group"] != resource.group_resource.group
            else {}
        )
