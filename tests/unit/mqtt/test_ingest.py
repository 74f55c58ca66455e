"""Ingest: no input raises, bad input is counted, and unsigned messages have no effect."""

import dataclasses
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.codec import Codec
from agents.protocol.delta import canonicalise_report, compute_delta
from agents.protocol.envelope import seal
from agents.protocol.keys import SigningKey
from agents.protocol.report import (
    OFFLINE,
    REPORT,
    REPORT_DELTA,
    FreeRow,
    Offline,
    Report,
    ReportedEnergy,
    ReportedExecutor,
    ReportedIntensity,
    ReportedNodeClass,
    ReportedPower,
)
from agents.protocol.status import SITE_STATUS, SiteStatusMessage
from agents.protocol.topics import site_topic
from scheduler.control.ports.agents import OrderStatusReport, SiteReport
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.nonces import make_asker
from tests.support.null_telemetry import NullTelemetry

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))


class Counting(NullTelemetry):
    """Telemetry that remembers."""

    def __init__(self) -> None:
        self.bad: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def count_dropped_messages(self, reason: str, count: int) -> None:
        self.dropped[reason] += count

    def count_bad_message(self, kind: str) -> None:
        self.bad[kind] += 1


class ReceivedEvents:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.reports: list[SiteReport] = []
        self.order_statuses: list[OrderStatusReport] = []
        self.offline: list[str] = []
        self.unadmitted: list[tuple[str, str]] = []

    def on_report(self, report: SiteReport) -> None:
        self.reports.append(report)

    def on_order_status(self, report: OrderStatusReport) -> None:
        self.order_statuses.append(report)

    def on_site_offline(self, site: str) -> None:
        self.offline.append(site)

    def on_unadmitted_site(self, site: str, public_key: str) -> None:
        self.unadmitted.append((site, public_key))

    def on_broker_connected(self) -> None:
        raise AssertionError("not in these tests")


class IngestFixture:
    """An ingest that admits one site, m1, and all that it passes on."""

    def __init__(self) -> None:
        self.clock, self.received, self.telemetry = FakeClock(), ReceivedEvents(), Counting()
        keyring = Keyring()
        keyring.admit("m1", [str(KEY.public)])
        self.ingest = Ingest(
            keyring=keyring,
            listener=self.received,
            telemetry=self.telemetry,
            clock=self.clock,
            faults=make_faults(self.clock),
            asker=make_asker(self.clock),
        )

    def send(
        self,
        kind: str,
        codec: Codec[Any],
        message: object,
        *,
        site: str = "m1",
        key: SigningKey = KEY,
    ) -> None:
        where = site_topic(site, kind)  # type: ignore[arg-type]
        sealed = seal(codec.encode(message), topic=where, key=key, includes_public_key=True)
        self.ingest.handle(where, sealed)


def report(sequence: int, *, cpu: str = "4", boot: int = 1, ago: float = 0.0) -> Report:
    row = FreeRow(count=3, resources={"cpu": cpu, "memory": "8Gi", "pods": 50})
    return Report(
        site="m1",
        boot_id=f"boot-{boot}",
        boot_number=boot,
        sequence=sequence,
        observed_seconds_ago=ago,
        node_classes=(ReportedNodeClass(architecture="arm64", free=(row,)),),
        executor=ReportedExecutor(is_active=True),
    )


def test_a_report_becomes_figures_in_the_shape_of_the_site_status() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, report(1, ago=2.5))
    [received] = fixture.received.reports
    assert received.figures.node_classes[0].free == (
        {"count": 3, "cpu": "4", "memory": "8Gi", "pods": 50},
    )
    assert received.has_executor
    assert received.observed_seconds == -2.5


@pytest.mark.parametrize(
    ("name", "amount", "counted_as"),
    [
        ("cpu", "lots", "malformed"),
        ("cpu", "9e99", "malformed"),
        ("kapok.dev/gpu-milli.first", "500", "malformed"),
        ("kapok.dev/gpu-milli.4000000000", "500", "too-large"),
    ],
)
def test_amounts_that_the_fleet_cannot_read_are_refused(
    name: str, amount: str, counted_as: str
) -> None:
    fixture = IngestFixture()
    row = FreeRow(count=1, resources={"cpu": "1", name: amount})
    bad = replace(report(1), node_classes=(ReportedNodeClass(architecture="arm64", free=(row,)),))
    fixture.send("report", REPORT, bad)
    assert fixture.received.reports == []
    assert fixture.telemetry.bad == {counted_as: 1}


