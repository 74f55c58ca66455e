"""Starts a demo's processes in order, applies its objects, and stops everything at the end.

The order: member clusters and the scheduler; then sites, grants and tenants; then the agents.
"""

import asyncio
import copy
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from scheduler.control.ports.hub import (
    GRANTS,
    NAMESPACES,
    SCHEMES,
    SITES,
    TENANTS,
    WORKLOADS,
    ApiResource,
    Busy,
    Object,
)
from scheduler.demo.children import ChildError, ProcessSupervisor
from scheduler.demo.folder import (
    DemoFolder,
    read_json,
    write_agent_settings,
    write_clusters,
    write_json,
    write_kubeconfig,
    write_scheduler_settings,
)
from scheduler.demo.samples import Samples, load_samples
from scheduler.hub.client import HubClient, open_hub
from scheduler.runtime.clock import Clock
from scheduler.runtime.data_dir import ignore_in_git

FIELD_MANAGER = "kapok-demo"
_START_SECONDS = 40.0
_RESOURCES: dict[str, ApiResource] = {
    one.kind: one for one in (GRANTS, NAMESPACES, SCHEMES, SITES, TENANTS, WORKLOADS)
}
_PARALLEL_STARTS = 2
_RETRY_SECONDS = 0.3

SayCallback = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoEnvironment:
    """A running demo.

    Attributes:
        folder: its folder.
        samples: its sites, clusters and workloads.
        hub: client of its hub.
        processes: its processes.
        scheduler_info: what `kapok up -o json` printed when it was ready.
        agent_keys: public keys of the agents, by site.
        clock: measures time-outs and pauses.
    """

    folder: DemoFolder
    samples: Samples
    hub: HubClient
    processes: ProcessSupervisor
    scheduler_info: dict[str, Any]
    agent_keys: dict[str, str]
    clock: Clock

    async def apply(self, objects: Sequence[Object]) -> None:
        """Applies objects to the hub; adds the key of its agent to a Site.

        Raises:
            HubError: the hub refuses an object, or stays unavailable.
        """
        for item in objects:
            body = copy.deepcopy(item)
            if body["kind"] == SITES.kind:
                delivery = body["spec"].setdefault("delivery", {})
                delivery["agentKeys"] = [self.agent_keys[body["metadata"]["name"]]]
            await self._apply(body)

    async def _apply(self, body: Object) -> None:
        """Applies one object; retries while the hub restarts, since its process may be killed."""
        give_up_at = self.clock.monotonic() + _START_SECONDS
        while True:
            try:
                await self.hub.apply(_RESOURCES[body["kind"]], body, field_manager=FIELD_MANAGER)
            except Busy:
                if self.clock.monotonic() > give_up_at:
                    raise
                await self.clock.sleep(_RETRY_SECONDS)
            else:
                return

    def set_silent(self, site: str, *, is_silent: bool) -> None:
        """Stops a site's agent and keeps it stopped, or lets it run again."""
        child = self.processes.by_name[agent_process_name(site)]
        if is_silent:
            child.keep_down()
        else:
            child.allow_restart()

    def set_grid_intensity(self, zone: str, gco2_per_kwh: float | None) -> None:
        """Restarts the agents of a grid zone with another carbon intensity.

        Args:
            zone: the grid zone.
            gco2_per_kwh: the carbon intensity; None: the usual one.
        """
        for site, item in self.samples.sites.items():
            if item["spec"].get("energy", {}).get("gridZone") == zone:
                self.write_agent_settings(site, gco2_per_kwh)
                # The supervisor starts it again, with the new settings.
                self.processes.by_name[agent_process_name(site)].terminate()

    def write_agent_settings(self, site: str, intensity_gco2_per_kwh: float | None = None) -> None:
        """Writes the settings of a site's agent.

        Args:
            site: the site.
            intensity_gco2_per_kwh: carbon intensity of its grid; None: the usual one.
        """
        write_agent_settings(
            self.folder,
            self.samples,
            site,
            broker=self.scheduler_info["broker"],
            hub_key=self.scheduler_info["hubKey"],
            intensity_gco2_per_kwh=intensity_gco2_per_kwh,
        )


def agent_process_name(site: str) -> str:
    """Name of the process of a site's agent."""
    return f"agent-{site}"


