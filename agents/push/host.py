"""One process with an agent for each Site of the hub whose `delivery.mode` is Push.

`PushHost.run` looks at the hub every few seconds: a new site gets an agent (`member.py`), a changed
Secret gives it other credentials, and the agent of a Site that is gone or has mode Pull ends. A
hub that does not answer changes nothing: the agents go on by what was read last.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from agents.config.settings import AgentSettings
from agents.member.access import Access
from agents.member.api import MemberApiError
from agents.metrics.counters import Counters, render_page
from agents.metrics.server import MetricsServer
from agents.push.hub import HubReader, PushSite
from agents.push.member import PushMember
from agents.push.threads import MemberThreads
from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

_HUB_THREADS: Final = 2
_MAX_NAMED: Final = 8


@dataclass(slots=True, kw_only=True)
class PushHost:
    """The agents of all sites that are reached from beside the hub.

    Attributes:
        settings: of the push process.
        hub: reads Sites and Secrets.
        make_member: makes the member of a site that has none yet; it does not run.
        clock: time as an input.
        counters: counts the faults of the rounds.
        members: by the name of the site.
    """

    settings: AgentSettings
    hub: HubReader
    make_member: Callable[[str, Access], PushMember]
    clock: AgentClock
    counters: Counters = field(default_factory=Counters)
    members: dict[str, PushMember] = field(default_factory=dict, init=False)
    faults: AgentFaults = field(init=False)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _left_out: tuple[str, ...] = field(default=(), init=False)
    _hub_problem: str = field(default="", init=False)
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.faults = AgentFaults(
            lambda where: self.counters.add("faults_total", where=where), self.clock
        )
        self._pool = ThreadPoolExecutor(_HUB_THREADS, thread_name_prefix="hub")

    async def run(self) -> None:
        """Runs until cancelled; then every agent releases its site's lease."""
        asyncio.get_running_loop().set_default_executor(MemberThreads(_HUB_THREADS))
        server = MetricsServer(self.render_metrics)
        try:
            async with asyncio.TaskGroup() as group:
                if self.settings.metrics.port:
                    group.create_task(self._serve_metrics(server), name="metrics")
                while True:
                    with self.faults.guard("push", "hub"):
                        await self._look_at_hub(group)
                    pause = self.faults.quarantine_seconds("push", "hub")
                    await self.clock.sleep(max(pause, self.settings.push.interval_seconds))
        finally:
            server.stop()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self.hub.close()

    async def _look_at_hub(self, group: asyncio.TaskGroup) -> None:
        """Reads Sites and Secrets, and makes the agents follow."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._pool, self._read_hub)
        except MemberApiError as error:
            self._note_hub_problem(str(error)[:300])
            return
        self._note_hub_problem("")
        self._end_members(found)
        for name, access in found.items():
            member = self.members.get(name)
            if member is None:
                member = self.members[name] = self.make_member(name, access)
                self._tasks[name] = group.create_task(member.run(), name=f"site {name}")
            else:
                member.use_access(access)

    def _read_hub(self) -> dict[str, Access]:
        """The accesses of all sites that get an agent, by the name of the site.

        A site whose Secret or profile could not be read is left as it is, and is read later.
        """
        sites = self._within_limit(self.hub.push_sites())
        found: dict[str, Access] = {}
        for name, site in sites.items():
            try:
                found[name] = self.hub.access_of(site)
            except MemberApiError as error:
                if error.code == 0:
                    raise
                _log.warning("site %s: its access cannot be read now: %s", name, str(error)[:300])
                member = self.members.get(name)
                if member is not None:
                    found[name] = member.access
        return found

    def _within_limit(self, sites: Mapping[str, PushSite]) -> dict[str, PushSite]:
        """As many sites as this process may have; those that have an agent come first."""
        names = sorted(sites, key=lambda name: (name not in self.members, name))
        kept, rest = names[: self.settings.push.max_sites], names[self.settings.push.max_sites :]
        if tuple(rest) != self._left_out:
            self._left_out = tuple(rest)
            if rest:
                _log.error(
                    "push.max_sites is %d: no agent for %d sites: %s",
                    self.settings.push.max_sites,
                    len(rest),
                    ", ".join(rest[:_MAX_NAMED]),
                )
        return {name: sites[name] for name in kept}

    def _end_members(self, wanted: Mapping[str, Access]) -> None:
        """Ends the agents of sites that are gone or fetch their orders themselves."""
        for name in [name for name in self.members if name not in wanted]:
            _log.info("site %s: not pushed any more; its agent ends", name)
            del self.members[name]
            self._tasks.pop(name).cancel()  # it releases the lease beside the next rounds

    def _note_hub_problem(self, problem: str) -> None:
        if problem and problem != self._hub_problem:
            _log.warning("hub: %s; the agents go on by what was read last", problem)
        self._hub_problem = problem

    async def _serve_metrics(self, server: MetricsServer) -> None:
        """Starts the metrics server; a taken port is no reason not to run."""
        metrics, is_started = self.settings.metrics, False
        while not is_started:
            with self.faults.guard("metrics"):
                await server.start(metrics.host, metrics.port)
                is_started = True
            await self.clock.sleep(self.faults.quarantine_seconds("metrics"))

    def render_metrics(self) -> str:
        """The page of `/metrics`, with the label `site`; empty if it cannot be rendered."""
        with self.faults.guard("metrics"):
            pages = {"": self.counters}
            for name, member in self.members.items():
                if member.agent is not None:
                    member.agent.update_gauges()
                    pages[name] = member.agent.counters
            return render_page(pages)
        return ""
