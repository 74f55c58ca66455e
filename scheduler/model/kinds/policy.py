"""`PlacementPolicy`, `ClusterPlacementPolicy`, and the parts that a Workload may set inline."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from scheduler.model.kinds.fields import (
    API_VERSION,
    Conditions,
    CpuVendor,
    Instant,
    LabelSelector,
    Name,
    NotNegative,
    Part,
    Ratio,
    Seconds,
    ShortText,
    Toleration,
)
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.rebalance import RebalanceBudget

Strategy = Literal["CostOptimal", "Aggregated", "Balanced", "Weighted", "Duplicated"]
Mode = Literal["Steady", "Fresh"]
Identity = Literal["Whole", "PerSite", "Ranges"]
FailoverMode = Literal["Automatic", "Manual", "Fenced"]
OnReturn = Literal["Keep", "Return", "PreferOriginal"]
OnUnmetRules = Literal["Report", "Move"]

MAX_RECOVERY_SECONDS = 30 * 86_400
Preset = Literal[
    "two-places-three-centres", "same-city-active-active", "edge-everywhere", "green-batch"
]


class SiteWeight(Part, frozen=True, kw_only=True):
    """The weight of one site in a Weighted division."""

    site: Name
    weight: Annotated[int, Meta(ge=0, le=1_000_000)]


class SiteGroup(Part, frozen=True, kw_only=True):
    """One of several groups of sites in order; the next is used when this one is full."""

    name: ShortText
    sites: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()
    site_selector: LabelSelector | None = None


class Spread(Part, frozen=True, kw_only=True):
    """How replicas spread over groups of sites. A bound that is left out does not apply."""

    by: Annotated[
        str,
        Meta(
            max_length=323,
            pattern=r"^(provider|province|city|metro|site|label:.+)$",
            description="provider, province, city, metro, site, or label:KEY.",
        ),
    ]
    min_groups: Annotated[int, Meta(ge=1, le=10_000)] = 1
    max_groups: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    max_per_group: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    required: bool = True


class LatencyBound(Part, frozen=True, kw_only=True):
    """The longest permitted round trip between a workload and a place."""

    from_: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=259,
            description="A site, or metro:NAME for all sites of a metro.",
        ),
    ]
    within_milliseconds: Annotated[float, Meta(gt=0, le=1e6)]


class DataAt(Part, frozen=True, kw_only=True):
    """Data that a workload reads, and where it is."""

    at: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=259,
            description="A site, or metro:NAME for any site of a metro.",
        ),
    ]
    gibibytes: Annotated[float, Meta(ge=0, le=1e8, description="GiB to copy to a site elsewhere.")]


class PriceList(Part, frozen=True, kw_only=True):
    """A workload's own prices. Left out: the scheduler's price. 0: not counted."""

    carbon_cny_per_kg: NotNegative | None = None
    latency_cny_per_millisecond_hour: NotNegative | None = None
    value_cny_per_replica_hour: (
        Annotated[
            NotNegative,
            Meta(description="Value of one replica per hour; batches weigh it against cost."),
        ]
        | None
    ) = None
    waiting_cny_per_hour: NotNegative | None = None
    moving_cny_per_gibibyte: (
        Annotated[
            float,
            Meta(ge=0, le=1e6, description="Cost of copying one GiB of `data` to another place."),
        ]
        | None
    ) = None


class WorkloadAffinity(Part, frozen=True, kw_only=True):
    """Whether a workload runs with or apart from other workloads of its namespace."""

    kind: Literal["With", "Apart"]
    selector: LabelSelector
    by: Annotated[
        str, Meta(max_length=323, pattern=r"^(provider|province|city|metro|site|label:.+)$")
    ] = "site"
    required: bool = True


class PresetOptions(Part, frozen=True, kw_only=True):
    """Parameters of a preset."""

    pair_within_milliseconds: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    standby_ratio: Ratio | None = None


class Placement(Part, frozen=True, kw_only=True):
    """Where a workload may run and how its replicas are divided."""

    preset: Preset | None = None
    preset_options: PresetOptions = PresetOptions()
    strategy: Strategy | None = None
    mode: Mode | None = None
    weights: Annotated[tuple[SiteWeight, ...], Meta(max_length=1000)] = ()
    gang: bool | None = None
    identity: Identity | None = None
    site_selector: LabelSelector = LabelSelector()
    site_tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=32)] = ()
    site_groups: Annotated[tuple[SiteGroup, ...], Meta(max_length=16)] = ()
    spread: Annotated[tuple[Spread, ...], Meta(max_length=8)] = ()
    latency: Annotated[tuple[LatencyBound, ...], Meta(max_length=16)] = ()
    affinity: Annotated[tuple[WorkloadAffinity, ...], Meta(max_length=8)] = ()
    cpu_vendors: Annotated[tuple[CpuVendor, ...], Meta(max_length=16)] = ()
    prices: PriceList = PriceList()
    data: Annotated[tuple[DataAt, ...], Meta(max_length=16)] = ()
    on_violation: (
        Annotated[
            OnUnmetRules,
            Meta(
                description="When what runs does not meet a required rule. Report (default): it "
                "stays, with the condition RulesMet=False. Move: it moves where that meets them."
            ),
        ]
        | None
    ) = None


class Schedule(Part, frozen=True, kw_only=True):
    """When a workload may run, and for how long."""

    earliest: Instant | None = None
    deadline: Instant | None = None
    duration_seconds: Seconds | None = None
    interruptible: bool = False


class Failover(Part, frozen=True, kw_only=True):
    """What happens when a site stops reporting, and when replicas at a living one are not ready.

    Mode left out: Automatic, Manual if stateful.
    """

    mode: FailoverMode | None = None
    after_seconds: Seconds | None = None
    on_return: (
        Annotated[
            OnReturn,
            Meta(
                description="When a site whose replicas were replaced is back. Keep (default): "
                "they stay where they are. Return: they move back at once. PreferOriginal: they "
                "move back when the workload is decided again for another reason."
            ),
        ]
        | None
    ) = None
    unready_after_seconds: Seconds | None = None


class Recovery(Part, frozen=True, kw_only=True):
    """How soon work must run again after its site is lost, and how much data it may lose.

    Nothing is decided by it: drills measure what is reached, and say where that is not enough.
    """

    rto_seconds: Annotated[int, Meta(ge=1, le=MAX_RECOVERY_SECONDS)] | None = None
    rpo_seconds: Annotated[int, Meta(ge=0, le=MAX_RECOVERY_SECONDS)] | None = None


class PolicySpec(Part, frozen=True, kw_only=True):
    """Placement, schedule, failover and recovery."""

    placement: Placement = Placement()
    schedule: Schedule = Schedule()
    failover: Failover = Failover()
    recovery: Recovery = Recovery()
    rebalance: RebalanceBudget = RebalanceBudget()


class ClusterPolicySpec(PolicySpec, frozen=True, kw_only=True):
    """A policy for many workloads; it can only tighten their own."""

    namespaces: Annotated[
        tuple[Annotated[str, Meta(max_length=63)], ...],
        Meta(max_length=256, description="Namespaces that it applies to. Empty: all."),
    ] = ()
    workload_selector: LabelSelector = LabelSelector()


class PolicyStatus(Part, frozen=True, kw_only=True):
    """Whether the policy is valid."""

    conditions: Conditions = ()


class PlacementPolicy(Part, frozen=True, kw_only=True):
    """A placement that Workloads of its namespace refer to by policyRef."""

    KIND: ClassVar[str] = "PlacementPolicy"

    api_version: str = API_VERSION
    kind: str = "PlacementPolicy"
    metadata: Metadata = Metadata()
    spec: PolicySpec = PolicySpec()
    status: PolicyStatus = PolicyStatus()


class ClusterPlacementPolicy(Part, frozen=True, kw_only=True):
    """A placement that tightens that of every matching Workload."""

    KIND: ClassVar[str] = "ClusterPlacementPolicy"

    api_version: str = API_VERSION
    kind: str = "ClusterPlacementPolicy"
    metadata: Metadata = Metadata()
    spec: ClusterPolicySpec = ClusterPolicySpec()
    status: PolicyStatus = PolicyStatus()