@asynccontextmanager
async def running_environment(
    *, folder: DemoFolder, size: str, clock: Clock, say: SayCallback
) -> AsyncIterator[DemoEnvironment]:
    """Starts a demo, and stops all its processes at the end of the context.

    Args:
        folder: the demo's folder; a folder of an earlier demo continues that demo.
        size: size of the demo; an existing folder keeps its own size.
        clock: measures time-outs and pauses.
        say: shows a line of progress to the user.

    Raises:
        ChildError: a process did not start.
        HubError: the hub refuses an object.
        SamplesError: the shipped samples are inconsistent.
    """
    size = str(read_json(folder.state_file).get("size", size))
    samples = load_samples(size)
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore_in_git(folder.path)
    write_json(folder.state_file, {"size": size, "pid": os.getpid()})
    processes = ProcessSupervisor(folder=folder.logs_dir, clock=clock, say=say)
    try:
        scheduler_info, keys = await _start_processes(folder, samples, processes, say)
        async with open_hub(folder.hub_kubeconfig) as hub:
            environment = DemoEnvironment(
                folder=folder,
                samples=samples,
                hub=hub,
                processes=processes,
                scheduler_info=scheduler_info,
                agent_keys=keys,
                clock=clock,
            )
            await _apply_objects_and_start_agents(environment, say)
            async with asyncio.TaskGroup() as group:
                supervisor = group.create_task(processes.supervise(), name="supervise processes")
                try:
                    yield environment
                finally:
                    supervisor.cancel()
    finally:
        await processes.stop()


async def _start_processes(
    folder: DemoFolder, samples: Samples, processes: ProcessSupervisor, say: SayCallback
) -> tuple[dict[str, Any], dict[str, str]]:
    """Starts member clusters and scheduler, and reads the agents' keys, all at the same time."""
    for site in samples.clusters:
        write_agent_settings(folder, samples, site)  # enough for `kapok-agent --show-key`
    say(f"starting {len(samples.clusters)} member clusters and the scheduler (hub, MQTT broker)")
    async with asyncio.TaskGroup() as group:
        members = group.create_task(_start_members(folder, samples, processes))
        scheduler = group.create_task(_start_scheduler(folder, processes))
        keys = group.create_task(_read_agent_keys(folder, samples))
    await members
    scheduler_info = await scheduler
    say(f"placement kernel: {scheduler_info['kernel']}")
    return scheduler_info, await keys


async def _start_members(
    folder: DemoFolder, samples: Samples, processes: ProcessSupervisor
) -> None:
    write_clusters(folder, samples)
    names = [word for site in samples.clusters for word in ("--name", site)]
    words = ["serve-api", "--data-dir", str(folder.members), "--no-crds", *names]
    api = await processes.start("members", kapok_argv(words))
    await processes.wait_for_output(api, _parse_ready, timeout_seconds=_START_SECONDS)
    words = ["simulate-cluster", "--spec", str(folder.clusters_file), "--start-seconds", "0.5"]
    await processes.start("controllers", kapok_argv(words))


async def _start_scheduler(folder: DemoFolder, processes: ProcessSupervisor) -> dict[str, Any]:
    write_scheduler_settings(folder)
    words = ["up", "--data-dir", str(folder.hub), "--config", str(folder.scheduler_config)]
    words += ["-o", "json"]
    child = await processes.start("scheduler", kapok_argv(words))
    return await processes.wait_for_output(child, _parse_first_line, timeout_seconds=_START_SECONDS)


async def _read_agent_keys(folder: DemoFolder, samples: Samples) -> dict[str, str]:
    """The public key of each agent, by site; a new agent generates its key."""
    few = asyncio.Semaphore(_PARALLEL_STARTS)

    async def key(site: str) -> tuple[str, str]:
        async with few:
            process = await asyncio.create_subprocess_exec(
                *agent_argv(folder, site), "--show-key", stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
        if process.returncode:
            raise ChildError(f"the agent of {site} printed no key; see its error messages above")
        return site, output.decode().strip()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(key(site)) for site in samples.clusters]
    return dict(task.result() for task in tasks)


async def _apply_objects_and_start_agents(environment: DemoEnvironment, say: SayCallback) -> None:
    """Applies everything except workloads, then starts the agents."""
    write_kubeconfig(environment.folder, environment.samples.clusters)
    say("applying sites, grants and tenants, and starting one agent per site")
    await environment.apply(
        [*environment.samples.prerequisites, *environment.samples.sites.values()]
    )
    for site in environment.samples.clusters:
        environment.write_agent_settings(site)
        await environment.processes.start(
            agent_process_name(site), agent_argv(environment.folder, site)
        )


def kapok_argv(words: Sequence[str]) -> list[str]:
    """The command line of a `kapok` command, with this Python."""
    return [sys.executable, "-m", "scheduler.cli.entry", *words]


def agent_argv(folder: DemoFolder, site: str) -> list[str]:
    """The command line of a site's agent."""
    return [sys.executable, "-m", "agents.cli", "--config", str(folder.agent_config(site))]


def _parse_ready(output: str) -> bool | None:
    return True if "ready\n" in output else None


def _parse_first_line(output: str) -> dict[str, Any] | None:
    if "\n" not in output:
        return None
    found: dict[str, Any] = json.loads(output.splitlines()[0])
    return found
