"""The failover rules of a workload by the hub's present objects, without resolving its demand."""

from typing import NamedTuple

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.resolve_demand import policies_of
from scheduler.model.demand.failover import FailoverRules, failover_rules
from scheduler.model.demand.identity import apply_identity
from scheduler.model.demand.merge import expand_preset, merge_placements
from scheduler.model.kinds.policy import (
    ClusterPlacementPolicy,
    Failover,
    Identity,
    Placement,
    PlacementPolicy,
)
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.manifests import keeps_state


class WorkloadFailover(NamedTuple):
    """What failover has to know of a workload.

    Attributes:
        rules: the mode, the time and what happens on return.
        is_numbered: pods with numbers must not run at two sites at once.
        is_everywhere: each site has a whole copy, which no other site replaces.
        identity: how pods with numbers are placed; None: pods are only counted.
    """

    rules: FailoverRules
    is_numbered: bool
    is_everywhere: bool
    identity: Identity | None = None


def workload_failover(workload: Workload, objects: HubObjects) -> WorkloadFailover:
    """The failover of a workload, by its spec and the policies that apply to it."""
    spec, policies = workload.spec, policies_of(workload, objects)
    named = next((one.spec for one in policies if isinstance(one, PlacementPolicy)), None)
    shared = [one.spec for one in policies if isinstance(one, ClusterPlacementPolicy)]
    rules = failover_rules(
        spec.failover,
        named.failover if named else Failover(),
        (one.failover for one in shared),
        has_state=keeps_state(spec.manifests),
    )
    own = merge_placements(named.placement if named else Placement(), spec.placement or Placement())
    placement = expand_preset(own)
    identity = apply_identity(spec.manifests, placement, [one.placement for one in shared]).identity
    return WorkloadFailover(
        rules=rules,
        is_numbered=identity in ("Whole", "Ranges"),
        is_everywhere=placement.strategy == "Duplicated",
        identity=identity,
    )
