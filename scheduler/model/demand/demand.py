"""`Demand`: all inputs of a decision about one workload, resolved into one value.

`accept.demand_of` makes it of the workload, its policy, the cluster's policies, its tenant, the
scheme of data classes, and the replicas that run already. A decision reads nothing else of them.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from scheduler.model.demand.preemption import (
    NO_VICTIMS,
    BorrowedByTenant,
    PossibleVictim,
    PreemptedReplicas,
)
from scheduler.model.kinds.energy import EnergyLimit
from scheduler.model.kinds.failover import UnreadyReason
from scheduler.model.kinds.fields import (
    DataClass,
    LabelSelector,
    Part,
    Taint,
    Toleration,
)
from scheduler.model.kinds.policy import (
    DataAt,
    Identity,
    LatencyBound,
    Mode,
    OnUnmetRules,
    PresetOptions,
    PriceList,
    Schedule,
    SiteGroup,
    SiteWeight,
    Spread,
    Strategy,
)
from scheduler.model.kinds.rights import OnViolation
from scheduler.model.kinds.tenant import Budget, BudgetLeft
from scheduler.model.kinds.workload import GroupPhase, PreemptionMode, StartPlan
from scheduler.model.lazy import lazy
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.model.quantities import GPU_CARDS, GPU_MILLI, MILLI_PER_UNIT
from scheduler.model.reasons import Reason
from scheduler.model.rollout.question import RolloutQuestion


class PlacedReplicas(Part, frozen=True, kw_only=True):
    """Replicas that run or are ordered at one site."""

    site: str
    replicas: int
    phase: GroupPhase | None = None


class UnreadyReplicas(Part, frozen=True, kw_only=True):
    """Replicas at a site that reports which stay not ready, and are to be replaced elsewhere."""

    site: str
    replicas: int
    reason: UnreadyReason
    seconds: int
    """For how long they are not ready."""
    back_at: str = ""
    """The site where what they replaced stays after all; empty: they are to be replaced."""
    avoid: tuple[str, ...] = ()
    """Sites that get no new replicas, because the same content failed there lately."""


class Companion(Part, frozen=True, kw_only=True):
    """The sites of workloads that this one is to run with, or apart from."""

    apart: bool
    by: str
    """The level that must be equal or different: as `Spread.by`."""
    sites: tuple[str, ...]
    required: bool = True
    description: str = ""


class RebalanceQuestion(Part, frozen=True, kw_only=True):
    """What a move of running replicas must save to be made; without a least saving, some money."""

    moves: int
    """The most replicas that may move."""
    min_cny_per_move: float | None = None
    """The least saving of a moved replica in a day."""
    min_gco2_per_move: float | None = None


NO_BUDGET = Budget()
"""The default of `Demand.budget`; a record leaves a field out only if it is the same object."""


class Demand(Part, frozen=True, kw_only=True, dict=True):
    """The inputs of a decision about one workload.

    Its fields and their order are part of the records in the ledger.
    """

    key: str
    """`namespace/name`."""
    uid: str = ""
    tenant: str = ""
    priority: int = 0

    replicas: int = 1
    unit: tuple[Pods, ...] = ()
    """The pods of one replica: one pod, a set that stays together, or none."""
    beside: tuple[Pods, ...] = ()
    """Pods that every site gets once, whatever its replicas."""
    per_node: tuple[PodShape, ...] = ()
    """Pods that every fitting node gets once (DaemonSets)."""
    api_kinds: tuple[str, ...] = ()
    """Kinds that the site's cluster must serve, as `apps/v1/Deployment`."""

    data_class: DataClass | None = None
    protection_level: int = 1
    network_zones: tuple[str, ...] = ()
    jurisdictions: tuple[tuple[str, ...], ...] = ()
    """Each list must admit the site: the workload's, and its class's. Empty: anywhere."""
    same_province: bool = False
    home: str = ""
    """The province that the data belongs to; empty when it is not known."""
    allow_list_only: bool = False
    """A grant must list the workload, its namespace or its tenant."""
    class_not_allowed: bool = False
    """The tenant may not use this class."""
    cpu_vendors: tuple[tuple[str, ...], ...] = ()
    """Each list must have the node's vendor."""
    architectures: tuple[str, ...] = ("amd64",)
    """Architectures of its images; a node needs one of them."""

    strategy: Strategy = "CostOptimal"
    mode: Mode = "Steady"
    weights: tuple[SiteWeight, ...] = ()
    gang: bool = False
    """All replicas are placed, or none."""
    preset: str = ""
    preset_options: PresetOptions = PresetOptions()
    site_selectors: tuple[LabelSelector, ...] = ()
    tenant_sites: LabelSelector = LabelSelector()
    site_tolerations: tuple[Toleration, ...] = ()
    site_groups: tuple[SiteGroup, ...] = ()
    spread: tuple[Spread, ...] = ()
    latency: tuple[LatencyBound, ...] = ()
    companions: tuple[Companion, ...] = ()
    prices: PriceList = PriceList()
    data: tuple[DataAt, ...] = ()
    schedule: Schedule = Schedule()
    failover_mode: str = "Automatic"
    failover_after_seconds: int | None = None

    placed: tuple[PlacedReplicas, ...] = ()
    last_group: str = ""
    on_violation: OnViolation = "Report"
    evicted: tuple[str, ...] = ()
    """Sites whose replicas are to be replaced, by failover or an operator."""
    moves_back_to: tuple[str, ...] = ()
    """The only sites for new replicas, where replaced ones are to return, or where the content of
    those that are not ready is proven; empty: any. What stays elsewhere is not judged by it."""
    paused: bool = False
    quota_left: dict[str, int] | None = None
    """What the tenant's quota leaves for this workload, with what it may borrow; None: no quota."""
    quota: dict[str, int] = msgspec.field(default_factory=dict)
    """The tenant's own quota, for explanations."""
    budget_left: BudgetLeft | None = None
    """What the tenant's budget leaves for this workload; None: no budget."""
    budget: Budget = NO_BUDGET
    """The tenant's budget, for explanations."""
    claims: dict[str, int] = msgspec.field(default_factory=dict)
    """Storage that is claimed once at every site, by the names that quotas use."""
    unknown_scope: tuple[str, ...] = ()
    """Custom kinds that the tenant may have only where they are namespaced."""
    identity: Identity | None = None
    """How pods with numbers are placed; None: pods are only counted."""
    numbered_set: str = ""
    """The manifest whose pods have numbers, as `KIND NAME`."""
    on_unmet_rules: OnUnmetRules = "Report"
    """What happens to running replicas when the whole placement does not meet a required rule."""
    plan: StartPlan | None = None
    """The later start that the workload has waited for until now."""
    first_ordinals: dict[str, int] = msgspec.field(default_factory=dict)
    """The first ordinal of what is placed, by site, where each site has a range of them."""
    evicted_keep: dict[str, int] = msgspec.field(default_factory=dict)
    """Of the evicted sites, those that keep some replicas for now, with how many."""
    immovable: str = ""
    """Why replicas cannot be moved ahead of maintenance; empty: they can."""
    unready: tuple[UnreadyReplicas, ...] = ()
    """Replicas that are to be replaced because they are not ready, at most one entry per site."""
    energy_limits: tuple[EnergyLimit, ...] = ()
    """What the authority asks of the energy of sites, with dates."""
    budget_hold: str = ""
    """Why work that can wait is held: the month's budget; empty: it is not."""
    preemption: PreemptionMode = "Never"
    """Whether replicas of a lower priority may end for it."""
    victims: tuple[PossibleVictim, ...] = NO_VICTIMS
    """What could end for it; gathered only when it finds no room."""
    reclaim: BorrowedByTenant = msgspec.field(default_factory=dict)
    """What others borrow of the guaranteed quota that its tenant needs for it."""
    preempted: tuple[PreemptedReplicas, ...] = ()
    """Its replicas that end at once for another workload, at most one entry per site."""
    rollout: RolloutQuestion | None = None
    """The rollout of its content, as far as it has gone; None: there is none."""
    rebalance: RebalanceQuestion | None = None
    """Its replicas may move, if that saves so much; None: they do not move for that."""

    @lazy
    def placed_replicas(self) -> dict[str, int]:
        """Replicas by site, without those being withdrawn."""
        total: dict[str, int] = {}
        for each in self.placed:
            if each.phase != "Withdrawing" and each.replicas > 0:
                total[each.site] = total.get(each.site, 0) + each.replicas
        return total

    @lazy
    def unready_replicas(self) -> dict[str, int]:
        """Replicas that are to be replaced because they are not ready, by site."""
        return {each.site: each.replicas for each in self.unready if not each.back_at}

    @lazy
    def requests(self) -> dict[str, int]:
        """Requests of one replica; millicores for cpu, whole units for all else."""
        return total_requests(self.unit)

    @lazy
    def gpu_share_cards(self) -> float:
        """Shares of GPU cards that one replica asks in all, in whole cards."""
        return sum(
            [
                each.count * each.shape.gpu_cards * each.shape.gpu_milli / MILLI_PER_UNIT
                for each in self.unit
            ]
        )

    def quota_usage(
        self, replicas: int, sites: int, daemon_pods: Sequence[int] = ()
    ) -> dict[str, int]:
        """What counts against a quota: requests of all pods, and the storage that they claim.

        Shares of GPU cards count as `kapok.dev/gpu-milli` (thousandths of all cards together) and
        `kapok.dev/gpu-cards`.

        Args:
            replicas: of the workload, at all sites.
            sites: how many sites get the pods and claims that come once with each.
            daemon_pods: on how many nodes of all these sites each of `per_node` runs.
        """
        total = {name: amount * replicas for name, amount in self._unit_quota_usage.items()}
        for name, amount in self._beside_quota_usage.items():
            total[name] = total.get(name, 0) + amount * sites
        for shape, nodes in zip(self.per_node, daemon_pods, strict=False):
            for name, amount in _quota_usage_of((Pods(shape=shape, count=nodes),)).items():
                total[name] = total.get(name, 0) + amount
        return total

    @lazy
    def _unit_quota_usage(self) -> dict[str, int]:
        return _quota_usage_of(self.unit)

    @lazy
    def _beside_quota_usage(self) -> dict[str, int]:
        total = _quota_usage_of(self.beside)
        for name, amount in self.claims.items():
            total[name] = total.get(name, 0) + amount
        return total

    @property
    def namespace(self) -> str:
        """The namespace in `key`."""
        return self.key.partition("/")[0]


