"""Attacks on a running `kapok-agent`: by its broker, by its cluster's API, and by its own disk."""

import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_broker import HostileBroker, hostile_broker, publish, publish_held
from tests.support.hostile_member import ENDLESS, HostileMember, hostile_member
from tests.support.ports import free_port
from tests.support.up import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MIB = 2**20
FAST = {"interval_seconds": 0.3, "status_interval_seconds": 0.3}


@dataclass(frozen=True)
class Agent:
    """A running agent."""

    process: "subprocess.Popen[bytes]"
    metrics_port: int
    log_path: Path

    def metric(self, name: str) -> float:
        """A value of /metrics; 0 if it has no series."""
        address = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
        return sum(values)

    @property
    def is_up(self) -> bool:
        """Whether it serves its metrics."""
        try:
            return self.process.poll() is None and self.metric("kapok_agent_build_info") == 1
        except OSError:
            return False

    @property
    def descriptors(self) -> int:
        """How many are open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def agent(folder: Path, broker: HostileBroker, **more: Any) -> Iterator[Agent]:  # noqa: ANN401 - any setting
    port, path = free_port(), folder / "agent.yaml"
    tree = {
        "site": "site-a",
        "data_dir": str(folder / "data"),
        "broker": {"port": broker.port},
        "metrics": {"port": port},
        "report": FAST,
    }
    path.write_text(json.dumps(tree | more))
    log = folder / "agent.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "agents.cli", "--config", str(path)], stderr=file
        )
    one = Agent(process, port, log)
    try:
        eventually(lambda: one.is_up)
        yield one
        assert process.poll() is None, log.read_text()
        process.terminate()
        assert process.wait(60) == 0
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


GARBAGE = {
    "a topic with a wildcard": publish("kapok/+/desired", b"x"),
    "a topic that is not UTF-8": publish(b"\xff\xfe", b"x"),
    "a packet of no kind": b"\x00\x00" * 50,
    "properties without an end": b"\x30\x05\x00\x01a\xff\xff",
    "a packet longer than MQTT's longest": b"\x30\xff\xff\xff\xff\xff",
    "an acknowledgement of nothing": b"\x40\x02\x13\x37" * 20
    + b"\x90\x04\x13\x37\x00\x01" * 20
    + b"\xb0\x04\x13\x37\x00\x00" * 20,
    "every topic, no message": publish("kapok/v1/site-a/desired", b"\x00" * 1000)
    + publish("kapok/v1/site-a/hub", b"[" * 50_000)
    + publish("kapok/v1/site-b/orders/x", b"{}"),
}


# The gate sends what reached furthest; the soak sends everything.
@pytest.mark.parametrize(
    "names",
    [
        ("a topic with a wildcard", "every topic, no message", "an acknowledgement of nothing"),
        pytest.param(tuple(GARBAGE), marks=pytest.mark.soak),
    ],
    ids=["few", "all"],
)
def test_a_broker_that_sends_garbage_neither_ends_the_agent_nor_keeps_it_busy(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    with hostile_broker() as broker, agent(tmp_path, broker) as one:
        eventually(lambda: broker.newest("report"))
        descriptors, cpu_seconds, started = one.descriptors, one.cpu_seconds, time.monotonic()
        for name in names:
            broker.send(GARBAGE[name])
            eventually(lambda: one.is_up)
            broker.payloads.clear()
            eventually(lambda: broker.newest("report"), within_seconds=60)
        broker.payloads.clear()
        eventually(lambda: broker.newest("report") and broker.newest("status"), within_seconds=60)
        assert one.descriptors <= descriptors + 4
        assert one.cpu_seconds - cpu_seconds < 0.7 * (time.monotonic() - started)
        assert len(set(broker.client_ids)) == 1


@pytest.mark.parametrize(
    "flood",
    [
        # As long as MQTT allows; only a part of it comes.
        b"\x30\xff\xff\xff\x7f" + bytes(64 * MIB),
        # Of QoS 2, which a receiver keeps until it is told to let go, and is never told.
        b"".join(publish_held("kapok/v1/site-a/hub", at, bytes(20_000)) for at in range(1, 3_000)),
    ],
    ids=["one message without an end", "messages that are never released"],
)
def test_a_broker_cannot_fill_the_agents_memory(tmp_path: Path, flood: bytes) -> None:
    with hostile_broker() as broker, agent(tmp_path, broker) as one:
        eventually(lambda: broker.newest("report"))
        before = one.metric("kapok_agent_resident_memory_bytes")
        broker.send(flood)
        eventually(lambda: len(broker.client_ids) > 1)
        broker.payloads.clear()
        eventually(lambda: broker.newest("report"), within_seconds=60)
        assert one.metric("kapok_agent_resident_memory_bytes") < before + 24 * MIB


def _answers(tree: object) -> Callable[[str], bytes]:
    body = json.dumps(tree).encode()
    return lambda _path: body


MEMBER_ANSWERS: dict[str, Callable[[str], bytes]] = {
    "null lists": _answers({"items": None, "metadata": None, "groups": None, "resources": None}),
    "lists of null": _answers({"items": [None, None], "groups": [None], "versions": [None]}),
    "numbers for lists": _answers({"items": 7, "groups": 7, "versions": 7, "metadata": 7}),
    "text for objects": _answers({"items": ["x", {"metadata": "x", "spec": "x", "status": "x"}]}),
    "lists for objects": _answers(
        {"items": [{"metadata": [], "spec": [], "status": []}], "spec": [], "metadata": []}
    ),
    "a list for an object": _answers([]),
    "no JSON": lambda _path: b"<html>",
    "deep JSON": lambda _path: b"[" * 100_000,
    "surrogates": lambda _path: (
        b'{"items":[{"metadata":{"name":"\\ud800"}}],"gitVersion":"\\ud800"}'
    ),
    "a list without an end": _answers({"items": [], "metadata": {"continue": "x"}}),
    "kinds that are no names": _answers(
        {
            "items": [
                {
                    "metadata": {"name": "☃"},
                    "versions": [
                        {
                            "version": "v1\r\n",
                            "resources": [
                                {"resource": "☃", "responseKind": {"kind": "☃"}, "verbs": 7}
                            ],
                        }
                    ],
                }
            ]
        }
    ),
}


def _has_answered(member: HostileMember, requests: int) -> bool:
    return member.requests > requests


@pytest.mark.parametrize(
    "names",
    [
        (
            "lists of null",
            "numbers for lists",
            "lists for objects",
            "no JSON",
            "kinds that are no names",
        ),
        pytest.param(tuple(MEMBER_ANSWERS), marks=pytest.mark.soak),
    ],
    ids=["few", "all"],
)
def test_a_member_api_that_answers_nonsense_does_not_end_the_agent(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    with (
        hostile_broker() as broker,
        hostile_member(tmp_path, MEMBER_ANSWERS["null lists"]) as member,
        agent(
            tmp_path,
            broker,
            cluster={
                "source": "kubeconfig",
                "kubeconfig": str(member.kubeconfig),
                "resync_seconds": 0.2,
                "lease_seconds": 1,
            },
        ) as one,
    ):
        for name in names:
            member.answer, before = MEMBER_ANSWERS[name], member.requests
            broker.payloads.clear()
            try:
                eventually(partial(_has_answered, member, before + 5))
                eventually(lambda: broker.newest("report"))
            except AssertionError as error:
                raise AssertionError(f"{name}: {one.log_path.read_text()[-2000:]}") from error
            assert one.is_up, name


def test_a_body_without_an_end_costs_neither_the_agent_nor_its_memory(tmp_path: Path) -> None:
    with (
        hostile_broker() as broker,
        hostile_member(tmp_path, MEMBER_ANSWERS["null lists"]) as member,
        agent(
            tmp_path,
            broker,
            cluster={"source": "kubeconfig", "kubeconfig": str(member.kubeconfig)},
        ) as one,
    ):
        eventually(lambda: broker.newest("report"))
        before = one.metric("kapok_agent_resident_memory_bytes")
        member.answer = lambda _path: ENDLESS
        asked = member.requests
        eventually(lambda: member.requests > asked + 6, within_seconds=60)
        member.answer = MEMBER_ANSWERS["null lists"]
        broker.payloads.clear()
        eventually(lambda: broker.newest("report"))
        assert one.metric("kapok_agent_resident_memory_bytes") < before + 16 * MIB


def test_a_locked_journal_is_a_fault_in_the_report_and_nothing_is_executed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    path = tmp_path / "data" / "journal.sqlite"
    path.touch(mode=0o600)
    path.with_name("boots").write_text("1")  # an agent that was here before
    with closing(sqlite3.connect(path)) as other, hostile_broker() as broker:
        other.execute("BEGIN EXCLUSIVE")
        with agent(tmp_path, broker) as one:
            report = eventually(lambda: broker.newest("report"))
            assert report["faults"] == ["journal-unusable"]
            status = eventually(lambda: broker.newest("status"))
            assert (status["isExecuting"], status["orders"]) == (False, [])
            broker.send(publish("kapok/v1/site-a/desired", b"{}"))
            eventually(lambda: one.metric('kapok_agent_faults_total{where="journal"}') >= 1)
            other.rollback()
            broker.send(publish("kapok/v1/site-a/desired", b"{}2"))
            broker.payloads.clear()
            eventually(
                lambda: broker.newest("report") and not broker.newest("report").get("faults")
            )


@pytest.mark.parametrize("name", ["agent.key", "client-id", "journal.sqlite"])
def test_a_secret_that_others_may_read_is_refused_with_the_command(
    tmp_path: Path, name: str
) -> None:
    with hostile_broker() as broker:
        with agent(tmp_path, broker):
            eventually(lambda: broker.client_ids)
        loose = tmp_path / "data" / name
        assert loose.stat().st_mode & 0o777 == 0o600
        loose.chmod(0o644)
        done = subprocess.run(
            [sys.executable, "-m", "agents.cli", "--config", str(tmp_path / "agent.yaml")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"chmod 600 {loose}" in done.stderr
    assert "Traceback" not in done.stderr
