"""What failover knows of a workload is read once, and again when its spec or a policy changes."""

import pytest
from msgspec.structs import replace

from scheduler.control.state import failover_rules
from scheduler.control.state.failover_rules import KnownFailover, workload_failover
from scheduler.control.state.objects import HubObjects
from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import ClusterPlacementPolicy, Workload
from scheduler.model.manifests.manifests import keeps_state
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import workload


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The manifests that were read."""
    found: list[object] = []
    real = keeps_state

    def counted(manifests: object) -> bool:
        found.append(manifests)
        return real(manifests)  # type: ignore[arg-type]

    monkeypatch.setattr(failover_rules, "keeps_state", counted)
    return found


def objects() -> HubObjects:
    return HubObjects(NullTelemetry(), lambda *_: None, make_faults())


def app(generation: int, **failover: object) -> Workload:
    raw = workload(2, name="app", failover=failover)
    raw["metadata"] = {**raw["metadata"], "uid": "u", "generation": generation}
    return decode_as(raw, Workload)


def policy(**failover: object) -> ClusterPlacementPolicy:
    raw = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "ClusterPlacementPolicy",
        "metadata": {"name": "all"},
        "spec": {"failover": failover},
    }
    return decode_as(raw, ClusterPlacementPolicy)


def test_manifests_are_read_once_while_only_the_status_changes(reads: list[object]) -> None:
    known = KnownFailover(objects())
    first = known.of(app(1, afterSeconds=9))
    assert known.of(app(1, afterSeconds=9)) is first
    assert first.rules.after_seconds == 9
    assert len(reads) == 1


def test_another_spec_another_uid_or_another_policy_is_read(reads: list[object]) -> None:
    hub = objects()
    known = KnownFailover(hub)
    known.of(app(1))
    assert known.of(app(2, mode="Manual")).rules.mode == "Manual"
    again = app(2)
    again = replace(again, metadata=replace(again.metadata, uid="v"))
    assert known.of(again).rules.mode == "Automatic"
    hub.cluster_policies["all"] = policy(mode="Manual")
    assert known.of(again).rules.mode == "Manual"
    hub.cluster_policies["all"] = policy(afterSeconds=900)
    assert known.of(again) == workload_failover(again, hub)
    assert known.of(again).rules.after_seconds == 900
    assert len(reads) == 6


def test_where_specs_are_not_counted_nothing_is_remembered(reads: list[object]) -> None:
    known = KnownFailover(objects())
    known.of(app(0))
    known.of(app(0))
    assert len(reads) == 2


def test_workloads_that_are_gone_are_forgotten(reads: list[object]) -> None:
    known = KnownFailover(objects())
    known.of(app(1))
    known.forget_others({("ns", "app")})
    known.of(app(1))
    assert len(reads) == 1
    known.forget_others(set())
    known.of(app(1))
    assert len(reads) == 2
