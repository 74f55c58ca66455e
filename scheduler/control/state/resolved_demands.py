"""Remembers the demands of workloads: most are resolved again when nothing but the status changed.

Of a status a demand takes what runs and where. Everything else of it follows from the spec and the
objects that apply to it, so that is resolved once for as long as these are the same.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.placed import placed_by_status
from scheduler.model.kinds.policy import ClusterPlacementPolicy, PlacementPolicy
from scheduler.model.kinds.rights import DataClassScheme
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload, WorkloadSpec

_MAX_REMEMBERED = 4096
"""Enough for what is between its creation and its first running replica."""


class AppliedObjects(NamedTuple):
    """The objects besides a workload that its demand follows from.

    With an affinity, a quota or a budget it follows from other workloads too.

    Attributes:
        scheme: the scheme in force.
        tenants: those that list its namespace.
        policy: the one that it names.
        cluster_policies: all of them.
    """

    scheme: DataClassScheme | None
    tenants: tuple[Tenant, ...]
    policy: PlacementPolicy | None
    cluster_policies: tuple[ClusterPlacementPolicy, ...]


class _Resolved(NamedTuple):
    spec: WorkloadSpec
    key: str
    uid: str
    labels: dict[str, str]
    applied: AppliedObjects
    demand: Demand


@dataclass(slots=True)
class ResolvedDemands:
    """The demands of accepted workloads whose checks do not depend on where they run."""

    _resolved: OrderedDict[int, _Resolved] = field(default_factory=OrderedDict)

    def find(
        self, workload: Workload, applied: AppliedObjects, evicted: tuple[str, ...]
    ) -> Demand | None:
        """The demand of a workload, with what its status says now; None: it is to be resolved."""
        spec, meta, status = workload.spec, workload.metadata, workload.status
        known = self._resolved.get(id(spec))  # the entry holds the spec, so no other has its id
        if known is None or known.spec is not spec or known.applied != applied:
            return None
        if (known.key, known.uid, known.labels) != (meta.key, meta.uid, meta.labels):
            return None
        self._resolved.move_to_end(id(spec))
        return msgspec.structs.replace(
            known.demand,
            placed=placed_by_status(workload),
            last_group=status.last_group,
            plan=status.plan,
            evicted=evicted,
        )

    def keep(self, workload: Workload, applied: AppliedObjects, demand: Demand) -> None:
        """Remembers a demand that was resolved."""
        # Of these the checks ask where the workload runs, or which ordinals do.
        if demand.weights or demand.site_groups or demand.identity == "Ranges":
            return
        spec, meta = workload.spec, workload.metadata
        self._resolved[id(spec)] = _Resolved(spec, meta.key, meta.uid, meta.labels, applied, demand)
        self._resolved.move_to_end(id(spec))
        while len(self._resolved) > _MAX_REMEMBERED:
            self._resolved.popitem(last=False)
