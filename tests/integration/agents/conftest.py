"""An agent's orders at a member: the embedded server, or a real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.member.access import from_kubeconfig
from agents.member.api import MemberApi
from tests.support.agent_rig import AgentRig
from tests.support.member_clusters import REAL_KUBECONFIGS, api_servers, wait_until


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if REAL_KUBECONFIGS:
        yield REAL_KUBECONFIGS[0]
        return
    with api_servers(tmp_path_factory.mktemp("member"), "m1") as [path]:
        yield path


@pytest.fixture(scope="module")
def api(kubeconfig: Path) -> Iterator[MemberApi]:
    one = MemberApi(from_kubeconfig(kubeconfig))
    yield one
    one.close()


@pytest.fixture
def rig(api: MemberApi, tmp_path: Path) -> Iterator[AgentRig]:
    folder = tmp_path / "agent"
    folder.mkdir()
    one = AgentRig(api, folder)
    yield one
    one.is_allowed = True
    if one.intake.index:
        one.run()
    one.journal.close()
    api.delete(f"/api/v1/namespaces/{one.name}")
    if REAL_KUBECONFIGS:  # controllers empty it; until then the next rig finds this one's orders
        wait_until(lambda: not _namespaces_of(one), seconds=60)


def _namespaces_of(rig: AgentRig) -> list[str]:
    items = rig.api.get("/api/v1/namespaces")["items"]
    names = [each["metadata"]["name"] for each in items]
    left = [name for name in names if name.startswith(rig.name)]
    for name in left:
        rig.api.delete(f"/api/v1/namespaces/{name}")
    return left
