"""The systemd unit, judged by systemd itself where it is installed."""

import asyncio
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from agents.joining.unit import InstallError, ServiceUnit
from agents.runtime.clock import AgentSystemClock
from agents.runtime.service_manager import ServiceManager
from agents.upgrade.service import Service

UNIT = ServiceUnit(
    program=Path("/bin/true"),
    config=Path("/etc/kapok-agent/agent.yaml"),
    data_dir=Path("/var/lib/kapok-agent"),
    kubeconfig=Path("/etc/rancher/k3s/k3s.yaml"),
)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here"
)


def analyze(path: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(shutil.which("systemd-analyze")), *words, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_nothing_wrong_and_calls_it_safe(tmp_path: Path) -> None:
    path = tmp_path / "kapok-agent.service"
    path.write_text(UNIT.text())
    code, said = analyze(path, "verify")
    assert "kapok-agent.service" not in said, said
    assert code == 0, said
    code, said = analyze(path, "security", "--offline=yes", "--threshold=25")
    assert code == 0, said
    for setting in ("DynamicUser=yes", "NoNewPrivileges=yes", "MemoryMax=", "WatchdogSec="):
        assert setting in path.read_text(), setting


@needs_systemd
def test_systemd_reads_the_drop_in_that_tries_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("units", "runtime", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    path = tmp_path / "units" / "kapok-agent.service"
    path.write_text(UNIT.text())
    service = Service(unit_folder=path.parent, runtime_folder=tmp_path / "runtime")
    service.start_trial(Path("/bin/false"), Path("/etc/kapok-agent/agent.yaml"), 30)
    assert service.has_trial
    monkeypatch.setenv("SYSTEMD_UNIT_PATH", f"{path.parent}:{tmp_path / 'runtime'}:")
    code, said = analyze(path, "verify")
    assert (code, "upgrade.conf" in said, "kapok-agent" in said) == (0, False, False), said
    drop_in = tmp_path / "runtime" / "kapok-agent.service.d" / "90-upgrade.conf"
    drop_in.write_text(drop_in.read_text().replace("ExecStart=/bin/false", "ExecStart=/no/such"))
    assert analyze(path, "verify")[0] != 0, "the drop-in is read at all"
    service.end_trial()
    assert not list((tmp_path / "runtime").iterdir())


@pytest.mark.parametrize(
    "unit",
    [
        ServiceUnit(program=UNIT.program, config=UNIT.config, data_dir=Path("/srv/kapok")),
        ServiceUnit(program=UNIT.program, config=Path("/etc/a b"), data_dir=UNIT.data_dir),
        ServiceUnit(program=UNIT.program, config=Path("/etc/%n"), data_dir=UNIT.data_dir),
        ServiceUnit(program=Path("kapok-agent"), config=UNIT.config, data_dir=UNIT.data_dir),
        ServiceUnit(
            program=UNIT.program, config=Path("/x\nExecStartPre=/bin/sh"), data_dir=UNIT.data_dir
        ),
    ],
)
def test_a_path_that_systemd_would_read_otherwise_is_refused(unit: ServiceUnit) -> None:
    with pytest.raises(InstallError):
        unit.text()


@pytest.mark.asyncio
async def test_the_agent_says_that_it_is_ready_and_lives(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))
        receiver.settimeout(5)
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "300000"}
        manager = ServiceManager.from_environment(environment, AgentSystemClock())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(manager.run())
            said = [(await asyncio.to_thread(receiver.recv, 64)).decode() for _ in range(3)]
            task.cancel()
    assert said == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_socket_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    gone = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "x"}
    ServiceManager.from_environment(gone, AgentSystemClock()).notify("READY=1")
