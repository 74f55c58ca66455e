"""The receiver: the newest valid message of each topic and key counts, whatever else comes."""

import asyncio
import dataclasses

import pytest

from agents.protocol.delta import canonicalise_report, compute_delta
from agents.protocol.envelope import seal
from agents.protocol.keys import SigningKey
from agents.protocol.report import REPORT, REPORT_DELTA, FreeRow, Report
from agents.protocol.topics import site_topic
from scheduler.control.ports.agents import SiteReport
from scheduler.mqtt.arrival_queue import ArrivalQueue
from scheduler.mqtt.arrivals import Arrival
from scheduler.mqtt.receiver import Receiver
from tests.unit.mqtt.test_ingest import KEY, OTHER, IngestFixture, report

TOPIC = site_topic("m1", "report")


class ReceiverFixture(IngestFixture):
    """A receiver in front of the ingest."""

    def __init__(self) -> None:
        super().__init__()
        self.receiver = Receiver(
            ingest=self.ingest,
            telemetry=self.telemetry,
            clock=self.clock,
            faults=self.ingest.faults,
        )

    def cpus(self) -> list[object]:
        """Free CPU of each report that reached the listener."""
        while self.receiver.handle_batch() is not None:
            pass
        return [one.figures.node_classes[0].free[0]["cpu"] for one in self.received.reports]


def sealed(message: Report, key: SigningKey = KEY, topic: str = TOPIC) -> bytes:
    return seal(REPORT.encode(message), topic=topic, key=key, includes_public_key=True)


def forged(message: Report) -> bytes:
    return sealed(message).replace(b'"signature":"', b'"signature":"AAAA', 1)


def test_of_a_thousand_reports_the_last_one_counts() -> None:
    fixture = ReceiverFixture()
    for sequence in range(1000):
        fixture.receiver.receive(TOPIC, sealed(report(sequence, cpu=str(sequence))))
    assert fixture.cpus()[0] == "999"
    assert len(fixture.received.reports) == 1
    assert fixture.telemetry.dropped["superseded"] == 999


@pytest.mark.parametrize("count", [1, 50, 500])
def test_forged_messages_displace_no_valid_one(count: int) -> None:
    fixture = ReceiverFixture()
    fixture.receiver.receive(TOPIC, sealed(report(1, cpu="7")))
    for sequence in range(2, 2 + count):
        fixture.receiver.receive(TOPIC, forged(report(sequence)))
    assert fixture.cpus() == ["7"]
    assert fixture.telemetry.bad["signature"] == count


def test_repeated_old_messages_displace_no_newer_one() -> None:
    fixture = ReceiverFixture()
    old = sealed(report(1, cpu="1"))
    fixture.receiver.receive(TOPIC, old)
    assert fixture.cpus() == ["1"]
    fixture.receiver.receive(TOPIC, sealed(report(2, cpu="2")))
    for _ in range(500):
        fixture.receiver.receive(TOPIC, old)
    assert fixture.cpus() == ["1", "2"]


def test_messages_with_a_key_that_no_site_lists_displace_no_valid_one() -> None:
    fixture = ReceiverFixture()
    fixture.receiver.receive(TOPIC, sealed(report(1, cpu="7")))
    for sequence in range(2, 200):
        fixture.receiver.receive(TOPIC, sealed(report(sequence), key=OTHER))
    assert fixture.cpus() == ["7"]
    assert fixture.received.unadmitted == [("m1", str(OTHER.public))]
    assert fixture.telemetry.bad["unknown-key"] == 198


def test_a_full_report_and_its_newest_delta_both_count() -> None:
    fixture = ReceiverFixture()
    base = canonicalise_report(report(1, cpu="1"))
    fixture.receiver.receive(TOPIC, sealed(base))
    for sequence in range(2, 300):
        later = dataclasses.replace(report(sequence, cpu=str(sequence)))
        change = compute_delta(base, canonicalise_report(later))
        message = seal(REPORT_DELTA.encode(change), topic=TOPIC, key=KEY)
        fixture.receiver.receive(TOPIC, message)
    assert fixture.cpus() == ["1", "299"]
    assert fixture.ingest.sites_needing_full_report == set()


