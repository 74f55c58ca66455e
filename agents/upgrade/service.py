"""Tries a version as the service, so that every way to fail ends with the version before.

The trial is a drop-in below /run: it outlives neither a reboot nor a failed start, since
`ExecStopPost` removes it. So the old version comes back also when the upgrade itself was killed.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.joining.unit import UNIT_FOLDER, UNIT_NAME, SystemctlError, run_systemctl
from agents.upgrade.archive import UpgradeError

_RUNTIME_FOLDER: Final = Path("/run/systemd/system")
_DROP_IN: Final = "90-upgrade.conf"
_QUICK_SECONDS: Final = 60.0

_TRIAL: Final = """# kapok-agent upgrade tries a version; this file goes when it has ended.
[Service]
ExecStart=
ExecStart={program} --config {config}
TimeoutStartSec={seconds}
ExecStopPost=+/bin/sh -c 'test "$SERVICE_RESULT" = success || {{ rm -f {file}; systemctl --no-block daemon-reload; }}'
"""  # noqa: E501 - one line of a unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The agent as a service of systemd.

    Attributes:
        unit_folder: where the unit is.
        runtime_folder: where units are that a reboot removes.
    """

    unit_folder: Path = UNIT_FOLDER
    runtime_folder: Path = _RUNTIME_FOLDER

    @property
    def is_installed(self) -> bool:
        """Whether systemd runs this machine and has the unit."""
        return self.runtime_folder.is_dir() and (self.unit_folder / UNIT_NAME).is_file()

    def command(self) -> list[str]:
        """The words of ExecStart in the unit.

        Raises:
            OSError: the unit cannot be read.
        """
        for line in (self.unit_folder / UNIT_NAME).read_text(errors="replace").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "ExecStart" and value.strip():
                return value.split()
        return []

    @property
    def _drop_in(self) -> Path:
        return self.runtime_folder / f"{UNIT_NAME}.d" / _DROP_IN

    def start_trial(self, program: Path, config: Path, timeout_seconds: float) -> None:
        """Runs a version; returns once it has said that it is ready.

        Raises:
            UpgradeError: it has not, in this time.
            OSError: the drop-in cannot be written.
        """
        self._drop_in.parent.mkdir(parents=True, exist_ok=True)
        seconds = max(1, round(timeout_seconds))
        self._drop_in.write_text(
            _TRIAL.format(program=program, config=config, seconds=seconds, file=self._drop_in)
        )
        self._systemctl("daemon-reload", timeout_seconds=_QUICK_SECONDS)
        # Type=notify: it returns when the service is ready, has ended, or its time is over.
        self._systemctl("restart", UNIT_NAME, timeout_seconds=timeout_seconds + 30)

    def require_running(self) -> None:
        """Checks that the service still runs.

        Raises:
            UpgradeError: it does not.
        """
        self._systemctl("is-active", "--quiet", UNIT_NAME, timeout_seconds=_QUICK_SECONDS)

    @property
    def has_trial(self) -> bool:
        """Whether a trial is on: a failed one removes itself."""
        return self._drop_in.exists()

    def end_trial(self) -> None:
        """Removes the trial; what runs goes on until its next start."""
        self._drop_in.unlink(missing_ok=True)
        with suppress(OSError):
            self._drop_in.parent.rmdir()
        self._systemctl("daemon-reload", timeout_seconds=_QUICK_SECONDS)

    def restart(self) -> None:
        """Starts the version that the unit names.

        Raises:
            UpgradeError: systemd says that it does not start.
        """
        self._systemctl("restart", UNIT_NAME, timeout_seconds=180.0)

    def _systemctl(self, *words: str, timeout_seconds: float) -> None:
        try:
            run_systemctl(*words, timeout_seconds=timeout_seconds)
        except SystemctlError as error:
            raise UpgradeError(str(error)) from None
