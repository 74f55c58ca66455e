"""Several agents of a site: whose report counts, how old figures are, and how much is kept."""

from dataclasses import replace

import pytest

from agents.protocol.delta import canonicalise_report, compute_delta
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    FreeRow,
    Report,
    ReportedExecutor,
    ReportedIntensity,
    ReportedNodeClass,
    ReportedPower,
)
from scheduler.mqtt import site_agents
from tests.unit.mqtt.test_ingest import IngestFixture, report


def of_agent(name: str, sequence: int, *, cpu: str = "4", is_active: bool = False) -> Report:
    made = report(sequence, cpu=cpu)
    return replace(made, agent=name, executor=ReportedExecutor(is_active=is_active))


def cpu_of(fixture: IngestFixture) -> object:
    return fixture.received.reports[-1].figures.node_classes[0].free[0]["cpu"]


def stated_by(fixture: IngestFixture) -> float | None:
    return fixture.received.reports[-1].interval_seconds


def test_after_a_takeover_the_report_of_the_new_executing_agent_counts() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, of_agent("a", 1, cpu="1", is_active=True))
    fixture.send("report", REPORT, of_agent("b", 1, cpu="2"))
    assert cpu_of(fixture) == "1"
    fixture.clock._seconds = 60.0  # noqa: SLF001 - agent a is gone without a word
    fixture.send("report", REPORT, of_agent("b", 2, cpu="3", is_active=True))
    assert cpu_of(fixture) == "3"
    assert fixture.received.reports[-1].observed_seconds == 60.0


def test_the_report_of_an_agent_that_no_longer_applies_orders_does_not_stay() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, of_agent("a", 1, cpu="1", is_active=True))
    fixture.send("report", REPORT, of_agent("a", 2, cpu="2"))
    fixture.send("report", REPORT, of_agent("b", 1, cpu="3"))
    assert cpu_of(fixture) == "3"


def test_a_figure_of_another_agent_is_as_old_as_its_own_report() -> None:
    fixture = IngestFixture()
    intensity = ReportedIntensity(gco2_per_kwh=400.0, origin="measured")
    fixture.send("report", REPORT, replace(of_agent("meter", 1), intensity=intensity))
    observed_at = fixture.clock.now()
    fixture.clock._seconds = 3600.0  # noqa: SLF001 - an hour passes
    fixture.send("report", REPORT, of_agent("a", 1, is_active=True))
    found = fixture.received.reports[-1].figures.intensity
    assert found is not None
    assert found.observed_at == observed_at


def test_a_new_figure_of_another_agent_counts_at_once_and_as_heard_from_the_site() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, of_agent("a", 1, is_active=True))
    fixture.clock._seconds = 60.0  # noqa: SLF001 - a minute passes
    power = ReportedPower(watts=7.0, origin="measured")
    fixture.send("report", REPORT, replace(of_agent("meter", 1), power=power))
    found = fixture.received.reports[-1]
    assert found.figures.power is not None
    assert (found.figures.power.watts, found.figures.power.observed_at) == (7, fixture.clock.now())
    assert (found.observed_seconds, found.sent_seconds) == (0.0, 60.0)


def test_the_stated_interval_of_the_only_agent_counts_and_several_are_measured() -> None:
    fixture = IngestFixture()
    fixture.send("report", REPORT, of_agent("a", 1, is_active=True))
    assert stated_by(fixture) is None, "an agent of an earlier version"
    stated = replace(of_agent("a", 2, is_active=True), interval_seconds=10.0)
    fixture.send("report", REPORT, stated)
    assert stated_by(fixture) == 10.0
    current = replace(stated, sequence=3)
    fixture.send("report", REPORT_DELTA, compute_delta(stated, current))
    assert stated_by(fixture) == 10.0
    fixture.send("report", REPORT, replace(of_agent("meter", 1), interval_seconds=60.0))
    assert stated_by(fixture) is None
    fixture.send("report", REPORT, replace(stated, sequence=4))
    assert stated_by(fixture) is None


def test_full_reports_of_all_agents_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_agents, "MAX_PAYLOAD_BYTES", 2_000)
    fixture = IngestFixture()
    for number in range(50):
        fixture.send("report", REPORT, of_agent(f"a{number}", 1))
    last, first = (canonicalise_report(of_agent(name, 1)) for name in ("a49", "a0"))
    fixture.send("report", REPORT_DELTA, compute_delta(last, replace(last, sequence=2)))
    assert fixture.telemetry.bad == {}
    fixture.send("report", REPORT_DELTA, compute_delta(first, replace(first, sequence=2)))
    assert fixture.telemetry.bad == {"stale": 1}
    assert fixture.ingest.sites_needing_full_report == {"m1"}


def _many_rows(classes: int, rows: int) -> tuple[ReportedNodeClass, ...]:
    free = (FreeRow(count=1, resources={"cpu": 1}),) * rows
    return tuple(ReportedNodeClass(architecture=f"x{one}", free=free) for one in range(classes))


def test_what_a_delta_adds_up_to_is_bounded_as_a_full_report_is() -> None:
    fixture = IngestFixture()
    base = canonicalise_report(replace(report(1), node_classes=_many_rows(4, 5000)))
    fixture.send("report", REPORT, base)
    grown = canonicalise_report(replace(report(2), node_classes=_many_rows(5, 5000)))
    fixture.send("report", REPORT, grown)
    assert fixture.telemetry.bad == {"too-large": 1}
    fixture.send("report", REPORT_DELTA, compute_delta(base, replace(grown, sequence=3)))
    assert fixture.telemetry.bad == {"too-large": 2}
    assert len(fixture.received.reports) == 1
