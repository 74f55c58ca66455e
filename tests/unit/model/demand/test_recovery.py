"""Which recovery is asked: a workload's own, its policy's, and what cluster policies tighten."""

import pytest

from scheduler.model.decode import NotReadable, decode
from scheduler.model.demand.failover import recovery_by
from scheduler.model.kinds.policy import (
    MAX_RECOVERY_SECONDS,
    ClusterPlacementPolicy,
    ClusterPolicySpec,
    PlacementPolicy,
    PolicySpec,
    Recovery,
)
from scheduler.model.kinds.workload import WorkloadSpec

POLICY = PlacementPolicy(spec=PolicySpec(recovery=Recovery(rto_seconds=600, rpo_seconds=60)))


def shared(**seconds: int) -> ClusterPlacementPolicy:
    return ClusterPlacementPolicy(spec=ClusterPolicySpec(recovery=Recovery(**seconds)))


def test_what_nothing_states_is_not_known() -> None:
    assert recovery_by(WorkloadSpec(), ()) == Recovery(rto_seconds=None, rpo_seconds=None)


def test_that_of_the_workload_replaces_that_of_its_policy_whole() -> None:
    assert recovery_by(WorkloadSpec(), [POLICY]) == Recovery(rto_seconds=600, rpo_seconds=60)
    own = WorkloadSpec(recovery=Recovery(rto_seconds=900))
    assert recovery_by(own, [POLICY]) == Recovery(rto_seconds=900)


def test_cluster_policies_only_tighten() -> None:
    own = WorkloadSpec(recovery=Recovery(rto_seconds=900, rpo_seconds=0))
    found = recovery_by(own, [POLICY, shared(rto_seconds=300), shared(rpo_seconds=30)])
    assert found == Recovery(rto_seconds=300, rpo_seconds=0)
    assert recovery_by(WorkloadSpec(), [shared(rto_seconds=300)]) == Recovery(rto_seconds=300)
    assert recovery_by(own, [shared(rto_seconds=1200)]).rto_seconds == 900, "never relaxed"


@pytest.mark.parametrize(
    "recovery",
    [
        {"rtoSeconds": 0},
        {"rtoSeconds": -1},
        {"rtoSeconds": MAX_RECOVERY_SECONDS + 1},
        {"rpoSeconds": -1},
        {"rpoSeconds": MAX_RECOVERY_SECONDS + 1},
        {"rtoSeconds": "60"},
        {"rtoSeconds": 1.5},
        {"rto": 60},
    ],
)
def test_what_is_out_of_bounds_is_refused(recovery: dict[str, object]) -> None:
    raw = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": "w", "namespace": "ns"},
        "spec": {"recovery": recovery},
    }
    with pytest.raises(NotReadable):
        decode(raw)
