"""A site's own rules at a member: what is refused does not touch what runs, also after a reboot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.member.api import MemberApi
from agents.orders.allowed.site_rules import SiteRules, parse_ceilings
from tests.support.agent_rig import CONFIG_MAPS, DEPLOYMENTS, JOBS, AgentRig
from tests.support.wire_hub import config_map, deployment, job

pytestmark = pytest.mark.integration


@pytest.fixture
def ruled(api: MemberApi, tmp_path: Path) -> Iterator[AgentRig]:
    folder = tmp_path / "ruled"
    folder.mkdir()
    rules = SiteRules(
        kinds=("apps/Deployment", "ConfigMap", "batch/Job"), ceilings=parse_ceilings(["pods=3"])
    )
    one = AgentRig(api, folder, site_rules=rules)
    yield one
    one.run()
    one.journal.close()
    api.delete(f"/api/v1/namespaces/{one.name}")


def reboot(rig: AgentRig) -> None:
    """The agent starts again on its disk, and no hub says anything."""
    rig.journal.close()
    rig.start()


def test_an_update_that_the_site_refuses_leaves_the_old_one_running_and_says_so(
    ruled: AgentRig,
) -> None:
    [status] = ruled.run(ruled.content(deployment(replicas=2)))
    assert status.phase == "Applied"
    [status] = ruled.run(ruled.content(deployment(replicas=9), generation=2))
    for _ in range(2):
        assert status.phase == "Refused"
        assert "asks for 9 of pods" in (status.message or "")
        assert status.applied_generation == 1
        assert ruled.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 2
        reboot(ruled)
        [status] = ruled.step()


def test_a_rule_that_is_made_narrower_withdraws_nothing(ruled: AgentRig) -> None:
    ruled.run(ruled.content(config_map()))
    ruled.site_rules = SiteRules(kinds=("apps/Deployment",))
    reboot(ruled)
    [status] = ruled.step()
    assert status.phase == "Refused"
    assert ruled.find(CONFIG_MAPS, "settings") is not None


def test_after_a_reboot_without_the_hub_everything_comes_back_from_disk_but_no_finished_job(
    ruled: AgentRig,
) -> None:
    """Its cluster was reset too: the objects are made again, and the job has run for good."""
    large = config_map("large", text="".join(chr(33 + n * n % 90) for n in range(300_000)))
    ruled.run(ruled.content(deployment(), large, job(ttlSecondsAfterFinished=0)))
    ruled.finish("night")
    ruled.step()
    for collection, name in ((DEPLOYMENTS, "web"), (CONFIG_MAPS, "large"), (JOBS, "night")):
        ruled.api.delete(f"{collection.format(ruled.name)}/{name}")
    reboot(ruled)
    ruled.step()
    assert ruled.find(DEPLOYMENTS, "web") is not None
    assert len(ruled.find(CONFIG_MAPS, "large")["data"]["text"]) == 300_000
    assert ruled.find(JOBS, "night") is None
