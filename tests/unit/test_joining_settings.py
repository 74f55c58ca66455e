"""Where joining listens, as settings and the command line say it."""

from pathlib import Path

import pytest

from scheduler.joining_settings import HostPort, parse_host_port, parse_listen
from scheduler.mqtt.broker import OpenListener, embedded_broker
from scheduler.runtime.clock import SystemClock
from scheduler.settings import SettingsError, settings_from


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.1.2.3", "10.1.2.3", 8883),
        ("10.1.2.3:0", "10.1.2.3", 0),
        ("[::]:9000", "::", 9000),
        ("fd00::1", "fd00::1", 8883),
    ],
)
def test_an_address_is_read_with_its_port(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == HostPort(host, port)


@pytest.mark.parametrize(
    "text", ["", ":8883", "10.1.2.3:", "10.1.2.3:x", "10.1.2.3:65536", "[::1", "hub.example.cn"]
)
def test_what_is_no_address_of_this_machine_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_listen(text)
    with pytest.raises(SettingsError, match=r"joining\.listen"):
        settings_from({"joining": {"listen": text or ":"}}, source="test")


def test_a_host_name_is_an_address_for_agents() -> None:
    assert parse_host_port("mq.example.cn:8883") == HostPort("mq.example.cn", 8883)


@pytest.mark.parametrize(
    ("joining", "said"),
    [
        ({"listen": "0.0.0.0"}, "joining.advertise"),  # noqa: S104 - a setting
        ({"listen": "::"}, "joining.advertise"),
        ({"listen": "10.1.2.3", "broker": "mq:8883"}, "joining.broker"),
        ({"listen": "10.1.2.3", "authority_key_file": "ca.key"}, "joining.authority_key_file"),
        (
            {"listen": "10.1.2.3", "authority_certificate_file": "a", "authority_secret": "b"},
            "joining.authority_secret",
        ),
        ({"listen": "10.1.2.3", "advertise": ["a b"]}, "joining.advertise"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(
    joining: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        settings_from({"joining": joining}, source="test")


@pytest.mark.asyncio
async def test_without_mosquitto_no_other_machine_is_let_in(tmp_path: Path) -> None:
    opened = OpenListener(host="127.0.0.1", port=1, settings="")
    running = embedded_broker(tmp_path, 1, clock=SystemClock(), kind="iotcore", opened=opened)
    with pytest.raises(OSError, match=r"need mosquitto.*apt install mosquitto"):
        async with running:
            pass
