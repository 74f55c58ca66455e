"""A broker that records what a real agent sends, and plays it again; and an agent with an old disk.

With agents of this version and of the one before, against a running hub.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agents.runtime.data_dir import load_or_create_key
from tests.support.counters import counters
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import ROOT, Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Recorded = list[tuple[str, bytes]]


@contextmanager
def connected(up: Up) -> Iterator[paho.Client]:
    """What a broker can do: it sees every message, and may send each again."""
    host, _, port = up.ready["broker"].rpartition(":")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(host, int(port))
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def recording(up: Up) -> Iterator[Recorded]:
    recorded: Recorded = []
    with connected(up) as client:
        client.on_message = lambda _client, _data, one: recorded.append(
            (one.topic, bytes(one.payload))
        )
        for kind in ("report", "status"):
            client.subscribe(f"kapok/v1/+/{kind}")
        yield recorded


def play(up: Up, recorded: Recorded) -> None:
    """Plays all of it, and waits until the hub has refused each message."""
    with connected(up) as client:
        sent = [client.publish(topic, payload, qos=1) for topic, payload in recorded]
        for one in sent:
            one.wait_for_publish(10.0)
    eventually(lambda: _refused(up) == len(recorded))


def _refused(up: Up) -> float:
    return counters(up, "kapok_bad_messages_total").get('kind="stale"', 0.0)


@contextmanager
def running_agent(up: Up, folder: Path) -> Iterator[None]:
    """A real agent of the site real, without a cluster."""
    config = folder.parent / "agent.json"
    settings = {
        "site": "real",
        "data_dir": str(folder),
        "hub_keys": [up.ready["hubKey"]],
        "broker": {"port": int(up.ready["broker"].rpartition(":")[2])},
        "report": {"interval_seconds": 0.3, "status_interval_seconds": 0.3},
        "static": {"pue": 1.4},
    }
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "agents.cli", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def ready(up: Up, name: str) -> str:
    """Status of the condition Ready; "" before the first one."""
    conditions = up.get("sites.kapok.dev", name).get("status", {}).get("conditions", ())
    return next((str(one["status"]) for one in conditions if one["type"] == "Ready"), "")


def lacks_nonces(up: Up, name: str) -> bool:
    conditions = up.get("sites.kapok.dev", name).get("status", {}).get("conditions", ())
    return any((one["type"], one["status"]) == ("FreshnessProven", "False") for one in conditions)


@pytest.mark.soak  # the gate has it without processes: tests/unit/mqtt/test_ingest_freshness.py
def test_a_morning_played_again_changes_nothing_and_an_agent_with_an_old_disk_is_believed(
    tmp_path: Path,
) -> None:
    agent_dir = tmp_path / "agent"
    agent_dir.mkdir(mode=0o700)
    key = load_or_create_key(agent_dir)
    (agent_dir / "boots").write_text("40")
    with running_up(tmp_path) as up:
        before = ScriptedSite("before", up.ready["broker"], up.ready["hubKey"])
        real = ScriptedSite("real", up.ready["broker"], up.ready["hubKey"], key=key)
        names = ("real", "before")
        up.apply(before.manifest + real.manifest)
        with recording(up) as recorded, running_agent(up, agent_dir), running_sites(before):
            eventually(lambda: all(ready(up, name) == "True" for name in names))
            assert [lacks_nonces(up, name) for name in names] == [False, True]
            eventually(lambda: min(_count(recorded, name) for name in names) >= 8)
        up.stop()
        up.start()
        eventually(lambda: [ready(up, name) for name in names] == ["False", "False"])
        play(up, recorded[-60:])  # as many as wait in the queue of one site
        assert [ready(up, name) for name in names] == ["False", "False"]
        # A backup of the agent's disk, or another count that was lost.
        (agent_dir / "boots").write_text("1")
        with running_agent(up, agent_dir):
            eventually(lambda: ready(up, "real") == "True")
        assert (agent_dir / "boots").read_text() == "42"
        assert counters(up, "kapok_faults_total") == {}


def _count(recorded: Recorded, name: str) -> int:
    return sum(f"/{name}/" in topic for topic, _ in recorded)


@pytest.mark.soak  # the gate has it without processes: tests/unit/mqtt/test_ingest_freshness.py
def test_an_agent_of_the_version_before_is_refused_once_nonces_are_required(
    tmp_path: Path,
) -> None:
    settings = "freshness: {hear_sites_seconds: 1.0, site_status_seconds: 1.0, require_nonce: true}"
    agent_dir = tmp_path / "agent"
    agent_dir.mkdir(mode=0o700)
    key = load_or_create_key(agent_dir)
    with running_up(tmp_path, settings=settings) as up:
        before = ScriptedSite("before", up.ready["broker"], up.ready["hubKey"])
        real = ScriptedSite("real", up.ready["broker"], up.ready["hubKey"], key=key)
        up.apply(before.manifest + real.manifest)
        with running_agent(up, agent_dir), running_sites(before):
            eventually(lambda: ready(up, "real") == "True")
            eventually(lambda: lacks_nonces(up, "before"))
            assert ready(up, "before") == "False"
            assert _refused(up) > 0
