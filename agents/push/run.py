"""Puts a push process together from its settings."""

import asyncio
import os
import random
import signal
from pathlib import Path

from agents.app import Agent, build_agent
from agents.config.settings import AgentSettings
from agents.member.access import Access, from_kubeconfig, in_cluster
from agents.member.api import MemberApi
from agents.protocol.keys import SigningKey
from agents.push.host import PushHost
from agents.push.hub import HubReader
from agents.push.member import PushMember, settings_of_site
from agents.push.profile_accesses import ProfileAccesses
from agents.push.providers import load_providers
from agents.runtime.clock import AgentClock
from agents.runtime.data_dir import Boot
from agents.runtime.memory import MemoryKeeper, find_allocator


def build_host(
    settings: AgentSettings, *, clock: AgentClock, jitter: random.Random, version: str | None = None
) -> PushHost:
    """Makes a push process by its settings; nothing runs yet.

    Raises:
        AccessError: the settings do not say how to reach the hub, or name plugins that cannot be
            read.
    """
    push = settings.push
    providers = load_providers(push.access_providers_file)
    if push.source == "in-cluster":
        access = in_cluster(os.environ)
    else:
        access = from_kubeconfig(Path(push.kubeconfig), push.context)

    def make_agent(of_site: AgentSettings, key: SigningKey, boot: Boot, member: Access) -> Agent:
        return build_agent(
            of_site,
            key=key,
            boot=boot,
            clock=clock,
            jitter=jitter,
            version=version,
            access=member,
        )

    def make_member(site: str, member: Access) -> PushMember:
        return PushMember(
            settings=settings_of_site(settings, site),
            access=member,
            make_agent=make_agent,
            clock=clock,
            faults=host.faults,
        )

    api = MemberApi(access)
    hub = HubReader(api, ProfileAccesses(api=api, providers=providers, clock=clock))
    host = PushHost(settings=settings, hub=hub, make_member=make_member, clock=clock)
    return host


async def run_host_until_signalled(host: PushHost) -> int:
    """Runs a push process until SIGTERM or Ctrl-C; returns the exit code of a good end."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(host.run(), name="push")
        keeper = MemoryKeeper(host.clock, host.faults, find_allocator())
        keeping = group.create_task(keeper.run(), name="memory")
        task.add_done_callback(lambda _: keeping.cancel())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
    return 0