def test_unadmitted_sites_share_one_bound_and_hold_back_no_admitted_site() -> None:
    fixture = ReceiverFixture()
    message = sealed(report(1), key=OTHER)
    for number in range(3000):
        topic = site_topic(f"new-{number}", "report")  # each message once, on a topic of its own
        fixture.receiver.receive(topic, message)
    fixture.receiver.receive(TOPIC, sealed(report(1, cpu="7")))
    assert fixture.receiver.queue.size < 2**20
    assert fixture.receiver.handle_batch() is not None  # the shared budget is used up
    assert len(fixture.received.reports) == 1


async def test_a_message_that_inflates_to_a_large_one_is_decoded_beside_the_loop() -> None:
    fixture = ReceiverFixture()
    rows = report(1).node_classes or ()
    large = dataclasses.replace(report(1), node_classes=rows[:1] * 2000)
    message = sealed(large)
    assert len(message) < 8000
    fixture.receiver.receive(TOPIC, message)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(fixture.receiver.run())
        while not fixture.received.reports:
            await fixture.clock.settle()
        running.cancel()
    assert fixture.telemetry.bad == {}


def test_no_bytes_and_no_topic_make_it_raise() -> None:
    fixture = ReceiverFixture()
    for topic in (TOPIC, "", "kapok/v1/m1/desired", "x" * 70_000, "kapok/v1/m1/report/x"):
        for payload in (b"", b"{}", b"\xff" * 100, b'{"kid":"', b"[" * 5000, b"0" * 5_000_000):
            fixture.receiver.receive(topic, payload)
    assert fixture.cpus() == []
    assert sum(fixture.telemetry.bad.values()) == 30


async def test_the_sender_of_a_signed_message_that_is_refused_pays_for_it() -> None:
    fixture = ReceiverFixture()
    message = seal(b"[" + b"0," * 40_000 + b"0]", topic=TOPIC, key=KEY)
    fixture.receiver.receive(TOPIC, message)
    charged: list[str] = []

    def charge(sender: str, _one: Arrival, *, work_seconds: float) -> None:
        assert work_seconds >= 0
        charged.append(sender)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArrivalQueue, "charge", lambda _, *each, **words: charge(*each, **words))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(fixture.receiver.run())
            while not charged:
                await fixture.clock.settle()
            running.cancel()
    assert charged == ["m1"]
    assert fixture.telemetry.bad == {"malformed": 1}


def test_a_small_delta_of_a_large_report_counts_as_large() -> None:
    fixture = ReceiverFixture()
    rows = report(1).node_classes or ()
    free = tuple(FreeRow(count=1, resources={"cpu": f"{cpu}m"}) for cpu in range(4000))
    classes = tuple(dataclasses.replace(each, free=free) for each in rows)
    base = canonicalise_report(dataclasses.replace(report(1), node_classes=classes))
    assert not fixture.ingest.takes_long("m1")
    assert fixture.ingest.handle(TOPIC, sealed(base))
    assert fixture.ingest.takes_long("m1")
    assert fixture.ingest.handle(TOPIC, sealed(report(2)))
    assert not fixture.ingest.takes_long("m1")


async def test_a_site_whose_message_was_handled_when_the_process_stood_still_is_not_muted() -> None:
    fixture = ReceiverFixture()
    on_report = fixture.received.on_report

    def stand_still(report: SiteReport) -> None:
        on_report(report)
        if len(fixture.received.reports) == 1:
            fixture.clock.stand_still(22.0)

    fixture.received.on_report = stand_still  # type: ignore[method-assign]
    for sequence in range(1, 6):
        fixture.receiver.receive(TOPIC, sealed(report(sequence, cpu=str(sequence))))
        fixture.receiver.handle_batch()
        await fixture.clock.advance(1.0)
    assert len(fixture.received.reports) == 5


@pytest.mark.parametrize("seconds", [0.001, 22.0])
def test_a_rejected_message_holds_up_the_others_for_two_seconds_at_most(seconds: float) -> None:
    fixture = ReceiverFixture()
    count = fixture.telemetry.count_bad_message

    def stand_still(kind: str) -> None:
        fixture.clock.stand_still(seconds)
        count(kind)

    fixture.telemetry.count_bad_message = stand_still  # type: ignore[method-assign]
    fixture.receiver.receive(TOPIC, forged(report(1)))
    pause_seconds = fixture.receiver.handle_batch()
    assert pause_seconds == pytest.approx(min(2.0, 4 * seconds))
