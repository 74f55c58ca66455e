"""Coming back after a lost broker, saying what is known, and being who one is."""

import asyncio
import json
import os
import random
import resource
import socket
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.config.settings import AgentBrokerSettings
from agents.metrics.counters import METRICS, Counters
from agents.metrics.server import MetricsServer
from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.session import AgentSession, Will
from agents.observe import SensorCollector
from agents.protocol.delta import apply_delta, decode_report
from agents.protocol.envelope import unseal, unseal_unadmitted
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.report import OFFLINE, Report, ReportDelta, ReportedPower
from agents.protocol.status import SITE_STATUS, OrderStatus
from agents.runtime.backoff import Backoff
from agents.runtime.data_dir import (
    Boot,
    IdentityError,
    ensure_data_dir,
    load_or_create_key,
    lock_data_dir,
    record_boot,
    write_durably,
)
from agents.sensors.host import HostSensor
from agents.sensors.kubernetes import KubernetesSensor
from agents.sensors.namespaces import NamespaceSensor
from agents.sensors.replay import ReplaySensor
from agents.sensors.rtt import RttSensor
from agents.sensors.sensor import Observation, SensorError
from agents.sensors.static import StaticSensor
from tests.support.counts import examples
from tests.support.fake_clock import FakeClock
from tests.support.ports import free_port

KEY = SigningKey(bytes(range(32)))
TRUSTED = TrustedKeys([KEY.public])


@settings(max_examples=examples(30))
@given(st.integers(0, 300), st.randoms(use_true_random=False))
def test_a_pause_grows_has_jitter_and_stays_bounded(attempts: int, jitter: random.Random) -> None:
    backoff = Backoff(initial_seconds=0.5, max_seconds=20.0, jitter=jitter)
    pauses = [backoff.next_seconds() for _ in range(attempts + 1)]
    mean = min(0.5 * 2 ** min(attempts, 30), 20.0)
    assert 0.02 * mean <= pauses[-1] <= 2 * mean


