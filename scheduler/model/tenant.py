"""`Tenant`: a department, its namespaces, and what its workloads may ask."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from scheduler.model.fields import (
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
from scheduler.model.metadata import Metadata


class Budget(Part, frozen=True, kw_only=True):
    """What a tenant may spend per hour, in money and in carbon. Absent: no limit."""

    cny_per_hour: NotNegative | None = None
    kgco2e_per_hour: NotNegative | None = None


class TenantSpec(Part, frozen=True, kw_only=True):
    """What administrators allow a tenant."""

    namespaces: Annotated[tuple[Namespace, ...], Meta(min_length=1, max_length=256)]
    classes: Annotated[
        tuple[DataClass, ...],
        Meta(max_length=6, description="Classes that it may bring. Empty: any."),
    ] = ()
    max_priority: Priority | None = None
    cluster_kinds: Annotated[
        tuple[Annotated[str, Meta(max_length=317)], ...],
        Meta(
            max_length=64,
            description="Cluster-scoped kinds that its manifests may touch: GROUP/VERSION/KIND.",
        ),
    ] = ()
    extra_namespaces: Annotated[tuple[Namespace, ...], Meta(max_length=256)] = ()
    site_selector: LabelSelector = LabelSelector()
    jurisdiction: (
        Annotated[
            Jurisdiction,
            Meta(description="The province that data which stays in its province belongs to."),
        ]
        | None
    ) = None
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    quota: Resources = msgspec.field(default_factory=dict)
    borrowing: bool = False
    budget: Budget = Budget()


class TenantStatus(Part, frozen=True, kw_only=True):
    """What the tenant uses now."""

    used: Resources = msgspec.field(default_factory=dict)
    conditions: Conditions = ()


class Tenant(Part, frozen=True, kw_only=True):
    """A department: it owns workloads and may not grant itself anything."""

    KIND: ClassVar[str] = "Tenant"

    api_version: str = API_VERSION
    kind: str = "Tenant"
    metadata: Metadata = Metadata()
    spec: TenantSpec
    status: TenantStatus = TenantStatus()
