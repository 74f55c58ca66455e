# ruff: noqa: SLF001 - nothing else shows when paho pings
"""A connection that says something anyway is not pinged; a silent one is."""

import asyncio
from types import SimpleNamespace
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.client import Client, time_func
from paho.mqtt.enums import CallbackAPIVersion, _ConnectionState

from agents.mqtt.session import BrokerConnection


class Acknowledging:
    """aiomqtt's client, whose broker acknowledges everything or nothing."""

    def __init__(self, paho: Client, *, acknowledges: bool) -> None:
        self._client, self._acknowledges = paho, acknowledges

    async def publish(self, *_words: object, **_more: object) -> None:
        if not self._acknowledges:
            raise aiomqtt.MqttError("timed out")


def connected_paho(monkeypatch: pytest.MonkeyPatch) -> tuple[Client, list[float]]:
    """A client that last wrote a minute ago, and when it pings; its broker was heard just now."""
    pings: list[float] = []
    paho: Any = Client(CallbackAPIVersion.VERSION2)
    paho._keepalive, paho._state = 20, _ConnectionState.MQTT_CS_CONNECTED
    paho._last_bytes_received = time_func()
    paho._last_msg_out = time_func() - 60
    monkeypatch.setattr(paho, "_sock", SimpleNamespace())
    monkeypatch.setattr(paho, "_send_pingreq", lambda: pings.append(time_func()))
    return paho, pings


async def test_what_the_broker_acknowledged_saves_the_ping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paho, pings = connected_paho(monkeypatch)
    client: Any = Acknowledging(paho, acknowledges=True)
    await BrokerConnection(client).publish("kapok/v1/a/report", b"x", expiry_seconds=5)
    paho._check_keepalive()
    assert pings == []
    monkeypatch.setattr(paho, "_last_msg_out", time_func() - 21)  # and then nothing for 21 s
    paho._check_keepalive()
    assert len(pings) == 1


async def test_what_was_not_acknowledged_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    paho, pings = connected_paho(monkeypatch)
    client: Any = Acknowledging(paho, acknowledges=False)
    with pytest.raises(aiomqtt.MqttError):
        await BrokerConnection(client).publish("kapok/v1/a/report", b"x", expiry_seconds=5)
    paho._check_keepalive()
    assert len(pings) == 1


async def test_a_message_sent_before_another_sets_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paho, _ = connected_paho(monkeypatch)
    client: Any = Acknowledging(paho, acknowledges=True)
    later = time_func() + 5
    monkeypatch.setattr(paho, "_last_msg_out", later)
    async with asyncio.timeout(5):
        await BrokerConnection(client).publish("kapok/v1/a/report", b"x", expiry_seconds=5)
    assert paho._last_msg_out == later