async def test_a_session_that_cannot_be_had_is_tried_again_ever_more_slowly() -> None:
    clock, pauses = FakeClock(), []

    class Counted(FakeClock):
        async def sleep(self, seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 8:
                raise asyncio.CancelledError
            await clock.sleep(0)

    session = AgentSession(
        broker=AgentBrokerSettings(port=free_port()),
        client_id="a",
        will=Will(topic="t", payload=b"", delay_seconds=1.0),
        topics=(),
        clock=Counted(),
        jitter=random.Random(1),  # noqa: S311 - jitter
        counters=Counters(),
    )
    with suppress(asyncio.CancelledError):
        await session.run(on_connected=lambda: None, on_message=lambda *_message, **_more: None)
    means = [0.5, 1, 2, 4, 8, 16, 20, 20]
    assert all(0.02 * m <= p <= 2 * m for p, m in zip(pauses, means, strict=True)), pauses
    assert session.connection is None


# ---------------------------------------------------------------- voice


def voice() -> ReportBuilder:
    return ReportBuilder(
        site="site-a", agent="main", boot=Boot("b1", 3), key=KEY, full_interval_seconds=100.0
    )


def watts(number: float) -> Observation:
    return Observation(power=ReportedPower(watts=number, origin="measured"))


def said(one: ReportBuilder, look: Observation, now: float) -> Report | ReportDelta:
    data = one.build_report_message(look, None, observed_seconds_ago=0.5, now=now)
    return decode_report(unseal(data, topic="kapok/v1/site-a/report", trusted=TRUSTED))


def test_the_first_report_is_full_the_next_say_what_changed() -> None:
    one = voice()
    full, change = said(one, watts(1), 0), said(one, watts(2), 10)
    assert isinstance(full, Report)
    assert isinstance(change, ReportDelta)
    assert (full.boot_id, full.boot_number, full.observed_seconds_ago) == ("b1", 3, 0.5)
    assert change.base == full.sequence < change.sequence
    assert apply_delta(full, change).power == ReportedPower(watts=2, origin="measured")


def test_a_full_report_comes_when_it_is_time_or_asked_for() -> None:
    one = voice()
    kinds = [said(one, watts(1), now).kind for now in (0, 99, 100, 101)]
    one.request_full_report()
    assert [*kinds, said(one, watts(1), 102).kind] == ["full", "delta", "full", "delta", "full"]


def test_a_full_report_introduces_its_sender_to_a_hub_that_does_not_know_him() -> None:
    data = voice().build_report_message(watts(1), None, observed_seconds_ago=0, now=0)
    _, key = unseal_unadmitted(data, topic="kapok/v1/site-a/report")
    assert str(key) == str(KEY.public)


def test_sequences_grow_over_all_kinds_of_message() -> None:
    one = voice()
    first = said(one, watts(1), 0)
    data = one.build_status_message(
        one.build_status(
            (),
            site_uid=None,
            echo=None,
            missing=("x",),
            is_executing=True,
            bad_messages={"signature": 1},
            observed_seconds_ago=0,
        )
    )
    status = SITE_STATUS.decode(unseal(data, topic="kapok/v1/site-a/status", trusted=TRUSTED))
    assert status.sequence > first.sequence
    assert (status.missing, status.bad_messages) == (("x",), {"signature": 1})


def test_a_status_that_is_too_large_goes_without_messages_and_then_without_its_proof() -> None:
    noise = random.Random(1)  # noqa: S311 - text that hardly compresses
    plain = [code for code in range(35, 127) if code != ord("\\")]
    letters = bytes(plain[number % len(plain)] for number in range(256))
    order = OrderStatus(id="h/a/b/1", generation=1, phase="Failed", message="m")
    for characters, has_proof in ((1_000_000, True), (4_000_000, False)):
        one = voice()
        large = one.build_status(
            (order,) * 10,
            site_uid=None,
            echo=None,
            missing=(),
            is_executing=True,
            bad_messages={},
            index_proof=noise.randbytes(characters).translate(letters).decode(),
            observed_seconds_ago=0,
        )
        data = one.build_status_message(large)
        status = SITE_STATUS.decode(unseal(data, topic="kapok/v1/site-a/status", trusted=TRUSTED))
        assert (len(status.orders), status.index_proof is not None) == (10, has_proof)


def test_the_will_names_its_boot() -> None:
    data = unseal(voice().build_offline_message(), topic="kapok/v1/site-a/offline", trusted=TRUSTED)
    assert OFFLINE.decode(data).boot_id == "b1"


async def test_a_sensor_that_fails_costs_its_own_part_only() -> None:
    class Broken:
        name = "host"

        async def observe(self) -> Observation:
            raise SensorError("no")

    class Good:
        name = "static"

        async def observe(self) -> Observation:
            return watts(1)

    counters = Counters()
    collector = SensorCollector(
        sensors=[Broken(), Good()], meter=None, clock=FakeClock(), counters=counters
    )
    observation = await collector.collect()
    assert observation.observation.power == ReportedPower(watts=1, origin="measured")
    assert observation.observation.faults == ("host-failed",)
    assert 'sensor_errors_total{sensor="host"} 1' in counters.render()


# ---------------------------------------------------------------- identity


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = ensure_data_dir(tmp_path / "new" / "data")
    key = load_or_create_key(folder)
    assert load_or_create_key(folder).raw() == key.raw()
    assert (folder / "agent.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / "agent.key").chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        load_or_create_key(tmp_path)
    write_durably(tmp_path / "agent.key", b"short")
    with pytest.raises(IdentityError, match="not an Ed25519 key"):
        load_or_create_key(tmp_path)


def test_boots_are_counted_on_disk_and_their_ids_differ(tmp_path: Path) -> None:
    boots = [record_boot(tmp_path) for _ in range(3)]
    assert [boot.number for boot in boots] == [1, 2, 3]
    assert len({boot.id for boot in boots}) == 3
    (tmp_path / "boots").write_text("nonsense")
    assert record_boot(tmp_path).number == 1


def test_a_data_directory_is_for_one_process(tmp_path: Path) -> None:
    with (
        lock_data_dir(tmp_path),
        pytest.raises(IdentityError, match="another kapok-agent"),
        lock_data_dir(tmp_path),
    ):
        pass
    with lock_data_dir(tmp_path):
        pass


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="name another directory"):
        ensure_data_dir(tmp_path / "file" / "data")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_durably(tmp_path / "x", b"one")
    write_durably(tmp_path / "x", b"two")
    assert (tmp_path / "x").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


# ---------------------------------------------------------------- metrics


def test_the_page_is_prometheus_text_and_documents_every_metric() -> None:
    counters = Counters()
    counters.add("bad_messages_total", reason="signature")
    counters.add("bad_messages_total", reason="signature")
    counters.set("connected", 1)
    counters.replace("orders", "phase", {"Ready": 2, "Failed": 1})
    counters.replace("orders", "phase", {'Re"a\\d\ny': 3})
    text = counters.render()
    assert 'kapok_agent_bad_messages_total{reason="signature"} 2\n' in text
    assert 'kapok_agent_orders{phase="Re\\"a\\\\d\\ny"} 3\n' in text
    assert 'phase="Failed"' not in text
    for name, (kind, _) in METRICS.items():
        assert f"# TYPE {name} {kind}\n" in text
        assert name.endswith("_total") == (kind == "counter")


def test_the_help_text_of_sensor_metrics_lists_every_sensor() -> None:
    sensors = (
        *(KubernetesSensor, NamespaceSensor, HostSensor),
        *(StaticSensor, ReplaySensor, RttSensor),
    )
    names = {each.default for cls in sensors for each in fields(cls) if each.name == "name"}
    for metric in ("kapok_agent_sensor_errors_total", "kapok_agent_sensor_seconds_total"):
        _, _, listed = METRICS[metric][1].partition(": ")
        words = {word.partition(" ")[0] for word in listed.split(", ")} - {"energy"}
        assert words == {*names, "exporter-NAME"}, "each exporter is a sensor of its own"


def test_a_metric_that_is_not_documented_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Counters().add("made_up_total")


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_the_page_answers_over_http_and_survives_nonsense() -> None:
    page = MetricsServer(lambda: "kapok_agent_connected 1\n")
    port = await page.start("127.0.0.1", 0)
    good = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert good.startswith(b"HTTP/1.1 200 OK")
    assert good.endswith(b"\r\n\r\nkapok_agent_connected 1\n")
    assert b"404" in await ask(port, b"GET /x HTTP/1.1\r\n\r\n")
    assert b"405" in await ask(port, b"POST /metrics HTTP/1.1\r\n\r\n")
    assert await ask(port, b"x" * 20_000 + b"\r\n\r\n") == b""
    assert b"ok" in await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n")
    page.stop()


async def test_a_lack_of_descriptors_is_said_once_a_pause_and_not_for_each_connection() -> None:
    page = MetricsServer(lambda: "")
    port = await page.start("127.0.0.1", 0)
    said: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, one: said.append(one))
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_free = os.dup(0)
    os.close(next_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, most))
    try:
        for _ in range(50):  # passes of the loop, each of which could accept
            passed = loop.create_future()
            loop.call_soon(passed.set_result, None)
            await passed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    assert 1 <= len(said) < len(clients)
    for each in clients:
        each.close()
    page.stop()


def test_json_of_a_report_names_fields_as_the_site_status_does() -> None:
    recorded = Path(__file__).parents[1] / "protocol" / "golden" / "payload-report.json"
    tree = json.loads(recorded.read_text())
    assert set(tree["nodeClasses"][0]) >= {"labels", "taints", "architecture", "cpuVendor", "free"}
    assert tree["intensity"]["gco2PerKwh"] == 441.9
