"""`kapok-agent doctor`: each fault made real, and what it says about it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.config.load import load_settings
from agents.config.settings import AgentSettings, JoinedSettings
from agents.doctor.cluster import LEASE_NAMESPACE, ORDER_RIGHTS, READING_RIGHTS, examine_cluster
from agents.doctor.examination import examine, render, run_checks
from agents.doctor.findings import Check, DoctorFinding
from agents.doctor.machine import examine_certificate, examine_data_dir
from agents.doctor.network import examine_clock
from agents.runtime.clock import AgentSystemClock
from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import TokenStore
from tests.support.join_rig import running_join_rig
from tests.support.member_clusters import api_servers
from tests.support.ports import free_ports
from tests.support.production_broker import Authority, mosquitto
from tests.support.tools import require_tool
from tests.support.up import ROOT
from tests.unit.manifests.test_rbac import rights

pytestmark = pytest.mark.integration

SITE = "gz-nansha-edge"
MOSQUITTO = """listener {port} 127.0.0.1
cafile {folder}/ca.crt
certfile {folder}/broker.crt
keyfile {folder}/broker.key
require_certificate true
use_identity_as_username true
allow_anonymous false
"""


class ShiftedClock(AgentSystemClock):
    """A clock that is off."""

    def __init__(self, off: timedelta = timedelta()) -> None:
        self.off = off

    def now(self) -> datetime:
        return super().now() + self.off


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    authority = Authority(folder)
    for name in ("broker", SITE, "other"):
        authority.issue(name)
    authority.issue("over", life=timedelta(seconds=-1))
    other = folder / "another"
    other.mkdir()
    Authority(other).issue(SITE)
    return folder


@pytest.fixture(scope="module")
def broker(papers: Path) -> Iterator[int]:
    require_tool("mosquitto")
    [port] = free_ports(1)
    with mosquitto(papers, port, {"mosquitto.conf": MOSQUITTO.format(port=port, folder=papers)}):
        yield port


def written(folder: Path, broker: dict[str, Any], **more: Any) -> Path:  # noqa: ANN401 - any setting
    path = folder / "agent.yaml"
    (folder / "data").mkdir(exist_ok=True)
    tree = {"site": SITE, "data_dir": str(folder / "data"), "broker": broker, "hub_keys": []}
    path.write_text(json.dumps(tree | more))
    return path


def tls(papers: Path, port: int, name: str = SITE, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any setting
    return {
        "port": port,
        "tls_ca_file": str(papers / "ca.crt"),
        "tls_certificate_file": str(papers / f"{name}.crt"),
        "tls_key_file": str(papers / f"{name}.key"),
    } | more


def found(path: Path) -> dict[str, str]:
    """What is found, by setting."""
    answer = examine(path, {})
    assert len(answer["checks"]) == 8
    return {
        one["path"]: f"{one['severity']}: {one['what']}; {one['instead']}"
        for one in answer["findings"]
        if one["path"] != "hub_keys"
    }


def test_a_machine_without_faults_has_no_finding(broker: int, papers: Path, tmp_path: Path) -> None:
    assert found(written(tmp_path, tls(papers, broker))) == {}
    assert list((tmp_path / "data").iterdir()) == [], "it changes nothing"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"host": "no-such-host.invalid"}, ("broker.host", "no-such-host.invalid")),
        ({"tls_ca_file": "another/ca.crt"}, ("broker.tls_ca_file", "is not accepted")),
        (
            {"tls_certificate_file": "", "tls_key_file": ""},
            ("broker.tls_certificate_file", "certificate required"),
        ),
        (
            {"tls_certificate_file": f"another/{SITE}.crt", "tls_key_file": f"another/{SITE}.key"},
            ("broker.tls_certificate_file", "does not accept the certificate"),
        ),
        ({"tls_key_file": "other.key"}, ("broker.tls_key_file", "is not the key of")),
    ],
    ids=["dns", "another broker", "no certificate", "of another authority", "another key"],
)
def test_what_is_wrong_between_agent_and_broker_is_named(
    broker: int, papers: Path, tmp_path: Path, change: dict[str, str], named: tuple[str, str]
) -> None:
    files = {
        name: str(papers / text) if text and name != "host" else text
        for name, text in change.items()
    }
    path, said = named
    assert said in found(written(tmp_path, tls(papers, broker, **files)))[path]


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_broker_that_is_away_or_says_nothing_is_named_in_time(
    papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.doctor.network.CONNECT_SECONDS", 0.5)
    [port] = free_ports(1)
    assert "Connection refused" in found(written(tmp_path, tls(papers, port)))["broker.host"]
    with silent_server() as port:
        assert "no TLS" in found(written(tmp_path, tls(papers, port)))["broker.port"]
        assert "does not accept" in found(written(tmp_path, {"port": port}))["broker"]


def test_a_check_that_hangs_ends_in_time_and_one_that_fails_costs_its_own() -> None:
    def fail() -> Iterator[DoctorFinding]:
        yield DoctorFinding("a", "warning", "before it failed", "")
        raise RuntimeError("中\x1b")

    hang = threading.Event()

    def wait() -> list[DoctorFinding]:
        hang.wait(60)
        return []

    answer = run_checks([Check("one", wait), Check("two", fail), Check("three", list)], seconds=2.0)
    hang.set()
    assert answer["checks"] == {"one": "warning", "two": "warning", "three": "ok"}
    assert answer["ok"] is True
    texts = [one["what"] for one in answer["findings"]]
    assert "one: no answer within 2 s" in texts
    assert "before it failed" in texts
    assert "\x1b" not in render(answer)


def settings_of(folder: Path, **more: Any) -> AgentSettings:  # noqa: ANN401 - any setting
    return load_settings(written(folder, {"port": 1}, **more), {})


@pytest.mark.parametrize(
    ("name", "off", "expected"),
    [
        (SITE, timedelta(), ("", "")),
        ("other", timedelta(), ("warning", f"it is of other, and the site is {SITE}")),
        ("over", timedelta(), ("error", "has ended at")),
        (SITE, timedelta(days=-1), ("error", "the clock is behind")),
        (SITE, timedelta(minutes=50), ("warning", "is not renewed")),
    ],
)
def test_the_certificate_is_judged(
    papers: Path, tmp_path: Path, name: str, off: timedelta, expected: tuple[str, str]
) -> None:
    path = written(tmp_path, tls(papers, 1, name))
    results = list(examine_certificate(load_settings(path, {}), ShiftedClock(off)))
    severity, said = expected
    assert [one for one in results if one.severity == severity and said in one.what] or not said
    assert said or results == []


@pytest.mark.asyncio
@pytest.mark.parametrize("hours", [-3, pytest.param(0, marks=pytest.mark.soak), 3])
async def test_a_clock_that_is_off_is_named(tmp_path: Path, hours: int) -> None:
    async with running_join_rig(tmp_path) as rig:
        place = JoinedSettings(host=rig.server.host, port=rig.server.port)
        settings = replace(settings_of(tmp_path), joining=place)
        clock = ShiftedClock(timedelta(hours=hours))
        results = await asyncio.to_thread(lambda: list(examine_clock(settings, clock)))
    said = {-3: ["behind"], 0: [], 3: ["ahead of"]}[hours]
    assert [word for one in results for word in said if word in one.what] == said
    assert len(results) == len(said)


def test_a_full_and_a_read_only_disk_and_a_damaged_journal_are_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    data = Path(settings.data_dir)
    (data / "boots").write_text("1")
    (data / "journal.sqlite").touch(mode=0o600)
    assert list(examine_data_dir(settings)) == []
    (data / "journal.sqlite").write_bytes(b"SQLite format 3\0" + os.urandom(4096))
    assert "sets the file aside" in next(iter(examine_data_dir(settings))).instead
    (data / "journal.sqlite").unlink()
    mount = [require_tool("mount"), "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(data)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        (data / "filler").write_bytes(b"x" * 65536)
        said = [one.what for one in examine_data_dir(settings)]
        assert any("the disk is full" in one for one in said), said
        assert any("No space left" in one for one in said), said
        subprocess.run([mount[0], "-o", "remount,ro", str(data)], check=True)
        said = [one.what for one in examine_data_dir(settings)]
        assert any("Read-only file system" in one for one in said), said
    finally:
        subprocess.run([require_tool("umount"), "-l", str(data)], check=True)


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_servers(tmp_path_factory.mktemp("member"), "m1") as [path]:
        yield path


def test_rights_that_are_missing_are_named_verb_by_verb(member: Path, tmp_path: Path) -> None:
    cluster = {"source": "kubeconfig", "kubeconfig": str(member)}
    settings = settings_of(tmp_path, cluster=cluster)
    assert list(examine_cluster(settings)) == []
    tree = json.loads(member.read_text())
    token = TokenStore(member.parent / "tokens.json").get_or_create(Identity("a", "auditor"))
    tree["users"][0]["user"]["token"] = token
    limited = tmp_path / "limited"
    limited.touch(mode=0o600)
    limited.write_text(json.dumps(tree))
    settings = settings_of(tmp_path, cluster=cluster | {"kubeconfig": str(limited)})
    results = list(examine_cluster(settings))
    said = [one.what for one in results]
    assert "may not get, list, watch nodes: reports lack what it reads there" in said
    assert any(one.startswith("may not create, patch, delete pods: orders") for one in said) or any(
        "pods: orders with such objects fail" in one for one in said
    )
    leases = "may not get, create, update leases.coordination.k8s.io: no order is applied"
    assert [one.severity for one in results if one.what == leases] == ["error"]
    only_reports = replace(settings, cluster=replace(settings.cluster, is_executing=False))
    assert not [one for one in examine_cluster(only_reports) if "deployments" in one.what]


def test_an_api_that_is_away_and_a_kubeconfig_that_is_none_are_named(
    member: Path, tmp_path: Path
) -> None:
    tree = json.loads(member.read_text())
    [port] = free_ports(1)
    tree["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    path = tmp_path / "away"
    path.touch(mode=0o600)
    path.write_text(json.dumps(tree))
    settings = settings_of(tmp_path, cluster={"source": "kubeconfig", "kubeconfig": str(path)})
    [one] = examine_cluster(settings)
    assert "does not answer" in one.what
    path.write_text("[]")
    [one] = examine_cluster(settings)
    assert (one.severity, one.path) == ("error", "cluster")


def test_the_rights_are_those_of_the_shipped_role() -> None:
    shipped = set(rights("ClusterRole/kapok-agent"))
    asked = {
        (group, resource, verb)
        for group, resource, verbs in READING_RIGHTS + ORDER_RIGHTS
        for verb in verbs
    }
    assert asked <= shipped
    # What is left is list alone: whether a namespace is empty, before it is deleted.
    assert {verb for _, _, verb in shipped - asked} == {"list"}
    leases = {verb for _, resource, verb in rights("Role/kapok-agent") if resource == "leases"}
    assert leases == {"get", "create", "update"}
    assert LEASE_NAMESPACE == "kapok-system"


def test_the_command_prints_one_object_or_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, {"port": 1})
    words = [sys.executable, "-m", "agents.cli", "--config", str(path), "doctor"]
    done = subprocess.run(words, capture_output=True, check=False, cwd=ROOT)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (0, True)
    assert set(answer["findings"][0]) == {"path", "severity", "what", "instead"}
    assert "broker       warning" in render(answer)
    path.write_text("site: a\nzzz: 1\n")
    done = subprocess.run([*words, "-o", "json"], capture_output=True, check=False, cwd=ROOT)
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (1, False)
