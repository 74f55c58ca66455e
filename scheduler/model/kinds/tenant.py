"""`Tenant`: a department with its namespaces, and what its workloads may use."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from scheduler.model.kinds.fields import (
    API_VERSION,
    Conditions,
    DataClass,
    Jurisdiction,
    LabelSelector,
    Namespace,
    NotNegative,
    Part,
    Priority,
    Resources,
)
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.quantities import NotAQuantity, requests_of
from scheduler.model.units import GRAMS_PER_KILOGRAM


class Budget(Part, frozen=True, kw_only=True):
    """What a tenant may spend, in money and in carbon. Left out: no limit.

    By the hour it bounds what is placed, by the month what was used: work that can wait is held
    once the month's forecast is above it.
    """

    cny_per_hour: NotNegative | None = None
    kgco2e_per_hour: NotNegative | None = None
    cny_per_month: NotNegative | None = None
    kgco2e_per_month: NotNegative | None = None


class Spend(Part, frozen=True, kw_only=True):
    """What placed workloads cost per hour; unknown figures count with high fallback values."""

    cny_per_hour: float = 0.0
    gco2_per_hour: float = 0.0


class BudgetLeft(Part, frozen=True, kw_only=True):
    """What a budget leaves beside other workloads. None: no limit."""

    cny_per_hour: float | None = None
    gco2_per_hour: float | None = None


class TenantSpec(Part, frozen=True, kw_only=True):
    """What administrators allow a tenant."""

    namespaces: Annotated[tuple[Namespace, ...], Meta(min_length=1, max_length=256)]
    classes: Annotated[
        tuple[DataClass, ...],
        Meta(max_length=6, description="Data classes that it may use. Empty: all."),
    ] = ()
    max_priority: Priority | None = None
    cluster_kinds: Annotated[
        tuple[Annotated[str, Meta(max_length=317)], ...],
        Meta(
            max_length=64,
            description="Cluster-scoped kinds that its manifests may have: GROUP/VERSION/KIND.",
        ),
    ] = ()
    extra_namespaces: Annotated[tuple[Namespace, ...], Meta(max_length=256)] = ()
    site_selector: LabelSelector = LabelSelector()
    jurisdiction: (
        Annotated[
            Jurisdiction,
            Meta(description="Province of its data, for classes whose data stays in its province."),
        ]
        | None
    ) = None
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    quota: Resources = msgspec.field(default_factory=dict)
    borrowing: bool = False
    borrowing_limit: Resources = msgspec.field(default_factory=dict)
    cohort: Annotated[str, Meta(max_length=63)] = ""
    budget: Budget = Budget()
    pod_security: Annotated[
        Literal["restricted", "baseline", "privileged"],
        Meta(description="The level of the Pod Security Standards that its pods must keep to."),
    ] = "baseline"


class TenantStatus(Part, frozen=True, kw_only=True):
    """What the tenant's workloads use now."""

    used: Resources = msgspec.field(default_factory=dict)
    conditions: Conditions = ()


class Tenant(Part, frozen=True, kw_only=True):
    """A department that owns the workloads of its namespaces."""

    KIND: ClassVar[str] = "Tenant"

    api_version: str = API_VERSION
    kind: str = "Tenant"
    metadata: Metadata = Metadata()
    spec: TenantSpec
    status: TenantStatus = TenantStatus()


def cohort_quota_left(
    tenant: Tenant,
    tenants: Iterable[Tenant],
    used_by: Callable[[Tenant], Mapping[str, int]],
) -> dict[str, int]:
    """What the other tenants of a cohort leave of their quotas; empty if `tenant` may not borrow.

    As in cohorts of Kueue, a tenant that has borrowed lends that much less. Only resources in a
    tenant's own quota are lent and borrowed; a quota that cannot be read lends nothing.

    Args:
        tenant: the tenant that may borrow.
        tenants: all tenants.
        used_by: returns the requests of a tenant's placed workloads; millicores for cpu, whole
            units for all else.
    """
    lent: dict[str, int] = {}
    if not tenant.spec.borrowing:
        return lent
    for other in tenants:
        is_other = other.metadata.name != tenant.metadata.name
        if not is_other or other.spec.cohort != tenant.spec.cohort or not other.spec.quota:
            continue
        used = used_by(other)
        for name, amount in _quota_or_empty(other).items():
            lent[name] = lent.get(name, 0) + amount - used.get(name, 0)
    return lent


def _quota_or_empty(tenant: Tenant) -> dict[str, int]:
    try:
        return quota_of(tenant)
    except NotAQuantity:
        return {}


def quota_of(tenant: Tenant) -> dict[str, int]:
    """A tenant's quota, with the zeros that it names.

    Raises:
        NotAQuantity: an entry is not a quantity.
    """
    return dict.fromkeys(sorted(tenant.spec.quota), 0) | requests_of(tenant.spec.quota)


def quota_left(
    tenant: Tenant, used: Mapping[str, int], cohort_left: Mapping[str, int]
) -> dict[str, int]:
    """What a tenant may still use: the rest of its quota, and what it may borrow.

    What others have borrowed of its quota is not subtracted: it may use its own quota at any time.

    Raises:
        NotAQuantity: the quota or the borrowing limit cannot be read.
    """
    limits = requests_of(tenant.spec.borrowing_limit)
    left = {}
    for name, amount in quota_of(tenant).items():
        borrowable = cohort_left.get(name, 0)
        if name in tenant.spec.borrowing_limit:
            borrowable = min(borrowable, limits.get(name, 0))
        left[name] = amount - used.get(name, 0) + max(0, borrowable)
    return left


def budget_left(tenant: Tenant, spent: Spend) -> BudgetLeft | None:
    """What a tenant may still spend per hour; None: it has no budget."""
    budget = tenant.spec.budget
    money, carbon = budget.cny_per_hour, budget.kgco2e_per_hour
    if money is None and carbon is None:
        return None
    return BudgetLeft(
        cny_per_hour=None if money is None else money - spent.cny_per_hour,
        gco2_per_hour=(
            None if carbon is None else carbon * GRAMS_PER_KILOGRAM - spent.gco2_per_hour
        ),
    )
