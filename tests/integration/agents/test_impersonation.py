"""With `cluster.tenant_account` an order has the rights of its namespace's account."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.member.access import Access, from_kubeconfig
from agents.member.api import MemberApi
from tests.support.agent_rig import CONFIG_MAPS, AgentRig
from tests.support.member_clusters import REAL_KUBECONFIGS
from tests.support.wire_hub import config_map

pytestmark = pytest.mark.integration

HEADER = "Impersonate-User"


class RecordingApi(MemberApi):
    """Records who each write is made as; the embedded server does not know impersonation."""

    users: list[tuple[str, str, str]] = []  # noqa: RUF012 - shared with the copies, on purpose

    def _send(
        self,
        opened: tuple[Access, http.client.HTTPConnection],
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        self.users.append((method, path.partition("?")[0], headers.get(HEADER, "")))
        sent = {name: value for name, value in headers.items() if name != HEADER}
        return super()._send(opened, method, path, body, sent)


@pytest.fixture
def recording(kubeconfig: Path, tmp_path: Path) -> Iterator[AgentRig]:
    api = RecordingApi(from_kubeconfig(kubeconfig))
    api.users.clear()
    rig = AgentRig(api, tmp_path, tenant_account="kapok-tenant")
    yield rig
    rig.run()
    rig.journal.close()
    api.delete(f"/api/v1/namespaces/{rig.name}")
    api.close()


def test_only_the_objects_of_the_order_are_written_as_the_account(recording: AgentRig) -> None:
    rig = recording
    assert [one.phase for one in rig.run(rig.content(config_map()))] == ["Ready"]
    account = f"system:serviceaccount:{rig.name}:kapok-tenant"
    own = CONFIG_MAPS.format(rig.name)
    writes = {one for one in RecordingApi.users if one[0] != "GET"}
    assert {user for _, path, user in writes if path.startswith(own)} == {account}
    assert {user for _, path, user in writes if not path.startswith(own)} == {""}
    assert {user for method, _, user in RecordingApi.users if method == "GET"} == {""}
    RecordingApi.users.clear()
    rig.run()
    assert {user for method, _, user in RecordingApi.users if method == "DELETE"} == {""}


def test_an_account_that_may_not_is_named_in_the_order(kubeconfig: Path, tmp_path: Path) -> None:
    api = MemberApi(from_kubeconfig(kubeconfig))
    rig = AgentRig(api, tmp_path, tenant_account="kapok-tenant")
    [status] = rig.run(rig.content(config_map()))
    assert status.phase == "Failed"
    said = status.message or ""
    if REAL_KUBECONFIGS:
        account = f"system:serviceaccount:{rig.name}:kapok-tenant"
        assert f'403 configmaps "settings" is forbidden: User "{account}" cannot patch' in said
    else:
        assert "impersonation" in said
    assert rig.find(CONFIG_MAPS, "settings") is None
    rig.run()
    rig.journal.close()
    api.delete(f"/api/v1/namespaces/{rig.name}")
    api.close()
