"""Roles: who may do what, by namespace and kind.

Five fixed roles instead of RBAC objects: the embedded hub is one machine's. On a real cluster
manifests/rbac grants the same. Source of the sentences: the API server's RBAC authorizer.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from scheduler.apiserver.base.errors import ApiError
from scheduler.hub.schema.json_types import JsonObject

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
_ANY = ("*",)
_KAPOK = ("kapok.dev",)
_NAMESPACED_CORE = (
    "configmaps",
    "events",
    "persistentvolumeclaims",
    "pods",
    "pods/eviction",
    "secrets",
    "serviceaccounts",
    "services",
)
_APPS = ("apps", "batch", "coordination.k8s.io", "events.k8s.io")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a role allows; `*` stands for everything. In namespaces, if the identity has some."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    anywhere: bool = False
    """Also outside the namespaces of a tenant."""

    def covers(self, group: str, resource: str, verb: str) -> bool:
        """Whether the rule speaks of a verb on a resource (`plural` or `plural/subresource`)."""
        plural, _slash, subresource = resource.partition("/")
        return (
            _has(self.groups, group)
            and _has(self.verbs, verb)
            and (
                _has(self.resources, resource)
                or (f"{plural}/*" in self.resources and bool(subresource))
            )
        )


def _has(values: tuple[str, ...], value: str) -> bool:
    return "*" in values or value in values


_OPERATOR = (
    Rule(_KAPOK, ("sites", "sites/*", "clusterplacementpolicies"), READ + WRITE),
    Rule(_KAPOK, ("workloads", "workloads/status", "placementpolicies"), READ),
    Rule(_KAPOK, ("sitegrants", "dataclassschemes", "tenants"), READ),
    Rule(("",), ("namespaces", "nodes", "pods", "events", "configmaps", "services"), READ),
    Rule(("multicluster.x-k8s.io", "cluster.x-k8s.io", "about.k8s.io"), _ANY, READ),
    Rule(_APPS, _ANY, READ),
    Rule(("apiextensions.k8s.io",), _ANY, READ),
)
_AUTHORITY = (
    Rule(_KAPOK, ("sitegrants", "dataclassschemes"), READ + WRITE),
    Rule(_KAPOK, _ANY, READ),
    Rule(("",), ("namespaces", "events"), READ),
)
_TENANT = (
    Rule(_KAPOK, ("workloads", "workloads/scale", "placementpolicies"), READ + WRITE),
    Rule(_KAPOK, ("workloads/status",), READ),
    Rule(("",), _NAMESPACED_CORE, READ + WRITE),
    Rule(_APPS, _ANY, READ + WRITE),
    Rule(("",), ("namespaces",), ("get",)),
    Rule(
        _KAPOK,
        ("sites", "clusterplacementpolicies", "dataclassschemes"),
        READ,
        anywhere=True,
    ),
)
_AUDITED_CORE = (*(name for name in _NAMESPACED_CORE if name != "secrets"), "namespaces", "nodes")
_AUDITOR = (
    Rule(("",), _AUDITED_CORE, READ),
    Rule((*_KAPOK, *_APPS, "apiextensions.k8s.io", "multicluster.x-k8s.io"), _ANY, READ),
)
ROLES: dict[str, tuple[Rule, ...]] = {
    "administrator": (Rule(_ANY, _ANY, _ANY),),
    "operator": _OPERATOR,
    "authority": _AUTHORITY,
    "tenant": _TENANT,
    "auditor": _AUDITOR,
}
"""By name. Reviews of one's own rights are open to everyone."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    name: str
    role: str
    namespaces: tuple[str, ...] = ()
    """Empty: everywhere. Tenants always have some."""

    @property
    def groups(self) -> tuple[str, ...]:
        """As `kubectl auth whoami` shows them."""
        more = ("system:masters",) if self.role == "administrator" else ()
        return (*more, f"kapok:{self.role}", "system:authenticated")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody tries to do."""

    verb: str
    group: str
    resource: str
    """`plural` or `plural/subresource`."""
    namespace: str = ""
    name: str = ""

    def refusal(self, identity: Identity) -> ApiError:
        """The 403 of the RBAC authorizer."""
        plural = self.resource.partition("/")[0]
        qualified = f"{plural}.{self.group}" if self.group else plural
        subject = f'{qualified} "{self.name}"' if self.name else qualified
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        message = (
            f'{subject} is forbidden: User "{identity.name}" cannot {self.verb} resource '
            f'"{self.resource}" in API group "{self.group}" {where}'
        )
        details: JsonObject = {"name": self.name} if self.name else {}
        if self.group:
            details["group"] = self.group
        return ApiError(403, "Forbidden", message, details | {"kind": plural})


def allows(identity: Identity, attempt: Attempt) -> bool:
    """Whether an identity may do something."""
    inside = not identity.namespaces or attempt.namespace in identity.namespaces
    if attempt.resource == "namespaces" and attempt.name in identity.namespaces:
        inside = True
    return any(
        rule.covers(attempt.group, attempt.resource, attempt.verb) and (inside or rule.anywhere)
        for rule in ROLES[identity.role]
    )


def rules_in(identity: Identity, namespace: str) -> Iterable[JsonObject]:
    """The rules that hold in a namespace, as SelfSubjectRulesReview shows them."""
    inside = not identity.namespaces or namespace in identity.namespaces
    for rule in ROLES[identity.role]:
        if inside or rule.anywhere:
            yield {
                "verbs": list(rule.verbs),
                "apiGroups": list(rule.groups),
                "resources": list(rule.resources),
            }
