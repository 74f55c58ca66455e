"""`kapok-agent --print`: one report as it would be sent. Sends and changes nothing."""

from pathlib import Path
from typing import Any

from agents.config.settings import AgentSettings
from agents.metrics.counters import Counters
from agents.mqtt.publisher import ReportBuilder
from agents.observe import SensorCollector
from agents.orders.journal import load_applied_generations
from agents.protocol.keys import SigningKey
from agents.protocol.report import REPORT
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
from agents.sensors.energy import EnergyMeter
from agents.wiring import build_discovery, build_sensors


async def collect_report(settings: AgentSettings, version: str | None) -> dict[str, Any]:
    """Returns the JSON tree of one full report.

    Raises:
        AccessError: the settings do not say how to reach the cluster.
        ReplayError: the file to replay cannot be used.
    """
    clock, folder = AgentSystemClock(), Path(settings.data_dir)
    generations = load_applied_generations(folder / "journal.sqlite")
    discovery = build_discovery(settings.cluster, clock)
    found = build_sensors(
        settings,
        clock,
        discovery,
        read_applied_generations=lambda: generations,
        is_active=lambda: False,
        version=version,
    )
    collector = SensorCollector(sensors=found, meter=None, clock=clock, counters=Counters())
    observed = await collector.collect()
    energy = EnergyMeter(folder / "energy.json").read_totals(observed.observation)
    report_builder = ReportBuilder(
        site=settings.site,
        agent=settings.agent,
        boot=Boot("print", 0),
        key=SigningKey.generate(),  # nothing is signed with it
        full_interval_seconds=1.0,
    )
    ago_seconds = clock.monotonic() - observed.started_at
    tree: dict[str, Any] = REPORT.to_json(
        report_builder.build_report(observed.observation, energy, observed_seconds_ago=ago_seconds)
    )
    return tree
