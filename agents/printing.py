"""`kapok-agent --print`: one look, as the report that would be sent. Sends and changes nothing."""

from pathlib import Path
from typing import Any

from agents.assembly import member_of, sensors
from agents.clock import SystemClock
from agents.counters import Counters
from agents.identity import Boot
from agents.orders.journal import applied_at
from agents.protocol.keys import SigningKey
from agents.protocol.report import REPORT
from agents.sensors.energy import EnergyMeter
from agents.settings import Settings
from agents.voice import Voice
from agents.watching import Watch


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