class NotAccepted(Part, frozen=True, kw_only=True):
    """Why a workload cannot be decided; nothing is placed until it is corrected."""

    reason: Reason
    condition: Annotated[str, Meta(max_length=64)]
    """The reason of the condition `AcceptedSpec=False`, in CamelCase as Kubernetes requires."""
    message: str


def total_requests(pods: tuple[Pods, ...]) -> dict[str, int]:
    """The requests of pods, summed by resource."""
    if len(pods) == 1 and pods[0].count == 1:
        return dict(sorted(pods[0].shape.requests.items()))
    total: dict[str, int] = {}
    for each in pods:
        for name, amount in each.shape.requests.items():
            total[name] = total.get(name, 0) + amount * each.count
    return dict(sorted(total.items()))


def _quota_usage_of(pods: tuple[Pods, ...]) -> dict[str, int]:
    total = total_requests(pods)
    cards = sum(each.shape.gpu_cards * each.count for each in pods)
    if cards:
        milli = sum(each.shape.gpu_cards * each.shape.gpu_milli * each.count for each in pods)
        total |= {GPU_CARDS: cards, GPU_MILLI: milli}
    for each in pods:
        for name, amount in each.claims.items():
            total[name] = total.get(name, 0) + amount * each.count
    return total


def any_tolerates(tolerations: tuple[Toleration, ...], taint: Taint) -> bool:
    """Whether any toleration matches a taint."""
    return any(each.tolerates(taint) for each in tolerations)
