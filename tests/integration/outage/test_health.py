"""The health of a site with a real agent and a real broker, from Reporting to Lost and back."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.control.ports.hub import EVENTS, SITES
from tests.support.proxied_hub import KEY, ROOT, ProxiedHub, Scheduler, proxied_hub, until
from tests.support.scripted_site import ScriptedSite

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(180)]

_AGENT = [sys.executable, "-m", "agents.cli", "--config"]
SILENT_SECONDS = 12.0


class AgentProcess:
    """A real agent without a cluster; its site is admitted by the key that it prints."""

    def __init__(self, hub: ProxiedHub, folder: Path) -> None:
        self.site = ScriptedSite("site-z", "127.0.0.1:1", str(KEY.public))  # for its manifest
        self._folder, self._config = folder, folder / "agent.yaml"
        settings: dict[str, Any] = {
            "site": self.site.name,
            "data_dir": str(folder / "agent"),
            "hub_keys": [str(KEY.public)],
            "broker": {"host": "127.0.0.1", "port": hub.broker_port, "will_delay_seconds": 1.0},
            "report": {"interval_seconds": 0.5, "status_interval_seconds": 0.5},
        }
        self._config.write_text(yaml.safe_dump(settings))

    def show_key(self) -> str:
        words = [*_AGENT, str(self._config), "--show-key"]
        return subprocess.check_output(words, text=True, cwd=ROOT).split()[-1]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Runs it; at the end it is killed, so that its broker publishes its last will."""
        with (self._folder / "agent.log").open("a") as log:
            process = subprocess.Popen([*_AGENT, str(self._config)], stderr=log, cwd=ROOT)
            try:
                yield process
            finally:
                process.kill()
                process.wait(timeout=60)


async def reason_of(hub: ProxiedHub, site: str) -> str:
    status = (await hub.client.get(SITES, site)).get("status") or {}
    reasons = [one["reason"] for one in status.get("conditions", ()) if one["type"] == "Ready"]
    return str(reasons[0]) if reasons else ""


async def events_of(hub: ProxiedHub, site: str) -> set[str]:
    found = (await hub.client.list(EVENTS, "default")).items
    return {one["reason"] for one in found if one["involvedObject"]["name"] == site}


async def states_seen(scheduler: Scheduler) -> list[str]:
    names = ("Reporting", "Late", "Silent", "Lost")
    series = 'kapok_site_health_changes_total{{health="{}"}}'
    return [one for one in names if await scheduler.metric(series.format(one))]


async def test_a_site_goes_through_all_states_and_comes_back(tmp_path: Path) -> None:
    async with proxied_hub(tmp_path) as hub:
        hub.more_settings = {
            "freshness": {
                "hear_sites_seconds": 3.0,
                "site_status_seconds": 1.0,
                "silent_after_seconds": SILENT_SECONDS,
            },
            "health": {"lost_after_seconds": 25.0},
        }
        agent = AgentProcess(hub, tmp_path)
        await hub.admit(agent.site)
        key = {"spec": {"delivery": {"agentKeys": [agent.show_key()]}}}
        await hub.client.merge_patch(SITES, agent.site.name, key)
        scheduler = hub.start()

        async def is_in(state: str) -> bool:
            return await reason_of(hub, agent.site.name) == state

        with agent.running():
            await until(lambda: is_in("Reporting"))

        async def silent_age() -> float:
            series = f'kapok_site_report_age_seconds{{site="{agent.site.name}"}}'
            if not await is_in("Silent"):
                return 0.0
            return await scheduler.metric(series)

        age = await until(silent_age)
        # A third of the time: the will came, and reports are missing. Without it it takes all.
        assert age < SILENT_SECONDS
        assert await scheduler.metric('kapok_messages_total{kind="offline"}') == 1
        await until(lambda: is_in("Lost"), within_seconds=60)
        with agent.running():
            await until(lambda: is_in("Reporting"))
            assert await states_seen(scheduler) == ["Reporting", "Late", "Silent", "Lost"]

            async def has_events() -> bool:
                return {"Silent", "Lost", "Returned"} <= await events_of(hub, agent.site.name)

            await until(has_events)
