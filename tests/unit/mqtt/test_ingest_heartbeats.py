"""Heartbeats at the hub: they keep a site's report young, and no other message can do so."""

import os
from typing import Any

from agents.protocol.delta import canonicalise_report, compute_delta
from agents.protocol.heartbeat.chain import CHAIN_LENGTH, ReportedHeartbeats, SentChain
from agents.protocol.report import Report, ReportedIntensity, ReportedPower
from scheduler.mqtt.receiver import Receiver
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.unit.mqtt.test_ingest_freshness import Hub, advance, report, sealed, status

TOPIC = "kapok/v1/m1/report"


def vouched(
    sequence: int,
    nonces: dict[str, str],
    *,
    status_sequence: int | None = None,
    **more: Any,  # noqa: ANN401 - fields of Report
) -> tuple[SentChain, Report]:
    """A chain and the report that names it."""
    chain = SentChain(TOPIC, os.urandom)
    said = ReportedHeartbeats(
        anchor=chain.anchor, observed_within_seconds=0.5, status=status_sequence
    )
    return chain, canonicalise_report(report(sequence, nonces, heartbeats=said, **more))


def beat(chain: SentChain) -> bytes:
    made = chain.next_heartbeat()
    assert made is not None
    return made


def test_heartbeats_keep_a_report_young_and_its_site_ready_for_minutes() -> None:
    hub = Hub(clock := FakeClock())
    intensity = ReportedIntensity(gco2_per_kwh=1.0, origin="measured", observed_seconds_ago=1.0)
    power = ReportedPower(watts=7.0, origin="measured")
    chain, first = vouched(1, hub.nonces, intensity=intensity, power=power)
    hub.receive(sealed(first))
    for _ in range(20):
        advance(clock, 10, hub)
        hub.receive((TOPIC, beat(chain)))
        assert (hub.age_seconds, hub.is_ready) == (0.5, True)
        assert hub.sites.states["m1"].last_heard_seconds == clock.monotonic()
    figures = hub.sites.status_of("m1")
    assert figures.power is not None
    assert figures.power.watts == 7.0
    assert figures.intensity is not None
    assert figures.intensity.observed_at is not None
    age = (clock.now() - figures.intensity.observed_at).total_seconds()
    assert 200 <= age <= 202, "a figure with an age of its own grows old"
    advance(clock, 3, hub)
    assert hub.bad == []


def test_a_heartbeat_proves_no_more_than_the_nonce_of_its_report() -> None:
    hub = Hub(clock := FakeClock())
    chain, first = vouched(1, hub.nonces)
    hub.receive(sealed(first))
    advance(clock, 20, hub)
    withheld = [beat(chain), beat(chain)]
    hub.receive((TOPIC, withheld[0]))
    assert hub.age_seconds == 0.5
    advance(clock, 3_600, hub)
    hub.sites.mark_silent("m1")
    requests = len(hub.requests.sent)
    hub.receive((TOPIC, withheld[1]))
    assert hub.age_seconds >= 3_600 - 60
    assert not hub.is_ready
    advance(clock, 1, hub)
    assert len(hub.requests.sent) > requests, "it is asked for a newer one"


def test_replayed_and_foreign_heartbeats_change_nothing_and_are_counted() -> None:
    hub = Hub(clock := FakeClock())
    chain, first = vouched(1, hub.nonces)
    hub.receive(sealed(first))
    made = [beat(chain) for _ in range(3)]
    hub.receive((TOPIC, made[1]))
    advance(clock, 30, hub)
    foreign = SentChain(TOPIC, os.urandom)
    wrong_value = made[2][:-16] + os.urandom(16)
    hub.receive((TOPIC, made[0]), (TOPIC, made[1]), (TOPIC, beat(foreign)), (TOPIC, wrong_value))
    hub.receive(("kapok/v1/m2/report", made[2]), ("kapok/v1/m1/status", made[2]))
    assert hub.bad == ["stale", "stale", "stale", "signature", "stale", "malformed"]
    assert hub.age_seconds == 30.5
    hub.receive((TOPIC, made[2]))
    assert hub.age_seconds == 0.5


def test_after_a_newer_report_or_new_keys_the_heartbeats_before_are_over() -> None:
    hub = Hub(clock := FakeClock())
    chain, first = vouched(1, hub.nonces)
    hub.receive(sealed(first))
    later, second = vouched(2, hub.nonces, power=ReportedPower(watts=1.0, origin="measured"))
    hub.receive(sealed(compute_delta(first, second)))
    advance(clock, 10, hub)
    hub.receive((TOPIC, beat(chain)))
    assert (hub.bad, hub.age_seconds) == (["stale"], 10.0)
    hub.receive((TOPIC, beat(later)))
    assert hub.age_seconds == 0.5
    hub.receive(sealed(report(3, hub.nonces)))
    hub.receive((TOPIC, beat(later)))
    assert hub.bad == ["stale", "stale"], "the last report has no heartbeats"
    chain, fourth = vouched(4, hub.nonces)
    hub.receive(sealed(fourth))
    hub.ingest.forget("m1")
    hub.receive((TOPIC, beat(chain)))
    assert len(hub.bad) == 3


def test_a_report_or_status_that_was_lost_is_asked_for_and_not_too_often() -> None:
    hub = Hub(clock := FakeClock())
    chain, first = vouched(1, hub.nonces, status_sequence=7)
    hub.receive(sealed(first))
    advance(clock, 20, hub)
    asked = len(hub.requests.sent)
    hub.receive((TOPIC, beat(chain)))  # and status 7 has not arrived
    advance(clock, 1, hub)
    assert len(hub.requests.sent) == asked + 1
    hub.receive(sealed(status(7, hub.nonces)))
    advance(clock, 20, hub)
    hub.receive((TOPIC, beat(chain)))
    advance(clock, 1, hub)
    assert len(hub.requests.sent) == asked + 1
    lost, _ = vouched(8, hub.nonces)
    for _ in range(10):
        hub.receive((TOPIC, beat(lost)))
        advance(clock, 3, hub)
    assert asked + 3 <= len(hub.requests.sent) <= asked + 4
    hub.receive(*[("kapok/v1/m9/report", beat(lost))] * 3)
    assert hub.bad == ["stale"] * 13


def test_the_queue_takes_heartbeats_of_known_chains_only_and_the_newest_of_them() -> None:
    hub = Hub(clock := FakeClock())
    receiver = Receiver(ingest=hub.ingest, telemetry=hub, clock=clock, faults=make_faults(clock))
    chain, first = vouched(1, hub.nonces)
    made = [beat(chain) for _ in range(CHAIN_LENGTH)]
    receiver.receive(TOPIC, made[0])
    assert (hub.bad, len(list(receiver.queue))) == (["stale"], 0)
    receiver.receive(*sealed(first))
    receiver.handle_batch()
    advance(clock, 20, hub)
    for each in made:
        receiver.receive(TOPIC, each)
    receiver.receive(TOPIC, made[0], retained=True)
    assert len(list(receiver.queue)) == CHAIN_LENGTH
    receiver.handle_batch()
    assert list(receiver.queue) == []
    assert (hub.bad, hub.age_seconds) == (["stale", "malformed"], 0.5)
