"""The systemd unit of the agent: a service without rights beyond its own files and the network.

`DynamicUser` gives it a user of its own, `StateDirectory` the only folder that it may write. A
kubeconfig is handed over as a credential (systemd 247), so that no user of the machine needs to
read it. systemd restarts an agent whose event loop stands still (`WatchdogSec`).
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNIT_NAME: Final = "kapok-agent.service"
UNIT_FOLDER: Final = Path("/etc/systemd/system")
STATE_FOLDER: Final = Path("/var/lib")
CREDENTIAL: Final = f"/run/credentials/{UNIT_NAME}/kubeconfig"
"""Where the service finds its kubeconfig."""
_RUNNING: Final = Path("/run/systemd/system")
_SYSTEMCTL_SECONDS: Final = 60.0

_UNIT: Final = """[Unit]
Description=Kapok agent: reports what this site has, and applies what the hub orders
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
Restart=always
RestartSec=5
WatchdogSec=120
TimeoutStartSec=120
DynamicUser=yes
StateDirectory={state}
StateDirectoryMode=0700
{credential}UMask=0077
MemoryMax=256M
TasksMax=128
OOMScoreAdjust=-100
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
PrivateDevices=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


class InstallError(Exception):
    """The service cannot be installed; the message says why and what to do."""


class SystemctlError(Exception):
    """systemctl did not do what it was asked; the message names the command and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUnit:
    """What the unit says.

    Attributes:
        program: the path of kapok-agent.
        config: the settings file.
        data_dir: the data directory, a folder of /var/lib.
        kubeconfig: of the site's cluster; None: the site has none, or reaches it otherwise.
    """

    program: Path
    config: Path
    data_dir: Path
    kubeconfig: Path | None = None

    def text(self) -> str:
        """The unit file.

        Raises:
            InstallError: the data directory is none that systemd makes, or a path has a form that
                systemd would take for something else.
        """
        if self.data_dir.parent != STATE_FOLDER:
            raise InstallError(
                f"a service keeps its data in a folder of {STATE_FOLDER}, not in {self.data_dir}; "
                f"leave out --data-dir, or name {STATE_FOLDER}/NAME"
            )
        for path in (self.program, self.config, self.data_dir, self.kubeconfig):
            if path is not None and (
                not path.is_absolute() or set(str(path)) & set(" \t\n\"'\\%$")
            ):
                raise InstallError(f"{path}: name a path without spaces and quotes")
        credential = f"LoadCredential=kubeconfig:{self.kubeconfig}\n" if self.kubeconfig else ""
        return _UNIT.format(
            command=f"{self.program} --config {self.config}",
            state=self.data_dir.name,
            credential=credential,
        )


def check_may_install(folder: Path = UNIT_FOLDER) -> None:
    """Refuses before anything is done.

    Raises:
        InstallError: this user may not write units, or there is no systemd.
    """
    if not folder.is_dir():
        raise InstallError(
            f"--install needs systemd, and {folder} is not there; join without --install, and let "
            "another supervisor run kapok-agent"
        )
    if not os.access(folder, os.W_OK):
        raise InstallError(f"--install writes {folder / UNIT_NAME}: run it with sudo")


def is_systemd_running() -> bool:
    """Whether systemd runs this machine, as sd_booted(3)."""
    return _RUNNING.is_dir()


def start_service() -> None:
    """Starts the service now and with the machine.

    Raises:
        InstallError: systemd does not start it; the message is its own.
    """
    commands = (
        ("daemon-reload",),
        ("enable", UNIT_NAME),
        ("restart", UNIT_NAME),  # also when it runs with the settings before
    )
    for words in commands:
        try:
            run_systemctl(*words, timeout_seconds=_SYSTEMCTL_SECONDS)
        except SystemctlError as error:
            raise InstallError(f"{error}; see journalctl -u {UNIT_NAME}") from None


def run_systemctl(*words: str, timeout_seconds: float) -> None:
    """Runs systemctl with fixed words and waits for it.

    Raises:
        SystemctlError: it is not there, does not end in time, or refuses; the message is its own.
    """
    command = f"systemctl {' '.join(words)}"
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["systemctl", *words],  # noqa: S607 - from PATH, as an operator would
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SystemctlError(f"{command}: no end within {timeout_seconds:g} s") from None
    except OSError as error:
        raise SystemctlError(f"{command}: {error}") from None
    if done.returncode:
        raise SystemctlError(f"{command}: {done.stderr.strip()[-500:] or 'it does not run'}")
