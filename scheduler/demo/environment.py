"""The order of things: member clusters, the scheduler, agents, then objects; and the way back."""

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

FIELD_MANAGER = "kapok-demo"
_START_SECONDS = 40.0
_RESOURCES: dict[str, ApiResource] = {
    one.kind: one for one in (GRANTS, NAMESPACES, SCHEMES, SITES, TENANTS, WORKLOADS)
}
_PARALLEL_STARTS = 2
_RETRY_SECONDS = 0.3

SayCallback = Callable[[str], None]


@dataclass(slots=True)
class DemoEnvironment:
    """A demo that runs.

    Attributes:
        folder: where it lives.
        samples: what it runs.
        hub: client of its hub.
        processes: its processes.
        scheduler_info: what `kapok up` said when it was ready.
        agent_keys: public keys of the agents, by site.
        clock: for waiting.
    """

    folder: DemoFolder
    samples: Samples
    hub: HubClient
    processes: ProcessSupervisor
    scheduler_info: dict[str, Any]
    agent_keys: dict[str, str]
    clock: Clock

    async def apply(self, objects: Sequence[Object]) -> None:
        """Applies objects to the hub; a Site gets the key of its agent.

        Raises:
            HubError: the hub refuses one, or does not come back.
        """
        for item in objects:
            body = copy.deepcopy(item)
            if body["kind"] == SITES.kind:
                delivery = body["spec"].setdefault("delivery", {})
                delivery["agentKeys"] = [self.agent_keys[body["metadata"]["name"]]]
            await self._apply(body)

    async def _apply(self, body: Object) -> None:
        """Waits for a hub that is starting again: its process may have been killed."""
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
        """Keeps a site's agent down, or lets it come back."""
        child = self.processes.by_name[agent_process_name(site)]
        child.is_wanted = not is_silent
        if is_silent:
            child.terminate()

    def set_grid_intensity(self, zone: str, gco2_per_kwh: float | None) -> None:
        """Starts the agents of a grid zone again with another carbon intensity; None: the usual."""
        for site, item in self.samples.sites.items():
            if item["spec"].get("energy", {}).get("gridZone") == zone:
                self.write_agent_settings(site, gco2_per_kwh)
                self.processes.by_name[
                    agent_process_name(site)
                ].terminate()  # its keeper starts it again

    def write_agent_settings(self, site: str, intensity_gco2_per_kwh: float | None = None) -> None:
        """Writes a site's agent's settings anew."""
        write_agent_settings(
            self.folder,
            self.samples,
            site,
            broker=self.scheduler_info["broker"],
            hub_key=self.scheduler_info["hubKey"],
            intensity_gco2_per_kwh=intensity_gco2_per_kwh,
        )


def agent_process_name(site: str) -> str:
    """Name of a site's agent among the processes."""
    return f"agent-{site}"


@asynccontextmanager
async def running_environment(
    folder: DemoFolder, size: str, clock: Clock, say: SayCallback
) -> AsyncIterator[DemoEnvironment]:
    """Starts everything, and ends it with the context.

    Args:
        folder: where it lives; one that was used before is taken up again.
        size: of the demo; an existing folder keeps its own.
        clock: for waiting.
        say: told what happens, in lines.

    Raises:
        ChildError: a process did not come up.
        HubError: the hub refuses an object.
    """
    size = str(read_json(folder.state_file).get("size", size))
    samples = load_samples(size)
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(folder.state_file, {"size": size, "pid": os.getpid()})
    children = ProcessSupervisor(folder.logs_dir, clock, say)
    try:
        running, keys = await _start_processes(folder, samples, children, say)
        async with open_hub(folder.hub_kubeconfig) as hub:
            place = DemoEnvironment(folder, samples, hub, children, running, keys, clock)
            await _apply_objects_and_start_agents(place, say)
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(children.supervise(), name="keep children")
                try:
                    yield place
                finally:
                    keeper.cancel()
    finally:
        await children.stop()


async def _start_processes(
    folder: DemoFolder, samples: Samples, processes: ProcessSupervisor, say: SayCallback
) -> tuple[dict[str, Any], dict[str, str]]:
    """The processes that are there before any object is."""
    for site in samples.clusters:
        write_agent_settings(folder, samples, site)
    say(f"starting {len(samples.clusters)} member clusters, the hub, the broker, the scheduler")
    async with asyncio.TaskGroup() as group:
        members = group.create_task(_start_members(folder, samples, processes))
        scheduler = group.create_task(_start_scheduler(folder, processes))
        keys = group.create_task(_read_agent_keys(folder, samples))
    await members
    running = await scheduler
    say(f"decisions run {running['kernel']}")
    return running, await keys


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
    """The public key of each agent; a new agent makes its own."""
    few = asyncio.Semaphore(_PARALLEL_STARTS)

    async def key(site: str) -> tuple[str, str]:
        async with few:
            process = await asyncio.create_subprocess_exec(
                *agent_argv(folder, site), "--show-key", stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
        if process.returncode:
            raise ChildError(f"the agent of {site} shows no key; see its lines above")
        return site, said.decode().strip()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(key(site)) for site in samples.clusters]
    return dict(task.result() for task in tasks)


async def _apply_objects_and_start_agents(environment: DemoEnvironment, say: SayCallback) -> None:
    """What operations, the authority and administrators write, then the agents."""
    write_kubeconfig(environment.folder, environment.samples.clusters)
    say("applying sites, grants and tenants; starting one agent per site")
    await environment.apply(
        [*environment.samples.prerequisites, *environment.samples.sites.values()]
    )
    for site in environment.samples.clusters:
        environment.write_agent_settings(site)
        await environment.processes.start(
            agent_process_name(site), agent_argv(environment.folder, site)
        )


def kapok_argv(words: Sequence[str]) -> list[str]:
    """The command line of one of our own commands."""
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
