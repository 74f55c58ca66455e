"""The agent's heartbeats: sent while nothing changes, and never in place of something to say."""

from dataclasses import replace
from typing import Any

import pytest

from agents.mqtt.heartbeats import has_changed
from agents.mqtt.publisher import ReportBuilder
from agents.protocol.bounds import Seconds
from agents.protocol.delta import SECTION_NAMES, decode_report
from agents.protocol.envelope import unseal
from agents.protocol.heartbeat.chain import CHAIN_LENGTH, ReceivedChain, parse_heartbeat
from agents.protocol.hub_requests import HubNonce
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.report import (
    OrderBoundPods,
    Report,
    ReportDelta,
    ReportedEnergy,
    ReportedExecutor,
    ReportedHost,
    ReportedIntensity,
    ReportedMissing,
    ReportedPower,
    ReportedRtt,
)
from agents.protocol.status import OrderStatus
from agents.runtime.data_dir import Boot
from agents.sensors.sensor import Observation

KEY = SigningKey(bytes(range(32)))
LOOK = Observation(
    power=ReportedPower(watts=100.0, origin="measured"),
    host=ReportedHost(hostname="edge", load_ratio=0.1),
    executor=ReportedExecutor(is_active=True),
)


class Agent:
    """A builder, and what it sends."""

    def __init__(self) -> None:
        self.now = 0.0
        self.builder = ReportBuilder(
            site="m1", agent="main", boot=Boot("b", 1), key=KEY, full_interval_seconds=300.0
        )

    def ask(self, asker: str, number: int = 1, *, takes: bool | None = True) -> None:
        nonce = HubNonce(
            asker=asker, number=number, value=f"{asker}.{number}", takes_heartbeats=takes
        )
        assert self.builder.nonces.take(nonce, self.now)

    def report(self, look: Observation = LOOK) -> Report | ReportDelta:
        data = self.builder.build_report_message(look, None, observed_seconds_ago=0.1, now=self.now)
        topic = self.builder.topic_of("report")
        return decode_report(unseal(data, topic=topic, trusted=TrustedKeys([KEY.public])))

    def heartbeat(self, look: Observation = LOOK, *, ago: Seconds = 0.1) -> bytes | None:
        return self.builder.build_heartbeat(look, None, observed_seconds_ago=ago, now=self.now)

    def status(self, **more: Any) -> bool:  # noqa: ANN401 - fields of a status
        """Sends a status where that is due; returns whether it was."""
        fields: dict[str, Any] = {
            "site_uid": "u",
            "echo": None,
            "missing": (),
            "is_executing": True,
            "bad_messages": {},
            "observed_seconds_ago": self.now,
        }
        status = self.builder.build_status(more.pop("orders", ()), **(fields | more))
        if self.builder.is_vouched_for(status, self.now):
            return False
        assert self.builder.build_status_message(status, now=self.now)
        return True


def test_heartbeats_follow_a_report_only_where_every_scheduler_takes_them() -> None:
    agent = Agent()
    assert agent.report().heartbeats is None, "nothing has asked yet"
    assert agent.heartbeat() is None
    agent.ask("leader")
    assert agent.heartbeat() is None, "the nonce is new: the report without it vouches for nothing"
    said = agent.report().heartbeats
    assert said is not None
    received = ReceivedChain.of_report("kapok/v1/m1/report", said)
    for _ in range(CHAIN_LENGTH):
        sent = agent.heartbeat()
        assert sent is not None
        received.accept(parse_heartbeat(sent))
    assert agent.heartbeat() is None, "the chain is over"
    agent.ask("standby-of-the-version-before", takes=None)
    assert agent.report().heartbeats is None
    assert agent.heartbeat() is None
    agent.now = 2_000.0  # it has not asked again
    agent.ask("leader", 2)
    assert agent.report().heartbeats is not None
    assert agent.heartbeat() is not None


def test_a_nonce_a_status_an_old_look_or_a_lost_message_has_a_report_sent() -> None:
    agent = Agent()
    agent.ask("leader")
    assert agent.status()
    said = agent.report().heartbeats
    assert said is not None
    assert (said.status, said.observed_within_seconds) == (1, 0.5)
    assert agent.heartbeat() is not None
    assert agent.heartbeat(ago=0.6) is None
    agent.ask("leader", 2)
    assert agent.heartbeat() is None
    agent.report()
    assert agent.heartbeat() is not None
    agent.builder.request_full_report()
    assert agent.heartbeat() is None
    assert isinstance(agent.report(), Report)
    assert agent.status(missing=("x",)), "it has changed"
    assert agent.heartbeat() is None, "the report does not vouch for this status"
    agent.report()
    agent.builder.renew_boot(Boot("c", 2))
    assert agent.heartbeat() is None


def test_full_reports_are_rare_where_heartbeats_follow_and_deltas_name_their_base() -> None:
    agent = Agent()
    agent.ask("leader")
    base = agent.report()
    agent.now = 1_000.0
    delta = agent.report()
    assert isinstance(delta, ReportDelta)
    assert (delta.base, delta.heartbeats is not None) == (base.sequence, True)
    agent.now = 3_601.0
    assert isinstance(agent.report(), Report)


