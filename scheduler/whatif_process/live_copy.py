"""Takes a copy of a running scheduler's state; quick, as all values in it are immutable."""

from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.whatif.fleet_copy import CopyObjects, FleetCopy


def take_fleet_copy(
    objects: HubObjects,
    inputs: DecisionInputs,
    *,
    max_silent_ratio: float,
    is_failover_enabled: bool,
) -> FleetCopy:
    """The state now, with what is decided and not written yet; call it on the event loop.

    Args:
        objects: the hub's objects.
        inputs: the fleet, with what is in flight and reserved, the time and the terms. Scarcity
            prices are left out: they are of this backlog, and not of that of a scenario.
        max_silent_ratio: evictions freeze when more than this share of the fleet falls silent.
        is_failover_enabled: whether anything is replaced without an operator's word.
    """
    return FleetCopy(
        objects=CopyObjects(
            now=inputs.now(),
            terms=inputs.base_terms,
            scheme=objects.default_scheme(),
            tenants=tuple(objects.tenants.values()),
            policies=tuple(objects.policies.values()),
            cluster_policies=tuple(objects.cluster_policies.values()),
            grants=tuple(objects.grants.values()),
            max_silent_ratio=max_silent_ratio,
            is_failover_enabled=is_failover_enabled,
        ),
        facts=tuple(one for one in inputs.fleet.facts if one is not None),
        workloads=tuple(objects.present_workloads()),
    )
