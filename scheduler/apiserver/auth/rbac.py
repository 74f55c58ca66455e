"""Role-based access control: what an identity may do, by namespace and kind.

The embedded hub has a few fixed roles instead of RBAC objects, because it serves one machine. Their
rules are those of manifests/rbac, read from there, so both hubs grant the same rights. Only the
role of the hub's owner is more: it is what `cluster-admin` is on a real cluster. The messages are
those of the API server's RBAC authorizer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import yaml

from scheduler.apiserver.base.errors import ApiError, status_details
from scheduler.hub.schema.json_types import JsonObject
from scheduler.runtime.packaged_files import packaged_folder

OWNER_ROLE = "owner"
_ANYTHING = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RoleBindings:
    """The roles of manifests/rbac that a role of the embedded hub consists of."""

    cluster_wide: tuple[str, ...] = ()
    """ClusterRoles, as by a ClusterRoleBinding."""
    in_namespaces: tuple[str, ...] = ()
    """ClusterRoles, as by a RoleBinding in each namespace of the identity."""
    own: tuple[str, ...] = ()
    """Roles, which apply in the namespace in which they are defined."""


_BINDINGS = {
    "administrator": _RoleBindings(cluster_wide=("kapok-administrator",)),
    "operator": _RoleBindings(cluster_wide=("kapok-operator",), own=("kapok-inviter",)),
    "authority": _RoleBindings(cluster_wide=("kapok-authority",)),
    "tenant": _RoleBindings(cluster_wide=("kapok-reader",), in_namespaces=("kapok-tenant",)),
    "data-officer": _RoleBindings(
        cluster_wide=("kapok-reader",), in_namespaces=("kapok-tenant", "kapok-data-officer")
    ),
    "priority-user": _RoleBindings(
        cluster_wide=("kapok-reader",), in_namespaces=("kapok-tenant", "kapok-priority-user")
    ),
    "reader": _RoleBindings(cluster_wide=("kapok-reader",)),
    "auditor": _RoleBindings(cluster_wide=("kapok-auditor",)),
    "push": _RoleBindings(cluster_wide=("kapok-push",), in_namespaces=("kapok-push-secrets",)),
    "scheduler": _RoleBindings(cluster_wide=("kapok-scheduler",), own=("kapok-scheduler",)),
}
ROLES = (OWNER_ROLE, *_BINDINGS)
"""The names of the roles. Every identity may review its own rights."""
NAMESPACED_ROLES = tuple(role for role, bound in _BINDINGS.items() if bound.in_namespaces)
"""The roles that are given for namespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """A rule of a role; `*` matches everything."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    """The only objects to which the rule applies; empty: all."""
    namespace: str = ""
    """The only namespace in which the rule applies; empty: any."""
    is_namespaced: bool = False
    """Whether the rule applies in the namespaces of the identity only."""

    def covers(self, attributes: "AccessAttributes", namespaces: tuple[str, ...]) -> bool:
        """Whether the rule allows a request of an identity that has these namespaces."""
        resource = attributes.resource
        plural, _slash, subresource = resource.partition("/")
        return (
            self.applies_in(attributes.namespace, namespaces)
            and _matches(self.groups, attributes.group)
            and _matches(self.verbs, attributes.verb)
            and (not self.names or attributes.name in self.names)
            and (
                _matches(self.resources, resource)
                or (f"{plural}/*" in self.resources and bool(subresource))
            )
        )

    def applies_in(self, namespace: str, namespaces: tuple[str, ...]) -> bool:
        """Whether the rule applies in a namespace; an empty one is the cluster scope."""
        if self.namespace and namespace != self.namespace:
            return False
        return not self.is_namespaced or namespace in namespaces


def _matches(values: tuple[str, ...], value: str) -> bool:
    return "*" in values or value in values


@cache
def _rules_of(role: str, *, is_limited: bool) -> tuple[PolicyRule, ...]:
    """The rules of a role; `is_limited`: the identity has the role in some namespaces only."""
    if role == OWNER_ROLE:
        rule = PolicyRule(
            groups=_ANYTHING, resources=_ANYTHING, verbs=_ANYTHING, is_namespaced=is_limited
        )
        return (rule,)
    bound, found = _BINDINGS[role], _load_roles()
    # A tenant reads what explains decisions everywhere; another role that was given for some
    # namespaces has no rights elsewhere.
    is_inside = is_limited and not bound.in_namespaces
    return (
        *_iter_rules(found, "ClusterRole", bound.cluster_wide, is_namespaced=is_inside),
        *_iter_rules(found, "ClusterRole", bound.in_namespaces, is_namespaced=True),
        *_iter_rules(found, "Role", bound.own, is_namespaced=is_inside),
    )


def _iter_rules(
    roles: list[JsonObject], kind: str, names: tuple[str, ...], *, is_namespaced: bool
) -> Iterator[PolicyRule]:
    for role in roles:
        if role["kind"] != kind or role["metadata"]["name"] not in names:
            continue
        for rule in role["rules"]:
            yield PolicyRule(
                groups=tuple(rule["apiGroups"]),
                resources=tuple(rule["resources"]),
                verbs=tuple(rule["verbs"]),
                names=tuple(rule.get("resourceNames") or ()),
                namespace=role["metadata"].get("namespace", ""),
                is_namespaced=is_namespaced,
            )


@cache
def _load_roles() -> list[JsonObject]:
    """The roles in manifests/rbac."""
    folder = packaged_folder("manifests") / "rbac"
    files = sorted((*folder.glob("*.yaml"), *folder.glob("joining/*.yaml")))
    objects = (item for file in files for item in yaml.safe_load_all(file.read_bytes()))
    return [item for item in objects if item["kind"] in {"ClusterRole", "Role"}]


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
        more = ("system:masters",) if self.role == OWNER_ROLE else ()
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
    rules = _rules_of(identity.role, is_limited=bool(identity.namespaces))
    return any(rule.covers(attributes, identity.namespaces) for rule in rules)


def resource_rules_of(identity: Identity, namespace: str) -> Iterable[JsonObject]:
    """The rules that apply in a namespace, in the form of SelfSubjectRulesReview."""
    for rule in _rules_of(identity.role, is_limited=bool(identity.namespaces)):
        if rule.applies_in(namespace, identity.namespaces):
            found: JsonObject = {
                "verbs": list(rule.verbs),
                "apiGroups": list(rule.groups),
                "resources": list(rule.resources),
            }
            if rule.names:
                found["resourceNames"] = list(rule.names)
            yield found
