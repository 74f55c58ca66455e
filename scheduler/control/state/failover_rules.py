"""The failover rules of a workload by the hub's present objects, without resolving its demand."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import NamedTuple

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.resolve_demand import policies_of
from scheduler.model.demand.failover import FailoverRules, failover_rules
from scheduler.model.demand.identity import apply_identity
from scheduler.model.demand.merge import expand_preset, merge_placements
from scheduler.model.kinds.metadata import WorkKey
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


class _Known(NamedTuple):
    uid: str
    generation: int
    policies: tuple[PlacementPolicy | ClusterPlacementPolicy, ...]
    failover: WorkloadFailover


@dataclass(slots=True)
class KnownFailover:
    """Reads the manifests of a workload once for its failover, and not at each look.

    Only some hundreds of workloads have their manifests decoded, so a walk over more decodes each
    one again.

    Attributes:
        objects: the hub's objects.
    """

    objects: HubObjects
    _known: dict[WorkKey, _Known] = field(default_factory=dict)

    def of(self, workload: Workload) -> WorkloadFailover:
        """The same as `workload_failover`."""
        meta = workload.metadata
        key = (meta.namespace, meta.name)
        policies = policies_of(workload, self.objects)
        known = self._known.get(key)
        if (
            known is not None
            and (known.uid, known.generation) == (meta.uid, meta.generation)
            and len(known.policies) == len(policies)
            and all(map(is_, known.policies, policies))
        ):
            return known.failover
        found = _failover_by(workload, policies)
        if meta.generation:  # a server that counts changes of the spec
            self._known[key] = _Known(meta.uid, meta.generation, tuple(policies), found)
        return found

    def forget_others(self, keys: Collection[WorkKey]) -> None:
        """Forgets what is not among these workloads, as soon as that is more than they are."""
        if len(self._known) > len(keys):
            self._known = {key: one for key, one in self._known.items() if key in keys}


def workload_failover(workload: Workload, objects: HubObjects) -> WorkloadFailover:
    """The failover of a workload, by its spec and the policies that apply to it."""
    return _failover_by(workload, policies_of(workload, objects))


def _failover_by(
    workload: Workload, policies: Sequence[PlacementPolicy | ClusterPlacementPolicy]
) -> WorkloadFailover:
    spec = workload.spec
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
