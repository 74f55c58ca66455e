"""Bad luck at a member: refusals, lost namespaces, lists that fail, agents that take turns."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.loops import ExecutionLoop
from agents.member.api import MemberApi, MemberApiError
from agents.orders.lease import LocalLease
from agents.runtime.clock import AgentSystemClock
from tests.support.agent_rig import JOBS, AgentRig
from tests.support.member_clusters import REAL_KUBECONFIGS, wait_until
from tests.support.wire_hub import Manifest, config_map, job

pytestmark = pytest.mark.integration

CLAIMS = "/api/v1/namespaces/{}/persistentvolumeclaims"


def claim(name: str) -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def fail(monkeypatch: pytest.MonkeyPatch, method: str, part: str, code: int) -> None:
    """Lets one kind of request fail, if its path has a part in it."""
    real = getattr(MemberApi, method)

    def send(self: MemberApi, path: str, *more: Any, **words: Any) -> Any:  # noqa: ANN401 - passed on
        if part in path:
            raise MemberApiError(code, "", f"{path}: {code}")
        return real(self, path, *more, **words)

    monkeypatch.setattr(MemberApi, method, send)


@pytest.mark.parametrize("is_listable", [True, False])
def test_a_namespace_is_not_deleted_with_data_in_it_that_is_not_ours(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch, *, is_listable: bool
) -> None:
    space = f"{rig.name}-data"
    path = f"/api/v1/namespaces/{space}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    rig.run(rig.content(manifest, cluster_kinds=("Namespace",)))
    if is_listable:
        rig.api.create(CLAIMS.format(space), claim("theirs"))
    else:
        fail(monkeypatch, "list_mapped", "persistentvolumeclaims", 503)
    rig.run()
    assert rig.phases() == []
    assert not rig.api.get(path)["metadata"].get("deletionTimestamp")
    monkeypatch.undo()
    theirs = f"{CLAIMS.format(space)}/theirs"
    rig.api.delete(theirs)
    if REAL_KUBECONFIGS:  # a controller lets go of it
        wait_until(lambda: rig.api.find(theirs) is None)
    rig.step()
    found = rig.api.find(path)
    assert found is None or found["metadata"].get("deletionTimestamp")


@pytest.mark.parametrize(
    ("code", "runs"), [(403, True), (422, True), (503, True), (500, False), (504, False)]
)
def test_a_job_that_was_refused_at_first_runs_later_and_one_that_may_have_run_does_not(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch, *, code: int, runs: bool
) -> None:
    content = rig.content(job(ttlSecondsAfterFinished=0))
    fail(monkeypatch, "apply", "/jobs/", code)
    rig.run(content)
    monkeypatch.undo()
    asyncio.run(rig.clock.advance(100))
    [status] = rig.step()
    assert (rig.find(JOBS, "night") is not None) is runs
    assert (status.phase == "Finished") is not runs
    assert ("is not known" in (status.message or "")) is not runs


def test_a_job_that_another_agent_of_the_site_has_run_is_not_run_again(
    rig: AgentRig, tmp_path: Path
) -> None:
    rig.run(rig.content(job("one")))
    rig.is_allowed = False
    rig.step()
    other = AgentRig(rig.api, tmp_path)
    other.hub, other.name = rig.hub, rig.name
    other.start()
    later = rig.content(job("one"), job("two", ttlSecondsAfterFinished=0), generation=2)
    other.run(later)
    other.finish("two")
    other.step()
    rig.api.delete(f"{JOBS.format(rig.name)}/two")  # as the TTL controller does
    other.journal.close()
    rig.is_allowed = True
    rig.run(later)
    assert rig.find(JOBS, "two") is None


def test_an_agent_that_lost_the_lease_claims_nothing_until_it_has_looked_again(
    rig: AgentRig,
) -> None:
    rig.run(rig.content(config_map(a="1")))
    assert rig.executor.last_pass_at is not None
    rig.is_allowed = False
    rig.step()
    assert rig.executor.last_pass_at is None


def test_an_order_that_was_applied_in_part_is_not_called_gone_before_the_next_pass(
    rig: AgentRig,
) -> None:
    unknown = {"apiVersion": "x.example/v1", "kind": "Widget", "metadata": {"name": "w"}}
    [status] = rig.run(rig.content(config_map(a="1"), unknown))
    assert status.phase == "Applying"
    rig.order()
    [status] = rig.executor.order_statuses()
    assert status.phase == "Withdrawing"


def test_a_kind_that_could_not_be_listed_is_listed_again_in_the_next_pass(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.run(rig.content(config_map(a="1")))
    rig.lose_disk()
    fail(monkeypatch, "list_mapped", "/configmaps", 503)
    rig.run()
    monkeypatch.undo()
    assert rig.phases() == ["Withdrawing"]


def test_the_lease_is_taken_again_after_its_namespace_was_deleted(rig: AgentRig) -> None:
    clock = AgentSystemClock()
    lease = LocalLease(api=rig.api, holder="a", duration_seconds=0.3, clock=clock)
    loop = ExecutionLoop(
        executor=rig.executor,
        lease=lease,
        clock=clock,
        resync_seconds=10,
        on_change=lambda: None,
    )

    async def run() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(loop.run_lease())
            while not lease.is_held():
                await clock.sleep(0.05)
            task.cancel()

    rig.executor.ensure_system_namespace()
    rig.api.delete("/api/v1/namespaces/kapok-system")
    asyncio.run(run())
    lease.release()
