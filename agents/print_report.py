"""`kapok-agent --print`: one look, as the report that would be sent. Sends and changes nothing."""

from pathlib import Path
from typing import Any

from agents.config.settings import Settings
from agents.metrics.counters import Counters
from agents.mqtt.publisher import Voice
from agents.observe import Watch
from agents.orders.journal import applied_at
from agents.protocol.keys import SigningKey
from agents.protocol.report import REPORT
from agents.runtime.clock import SystemClock
from agents.runtime.identity import Boot
from agents.sensors.energy import EnergyMeter
from agents.wiring import member_of, sensors


async def one_report(settings: Settings, version: str | None) -> dict[str, Any]:
    """The JSON tree of one full report.

    Raises:
        AccessError: the way to the cluster is not described well enough.
        ReplayError: the file to replay cannot be played.
    """
    clock, folder = SystemClock(), Path(settings.data_dir)
    generations = applied_at(folder / "journal.sqlite")
    member = member_of(settings.cluster, clock)
    found = sensors(
        settings,
        clock,
        member,
        generations=lambda: generations,
        is_active=lambda: False,
        version=version,
    )
    observation = await Watch(found, None, clock, Counters()).observe()
    energy = EnergyMeter(folder / "energy.json").read(observation.look)
    voice = Voice(settings.site, settings.agent, Boot("print", 0), SigningKey.generate(), 1.0)
    ago_seconds = clock.monotonic() - observation.at
    tree: dict[str, Any] = REPORT.to_json(
        voice.report(observation.look, energy, ago_seconds=ago_seconds)
    )
    return tree