def _classes(count: int, labels: int) -> tuple[ReportedNodeClass, ...]:
    """As many node classes; each has as many labels, whose values are all different."""
    return tuple(
        ReportedNodeClass(
            architecture="arm64", labels={f"k{at}": f"v{number}-{at}" for at in range(labels)}
        )
        for number in range(count)
    )


@pytest.mark.parametrize(
    ("classes", "is_taken"),
    [
        (_classes(5000, 1), True),  # as many as an agent reports
        (_classes(256, 64), True),
        (_classes(257, 64), False),
    ],
    ids=["classes", "labels", "more labels"],
)
def test_the_label_values_of_a_site_are_bounded(
    classes: tuple[ReportedNodeClass, ...], *, is_taken: bool
) -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, replace(report(1), node_classes=classes))
    assert bool(fixture.received.reports) == is_taken
    assert fixture.telemetry.bad == ({} if is_taken else {"too-large": 1})


@pytest.mark.parametrize(
    ("words", "at"),
    [
        ({"observed_at": "2023-12-31"}, "2023-12-31T00:00:00+00:00"),
        ({"observed_seconds_ago": 60.0}, "2026-11-24T07:59:00+00:00"),
        ({"observed_at": "some day"}, None),
        ({}, None),
    ],
    ids=["date", "duration", "nonsense", "nothing"],
)
def test_an_intensity_keeps_its_age_and_never_costs_the_report(
    words: dict[str, Any], at: str | None
) -> None:
    fixture = IngestFixture()
    intensity = ReportedIntensity(gco2_per_kwh=441.9, origin="yearly", **words)
    fixture.send("report", REPORT, dataclasses.replace(report(1), intensity=intensity))
    [received] = fixture.received.reports
    assert received.figures.intensity is not None
    seen = received.figures.intensity.observed_at
    assert (seen.isoformat() if seen else None) == at


def test_solar_power_is_reported_with_the_consumption_that_it_offsets() -> None:
    fixture = IngestFixture()
    energy = ReportedEnergy(counter_id="c", pv_watts=5000.0)
    power = ReportedPower(watts=1000.0, origin="measured")
    fixture.send("report", REPORT, replace(report(1), power=power, energy=energy))
    fixture.send("report", REPORT, replace(report(2), energy=energy))
    both, alone = (one.figures.power for one in fixture.received.reports)
    assert both is not None
    assert (both.watts, both.pv_watts, both.origin) == (1000.0, 5000.0, "measured")
    assert alone is None


def test_doubled_and_reordered_reports_change_nothing() -> None:
    fixture = IngestFixture()
    for sequence in (2, 2, 1):
        fixture.send("report", REPORT, report(sequence))
    assert len(fixture.received.reports) == 1
    assert fixture.telemetry.bad == {"stale": 2}


def test_a_message_of_an_earlier_boot_is_refused() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, report(1, boot=5))
    fixture.send("report", REPORT, report(99, boot=4))
    assert fixture.telemetry.bad == {"stale": 1}


def test_a_delta_gives_the_whole_report_and_an_unknown_base_asks_for_a_full_one() -> None:
    fixture = IngestFixture()
    first, second = canonicalise_report(report(1)), canonicalise_report(report(2, cpu="1500m"))
    change = compute_delta(first, second)
    fixture.send("report", REPORT_DELTA, change)
    assert fixture.ingest.sites_needing_full_report == {"m1"}
    assert fixture.received.reports == []
    again = IngestFixture()
    again.send("report", REPORT, first)
    again.send("report", REPORT_DELTA, change)
    assert again.received.reports[-1].figures.node_classes[0].free[0]["cpu"] == "1500m"


def test_an_unadmitted_site_is_reported_and_its_messages_are_dropped() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, report(1), site="m2", key=OTHER)
    fixture.send("report", REPORT, report(1), key=OTHER)
    assert fixture.received.reports == []
    assert fixture.received.unadmitted == [("m2", str(OTHER.public)), ("m1", str(OTHER.public))]
    assert fixture.telemetry.bad == {"unknown-site": 1, "unknown-key": 1}


