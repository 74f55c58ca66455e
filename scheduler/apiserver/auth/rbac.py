"""Role-based access control: what an identity may do, by namespace and kind.

The embedded hub has five fixed roles instead of RBAC objects, because it serves one machine. On a
real cluster manifests/rbac grants the same rights. The messages are those of the API server's RBAC
authorizer.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from scheduler.apiserver.base.errors import ApiError, status_details
from scheduler.hub.schema.json_types import JsonObject

READ_VERBS = ("get", "list", "watch")
WRITE_VERBS = ("create", "update", "patch", "delete", "deletecollection")
_ANYTHING = ("*",)
_KAPOK_GROUPS = ("kapok.dev",)
_NAMESPACED_CORE_RESOURCES = (
    "configmaps",
    "events",
    "persistentvolumeclaims",
    "pods",
    "pods/eviction",
    "secrets",
    "serviceaccounts",
    "services",
)
_APPS_GROUPS = ("apps", "batch", "coordination.k8s.io", "events.k8s.io")


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A rule of a role; `*` matches everything. It applies in the namespaces of the identity."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    is_cluster_wide: bool = False
    """Whether the rule also applies outside the namespaces of the identity."""

    def covers(self, group: str, resource: str, verb: str) -> bool:
        """Whether the rule allows a verb on a resource (`plural` or `plural/subresource`)."""
        plural, _slash, subresource = resource.partition("/")
        return (
            _matches(self.groups, group)
            and _matches(self.verbs, verb)
            and (
                _matches(self.resources, resource)
                or (f"{plural}/*" in self.resources and bool(subresource))
            )
        )


def _matches(values: tuple[str, ...], value: str) -> bool:
    return "*" in values or value in values


_OPERATOR_RULES = (
    PolicyRule(
        _KAPOK_GROUPS, ("sites", "sites/*", "clusterplacementpolicies"), READ_VERBS + WRITE_VERBS
    ),
    PolicyRule(_KAPOK_GROUPS, ("workloads", "workloads/status", "placementpolicies"), READ_VERBS),
    PolicyRule(_KAPOK_GROUPS, ("sitegrants", "dataclassschemes", "tenants"), READ_VERBS),
    PolicyRule(
        ("",), ("namespaces", "nodes", "pods", "events", "configmaps", "services"), READ_VERBS
    ),
    PolicyRule(
        ("multicluster.x-k8s.io", "cluster.x-k8s.io", "about.k8s.io"), _ANYTHING, READ_VERBS
    ),
    PolicyRule(_APPS_GROUPS, _ANYTHING, READ_VERBS),
    PolicyRule(("apiextensions.k8s.io",), _ANYTHING, READ_VERBS),
)
_AUTHORITY_RULES = (
    PolicyRule(_KAPOK_GROUPS, ("sitegrants", "dataclassschemes"), READ_VERBS + WRITE_VERBS),
    PolicyRule(_KAPOK_GROUPS, _ANYTHING, READ_VERBS),
    PolicyRule(("",), ("namespaces", "events"), READ_VERBS),
)
_TENANT_RULES = (
    PolicyRule(
        _KAPOK_GROUPS,
        ("workloads", "workloads/scale", "placementpolicies"),
        READ_VERBS + WRITE_VERBS,
    ),
    PolicyRule(_KAPOK_GROUPS, ("workloads/status",), READ_VERBS),
    PolicyRule(("",), _NAMESPACED_CORE_RESOURCES, READ_VERBS + WRITE_VERBS),
    PolicyRule(_APPS_GROUPS, _ANYTHING, READ_VERBS + WRITE_VERBS),
    PolicyRule(("",), ("namespaces",), ("get",)),
    PolicyRule(
        _KAPOK_GROUPS,
        ("sites", "clusterplacementpolicies", "dataclassschemes"),
        READ_VERBS,
        is_cluster_wide=True,
    ),
)
_AUDITED_CORE_RESOURCES = (
    *(name for name in _NAMESPACED_CORE_RESOURCES if name != "secrets"),
    "namespaces",
    "nodes",
)
_AUDITOR_RULES = (
    PolicyRule(("",), _AUDITED_CORE_RESOURCES, READ_VERBS),
    PolicyRule(
        (*_KAPOK_GROUPS, *_APPS_GROUPS, "apiextensions.k8s.io", "multicluster.x-k8s.io"),
        _ANYTHING,
        READ_VERBS,
    ),
)
ROLES: dict[str, tuple[PolicyRule, ...]] = {
    "administrator": (PolicyRule(_ANYTHING, _ANYTHING, _ANYTHING),),
    "operator": _OPERATOR_RULES,
    "authority": _AUTHORITY_RULES,
    "tenant": _TENANT_RULES,
    "auditor": _AUDITOR_RULES,
}
"""The rules of each role, by its name. Every identity may review its own rights."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a client."""

    name: str
    role: str
    namespaces: tuple[str, ...] = ()
    """The namespaces to which the role is limited; empty means all. A tenant always has some."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, as `kubectl auth whoami` shows them."""
        more = ("system:masters",) if self.role == "administrator" else ()
        return (*more, f"kapok:{self.role}", "system:authenticated")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessAttributes:
    """The verb and resource of a request, for authorization."""

    verb: str
    group: str
    resource: str
    """`plural` or `plural/subresource`."""
    namespace: str = ""
    name: str = ""

    def forbidden_error(self, identity: Identity) -> ApiError:
        """The 403 error, worded as by the RBAC authorizer."""
        plural = self.resource.partition("/")[0]
        qualified = f"{plural}.{self.group}" if self.group else plural
        subject = f'{qualified} "{self.name}"' if self.name else qualified
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        message = (
            f'{subject} is forbidden: User "{identity.name}" cannot {self.verb} resource '
            f'"{self.resource}" in API group "{self.group}" {where}'
        )
        return ApiError(403, "Forbidden", message, status_details(self.group, plural, self.name))


def is_allowed(identity: Identity, attributes: AccessAttributes) -> bool:
    """Whether the role of an identity allows a request."""
    inside = not identity.namespaces or attributes.namespace in identity.namespaces
    if attributes.resource == "namespaces" and attributes.name in identity.namespaces:
        inside = True
    return any(
        rule.covers(attributes.group, attributes.resource, attributes.verb)
        and (inside or rule.is_cluster_wide)
        for rule in ROLES[identity.role]
    )


def resource_rules_of(identity: Identity, namespace: str) -> Iterable[JsonObject]:
    """The rules that apply in a namespace, in the form of SelfSubjectRulesReview."""
    inside = not identity.namespaces or namespace in identity.namespaces
    for rule in ROLES[identity.role]:
        if inside or rule.is_cluster_wide:
            yield {
                "verbs": list(rule.verbs),
                "apiGroups": list(rule.groups),
                "resources": list(rule.resources),
            }
