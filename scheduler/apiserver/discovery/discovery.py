"""Discovery: which groups, versions and resources there are; the aggregated form and the old one.

Source: "API Discovery" of the Kubernetes API concepts; apidiscovery.k8s.io/v2.
"""

import re
from collections.abc import Iterable

from scheduler.apiserver.kinds.resources import ALL_VERBS, Catalog, Resource
from scheduler.hub.schema.json_types import JsonObject

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SCALE_KIND = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_UPDATES = ("get", "patch", "update")
_REVIEWS: tuple[tuple[str, str, str, str, bool], ...] = (
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False),
)
"""Resources that can only be created and are answered at once."""
_CREATE_ONLY: dict[str, tuple[str, JsonObject]] = {
    "binding": ("binding", {"group": "", "version": "v1", "kind": "Binding"}),
    "eviction": ("eviction", {"group": "policy", "version": "v1", "kind": "Eviction"}),
}


def wants_aggregated(accept: str) -> bool:
    """Whether the client takes the aggregated form."""
    return "as=APIGroupDiscoveryList" in accept and "v=v2;" in accept.replace(" ", "") + ";"


def _versions(catalog: Catalog) -> dict[str, dict[str, list[Resource]]]:
    """The resources by group and version."""
    found: dict[str, dict[str, list[Resource]]] = {"": {"v1": []}}
    for resource in catalog.all():
        group = found.setdefault(resource.subject.group, {})
        group.setdefault(resource.version, []).append(resource)
    for review in _REVIEWS:
        found.setdefault(review[0], {}).setdefault(review[1], [])
    return found


def _order(version: str) -> tuple[int, int, int]:
    """Kubernetes' version order: v2, v1, v1beta1, v1alpha1, anything else."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, 0, 0)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0))


def aggregated(catalog: Catalog, *, core: bool) -> JsonObject:
    """The APIGroupDiscoveryList of `/api` or of `/apis`."""
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [
                        *map(_aggregated_resource, versions[version]),
                        *_aggregated_reviews(group, version),
                    ],
                }
                for version in sorted(versions, key=_order)
            ],
        }
        for group, versions in _versions(catalog).items()
        if (group == "") == core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _kind(resource: Resource) -> JsonObject:
    return {
        "group": resource.subject.group,
        "version": resource.version,
        "kind": resource.subject.kind,
    }


def _aggregated_resource(resource: Resource) -> JsonObject:
    found: JsonObject = {
        "resource": resource.subject.plural,
        "responseKind": _kind(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(ALL_VERBS),
    }
    if resource.short_names:
        found["shortNames"] = list(resource.short_names)
    if resource.categories:
        found["categories"] = list(resource.categories)
    subresources = list(_subresources(resource))
    if subresources:
        found["subresources"] = [
            {"subresource": name, "responseKind": kind, "verbs": list(verbs)}
            for name, kind, verbs in subresources
        ]
    return found


def _subresources(resource: Resource) -> Iterable[tuple[str, JsonObject, tuple[str, ...]]]:
    for name in sorted(resource.subresources):
        if name in _CREATE_ONLY:
            yield name, _CREATE_ONLY[name][1], ("create",)
        else:
            yield name, _SCALE_KIND if name == "scale" else _kind(resource), _UPDATES


def _aggregated_reviews(group: str, version: str) -> list[JsonObject]:
    return [
        {
            "resource": plural,
            "responseKind": {"group": group, "version": version, "kind": kind},
            "scope": "Cluster",
            "singularResource": kind.lower(),
            "verbs": ["create"],
        }
        for of_group, of_version, plural, kind, _namespaced in _REVIEWS
        if (of_group, of_version) == (group, version)
    ]


# ---------------------------------------------------------------- the old form


def core_versions() -> JsonObject:
    """`/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }


def groups(catalog: Catalog) -> JsonObject:
    """`/apis`."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name, versions) for name, versions in _versions(catalog).items() if name],
    }


def group(catalog: Catalog, name: str) -> JsonObject | None:
    """`/apis/GROUP`; None where there is no such group."""
    versions = _versions(catalog).get(name)
    if not name or versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def _group(name: str, versions: dict[str, list[Resource]]) -> JsonObject:
    shown = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for version in sorted(versions, key=_order)
    ]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def resources(catalog: Catalog, name: str, version: str) -> JsonObject | None:
    """`/api/v1` and `/apis/GROUP/VERSION`; None where there is no such version."""
    found = _versions(catalog).get(name, {}).get(version)
    if found is None:
        return None
    shown: list[JsonObject] = []
    for resource in found:
        shown.extend(_listed(resource))
    shown.extend(
        {
            "name": review["resource"],
            "singularName": review["singularResource"],
            "namespaced": False,
            "kind": review["responseKind"]["kind"],
            "verbs": ["create"],
        }
        for review in _aggregated_reviews(name, version)
    )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": shown,
    }


def _listed(resource: Resource) -> Iterable[JsonObject]:
    entry: JsonObject = {
        "name": resource.subject.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.subject.kind,
        "verbs": list(ALL_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    for name, kind, verbs in _subresources(resource):
        yield {
            "name": f"{resource.subject.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind["kind"],
            "verbs": list(verbs),
        } | (
            {"group": kind["group"], "version": kind["version"]}
            if kind["group"] != resource.subject.group
            else {}
        )