def test_a_message_sealed_for_another_topic_is_refused() -> None:
    fixture = IngestFixture()
    status = SiteStatusMessage(
        site="m1", boot_id="b", boot_number=1, sequence=1, observed_seconds_ago=0
    )
    sealed = seal(SITE_STATUS.encode(status), topic=site_topic("m1", "report"), key=KEY)
    fixture.ingest.handle(site_topic("m1", "status"), sealed)
    assert fixture.telemetry.bad == {"signature": 1}


def test_a_site_cannot_send_messages_of_another() -> None:
    fixture = IngestFixture()
    where = site_topic("m1", "report")
    other = Report(site="m9", boot_id="b", boot_number=1, sequence=1, observed_seconds_ago=0)
    fixture.ingest.handle(where, seal(REPORT.encode(other), topic=where, key=KEY))
    assert fixture.telemetry.bad == {"wrong-site": 1}


def test_a_will_of_the_present_boot_counts_and_a_late_one_does_not() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, report(1, boot=2))
    fixture.send("offline", OFFLINE, Offline(site="m1", boot_id="boot-1", boot_number=1))
    assert fixture.received.offline == []
    fixture.send("offline", OFFLINE, Offline(site="m1", boot_id="boot-2", boot_number=2))
    assert fixture.received.offline == ["m1"]


def test_messages_of_sites_are_never_retained() -> None:
    fixture = IngestFixture()
    where = site_topic("m1", "report")
    fixture.ingest.handle(
        where, seal(REPORT.encode(report(1)), topic=where, key=KEY), retained=True
    )
    assert fixture.received.reports == []
    assert fixture.telemetry.bad == {"malformed": 1}


def test_a_second_agent_does_not_make_the_first_one_s_figures_younger() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, report(1))
    helper = Report(
        site="m1", agent="power", boot_id="p", boot_number=1, sequence=1, observed_seconds_ago=0
    )
    fixture.clock._seconds = 60.0  # noqa: SLF001 - a minute passes
    fixture.send("report", REPORT, helper)
    assert fixture.received.reports[-1].observed_seconds == 0.0
    assert fixture.received.reports[-1].figures.node_classes


@pytest.mark.parametrize(
    "where",
    ["", "kapok", "kapok/v1/m1", "kapok/v1/M1/report", "kapok/v1/m1/desired", "x" * 70_000],
    ids=["empty", "short", "no-kind", "bad-name", "downward", "endless"],
)
def test_wrong_topics_are_counted(where: str) -> None:
    fixture = IngestFixture()
    fixture.ingest.handle(where, b"{}")
    assert fixture.telemetry.bad == {"malformed": 1}


@given(st.binary(max_size=400))
def test_garbage_raises_nothing_and_is_counted(garbage: bytes) -> None:
    fixture = IngestFixture()
    for kind in ("report", "status", "offline"):
        fixture.ingest.handle(f"kapok/v1/m1/{kind}", garbage)
    assert sum(fixture.telemetry.bad.values()) == 3
    assert fixture.received.reports == []
    assert fixture.received.order_statuses == []
    assert fixture.received.offline == []


@given(st.integers(0, 2_000))
def test_a_truncated_message_is_counted(length: int) -> None:
    fixture = IngestFixture()
    where = site_topic("m1", "report")
    sealed = seal(REPORT.encode(report(1)), topic=where, key=KEY)
    fixture.ingest.handle(where, sealed[: min(length, len(sealed) - 1)])
    assert sum(fixture.telemetry.bad.values()) == 1
    assert fixture.received.reports == []


@pytest.mark.parametrize("kind", ["report", "status", "offline"])
def test_a_message_of_too_many_values_is_refused_before_it_is_parsed(kind: str) -> None:
    fixture = IngestFixture()
    topic = site_topic("m1", kind)  # type: ignore[arg-type]
    fixture.ingest.handle(topic, seal(b"[" + b"[]," * 300_000 + b"[", topic=topic, key=KEY))
    assert fixture.telemetry.bad == {"too-large": 1}
