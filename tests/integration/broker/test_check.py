"""`kapok broker check` on real brokers, and on servers that are none."""

import asyncio
import datetime as dt
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from scheduler.cli.entry import main
from scheduler.mqtt.broker import embedded_broker
from scheduler.mqtt.production.mosquitto_files import (
    ListenAddress,
    MosquittoChoices,
    mosquitto_files,
)
from scheduler.mqtt.production.probe_client import ProbeAddress, ProbeIdentity
from scheduler.mqtt.production.probes import BrokerProbes, check_broker
from scheduler.mqtt.production.requirements import BrokerFinding, in_order, is_good
from scheduler.runtime.clock import SystemClock
from tests.support.member_clusters import wait_until
from tests.support.ports import free_ports
from tests.support.production_broker import (
    SCHEDULER,
    Authority,
    ProductionBroker,
    accepts,
    mosquitto,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

OPEN = """listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 1000
"""
STRICT = """listener {port} 127.0.0.1
allow_anonymous true
retain_available false
max_packet_size 100000
"""
MQTT_3_REFUSES_5 = b"\x20\x02\x00\x01"
Findings = list[BrokerFinding]


def check(url: str, hub: ProbeIdentity, site: ProbeIdentity, **more: Any) -> Findings:  # noqa: ANN401 - fields
    words: dict[str, Any] = {"site_name": "site-a", "timeout_seconds": 10.0} | more
    address = ProbeAddress.parse(url)
    return in_order(check_broker(BrokerProbes(address=address, hub=hub, site=site, **words)))


def papers_of(folder: Path, name: str, ca: str = "ca") -> ProbeIdentity:
    return ProbeIdentity(
        name=name,
        ca_file=str(folder / f"{ca}.crt"),
        certificate_file=str(folder / f"{name}.crt"),
        key_file=str(folder / f"{name}.key"),
    )


def user(name: str) -> ProbeIdentity:
    return ProbeIdentity(name=name, username=name)


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A server that answers the first bytes of each client so, and closes; None: never."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    one, _ = server.accept()
                    held.append(one)
                    if answer is not None:
                        one.recv(1000)
                        one.sendall(answer)
                        one.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for one in held:
            one.close()


def paths(findings: Findings, severity: str) -> set[str]:
    return {one.path for one in findings if one.severity == severity}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Findings]]:
    """The findings about every broker; all are probed at once, because a probe mostly waits."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("production")
        authority, stranger = Authority(folder), Authority(tmp_path_factory.mktemp("stranger"))
        for name in ("broker", SCHEDULER, "site-a", "site-b"):
            authority.issue(name)
        stranger.issue(SCHEDULER)
        authority.issue("expired", life=-dt.timedelta(minutes=1))
        tls, plain, strict, old = free_ports(4)
        choices = MosquittoChoices(
            listen=ListenAddress("127.0.0.1", tls),
            folder=str(folder),
        )
        stack.enter_context(mosquitto(folder, tls, mosquitto_files(choices)))
        for port, text in ((plain, OPEN), (strict, STRICT)):
            files = {"mosquitto.conf": text.format(port=port)}
            stack.enter_context(mosquitto(tmp_path_factory.mktemp("open"), port, files))
        expired = mosquitto_files(
            MosquittoChoices(listen=ListenAddress("127.0.0.1", old), folder=str(folder))
        )
        settings = expired["mosquitto.conf"].replace("broker.", "expired.")
        moved = tmp_path_factory.mktemp("expired")
        stack.enter_context(mosquitto(moved, old, {"mosquitto.conf": settings}))
        silent, three = (stack.enter_context(answering(one)) for one in (None, MQTT_3_REFUSES_5))
        closing = stack.enter_context(answering(b""))
        garbage = stack.enter_context(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"))

        hub, site = papers_of(folder, SCHEDULER), papers_of(folder, "site-a")
        url, own = f"mqtts://127.0.0.1:{tls}", "mqtt://127.0.0.1:{}"
        foreign = papers_of(stranger.folder, SCHEDULER)
        probes: dict[str, Callable[[], Findings]] = {
            "production": lambda: check(url, hub, site),
            "hub alone": lambda: check(url, hub, hub, site_name="nobody"),
            "site of another name": lambda: check(url, hub, papers_of(folder, "site-b")),
            "open": lambda: check(own.format(plain), user("hub"), user("site-a")),
            "strict": lambda: check(own.format(strict), user("hub"), user("site-a")),
            "silent": lambda: check(own.format(silent), user("a"), user("b"), timeout_seconds=0.5),
            "three": lambda: check(own.format(three), user("a"), user("b")),
            "closing": lambda: check(own.format(closing), user("a"), user("b")),
            "garbage": lambda: check(own.format(garbage), user("a"), user("b")),
            "no papers": lambda: check(
                url, ProbeIdentity(name="me", ca_file=hub.ca_file), hub, timeout_seconds=2.0
            ),
            "stranger's papers": lambda: check(url, foreign, hub),
            "expired": lambda: check(f"mqtts://127.0.0.1:{old}", hub, site),
            "another name": lambda: check(f"mqtts://localhost:{tls}", hub, site),
            "tls on a plain port": lambda: check(f"mqtts://127.0.0.1:{plain}", hub, site),
            "tls to silence": lambda: check(
                f"mqtts://127.0.0.1:{silent}", hub, site, timeout_seconds=1.0
            ),
            "plain on a tls port": lambda: check(own.format(tls), user("a"), user("b")),
            "no websocket": lambda: check(f"ws://127.0.0.1:{plain}", user("a"), user("b")),
            "nobody there": lambda: check("mqtt://127.0.0.1:9", user("a"), user("b")),
            "no such name": lambda: check("mqtts://broker.invalid", user("a"), user("b")),
        }
        with ThreadPoolExecutor(len(probes)) as pool:
            running = {name: pool.submit(probe) for name, probe in probes.items()}
            results = {name: one.result(timeout=150) for name, one in running.items()}
        assert asyncio.run(_retained_at(plain)) == []
        assert asyncio.run(_retained_for_site_a(ProductionBroker(tls, folder))) == []
        yield results


async def _retained_at(port: int) -> list[str]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        return await _heard(client, "#")


async def _retained_for_site_a(broker: ProductionBroker) -> list[str]:
    async with broker.client("site-a") as client:
        return await _heard(client, "kapok/v1/site-a/#")


async def _heard(client: aiomqtt.Client, topic: str) -> list[str]:
    await client.subscribe(topic)
    found: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            async for message in client.messages:
                found.append(str(message.topic))  # noqa: PERF401 - as many as come
    return found


def test_the_production_settings_have_everything(found: dict[str, Findings]) -> None:
    [only] = found["production"]
    assert (only.path, only.severity) == ("dynamic-security", "info")


@pytest.mark.soak
def test_the_same_is_so_over_websocket(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name in ("broker", SCHEDULER, "site-a"):
        authority.issue(name)
    tls, wss = free_ports(2)
    choices = MosquittoChoices(
        listen=ListenAddress("127.0.0.1", tls),
        websockets=ListenAddress("127.0.0.1", wss),
        folder=str(tmp_path),
    )
    with mosquitto(tmp_path, tls, mosquitto_files(choices)):
        wait_until(lambda: accepts(wss))
        hub, site = papers_of(tmp_path, SCHEDULER), papers_of(tmp_path, "site-a")
        findings = check(f"wss://127.0.0.1:{wss}", hub, site)
    assert paths(findings, "error") <= {"packet-size"}, findings  # mosquitto 2.0 is slow there


def test_what_cannot_be_probed_is_not_called_good(found: dict[str, Findings]) -> None:
    assert not is_good(found["hub alone"])
    assert "not probed" in found["hub alone"][0].what
    assert "--site-cert" in found["hub alone"][0].instead


def test_a_certificate_of_another_site_is_named(found: dict[str, Findings]) -> None:
    assert {"round-trip", "orders"} <= paths(found["site of another name"], "error")


def test_a_broker_without_rules_is_refused_for_each_right_too_many(
    found: dict[str, Findings],
) -> None:
    errors = paths(found["open"], "error")
    assert errors == {"site-reads-others", "site-writes-others", "site-writes-orders"}
    assert "anonymous" in paths(found["open"], "warning")


def test_limits_that_are_too_strict_are_named(found: dict[str, Findings]) -> None:
    assert {"retained", "packet-size"} <= paths(found["strict"], "error")


@pytest.mark.parametrize(
    ("name", "path", "word"),
    [
        ("silent", "connect", "does not answer MQTT"),
        ("three", "mqtt-5", "MQTT 5"),
        ("closing", "login", "ends the connection"),
        ("garbage", "login", "ends the connection"),
        ("no papers", "login", "ends the connection"),
        ("stranger's papers", "tls", "certificate"),
        ("expired", "tls", "expired"),
        ("another name", "tls", "localhost"),
        ("tls on a plain port", "connect", "reset"),
        ("tls to silence", "connect", "does not answer"),
        ("plain on a tls port", "login", "ends the connection"),
        ("no websocket", "connect", ""),
        ("nobody there", "connect", "refused"),
        ("no such name", "connect", "broker.invalid"),
    ],
)
def test_a_broker_that_cannot_be_used_is_one_finding_with_a_way_out(
    found: dict[str, Findings], name: str, path: str, word: str
) -> None:
    errors = [one for one in found[name] if one.severity == "error"]
    assert [one.path for one in errors] == [path], errors
    assert word in errors[0].what
    assert errors[0].instead


@pytest.mark.soak
async def test_the_packaged_broker_is_good_for_loopback_alone(tmp_path: Path) -> None:
    [port] = free_ports(1)
    async with embedded_broker(tmp_path, port, clock=SystemClock(), kind="iotcore"):
        findings = await asyncio.to_thread(check, f"mqtt://127.0.0.1:{port}", user("a"), user("b"))
    assert "retained-many" in paths(findings, "warning")
    assert "site-reads-others" in paths(findings, "error")


def test_the_command_answers_one_object_and_by_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering(MQTT_3_REFUSES_5) as port:
        code = main(["broker", "check", f"mqtt://127.0.0.1:{port}", "-o", "json"])
    answer = json.loads(capsys.readouterr().out)
    assert (code, answer["ok"]) == (1, False)
    assert set(answer["findings"][0]) == {"path", "severity", "what", "instead"}


@pytest.mark.parametrize(
    "words",
    [
        ["http://a"],
        ["mqtt://"],
        ["mqtts://a:99999"],
        ["mqtts://u:p@a"],
        ["mqtts://a", "--site", "b"],
        ["mqtts://a", "--site-cert", "b.crt"],
        ["mqtts://a", "--site", "A/+", "--site-cert", "b.crt"],
        ["mqtts://a", "--timeout", "nan"],
    ],
)
def test_wrong_usage_says_what_to_write(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["broker", "check", *words])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    assert code == 2
    assert capsys.readouterr().err


def test_settings_are_written_once_and_never_over_a_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "机房"
    words = ["broker", "config", "--out", str(out), "--mosquitto", "2.1", "-o", "json"]
    assert main(words) == main(words) == 0
    files = json.loads(capsys.readouterr().out.splitlines()[0])["files"]
    assert (out / "mosquitto.conf").read_text() == files["mosquitto.conf"]
    assert "\nacl_file" not in files["mosquitto.conf"]
    assert "\nglobal_plugin /usr/lib/mosquitto_acl_file.so\n" in files["mosquitto.conf"]
    (out / "mosquitto.acl").write_text("mine")
    assert main(words) == 1
    assert (out / "mosquitto.acl").read_text() == "mine"
    assert "move it away" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("443", "listener 443\n"),
        (":443", "listener 443\n"),
        ("10.0.0.1", "listener 8883 10.0.0.1\n"),
        ("[::1]:1", "listener 1 ::1\n"),
        ("broker.example.org:99", "listener 99 broker.example.org\n"),
    ],
)
def test_addresses_are_read_as_people_write_them(text: str, line: str) -> None:
    choices = MosquittoChoices(listen=ListenAddress.parse(text))
    assert line in mosquitto_files(choices)["mosquitto.conf"]


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", ""],
        ["--listen", "0"],
        ["--listen", "70000"],
        ["--listen", "a\nallow_anonymous true:1"],
        ["--listen", "[x]:1"],
        ["--folder", "relative"],
        ["--folder", "/etc/../root"],
        ["--folder", "/etc/a b\nuser root"],
        ["--plugins", "/x;y"],
        ["--websockets", "8883"],
    ],
)
def test_values_that_would_write_other_settings_are_refused(words: list[str]) -> None:
    assert main(["broker", "config", *words]) == 2
