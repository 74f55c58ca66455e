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
from scheduler.demo.children import ChildError, Children
from scheduler.demo.folder import (
    Folder,
    read_json,
    write_agent,
    write_clusters,
    write_json,
    write_kubeconfig,
    write_scheduler,
)
from scheduler.demo.samples import Samples, load
from scheduler.hub.client import HubClient, open_hub
from scheduler.runtime.clock import Clock

FIELD_MANAGER = "kapok-demo"
_START_SECONDS = 40.0
_RESOURCES: dict[str, ApiResource] = {
    one.kind: one for one in (GRANTS, NAMESPACES, SCHEMES, SITES, TENANTS, WORKLOADS)
}
_PARALLEL_STARTS = 2
_RETRY_SECONDS = 0.3

Say = Callable[[str], None]


@dataclass(slots=True)
class Town:
    """A demo that runs.

    Attributes:
        folder: where it lives.
        samples: what it runs.
        hub: client of its hub.
        children: its processes.
        running: what `kapok up` said when it was ready.
        keys: public keys of the agents, by site.
        clock: for waiting.
    """

    folder: Folder
    samples: Samples
    hub: HubClient
    children: Children
    running: dict[str, Any]
    keys: dict[str, str]
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
                delivery["agentKeys"] = [self.keys[body["metadata"]["name"]]]
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

    def silence(self, site: str, *, is_silent: bool) -> None:
        """Keeps a site's agent down, or lets it come back."""
        child = self.children.all[agent_name(site)]
        child.is_wanted = not is_silent
        if is_silent:
            child.terminate()

    def change_grid(self, zone: str, gco2_per_kwh: float | None) -> None:
        """Starts the agents of a grid zone again with another carbon intensity; None: the usual."""
        for site, item in self.samples.sites.items():
            if item["spec"].get("energy", {}).get("gridZone") == zone:
                self.write_agent(site, gco2_per_kwh)
                self.children.all[agent_name(site)].terminate()  # its keeper starts it again

    def write_agent(self, site: str, intensity_gco2_per_kwh: float | None = None) -> None:
        """Writes a site's agent's settings anew."""
        write_agent(
            self.folder,
            self.samples,
            site,
            broker=self.running["broker"],
            hub_key=self.running["hubKey"],
            intensity_gco2_per_kwh=intensity_gco2_per_kwh,
        )


def agent_name(site: str) -> str:
    """Name of a site's agent among the processes."""
    return f"agent-{site}"


@asynccontextmanager
async def town(folder: Folder, size: str, clock: Clock, say: Say) -> AsyncIterator[Town]:
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
    size = str(read_json(folder.state).get("size", size))
    samples = load(size)
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(folder.state, {"size": size, "pid": os.getpid()})
    children = Children(folder.logs, clock, say)
    try:
        running, keys = await _start(folder, samples, children, say)
        async with open_hub(folder.hub_kubeconfig) as hub:
            place = Town(folder, samples, hub, children, running, keys, clock)
            await _people(place, say)
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(children.keep(), name="keep children")
                try:
                    yield place
                finally:
                    keeper.cancel()
    finally:
        await children.end()


async def _start(
    folder: Folder, samples: Samples, children: Children, say: Say
) -> tuple[dict[str, Any], dict[str, str]]:
    """The processes that are there before any object is."""
    for site in samples.clusters:
        write_agent(folder, samples, site)
    say(f"starting {len(samples.clusters)} member clusters, the hub, the broker, the scheduler")
    async with asyncio.TaskGroup() as group:
        members = group.create_task(_members(folder, samples, children))
        scheduler = group.create_task(_scheduler(folder, children))
        keys = group.create_task(_keys(folder, samples))
    await members
    running = await scheduler
    say(f"decisions run {running['kernel']}")
    return running, await keys


async def _members(folder: Folder, samples: Samples, children: Children) -> None:
    write_clusters(folder, samples)
    names = [word for site in samples.clusters for word in ("--name", site)]
    words = ["serve-api", "--data-dir", str(folder.members), "--no-crds", *names]
    api = await children.start("members", kapok(words))
    await children.until(api, _says_ready, timeout_seconds=_START_SECONDS)
    words = ["simulate-cluster", "--spec", str(folder.clusters), "--start-seconds", "0.5"]
    await children.start("controllers", kapok(words))


async def _scheduler(folder: Folder, children: Children) -> dict[str, Any]:
    write_scheduler(folder)
    words = ["up", "--data-dir", str(folder.hub), "--config", str(folder.scheduler_config)]
    words += ["-o", "json"]
    child = await children.start("scheduler", kapok(words))
    return await children.until(child, _first_object, timeout_seconds=_START_SECONDS)


async def _keys(folder: Folder, samples: Samples) -> dict[str, str]:
    """The public key of each agent; a new agent makes its own."""
    few = asyncio.Semaphore(_PARALLEL_STARTS)

    async def key(site: str) -> tuple[str, str]:
        async with few:
            process = await asyncio.create_subprocess_exec(
                *agent(folder, site), "--show-key", stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
        if process.returncode:
            raise ChildError(f"the agent of {site} shows no key; see its lines above")
        return site, said.decode().strip()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(key(site)) for site in samples.clusters]
    return dict(task.result() for task in tasks)


async def _people(place: Town, say: Say) -> None:
    """What operations, the authority and administrators write, then the agents."""
    write_kubeconfig(place.folder, place.samples.clusters)
    say("applying sites, grants and tenants; starting one agent per site")
    await place.apply([*place.samples.rules, *place.samples.sites.values()])
    for site in place.samples.clusters:
        place.write_agent(site)
        await place.children.start(agent_name(site), agent(place.folder, site))


def kapok(words: Sequence[str]) -> list[str]:
    """The command line of one of our own commands."""
    return [sys.executable, "-m", "scheduler.cli.entry", *words]


def agent(folder: Folder, site: str) -> list[str]:
    """The command line of a site's agent."""
    return [sys.executable, "-m", "agents.cli", "--config", str(folder.agent_config(site))]


def _says_ready(said: str) -> bool | None:
    return True if "ready\n" in said else None


def _first_object(said: str) -> dict[str, Any] | None:
    if "\n" not in said:
        return None
    found: dict[str, Any] = json.loads(said.splitlines()[0])
    return found
