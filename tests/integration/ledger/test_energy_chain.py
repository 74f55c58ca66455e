"""From signed reports of an agent to a month's report: real wire, real ledger, real command."""

import json
from pathlib import Path

import pytest

from agents.protocol.envelope import seal
from agents.protocol.keys import SigningKey
from agents.protocol.report import REPORT, Report, ReportedEnergy, ReportedPower
from agents.protocol.topics import site_topic
from scheduler.cli.entry import main
from scheduler.control.energy.collector import EnergyCollector
from scheduler.control.energy.users import TenantWatts
from scheduler.control.ports.agents import SiteReport
from scheduler.ledger.accounts.energy_pages import EnergyPages
from scheduler.ledger.ledger import Ledger
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.received_messages import ReceivedMessages
from tests.support.energy_rig import Rig
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.nonces import make_asker
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import demand, workload

pytestmark = pytest.mark.integration

_KEY = SigningKey(bytes(range(32)))
_SITE = "gz-core"


class Wire:
    """An agent's signed reports, through ingest, to a collector over a ledger."""

    def __init__(self, clock: FakeClock, ledger: Ledger) -> None:
        self.clock, self.bad = clock, list[str]()
        rig = Rig(clock=clock)
        rig.usage.set(("health", "app"), demand(workload(2, requests={"cpu": "30"})), {_SITE: 2})
        faults = make_faults(clock)
        self.collector = EnergyCollector(
            objects=rig.objects,
            record=EnergyPages(ledger),
            clock=clock,
            faults=faults,
            epoch=lambda: 7,
            watts_by_user=TenantWatts(objects=rig.objects, usage=rig.usage).at,
        )
        asker = make_asker(clock)
        asker.admit(_SITE)
        keyring = Keyring()
        keyring.admit(_SITE, [str(_KEY.public)])
        self.ingest = Ingest(
            keyring=keyring,
            listener=self,  # type: ignore[arg-type]  # only reports arrive here
            telemetry=NullTelemetry(),
            clock=clock,
            faults=faults,
            asker=asker,
            received=ReceivedMessages(),
        )
        self.sequence = 0

    def on_report(self, report: SiteReport) -> None:
        self.collector.on_report(report)

    def send(self, joules: float, exported: float) -> None:
        self.sequence += 1
        energy = ReportedEnergy(
            counter_id="c",
            it_joules=joules,
            pv_joules=exported * 3,
            export_joules=exported,
            unmeasured_seconds=0.0,
            origin="measured",
            pue=1.25,
            pue_origin="measured",
        )
        report = Report(
            site=_SITE,
            boot_id="boot-1",
            boot_number=1,
            sequence=self.sequence,
            observed_seconds_ago=0.0,
            power=ReportedPower(watts=2000.0, origin="measured"),
            energy=energy,
        )
        topic = site_topic(_SITE, "report")
        self.ingest.handle(topic, seal(REPORT.encode(report), topic=topic, key=_KEY))


async def test_what_an_agent_measures_stands_in_the_report_of_the_month(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FakeClock()
    async with Ledger(tmp_path) as ledger:
        wire = Wire(clock, ledger)
        await wire.collector.sync()
        for minute in range(121):
            wire.send(joules=2000.0 * 60 * minute, exported=6000.0 * minute)
            await clock.advance(60)
            await wire.collector.sync()
        await wire.collector.append_all()

    words = ["--data-dir", str(tmp_path), "-o", "json"]
    assert main(["carbon", "report", "--month", "2026-11", *words]) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert total["itKwh"] == pytest.approx(4.0, abs=0.001)
    assert total["facilityKwh"] == pytest.approx(5.0, abs=0.001)
    assert (total["pue"], total["origins"]["pue"]) == (1.25, {"measured": 1.0})
    # 5 kWh less 0.4 kWh of own sun that was not exported
    assert total["locationKgco2e"] == pytest.approx(4.6 * 0.4419, abs=0.001)
    assert total["marketKgco2e"] == pytest.approx(4.6 * 0.6096, abs=0.001)
    assert total["origins"]["itKwh"] == {"measured": 1.0}
    assert main(["ledger", "list", *words[:2]]) == 0
    assert "1 site used" in capsys.readouterr().out
