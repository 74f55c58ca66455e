"""Runs `kapok-agent push` beside the embedded hub, with an account of its own there.

The process is the agents' program: it shares the wire protocol with this one and nothing else. It
reads Sites and the Secrets of members by the role `push`, and writes nothing to the hub.
"""

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import TokenStore, write_kubeconfig
from scheduler.runtime.clock import Clock
from scheduler.runtime.parent_death import command_tied_to_parent
from scheduler.settings import PushHostingSettings

_log = logging.getLogger(__name__)

FOLDER: Final = "push"
SITES_FOLDER: Final = "sites"
_NAME: Final = "kapok-push"
_STOP_SECONDS: Final = 15.0  # a dead member keeps its agent from releasing the lease for 10 s
_PAUSE_SECONDS: Final = 2.0
_MAX_LOG_BYTES: Final = 16 * 2**20
_AGENT_VARIABLES: Final = "KAPOK_AGENT_"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushChild:
    """The process, which is started again when it ends.

    Attributes:
        settings: what it may read, and how many members it has.
        data_dir: the data directory of `kapok up`.
        hub_folder: the folder of the embedded hub, with its tokens and kubeconfig.
        hub_key: the public key of the hub.
        broker_host: the embedded broker.
        broker_port: its port.
        clock: for the pause before it starts again.
    """

    settings: PushHostingSettings
    data_dir: Path
    hub_folder: Path
    hub_key: str
    broker_host: str
    broker_port: int
    clock: Clock
    _environment: dict[str, str] = field(
        default_factory=lambda: {
            # Settings of an agent at this machine are not those of the push process.
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_AGENT_VARIABLES)
        }
    )

    @property
    def folder(self) -> Path:
        """Its data directory."""
        return self.data_dir / FOLDER

    async def run(self) -> None:
        """Runs it until cancelled."""
        config = self._write_settings()
        command = [sys.executable, "-m", "agents.cli", "--config", str(config), "push"]
        while True:
            code = await self._run_once(command)
            _log.warning("the push process ended with code %s; %s", code, self._log_file)
            await self.clock.sleep(_PAUSE_SECONDS)

    @property
    def _log_file(self) -> Path:
        return self.folder / "push.log"

    async def _run_once(self, command: list[str]) -> int:
        log = self._log_file
        if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command_tied_to_parent(command),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=errors,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends it
            )
        try:
            return await process.wait()
        finally:
            await _stop(process)

    def _write_settings(self) -> Path:
        """Writes its settings, and a kubeconfig with a token of the role push.

        Raises:
            OSError: the data directory cannot be written.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        identity = Identity(_NAME, "push", self.settings.namespaces)
        token = TokenStore(self.hub_folder / "tokens.json").get_or_create(identity)
        hub = json.loads((self.hub_folder / "kubeconfig").read_bytes())
        cluster = hub["clusters"][0]["cluster"]
        kubeconfig = self.folder / "hub.kubeconfig"
        ca = str(cluster.get("certificate-authority-data", ""))
        write_kubeconfig(kubeconfig, name=_NAME, url=str(cluster["server"]), token=token, ca=ca)
        config = self.folder / "agent.yaml"
        tree = {
            "data_dir": str(self.folder),
            "hub_keys": [self.hub_key],
            "broker": {"host": self.broker_host, "port": self.broker_port},
            "cluster": {"tenant_account": self.settings.tenant_account},
            "push": {
                "source": "kubeconfig",
                "kubeconfig": str(kubeconfig),
                "max_sites": self.settings.max_sites,
                "access_providers_file": self.settings.access_providers_file,
            },
        }
        config.write_text(json.dumps(tree, indent=2) + "\n")  # JSON is YAML
        return config


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ends a process, by SIGKILL if it does not end in time."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
