"""Plans for losses of sites, made before any is lost: where the replicas there are to start.

A judgement of survival (`kapok survive`) makes one for each loss that it proves survived. When the
loss comes, the plan is an input of the decisions of failover, which is recorded under its digest.
"""

from collections.abc import Callable, Collection, Iterable

import msgspec

from scheduler.model.demand.assignment import (
    AssignedWorkload,
    BatchAssignment,
    assignment_version,
)


class LossPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where all that runs at some sites starts once they are lost together.

    Attributes:
        loss: the loss as `kapok survive` names it: a site, or `province=CN-GD`.
        sites: the sites that are lost.
        workloads: where the replicas of each workload start.
        version: the digest of `workloads`.
    """

    loss: str
    sites: frozenset[str]
    workloads: tuple[AssignedWorkload, ...]
    version: str


def make_loss_plan(
    loss: str, sites: Iterable[str], workloads: tuple[AssignedWorkload, ...]
) -> LossPlan:
    """A plan with its digest."""
    return LossPlan(
        loss=loss,
        sites=frozenset(sites),
        workloads=workloads,
        version=assignment_version(workloads),
    )


class KeptPlans:
    """The plans of the last judgement.

    Args:
        plans: at most one for each loss.
    """

    def __init__(self, plans: Iterable[LossPlan] = ()) -> None:
        self._by_version: dict[str, LossPlan] = {}
        self._by_workload: dict[str, list[tuple[LossPlan, BatchAssignment]]] = {}
        for plan in sorted(plans, key=lambda one: (len(one.sites), one.loss)):
            self._by_version.setdefault(plan.version, plan)
            for one in plan.workloads:
                entry = BatchAssignment(version=plan.version, sites=one.sites, loss=plan.loss)
                self._by_workload.setdefault(one.workload, []).append((plan, entry))

    def __len__(self) -> int:
        return len(self._by_version)

    def entry_for(
        self, workload: str, lost: Collection[str], is_open: Callable[[str], bool]
    ) -> BatchAssignment | None:
        """What the plan of the smallest loss says that has all lost sites; None: none does.

        Args:
            workload: its key.
            lost: the sites from which its replicas are moved.
            is_open: whether a site can be a target now. A plan that names one which cannot is
                passed over, as more is lost than it assumed.
        """
        if not lost:
            return None
        for plan, entry in self._by_workload.get(workload, ()):
            if plan.sites.issuperset(lost) and all(is_open(one.site) for one in entry.sites):
                return entry
        return None

    def listed(self, version: str) -> tuple[AssignedWorkload, ...]:
        """The whole list of a plan, for the record of a decision; empty: it is not kept."""
        plan = self._by_version.get(version)
        return plan.workloads if plan else ()
