"""The day an energy limit tightens, in the loops: old work is reported, new work is refused."""

from datetime import timedelta

from scheduler.control.ports.hub import SCHEMES, WORKLOADS
from tests.support.control_loops import ControlLoops
from tests.support.fake_clock import START
from tests.support.sites import Raw, nodes, site, workload


def _scheme() -> Raw:
    tightens = (START + timedelta(seconds=30)).isoformat()
    limit = {"measure": "pue", "limit": 1.3, "from": tightens, "document": "GB 40879"}
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "DataClassScheme",
        "metadata": {"name": "default"},
        "spec": {"energyLimits": [limit]},
    }


def _conditions(found: Raw) -> dict[str, tuple[str, str]]:
    return {
        one["type"]: (one["status"], one.get("message", ""))
        for one in found["status"].get("conditions", [])
    }


async def test_old_work_is_reported_and_new_work_refused_by_name() -> None:
    loops = ControlLoops()
    energy = {"energy": {"pue": 1.45, "pueOrigin": "measured"}}
    one = site("m1", nodes(8), spec=energy, observedAt=START.isoformat())
    await loops.hub.create(SCHEMES, _scheme())
    async with loops.started(one, workload(2, name="old")):
        await loops.clock.advance(2)
        assert await loops.phase("old") == "Placed"
        loops.clock_events.update_grant_boundaries()  # as the watch of the scheme does

        await loops.clock.advance(29)
        loops.clock_events._handle_grant_boundaries()  # noqa: SLF001 - what run does each second
        loops.report(one)
        await loops.clock.advance(5)

        old = await loops.workload("old")
        status, message = _conditions(old)["RulesMet"]
        assert status == "False"
        assert "energy-limit: 2 replicas run at m1" in message
        assert "at most 1.3 is asked of edge sites" in message
        assert "GB 40879" in message
        assert old["status"]["placement"]["groups"][0]["sites"] == ["m1"]

        loops.hub.take_events()
        await loops.hub.create(WORKLOADS, workload(1, name="new"))
        loops.read_hub()
        await loops.clock.advance(5)
        assert await loops.phase("new") == "Refused"
        assert "energy-limit" in (await loops.workload("new"))["status"]["decision"]["line"]
