"""That an operator forgets a site is recorded once, before its Site may be deleted."""

import json

import pytest

from scheduler.control.failover.forget import (
    CONDITION,
    FORGET_ANNOTATION,
    ForgetWord,
    left_of,
    read_forget_word,
)
from scheduler.control.ports.hub import SITES
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.model.kinds.workload import (
    PlacementGroup,
    PlacementStatus,
    SiteRemains,
    Workload,
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
    assert left_of(workload, "m1") == {"workload": "", "replicas": 5, "claims": []}
    assert left_of(workload, "m3") == {"workload": "", "replicas": 0, "claims": ["data-db-0"]}
    assert left_of(workload, "m4") is None


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
