"""The agent of one site inside a push process, with a folder, a key and threads of its own."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from agents.app import Agent
from agents.config.settings import AgentBrokerSettings, AgentSettings, MetricsSettings
from agents.member.access import Access
from agents.protocol.keys import SigningKey
from agents.push.threads import own_threads
from agents.runtime.clock import AgentClock
from agents.runtime.data_checks import check_data_files, check_no_boots_lost
from agents.runtime.data_dir import (
    Boot,
    ensure_data_dir,
    load_or_create_key,
    lock_data_dir,
    record_boot,
    write_durably,
)
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

SITES_FOLDER: Final = "sites"
PUBLIC_KEY_FILE: Final = "agent.pub"
_SITE_WORD: Final = "{site}"


class _ServerMoved(Exception):
    """The cluster of the site is another server now."""


AgentMaker = Callable[[AgentSettings, SigningKey, Boot, Access], Agent]
"""Makes the agent of a site from its settings, its key, this start and the access."""


@dataclass(slots=True, kw_only=True)
class PushMember:
    """One site of a push process. A fault in it is counted, and it begins again after a pause.

    Attributes:
        settings: of this site's agent.
        access: how its cluster is reached now.
        make_agent: makes the agent for each of its starts.
        clock: time as an input.
        faults: counts what ends the agent.
        agent: the agent as long as it runs.
    """

    settings: AgentSettings
    access: Access
    make_agent: AgentMaker
    clock: AgentClock
    faults: AgentFaults
    agent: Agent | None = field(default=None, init=False)
    _server: tuple[str, int, str] | None = field(default=None, init=False)
    _moved: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self) -> None:
        """Runs until cancelled."""
        site = self.settings.site
        with own_threads(site):
            while True:
                with self.faults.guard("push", site):
                    await self._run_agent()
                await self.clock.sleep(self.faults.quarantine_seconds("push", site))

    def use_access(self, access: Access) -> None:
        """Reaches the cluster by other credentials; at another server a new agent begins."""
        if access is self.access:
            return
        self.access = access
        self._log_access()
        if self.agent is None:
            return
        if not access.problem and self._server not in (None, access.server):
            _log.warning(
                "site %s: another server, %s; its agent begins again", self._site, access.host
            )
            self._moved.set()
            return
        self._note_server()
        self.agent.use_access(access)

    @property
    def _site(self) -> str:
        return self.settings.site

    def _note_server(self) -> None:
        if not self.access.problem:
            self._server = self.access.server

    def _log_access(self) -> None:
        if self.access.problem:
            _log.warning("site %s: %s", self._site, self.access.problem)
        else:
            _log.info("site %s: its cluster is %s:%d", self._site, *self.access.server[:2])

    async def _run_agent(self) -> None:
        """Runs one agent until it fails, or until its cluster is another server."""
        folder = ensure_data_dir(Path(self.settings.data_dir))
        check_data_files(folder)
        key = load_member_key(folder)
        with lock_data_dir(folder):
            check_no_boots_lost(folder)
            boot = record_boot(folder)
            self._moved.clear()
            self._note_server()
            self._log_access()
            self.agent = self.make_agent(self.settings, key, boot, self.access)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.agent.run(), name=f"agent {self._site}")
                    await self._moved.wait()
                    raise _ServerMoved  # noqa: TRY301 - ends the group, and the agent with it
            except* _ServerMoved:
                pass
            finally:
                self.agent = None


def settings_of_site(settings: AgentSettings, site: str) -> AgentSettings:
    """The settings of one site's agent, made of those of the push process.

    The machine of the push process is not at the site, so its figures are not reported. The word
    `{site}` in the broker's credentials stands for the name of the site.
    """
    return replace(
        settings,
        site=site,
        data_dir=str(member_folder(settings, site)),
        host_sensor=False,
        # Two more threads for each of many members would cost more than their lists do.
        cluster=replace(settings.cluster, source="kubeconfig", is_watching=False),
        broker=_broker_of_site(settings.broker, site),
        metrics=MetricsSettings(),
    )


def member_folder(settings: AgentSettings, site: str) -> Path:
    """The data directory of one site: its key, its journal, its count of starts."""
    return Path(settings.data_dir) / SITES_FOLDER / site


def load_member_key(folder: Path) -> SigningKey:
    """The signing key of one site, whose public half is written beside it.

    Raises:
        IdentityError: the file is not a key, or other users may read it.
        OSError: the folder cannot be written.
    """
    key = load_or_create_key(folder)
    path, text = folder / PUBLIC_KEY_FILE, f"{key.public}\n".encode()
    if not path.exists() or path.read_bytes()[: len(text) + 1] != text:
        write_durably(path, text)
    return key


def _broker_of_site(broker: AgentBrokerSettings, site: str) -> AgentBrokerSettings:
    names = ("username", "password_file", "tls_certificate_file", "tls_key_file")
    return replace(
        broker, **{name: getattr(broker, name).replace(_SITE_WORD, site) for name in names}
    )
