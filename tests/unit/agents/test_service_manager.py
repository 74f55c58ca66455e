"""The agent as systemd sees it: ready, alive, late, ending; and its lines in the journal."""

import asyncio
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.joining.unit import ServiceUnit
from agents.loops import ReportLoop
from agents.metrics.counters import Counters
from agents.metrics.server import MetricsServer
from agents.runtime.clock import AgentSystemClock
from agents.runtime.heartbeats import Heartbeats
from agents.runtime.log_lines import JournalFormatter, writes_to_journal
from agents.runtime.service_manager import ServiceManager
from tests.support.up import ROOT


@contextmanager
def receiving(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        receiver.settimeout(20)
        yield receiver


def test_the_shipped_unit_is_the_one_that_join_installs() -> None:
    unit = ServiceUnit(
        program=Path("/usr/local/bin/kapok-agent"),
        config=Path("/etc/kapok-agent/agent.yaml"),
        data_dir=Path("/var/lib/kapok-agent"),
    )
    assert (ROOT / "configs" / "kapok-agent.service").read_text() == unit.text()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_the_watchdog_gets_no_sign_of_life_while_a_loop_is_late(
    kind: str, tmp_path: Path
) -> None:
    address = f"@kapok-test-{os.getpid()}" if kind == "abstract" else str(tmp_path / "notify")
    late: list[str] = []
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "300000"}
    manager = ServiceManager.from_environment(environment, AgentSystemClock())
    with receiving(address) as receiver:
        async with asyncio.TaskGroup() as group:
            watching = manager.run(lambda: tuple(late), lambda: "a\nMAINPID=1")
            task = group.create_task(watching)
            said = [(await asyncio.to_thread(receiver.recv, 256)).decode() for _ in range(2)]
            late.append("report")
            while "report" not in said[-1]:
                said.append((await asyncio.to_thread(receiver.recv, 256)).decode())
            receiver.settimeout(0.5)
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(receiver.recv, 256)
            late.clear()
            receiver.settimeout(5)
            again = (await asyncio.to_thread(receiver.recv, 256)).decode()
            task.cancel()
    assert said[0] == "READY=1\nSTATUS=a MAINPID=1"
    assert said[1] == "WATCHDOG=1"
    assert said[-1] == "STATUS=does not come round: report"
    assert again == "WATCHDOG=1"


def test_a_loop_is_late_once_its_time_is_over() -> None:
    class Clock(AgentSystemClock):
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    clock = Clock()
    beats = Heartbeats(clock)
    beats.beat("report", within_seconds=10)
    beats.beat("lease", within_seconds=30)
    assert beats.overdue() == ()
    clock.seconds = 11
    assert beats.overdue() == ("report",)
    beats.beat("report", within_seconds=10)
    assert beats.overdue() == ()
    clock.seconds = 40
    assert beats.overdue() == ("lease", "report")
    beats.end("lease")
    assert beats.overdue() == ("report",)


def test_a_socket_name_that_no_socket_can_have_ends_nothing() -> None:
    for name in ("@" + "x" * 300, "/a\0b", "\udcff"):
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "9" * 400}
        manager = ServiceManager.from_environment(environment, AgentSystemClock())
        manager.notify("READY=1")
        assert manager.watchdog_seconds == 0


def test_each_line_for_the_journal_begins_with_its_level() -> None:
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "one\n<0>two %s", ("中",), None)
    assert JournalFormatter("%(message)s").format(record) == "<4>one\n<4><0>two 中"
    record = logging.LogRecord("a", logging.DEBUG, "f", 1, "", (), None)
    assert JournalFormatter("%(message)s").format(record) == "<7>"


def test_only_the_stream_that_systemd_has_connected_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as one, (tmp_path / "b").open("w") as other:
        found = os.fstat(one.fileno())
        environment = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert writes_to_journal(one, environment)
        assert not writes_to_journal(other, environment)
        assert not writes_to_journal(one, {})
        assert not writes_to_journal(io.StringIO(), environment)


def test_a_real_agent_is_ready_lives_writes_for_the_journal_and_says_that_it_ends(
    tmp_path: Path,
) -> None:
    settings, notify, log = tmp_path / "a.yaml", tmp_path / "notify", tmp_path / "log"
    tree = {"site": "site-a", "data_dir": str(tmp_path / "data"), "broker": {"port": 9}}
    settings.write_text(json.dumps(tree))
    with receiving(str(notify)) as receiver, log.open("wb") as stream:
        found = os.fstat(stream.fileno())
        more = {
            "NOTIFY_SOCKET": str(notify),
            "WATCHDOG_USEC": "600000",
            "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "agents.cli", "--config", str(settings)],
            stderr=stream,
            env={**os.environ, **more},
        )
        try:
            said = [receiver.recv(256).decode() for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in said[-1]:
                said.append(receiver.recv(256).decode())
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert said[0] == "READY=1\nSTATUS=site-a: connecting to 127.0.0.1:9"
    assert said[1] == "WATCHDOG=1"
    lines = log.read_text().splitlines()
    assert "<6>ended as asked" in lines, lines
    assert all(line.startswith("<") for line in lines), lines


@pytest.mark.asyncio
async def test_health_fails_while_a_loop_is_late() -> None:
    late: list[str] = []
    server = MetricsServer(lambda: "", lambda: tuple(late))
    port = await server.start("127.0.0.1", 0)
    try:
        assert await asked(port) == (200, "ok\n")
        late.append("report")
        assert await asked(port) == (503, "no round of: report\n")
    finally:
        server.stop()


async def asked(port: int) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split(" ")[1]), body


@pytest.mark.asyncio
async def test_the_report_loop_is_late_when_a_round_of_it_never_ends() -> None:
    class Clock(AgentSystemClock):
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    class Hangs:
        async def collect(self) -> None:
            await asyncio.Event().wait()

    clock = Clock()
    beats = Heartbeats(clock)
    loop = ReportLoop(
        interval_seconds=10,
        session=None,  # type: ignore[arg-type]  # not reached
        builder=None,  # type: ignore[arg-type]  # as above
        collector=Hangs(),  # type: ignore[arg-type]
        clock=clock,
        counters=Counters(),
        heartbeats=beats,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loop.run())
        await asyncio.sleep(0)  # noqa: TID251 - one turn of the event loop
        clock.seconds = 139
        assert beats.overdue() == ()
        clock.seconds = 141
        assert beats.overdue() == ("report",)
        task.cancel()
