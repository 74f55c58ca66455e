"""What someone else writes into the status of a workload moves, withdraws and holds nothing."""

from typing import Any

import pytest

from scheduler.control.ports.hub import WORKLOADS
from scheduler.model.decode import decode
from scheduler.model.kinds.workload import PlacementStatus, Workload
from tests.support.control_loops import EPOCH
from tests.support.failing_city import FailingCity, pinned

_GROUP = {"replicas": 2, "generation": 1}
FORGED: dict[str, Any] = {
    "a replica leaves and nothing replaces it": {
        "groups": [{"sites": ["m1"], "phase": "Withdrawing", **_GROUP}]
    },
    "it leaves for a site that does not exist": {
        "groups": [{"sites": ["m1"], "phase": "Withdrawing", "replacedBy": ["no"], **_GROUP}]
    },
    "it is at another site": {"groups": [{"sites": ["m2"], "phase": "Running", **_GROUP}]},
    "it is nowhere": {"groups": []},
    "it is at two sites": {"groups": [{"sites": ["m1", "m2"], "phase": "Running", **_GROUP}]},
    "there are more replicas": {
        "groups": [{"sites": ["m1"], "phase": "Running", "generation": 1, "replicas": 1000000}]
    },
    "its generation is the largest": {
        "groups": [{"sites": ["m1"], "phase": "Running", "replicas": 2, "generation": 2**63 - 1}],
        "generation": 2**63 - 1,
    },
    "it began in the far future": {
        "groups": [{"sites": ["m1"], "phase": "Placing", "since": "9999-12-31T23:59:59Z", **_GROUP}]
    },
    "its phase is none": {"groups": [{"sites": ["m1"], "phase": "Gone", **_GROUP}]},
    "its groups are no list": {"groups": 7},
    "its orders are others": {"orders": {"m1": f"sha256:{'0' * 64}"}},
}
MOVED = {"site": "m2", "replicas": 2, "to": ["m1"], "at": "2026-11-01T00:00:00Z"}
STATUS: dict[str, Any] = {
    **{f"placement: {why}": {"placement": one} for why, one in FORGED.items()},
    "phase: completed": {"phase": "Completed"},
    "phase: being deleted": {"phase": "Deleting"},
    "failover: it was moved here": {"failover": {"moved": [MOVED]}},
    "decision: another one": {"decision": {"id": "9-9", "hash": "sha256:0", "line": "x"}},
    "decision: none": {"decision": None},
    "accepted: something else": {"accepted": {"generation": 1, "digest": "", "content": "x"}},
    "accepted: nothing": {"accepted": None},
    "incarnation: another one": {"incarnation": "f0f0f0f0f0"},
    "epoch: a lower one": {"epoch": 0, "phase": "Completed"},
    "all of it": None,
}


async def _forge(city: FailingCity, status: dict[str, Any] | None) -> None:
    await city.loops.hub.merge_patch(
        WORKLOADS, "app", {"status": status}, namespace="ns", subresource="status"
    )
    city.loops.read_hub()


@pytest.mark.parametrize("what", STATUS)
async def test_a_status_that_another_client_wrote_has_no_effect(what: str) -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1")):
        await city.live(10)
        city.loops.objects.begin_term(EPOCH)
        before, runs = city.status(), {site: dict(one) for site, one in city.runs.items()}
        await _forge(city, STATUS[what])
        assert city.status() == before
        await city.live(20)
        assert city.runs == runs
        after = city.status()
        assert after == before
        assert await _in_hub(city) == before.placement


async def _in_hub(city: FailingCity) -> PlacementStatus:
    """The placement as the next leader would read it."""
    body = await city.loops.hub.get(WORKLOADS, "app", "ns")
    found = decode(body, allow_unknown=True)
    assert isinstance(found, Workload)
    return found.status.placement
