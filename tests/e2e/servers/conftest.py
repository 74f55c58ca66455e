"""The servers of this suite: embedded ones always, and real ones where they are named.

The hub is the server of KAPOK_TEST_KUBECONFIG, a member the first of
KAPOK_TEST_MEMBER_KUBECONFIGS. A proxy in front injects what a server cannot do on demand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.member.access import from_kubeconfig
from agents.member.api import MemberApi
from tests.support.agent_rig import AgentRig
from tests.support.api_client import Client
from tests.support.api_proxy import Faults, api_proxy
from tests.support.member_clusters import REAL_KUBECONFIGS, api_servers
from tests.support.real_hub import SERVERS


@pytest.fixture(params=SERVERS, ids=lambda one: "real" if one else "embedded")
def server(request: pytest.FixtureRequest) -> Path | None:
    """The kubeconfig of a real API server as the hub; None: the embedded hub."""
    found: Path | None = request.param
    return found


@pytest.fixture(scope="module")
def kubeconfigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The kubeconfig of each member, by what serves it."""
    with api_servers(tmp_path_factory.mktemp("member"), "m1") as [path]:
        yield {"embedded": path} | ({"real": REAL_KUBECONFIGS[0]} if REAL_KUBECONFIGS else {})


@dataclass(frozen=True)
class FaultyMember:
    """An agent's orders at a member behind a proxy."""

    rig: AgentRig
    faults: Faults


@pytest.fixture(params=["embedded", *(["real"] if REAL_KUBECONFIGS else [])])
def member(
    request: pytest.FixtureRequest, kubeconfigs: dict[str, Path], tmp_path: Path
) -> Iterator[FaultyMember]:
    (tmp_path / "agent").mkdir()
    with api_proxy(Client.of(kubeconfigs[request.param]), tmp_path) as proxy:
        api = MemberApi(from_kubeconfig(proxy.kubeconfig))
        rig = AgentRig(api, tmp_path / "agent")
        try:
            yield FaultyMember(rig, proxy.faults)
        finally:
            proxy.faults.clear()
            if rig.intake.index:
                rig.run()
            rig.journal.close()
            api.delete(f"/api/v1/namespaces/{rig.name}")
            api.close()
