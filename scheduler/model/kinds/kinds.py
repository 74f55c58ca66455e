"""The list of the kinds of `kapok.dev/v1alpha1`, from which CRDs and decoding are derived."""

from dataclasses import dataclass

from scheduler.model.kinds.fields import API_GROUP, API_VERSION, Part
from scheduler.model.kinds.policy import ClusterPlacementPolicy, PlacementPolicy
from scheduler.model.kinds.rights import DataClassScheme, SiteGrant
from scheduler.model.kinds.site import Site
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload

__all__ = [
    "API_GROUP",
    "API_VERSION",
    "KINDS",
    "ClusterPlacementPolicy",
    "DataClassScheme",
    "Kind",
    "PlacementPolicy",
    "Site",
    "SiteGrant",
    "Tenant",
    "Workload",
]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind: its names, its scope and its type."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    is_namespaced: bool
    type: type[Part]


KINDS: dict[str, Kind] = {
    each.kind: each
    for each in (
        Kind(
            kind="Site",
            plural="sites",
            singular="site",
            short_names=(),
            is_namespaced=False,
            type=Site,
        ),
        Kind(
            kind="SiteGrant",
            plural="sitegrants",
            singular="sitegrant",
            short_names=(),
            is_namespaced=False,
            type=SiteGrant,
        ),
        Kind(
            kind="DataClassScheme",
            plural="dataclassschemes",
            singular="dataclassscheme",
            short_names=(),
            is_namespaced=False,
            type=DataClassScheme,
        ),
        Kind(
            kind="Tenant",
            plural="tenants",
            singular="tenant",
            short_names=(),
            is_namespaced=False,
            type=Tenant,
        ),
        Kind(
            kind="PlacementPolicy",
            plural="placementpolicies",
            singular="placementpolicy",
            short_names=("pp",),
            is_namespaced=True,
            type=PlacementPolicy,
        ),
        Kind(
            kind="ClusterPlacementPolicy",
            plural="clusterplacementpolicies",
            singular="clusterplacementpolicy",
            short_names=("cpp",),
            is_namespaced=False,
            type=ClusterPlacementPolicy,
        ),
        Kind(
            kind="Workload",
            plural="workloads",
            singular="workload",
            short_names=("kw",),
            is_namespaced=True,
            type=Workload,
        ),
    )
}
