"""That an operator forgets a site is recorded once, before its Site may be deleted."""

import json

import pytest

from scheduler.cli.moving.forget import format_left
from scheduler.control.failover.forget import (
    CONDITION,
    FORGET_ANNOTATION,
    ForgetWord,
    left_of,
    read_forget_word,
)
from scheduler.control.ports.hub import SITES
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.policy import Identity, Placement
from scheduler.model.kinds.workload import (
    PlacementGroup,
    PlacementStatus,
    SiteOrdinals,
    SiteRemains,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)
from tests.support.storm_rig import StormRig

WORD = ForgetWord("w1", "li")


def test_what_is_left_is_what_runs_or_leaves_there_and_its_claims() -> None:
    groups = (
        PlacementGroup(sites=("m1", "m2"), replicas=2),
        PlacementGroup(sites=("m1",), replicas=3, phase="Withdrawing"),
    )
    status = WorkloadStatus(
        placement=PlacementStatus(groups=groups),
        remains=(SiteRemains(site="m3", claims=("data-db-0",)),),
    )
    workload = Workload(status=status)
    none = {"workload": "", "claims": [], "pods": [], "moreClaims": 0, "morePods": 0}
    assert left_of(workload, "m1") == {**none, "replicas": 5}
    assert left_of(workload, "m3") == {**none, "replicas": 0, "claims": ["data-db-0"]}
    assert left_of(workload, "m4") is None


def stateful(*groups: PlacementGroup, identity: Identity | None = None, start: int = 0) -> Workload:
    """A set with two claims for each pod, a claim of its own and one that goes along."""
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "shared"}}]
    manifests = (
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db"},
            "spec": {
                "ordinals": {"start": start},
                "template": {"spec": {"containers": [{"name": "c"}], "volumes": volumes}},
                "volumeClaimTemplates": [{"metadata": {"name": n}} for n in ("data", "log")],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "backup", "namespace": "vault"},
        },
    )
    return Workload(
        metadata=Metadata(name="db", namespace="ns"),
        spec=WorkloadSpec(manifests=manifests, placement=Placement(identity=identity)),
        status=WorkloadStatus(placement=PlacementStatus(groups=groups)),
    )


def test_of_a_stateful_set_the_pods_and_their_claims_are_named() -> None:
    left = left_of(stateful(PlacementGroup(sites=("m1",), replicas=2)), "m1")
    assert left is not None
    assert left["pods"] == ["db-0", "db-1"]
    numbered = ["data-db-0", "data-db-1", "log-db-0", "log-db-1"]
    assert left["claims"] == ["shared", "vault/backup", *numbered]


def test_ordinals_are_those_of_the_site() -> None:
    groups = (
        PlacementGroup(sites=("m1",), replicas=2, ordinals=SiteOrdinals(first=0)),
        PlacementGroup(sites=("m2",), replicas=1, ordinals=SiteOrdinals(first=2)),
    )
    left = left_of(stateful(*groups, identity="Ranges", start=10), "m2")
    assert left is not None
    assert left["pods"] == ["db-12"]
    assert left["claims"][-2:] == ["data-db-12", "log-db-12"]
    own = left_of(stateful(PlacementGroup(sites=("m1", "m2.a"), replicas=1)), "m2.a")
    assert own is not None
    assert own["pods"] == ["db-m2-a-0"]
    moving = (
        PlacementGroup(sites=("m1",), replicas=1, phase="Withdrawing", replaced_by=("m2",)),
        PlacementGroup(sites=("m2",), replicas=1),
    )
    whole = left_of(stateful(*moving), "m1")
    assert whole is not None
    assert whole["pods"] == ["db-0"]


def test_a_large_set_is_counted_and_not_named_in_full() -> None:
    left = left_of(stateful(PlacementGroup(sites=("m1",), replicas=1_000_000)), "m1", 16)
    assert left is not None
    assert (len(left["pods"]), left["morePods"]) == (16, 999_984)
    assert len(left["claims"]) == 16
    assert len(left["claims"]) + left["moreClaims"] == 2_000_002
    [line] = format_left({"left": [left], "grants": [], "site": "m1"})
    assert "db-15 and 999984 more" in line


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"id": "", "by": "x"}', '{"id": 3, "by": "x"}', "[" * 4000]
)
def test_a_word_that_cannot_be_read_is_none(text: str) -> None:
    assert read_forget_word({FORGET_ANNOTATION: text}) is None
    assert read_forget_word({FORGET_ANNOTATION: WORD.to_text()}) == WORD
    assert read_forget_word({FORGET_ANNOTATION: json.dumps({"id": "a\nb", "by": ""})}) is not None


async def test_a_word_is_recorded_once_and_the_condition_names_it() -> None:
    rig = StormRig()
    loops = rig.loops
    async with loops.started(*rig.objects()):
        record = loops.term.forget_record
        await record.sync()
        assert record.condition_of("m0") is None
        patch = {"metadata": {"annotations": {FORGET_ANNOTATION: WORD.to_text()}}}
        await loops.hub.merge_patch(SITES, "m0", patch)
        loops.read_hub()
        loops.recorder.evictions_fault = NotRecorded("the disk is full")
        await record.sync()
        assert record.condition_of("m0") is None
        loops.recorder.evictions_fault = None
        await record.sync()
        await record.sync()
        [content] = loops.recorder.forgotten
        assert (content["site"], content["word"]) == ("m0", {"id": "w1", "by": "li"})
        found = record.condition_of("m0")
        assert found is not None
        assert (found.type, found.message.startswith("w1:")) == (CONDITION, True)
