"""Which failover applies: a workload's own, its policy's, and what cluster policies tighten."""

import pytest

from scheduler.model.demand.failover import FailoverRules, failover_rules
from scheduler.model.kinds.policy import Failover
from scheduler.model.manifests.manifests import keeps_state

NONE = Failover()


def test_stateful_work_is_manual_unless_it_says_otherwise() -> None:
    assert failover_rules(None, NONE, (), has_state=True).mode == "Manual"
    assert failover_rules(None, NONE, (), has_state=False).mode == "Automatic"
    own = Failover(mode="Automatic")
    assert failover_rules(own, NONE, (), has_state=True).mode == "Automatic"


def test_the_workload_replaces_its_policy_and_cluster_policies_only_tighten() -> None:
    own = Failover(mode="Automatic", after_seconds=60)
    policy = Failover(mode="Manual", after_seconds=900, on_return="Return")
    assert failover_rules(own, policy, (), has_state=False) == FailoverRules(
        mode="Automatic", after_seconds=60, on_return="Keep"
    )
    assert failover_rules(None, policy, (), has_state=False) == FailoverRules(
        mode="Manual", after_seconds=900, on_return="Return"
    )
    shared = (Failover(mode="Manual", after_seconds=30, on_return="Return"), Failover())
    assert failover_rules(own, policy, shared, has_state=False) == FailoverRules(
        mode="Manual", after_seconds=60, on_return="Return"
    )
    longer = (Failover(mode="Automatic", after_seconds=120),)
    assert failover_rules(policy, NONE, longer, has_state=False).mode == "Manual"
    assert failover_rules(own, NONE, longer, has_state=False).after_seconds == 120


def test_the_longer_time_until_what_is_not_ready_is_replaced_counts_and_0_is_never() -> None:
    def seconds(own: int | None, policy: int | None, *shared: int | None) -> int | None:
        return failover_rules(
            None if own is None else Failover(unready_after_seconds=own),
            Failover(unready_after_seconds=policy),
            [Failover(unready_after_seconds=one) for one in shared],
            has_state=False,
        ).unready_after_seconds

    assert seconds(None, None) is None, "as the settings say"
    assert seconds(None, 300) == 300
    assert seconds(60, 300) == 60, "that of the workload replaces that of its policy"
    assert seconds(60, 300, 120, None) == 120
    assert seconds(600, None, 120) == 600
    assert seconds(600, None, 0) == 0
    assert seconds(0, None, 120) == 0


def test_only_automatic_acts_without_an_operator() -> None:
    for mode, acts in (("Automatic", True), ("Manual", False), ("Fenced", False)):
        rules = failover_rules(Failover(mode=mode), NONE, (), has_state=False)  # type: ignore[arg-type]
        assert rules.is_automatic is acts


@pytest.mark.parametrize(
    ("kind", "volumes", "has_state"),
    [
        ("Deployment", [], False),
        ("Deployment", [{"name": "d", "emptyDir": {}}], False),
        ("Deployment", [{"name": "d", "hostPath": {"path": "/d"}}], True),
        ("Deployment", [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}], True),
        ("StatefulSet", [], True),
    ],
)
def test_claims_data_on_nodes_and_stateful_sets_are_state(
    kind: str, volumes: list[dict[str, object]], *, has_state: bool
) -> None:
    pod = {"containers": [{"name": "c"}], "volumes": volumes}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": pod}},
    }
    assert keeps_state([manifest]) is has_state
