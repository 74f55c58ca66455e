"""`Tenant`: a department with its namespaces, and what its workloads may use."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from scheduler.model.kinds.fields import (
    API_VERSION,
    Conditions,
    Count,
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
from scheduler.model.quantities import requests_of
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
    parent: Annotated[
        Annotated[str, Meta(max_length=253)],
        Meta(
            description="The tenant that this one is a team of, such as a bureau. Its quota is "
            "what all its teams and itself are guaranteed together; it has no parent itself."
        ),
    ] = ""
    borrow_limit: Annotated[
        Resources,
        Meta(
            description="The most that it uses beyond its quota, by resource; it may then borrow "
            "these. A resource that is left out: as borrowing says."
        ),
    ] = msgspec.field(default_factory=dict)
    lend_limit: Annotated[
        Resources,
        Meta(
            description="The most of its quota that others may use while it does not, by resource. "
            "A resource that is left out: all of it."
        ),
    ] = msgspec.field(default_factory=dict)


class TenantStatus(Part, frozen=True, kw_only=True):
    """What the tenant's workloads use now; of one with teams, all of theirs together."""

    used: Resources = msgspec.field(default_factory=dict)
    borrowed: Annotated[
        Resources, Meta(description="What of it is beyond its quota, by resource.")
    ] = msgspec.field(default_factory=dict)
    lent: Annotated[Resources, Meta(description="What others use of its quota, by resource.")] = (
        msgspec.field(default_factory=dict)
    )
    share: Annotated[
        NotNegative | None,
        Meta(
            description="Its dominant share over its weight: of two tenants, the one with less is "
            "served first within a priority.",
        ),
    ] = None
    waiting: Annotated[
        Count, Meta(description="So many of its workloads wait for room, quota or time.")
    ] = 0
    conditions: Conditions = ()


class Tenant(Part, frozen=True, kw_only=True):
    """A department that owns the workloads of its namespaces."""

    KIND: ClassVar[str] = "Tenant"

    api_version: str = API_VERSION
    kind: str = "Tenant"
    metadata: Metadata = Metadata()
    spec: TenantSpec
    status: TenantStatus = TenantStatus()


def quota_of(tenant: Tenant) -> dict[str, int]:
    """A tenant's quota, with the zeros that it names.

    Raises:
        NotAQuantity: an entry is not a quantity.
    """
    return dict.fromkeys(sorted(tenant.spec.quota), 0) | requests_of(tenant.spec.quota)


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