def test_a_status_that_says_the_same_is_sent_again_once_an_hour() -> None:
    agent = Agent()
    agent.now = 10.0
    assert agent.status()
    assert agent.status(), "without heartbeats each is sent"
    agent.ask("leader")
    agent.status()
    agent.report()
    assert not agent.status()
    order = OrderStatus(id="h/a/b/1", generation=1, phase="Ready")
    assert agent.status(orders=(order,))
    assert not agent.status(orders=(order,))
    assert agent.status(orders=(order,), bad_messages={"signature": 1})
    assert agent.status()
    agent.builder.forget_status()
    assert agent.status(), "the last one was not sent"
    agent.now += 1_700.0
    assert not agent.status()
    agent.ask("leader", 2)
    agent.now += 1_800.0
    agent.ask("leader", 3)
    agent.report()
    assert not agent.status()
    agent.now += 100.0
    assert agent.status(), "an hour is over"
    agent.report()
    agent.ask("leader", 4)
    assert not agent.status(), "it has the status"
    agent.ask("another")
    assert agent.status(), "it has none"


POWER = ReportedPower(watts=100.0, origin="measured")
ENERGY = ReportedEnergy(counter_id="c", it_joules=1.0, pue=1.5, pv_watts=10.0, battery_ratio=0.5)
RTT = (ReportedRtt(to="m2", milliseconds=5.0), ReportedRtt(to="m3", milliseconds=50.0))
INTENSITY = ReportedIntensity(gco2_per_kwh=400.0, origin="measured")


@pytest.mark.parametrize(
    ("name", "before", "now", "is_change"),
    [
        ("power", POWER, replace(POWER, watts=104.9), False),
        ("power", POWER, replace(POWER, watts=94.0), True),
        ("power", POWER, replace(POWER, origin="modelled"), True),
        ("power", POWER, replace(POWER, observed_seconds_ago=5.0), True),
        ("power", POWER, None, True),
        ("power", None, POWER, True),
        ("power", replace(POWER, watts=0.0), replace(POWER, watts=0.1), True),
        ("energy", ENERGY, replace(ENERGY, it_joules=9e9, unmeasured_seconds=7.0), False),
        ("energy", ENERGY, replace(ENERGY, counter_id="d"), True),
        ("energy", ENERGY, replace(ENERGY, origin="measured"), True),
        ("energy", ENERGY, replace(ENERGY, pue=1.51), False),
        ("energy", ENERGY, replace(ENERGY, pue=1.6), True),
        ("energy", ENERGY, replace(ENERGY, pv_watts=None), True),
        ("energy", ENERGY, replace(ENERGY, pv_watts=20.0), True),
        ("energy", ENERGY, replace(ENERGY, battery_ratio=0.51), False),
        ("energy", ENERGY, replace(ENERGY, battery_ratio=0.4), True),
        ("energy", ENERGY, replace(ENERGY, battery_ratio=None), True),
        ("rtt", RTT, (replace(RTT[0], milliseconds=5.9), replace(RTT[1], milliseconds=54)), False),
        ("rtt", RTT, (RTT[0], replace(RTT[1], milliseconds=44.0)), True),
        ("rtt", RTT, RTT[:1], True),
        ("intensity", INTENSITY, replace(INTENSITY, gco2_per_kwh=400.1), True),
        ("host", LOOK.host, ReportedHost(hostname="edge", load_ratio=9.0), False),
        ("executor", LOOK.executor, ReportedExecutor(is_active=False), True),
        ("missing", None, (ReportedMissing(sensor="host", seconds=0.0),), True),
        (
            "orders",
            (OrderBoundPods(id="a", generation=1, bound=1),),
            (OrderBoundPods(id="a", generation=1, bound=2),),
            True,
        ),
        ("faults", (), ("host-failed",), True),
    ],
)
def test_what_counts_as_a_change(name: str, before: object, now: object, is_change: bool) -> None:  # noqa: FBT001 - a parameter of the test
    same = {each: getattr(LOOK, each) for each in SECTION_NAMES}
    assert has_changed({**same, name: before}, {**same, name: now}) is is_change


def test_small_changes_add_up_to_one_that_is_sent() -> None:
    agent = Agent()
    agent.ask("leader")
    agent.report()
    watts = [100.0 + step for step in range(1, 8)]
    looks = [replace(LOOK, power=replace(POWER, watts=each)) for each in watts]
    sent = [agent.heartbeat(look) is not None for look in looks]
    assert sent == [True] * 5 + [False] * 2


def test_a_delta_repeats_the_load_of_the_host_until_something_else_of_it_changes() -> None:
    agent = Agent()
    agent.ask("leader")
    agent.report()
    busy = replace(LOOK, host=ReportedHost(hostname="edge", load_ratio=0.9))
    delta = agent.report(busy)
    assert isinstance(delta, ReportDelta)
    assert delta.host is None
    larger = replace(LOOK, host=ReportedHost(hostname="edge", load_ratio=0.9, memory_bytes=7))
    assert agent.report(larger).host == larger.host
