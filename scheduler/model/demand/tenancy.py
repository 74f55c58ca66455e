"""The tenant of a workload's namespace, and what its quota and budget leave.

Where there is tenancy, a namespace that no Tenant lists may use nothing: a missing object is never
a missing limit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.model.demand.demand import NO_BUDGET, NotAccepted
from scheduler.model.formatters import format_list
from scheduler.model.kinds.tenant import (
    Budget,
    BudgetLeft,
    Spend,
    Tenant,
    budget_left,
    quota_of,
)
from scheduler.model.kinds.tenant_quotas import LendingBook
from scheduler.model.kinds.tenant_tree import tenant_tree
from scheduler.model.kinds.workload import Workload
from scheduler.model.quantities import NotAQuantity

_MAX_TENANTS_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class QuotaUsage:
    """What other workloads use of a tenant's quota and budget.

    Attributes:
        used: requests of the tenant's other workloads; millicores for cpu, whole units for all
            else.
        book: the quotas and the usage of all tenants, without the workload in question; None: only
            the tenant's own are known, and nothing can be borrowed.
        spent: what the tenant's other workloads cost.
        budget_hold: why its work that can wait is held for the month; "": it is not.
    """

    used: Mapping[str, int] = field(default_factory=dict)
    book: LendingBook | None = None
    spent: Spend = field(default_factory=Spend)
    budget_hold: str = ""


def tenant_of(workload: Workload, tenants: Iterable[Tenant]) -> Tenant | None:
    """The tenant that owns the workload's namespace; None: no tenant does, or several list it."""
    owners = _listing(workload.metadata.namespace, tenants)
    return owners[0] if len(owners) == 1 else None


def _listing(namespace: str, tenants: Iterable[Tenant]) -> list[Tenant]:
    return [each for each in tenants if namespace in each.spec.namespaces]


def tenant_for(
    namespace: str, tenants: Iterable[Tenant] | None, book: LendingBook | None = None
) -> Tenant | NotAccepted | None:
    """The tenant of a namespace, or why it has none or may use nothing; None without tenancy.

    Which of several tenants applies must not depend on their names: each of them could give the
    workload rights that the other does not have.
    """
    if tenants is None:
        return None
    owners = _listing(namespace, tenants)
    if len(owners) == 1:
        problem = book.tree.problems.get(owners[0].metadata.name) if book else None
        if problem is None:
            return owners[0]
        return NotAccepted(reason="no-tenant", condition=problem.reason, message=problem.message)
    if not owners:
        return NotAccepted(
            reason="no-tenant",
            condition="NoTenant",
            message=(
                f"no Tenant lists namespace {namespace}; an administrator adds it to "
                "spec.namespaces of a Tenant, or applies {apiVersion: kapok.dev/v1alpha1, "
                f"kind: Tenant, metadata: {{name: {namespace}}}, "
                f"spec: {{namespaces: [{namespace}]}}}}"
            ),
        )
    names = format_list(sorted(each.metadata.name for each in owners), _MAX_TENANTS_NAMED)
    return NotAccepted(
        reason="no-tenant",
        condition="SeveralTenants",
        message=(
            f"{len(owners)} Tenants list namespace {namespace}: {names}; an administrator removes "
            "it from spec.namespaces of all but one"
        ),
    )


def unreadable_quota(tenant: Tenant | None, error: NotAQuantity) -> NotAccepted:
    """Refuses the workload: a limit that cannot be read must not count as no limit."""
    name = tenant.metadata.name if tenant else ""
    return NotAccepted(
        reason="quota",
        condition="InvalidTenant",
        message=f"Tenant {name}: spec.quota or spec.borrowingLimit: {error}",
    )


class TenantLimits(NamedTuple):
    """What a tenant may still use and spend; fields as in `Demand`."""

    quota_left: dict[str, int] | None
    quota: dict[str, int]
    budget_left: BudgetLeft | None
    budget: Budget
    budget_hold: str = ""


def tenant_limits(tenant: Tenant | None, usage: QuotaUsage) -> TenantLimits:
    """The limits of a tenant; no tenant has no limits.

    Raises:
        NotAQuantity: the quota or the borrowing limit cannot be read.
    """
    if tenant is None:
        return TenantLimits(quota_left=None, quota={}, budget_left=None, budget=NO_BUDGET)
    book = usage.book or LendingBook(tenant_tree([tenant]), lambda _: usage.used)
    has_quota = bool(book.names_for(tenant))
    left = budget_left(tenant, usage.spent)
    return TenantLimits(
        quota_left=book.quota_left(tenant) if has_quota else None,
        quota=quota_of(tenant) if has_quota else {},
        budget_left=left,
        budget=NO_BUDGET if left is None else tenant.spec.budget,
        budget_hold=usage.budget_hold,
    )
