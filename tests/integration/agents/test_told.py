"""What the status tells: endless re-creation, changes that are not run, fields of others."""

from http import HTTPStatus

import pytest

from agents.member.errors import MemberApiError
from tests.support.agent_rig import AUTOSCALERS, CONFIG_MAPS, DEPLOYMENTS, JOBS, AgentRig
from tests.support.up import eventually
from tests.support.wire_hub import Manifest, autoscaler, config_map, deployment, job

pytestmark = pytest.mark.integration


def changed_job() -> Manifest:
    made = job()
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:2"
    return made


def scale(rig: AgentRig, manager: str, replicas: int) -> None:
    """Scales through the subresource, as an autoscaler and `kubectl scale` do."""
    path = f"{DEPLOYMENTS.format(rig.name)}/web/scale"

    def is_scaled() -> bool:
        tree = rig.api.get(path)
        tree["spec"] = {"replicas": replicas}
        try:
            rig.api._request("update", "PUT", f"{path}?fieldManager={manager}", tree)  # noqa: SLF001
        except MemberApiError as error:  # a controller was faster; it is read again
            if error.code != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    eventually(is_scaled)


async def test_what_is_deleted_again_and_again_is_told_and_ends_when_it_ends(
    rig: AgentRig,
) -> None:
    [status] = rig.run(rig.content(config_map(a="1")))
    for count in range(1, 5):
        rig.api.delete(f"{CONFIG_MAPS.format(rig.name)}/settings")
        [status] = rig.step()
        assert status.recreated == (count if count >= 3 else None)
    assert "was deleted at the site and made again, 4 times" in str(status.message)
    await rig.clock.advance(601)
    [status] = rig.step()
    assert (status.phase, status.recreated, status.message) == ("Ready", None, None)


def test_a_finished_job_that_is_changed_says_that_the_change_is_not_run(rig: AgentRig) -> None:
    rig.run(rig.content(job()))
    rig.finish("night")
    rig.step()
    assert [one.not_run for one in rig.run(rig.content(job(parallelism=2), generation=2))] == [None]
    for is_lost in (False, True):
        if is_lost:
            rig.lose_disk()
        [status] = rig.run(rig.content(changed_job(), generation=3))
        assert (status.phase, status.finished, status.not_run) == ("Finished", "Succeeded", 1)
        assert "the change is not run" in str(status.message)
        assert "another name" in str(status.message)
    [status] = rig.run(rig.content(job(), generation=4))
    assert (status.not_run, status.message) == (None, None)
    assert (
        rig.find(JOBS, "night")["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox"
    )


def test_a_job_that_is_changed_while_it_runs_says_what_to_do(rig: AgentRig) -> None:
    rig.run(rig.content(job()))
    [status] = rig.run(rig.content(changed_job(), generation=2))
    assert status.phase == "Failed"
    assert "give the new one another name" in str(status.message)
    assert len(str(status.message)) < 400


def test_replicas_of_an_autoscaler_are_left_to_it_and_those_of_people_are_set_back(
    rig: AgentRig,
) -> None:
    content = rig.content(deployment(replicas=2))
    rig.run(content)
    rig.api.create(AUTOSCALERS.format(rig.name), autoscaler())
    scale(rig, "kube-controller-manager", 5)
    [status] = rig.step()
    assert rig.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 5
    assert status.desired == 5, "what really runs counts"
    assert "left to kube-controller-manager" in str(status.message)
    assert not rig.executor.reconcile(), "no fight"
    rig.run(rig.content(deployment(replicas=0), generation=2))
    assert rig.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 0
    rig.run(rig.content(deployment(replicas=2), generation=3))
    scale(rig, "kubectl-scale", 7)
    rig.step()
    assert rig.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 2


def test_replicas_that_no_manifest_writes_are_nobodys_drift(rig: AgentRig) -> None:
    made = deployment()
    del made["spec"]["replicas"]
    rig.run(rig.content(made))
    scale(rig, "kubectl", 4)
    rig.step()
    assert rig.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 4


def test_what_keeps_a_pod_from_running_reaches_the_status(rig: AgentRig) -> None:
    content = rig.content(deployment())
    rig.executor.pod_problems = lambda: {content.id: "Pod web-1: FailedScheduling: 0/3 nodes"}
    [status] = rig.run(content)
    assert (status.phase, status.message) == ("Applied", "Pod web-1: FailedScheduling: 0/3 nodes")
