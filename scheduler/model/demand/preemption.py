"""What a decision knows of the replicas that could give way to others, and of those that must.

The first is gathered only for a workload that waits for room and may end others; the second stands
in the demand of a workload whose replicas were chosen by such a decision.
"""

import msgspec

from scheduler.model.kinds.fields import Instant, Part
from scheduler.model.manifests.manifests import Pods


class VictimShare(Part, frozen=True, kw_only=True):
    """The replicas of a possible victim at one site that reports."""

    site: str
    replicas: int
    """How many are ordered there and stay."""
    in_flight: int = 0
    """How many of them no report shows on a node; only all of such a share can end."""
    ending: bool = False
    """They end already, so they count against no quota any more."""


class PossibleVictim(Part, frozen=True, kw_only=True, dict=True):
    """A workload whose replicas could end, so that another one finds room."""

    workload: str
    """`namespace/name`."""
    tenant: str = ""
    priority: int = 0
    created_at: Instant | None = None
    """None: not known, which counts as the oldest."""
    unit: tuple[Pods, ...] = ()
    """The pods of one replica."""
    architectures: tuple[str, ...] = ("amd64",)
    cpu_vendors: tuple[tuple[str, ...], ...] = ()
    shares: tuple[VictimShare, ...] = ()
    gang: bool = False
    """All its replicas end together, or none."""
    whole: bool = False
    """All its replicas at one site end together: they have numbers, or are a job's."""
    budget: str = ""
    """Its strictest PodDisruptionBudget with its rule; empty: none."""
    budget_left: int | None = None
    """How many more replicas that budget lets be away now; None: no budget."""

    @property
    def total_replicas(self) -> int:
        """The replicas of all its shares."""
        return sum(each.replicas for each in self.shares)


class RunningWork(Part, frozen=True, kw_only=True):
    """Other work that has room at sites, for explanations."""

    victim: PossibleVictim
    ends_at: Instant | None = None
    """When it ends by itself; None: it does not, or that is not known."""


class PreemptedReplicas(Part, frozen=True, kw_only=True):
    """Replicas at one site that end at once, because another workload takes their room."""

    site: str
    keep: int = 0
    """So many stay there."""
    by: str
    """The workload that takes the room, `namespace/name`."""
    priority: int = 0
    """Of that workload."""
    reclaimed: bool = False
    """Its tenant takes back guaranteed quota; otherwise the priority decides."""

    @property
    def because(self) -> str:
        """Why they end, for lines and conditions."""
        if self.reclaimed:
            return f"guaranteed quota reclaimed for {self.by}"
        return f"preempted by {self.by} (priority {self.priority})"


BorrowedByTenant = dict[str, dict[str, int]]
"""What tenants use beyond their guaranteed quotas, by tenant and resource; units as in requests."""

POSSIBLE_VICTIMS = "possibleVictims"
"""The key of the only value of a recorded list of possible victims."""

NO_VICTIMS: tuple[PossibleVictim, ...] = ()


def usage_of_replica(victim: PossibleVictim) -> dict[str, int]:
    """What one replica of a possible victim counts against its tenant's quota, by resource."""
    total: dict[str, int] = {}
    for each in victim.unit:
        for name, amount in each.shape.requests.items():
            total[name] = total.get(name, 0) + amount * each.count
    return total


def without_shares_at(victim: PossibleVictim, sites: frozenset[str]) -> PossibleVictim | None:
    """The possible victim without its replicas at some sites; None: nothing may end then.

    Args:
        victim: the workload.
        sites: where nothing may end, such as silent sites. A gang with a share there is no victim.
    """
    shares = tuple(each for each in victim.shares if each.site not in sites)
    if len(shares) == len(victim.shares):
        return victim
    if victim.gang or not shares:
        return None
    return msgspec.structs.replace(victim, shares=shares)
