"""Tenants in two levels: a bureau and its teams, and what is wrong with such a hierarchy.

What a team may do is never more than what its bureau may: of the highest priority the lower one
counts. A tenant whose place in the hierarchy is wrong may use nothing until that is corrected,
because it is not known whose quota it uses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from scheduler.model.kinds.tenant import Tenant
from scheduler.model.quantities import NotAQuantity, requests_of


class TreeProblem(NamedTuple):
    """What is wrong with the place of a tenant.

    Attributes:
        reason: in CamelCase, for a condition: `TenantCycle`, `MissingParent`, `TooManyLevels`.
        message: with the names, and what to change.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TenantTree:
    """All tenants by name, with the parent and the teams of each.

    Attributes:
        tenants: by name; a team has the lower of its own and its parent's highest priority.
        problems: what is wrong, by the name of the tenant.
        teams: the names of the teams of a tenant, sorted; only of tenants without a problem.
        quotas: what each is guaranteed, by resource; one that cannot be read guarantees nothing.
        lend_limits: the most that each lends, by resource; what cannot be read lends nothing.
        bureaus: the names of tenants that have no parent and no problem, by cohort; sorted.
    """

    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    problems: Mapping[str, TreeProblem] = field(default_factory=dict)
    teams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    quotas: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    lend_limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    bureaus: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def parent_of(self, name: str) -> Tenant | None:
        """The parent of a tenant; None: it has none, or its place is wrong."""
        tenant = self.tenants.get(name)
        if tenant is None or name in self.problems:
            return None
        return self.tenants.get(tenant.spec.parent)

    def root_of(self, name: str) -> str:
        """The name of the bureau of a tenant: its parent's, or its own."""
        parent = self.parent_of(name)
        return name if parent is None else parent.metadata.name

    def members_of(self, root: str) -> tuple[str, ...]:
        """A bureau and its teams, by name."""
        return (root, *self.teams.get(root, ()))


def tenant_tree(tenants: Iterable[Tenant]) -> TenantTree:
    """The hierarchy of tenants; of several with one name the last counts."""
    named = {one.metadata.name: one for one in tenants}
    problems = {
        name: problem for name in sorted(named) if (problem := _problem_of(name, named)) is not None
    }
    teams: dict[str, list[str]] = {}
    for name in sorted(named):
        if name not in problems and named[name].spec.parent:
            teams.setdefault(named[name].spec.parent, []).append(name)
    bureaus: dict[str, list[str]] = {}
    for name in sorted(named):
        if name not in problems and not named[name].spec.parent:
            bureaus.setdefault(named[name].spec.cohort, []).append(name)
    return TenantTree(
        tenants={name: _within_parent(one, named) for name, one in named.items()},
        problems=problems,
        teams={parent: tuple(names) for parent, names in teams.items()},
        quotas={name: _readable(one.spec.quota) for name, one in named.items()},
        lend_limits={name: _readable(one.spec.lend_limit) for name, one in named.items()},
        bureaus={cohort: tuple(names) for cohort, names in bureaus.items()},
    )


def _readable(amounts: Mapping[str, float | str]) -> dict[str, int]:
    """Amounts by resource, with the zeros that are named; one that cannot be read makes all 0."""
    try:
        return dict.fromkeys(sorted(amounts), 0) | requests_of(amounts)
    except NotAQuantity:
        return dict.fromkeys(sorted(amounts), 0)


def _problem_of(name: str, named: Mapping[str, Tenant]) -> TreeProblem | None:
    parent = named[name].spec.parent
    if not parent:
        return None
    path = [name]
    while parent and parent not in path:
        path.append(parent)
        parent = named[parent].spec.parent if parent in named else ""
    if parent:  # it leads back to itself, or into a cycle
        cycle = [*path[path.index(parent) :], parent]
        return TreeProblem(
            "TenantCycle",
            f"Tenant {name}: its parents lead in a circle: {' → '.join(cycle)}; an administrator "
            "removes spec.parent of one of them",
        )
    if path[1] not in named:
        return TreeProblem(
            "MissingParent",
            f"Tenant {name}: spec.parent: there is no Tenant {path[1]}; an administrator creates "
            "it, or names another one",
        )
    if named[path[1]].spec.parent:
        return TreeProblem(
            "TooManyLevels",
            f"Tenant {name}: its parent {path[1]} has a parent itself "
            f"({named[path[1]].spec.parent}), and there are two levels; an administrator removes "
            "spec.parent of one of them",
        )
    return None


def _within_parent(tenant: Tenant, named: Mapping[str, Tenant]) -> Tenant:
    """The tenant with no higher priority than its parent allows."""
    parent = named.get(tenant.spec.parent)
    highest = None if parent is None else parent.spec.max_priority
    own = tenant.spec.max_priority
    if highest is None or (own is not None and own <= highest):
        return tenant
    return msgspec.structs.replace(
        tenant, spec=msgspec.structs.replace(tenant.spec, max_priority=highest)
    )
