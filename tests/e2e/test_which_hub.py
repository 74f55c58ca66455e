"""Which hub `kapok up` uses, as real processes: no kubeconfig of a person, no other API server."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.member_clusters import api_servers
from tests.support.up import ROOT, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def children_of(pid: int) -> list[str]:
    """The command lines of all processes that a process has started."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found.append(Path(f"/proc/{child}/cmdline").read_text().replace("\0", " "))
        found += children_of(int(child))
    return found


def test_a_kubeconfig_of_a_person_names_no_hub(tmp_path: Path) -> None:
    own = tmp_path / ".kube" / "config"
    own.parent.mkdir()
    own.write_text("no kubeconfig at all")
    environment = {"HOME": str(tmp_path), "KUBECONFIG": str(own)}
    with running_up(tmp_path, environment=environment) as up:
        assert up.ready["hubKind"] == "embedded"
        assert "the hub is embedded" in up.log
        assert kapok(up, "version")["hub"] == "embedded"
        assert sum("hub_process" in one for one in children_of(up.pid)) == 1


def test_a_named_kubeconfig_is_the_hub_and_no_api_server_is_started(tmp_path: Path) -> None:
    with api_servers(tmp_path / "servers", "real") as [kubeconfig]:
        crds = ("apply", "--server-side", "-f", str(ROOT / "manifests/crds"))
        kubectl = [str(Path(sys.executable).parent / "kubectl"), "--kubeconfig", str(kubeconfig)]
        subprocess.run([*kubectl, *crds], check=True, capture_output=True, timeout=60)
        options = ("--kubeconfig", str(kubeconfig))
        with running_up(tmp_path, options=options) as up:
            assert up.ready["hubKind"] == "external"
            assert up.ready["kubeconfig"] == str(kubeconfig)
            assert f"the hub is external: --kubeconfig {kubeconfig}" in up.log
            assert kapok(up, "version", *options)["hub"] == "external"
            assert not any("hub_process" in one for one in children_of(up.pid))
            assert not (up.data_dir / "hub").exists()
