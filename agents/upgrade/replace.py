"""Replaces the version that runs: install beside it, check, try, and only then switch.

Until the new version has said READY and stayed up, the link names the old one. Whatever fails, or
ends the upgrade on the way, leaves the old version current.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from agents.config.settings import AgentSettings
from agents.joining.unit import UNIT_NAME
from agents.protocol.keys import TrustedKeys
from agents.runtime.data_dir import IdentityError
from agents.runtime.hub_trust import HubTrust
from agents.upgrade.archive import UpgradeError, take_archive, unpack
from agents.upgrade.self_check import copy_data, require_readable
from agents.upgrade.service import Service
from agents.upgrade.versions import Versions

_INSTALL_SECONDS: Final = 900.0
_CHECK_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.5
_UNPACKED: Final = ".unpacked-"
_COPY: Final = ".data-copy-"
_SHOWN_CHARACTERS: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """One upgrade.

    Attributes:
        archive: the file.
        config: the settings file of the agent.
        settings: what is in it.
        versions: where versions are installed.
        service: the agent as a service.
        wanted_sha256: digest that a person gave; empty: the signature counts.
        ready_seconds: how long the new version may take until it is ready.
        steady_seconds: how long it then has to stay up.
        one_way: go on although the version of now could not read the journal any longer.
        say: prints a line about what is done.
    """

    archive: Path
    config: Path
    settings: AgentSettings
    versions: Versions
    service: Service = field(default_factory=Service)
    wanted_sha256: str = ""
    ready_seconds: float = 120.0
    steady_seconds: float = 10.0
    one_way: bool = False
    say: Callable[[str], None] = print

    def run(self) -> str:
        """Upgrades; returns the sentence to print.

        Raises:
            UpgradeError: the version before runs on; the message says why.
            OSError: a file cannot be read or written; the version before runs on.
        """
        with _ended_by_signals(), self.versions.locked():
            if self.service.is_installed and self.service.has_trial:
                self.say("an upgrade before was cut short; its trial is removed")
                self.service.end_trial()
            self._require_plain_names()
            self._clean()
            before = self.versions.current()
            if self.service.is_installed:
                self._require_link(before)
            new = self._install()
            if new == before:
                return f"{new} runs already"
            self.say(f"{new} is installed beside {before}; checking it")
            self._check(new)
            if not self.service.is_installed:
                self.versions.switch(new)
                return f"{new} is current: restart the agent; back: kapok-agent upgrade --back"
            self._try_out(new, before)
            self.versions.prune()
            return f"{new} runs; {before} is kept: kapok-agent upgrade --back"

    def _require_plain_names(self) -> None:
        for path in (self.config, self.versions.prefix):
            if set(str(path)) & set(" \t\n\"'\\%$"):
                raise UpgradeError(f"{path}: name a path without spaces and quotes")

    def _require_link(self, before: str) -> None:
        """Checks that the service follows the link, and runs with these settings.

        Raises:
            UpgradeError: it would run another program, or other settings, at its next start.
        """
        program, *rest = [*self.service.command(), ""]
        own = self.versions.program(before)
        is_link = Path(program).resolve() == own.resolve() and Path(program) != own
        if not is_link or rest[:2] != ["--config", str(self.config)]:
            raise UpgradeError(
                f"{UNIT_NAME} runs {' '.join([program, *rest]).strip()}: let it run "
                f"{self.versions.prefix}/current/bin/kapok-agent --config {self.config}, or name "
                "its settings with --config"
            )

    def _clean(self) -> None:
        """Removes what an upgrade that was killed has left: its copy holds the agent's keys."""
        for pattern in (f"{_UNPACKED}*", f"{_COPY}*"):
            for folder in self.versions.prefix.glob(pattern):
                shutil.rmtree(folder, ignore_errors=True)

    def _trusted_keys(self) -> TrustedKeys:
        trust = HubTrust(
            data_dir=Path(self.settings.data_dir),
            configured=self.settings.hub_keys,
            roots=TrustedKeys.parse(self.settings.root_keys),
        )
        return trust.trusted

    def _install(self) -> str:
        with tempfile.TemporaryDirectory(prefix=_UNPACKED, dir=self.versions.prefix) as name:
            copy = Path(name) / "archive"
            take_archive(self.archive, copy, self._trusted_keys(), self.wanted_sha256)
            (Path(name) / "files").mkdir()
            folder = unpack(copy, Path(name) / "files")
            words = ["--prefix", str(self.versions.prefix), "--no-switch"]
            done = _run(["/bin/sh", str(folder / "install.sh"), *words], _INSTALL_SECONDS)
        version = Path(done.stdout.strip().rpartition("\n")[2]).name
        if done.returncode or not self.versions.program(version).is_file():
            raise UpgradeError(f"not installed: {_last_words(done)}")
        return version

    def _check(self, new: str) -> None:
        """Starts the new version with a copy of the data, then reads the copy again."""
        with tempfile.TemporaryDirectory(prefix=_COPY, dir=self.versions.prefix) as name:
            copy = Path(name)
            copy_data(Path(self.settings.data_dir), copy)
            words = ["--config", str(self.config), "upgrade", "--self-check", name]
            done = _run([str(self.versions.program(new)), *words], _CHECK_SECONDS)
            if done.returncode:
                raise UpgradeError(f"{new} does not start here: {_last_words(done)}")
            try:
                require_readable(copy)
            except (UpgradeError, IdentityError) as error:
                if not self.one_way:
                    raise UpgradeError(
                        f"{new} writes data that the version of now cannot read, so there is no "
                        f"way back ({error}); with --one-way it is done all the same"
                    ) from None

    def _try_out(self, new: str, before: str) -> None:
        try:
            self.say(f"starting {new}")
            self.service.start_trial(self.versions.program(new), self.config, self.ready_seconds)
            self._require_steady()
            self.versions.switch(new)
        except BaseException as error:
            self.say(f"{new} failed; going back to {before}")
            # systemd may have forgotten the trial already; the restart shows what runs.
            with suppress(UpgradeError, OSError):
                self.service.end_trial()
            try:
                self.service.restart()
            except UpgradeError as worse:
                raise UpgradeError(f"{error}; and {before} does not start: {worse}") from None
            if isinstance(error, UpgradeError | OSError):
                raise UpgradeError(
                    f"{error}; {before} runs again; journalctl -u kapok-agent says more"
                ) from None
            raise
        self.service.end_trial()

    def _require_steady(self) -> None:
        until = time.monotonic() + self.steady_seconds
        while time.monotonic() < until:
            time.sleep(_POLL_SECONDS)  # noqa: TID251 - a command that waits for a service
            if not self.service.has_trial:
                raise UpgradeError("it ended soon after it was ready")
            self.service.require_running()


def go_back(versions: Versions, service: Service) -> str:
    """Makes the version before the current one; returns the sentence to print.

    Raises:
        UpgradeError: there is none, or it does not start.
        OSError: the link cannot be written.
    """
    with versions.locked():
        target = versions.previous()
        versions.switch(target)
        if not service.is_installed:
            return f"{target} is current: restart the agent"
        service.end_trial()
        service.restart()
        return f"{target} runs again"


def _run(command: list[str], timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    try:
        return subprocess.run(  # noqa: S603 - of a checked archive
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UpgradeError(f"{command[0]}: no end within {timeout_seconds:g} s") from None
    except OSError as error:
        raise UpgradeError(f"{command[0]}: {error.strerror}") from None


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    text = (done.stderr.strip() or done.stdout.strip())[-_SHOWN_CHARACTERS:]
    return "".join(each if each.isprintable() else " " for each in text) or "it says nothing"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Makes SIGTERM and a closed terminal end the upgrade as Ctrl-C does, with the way back."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_progress(text: str) -> None:
    """Prints what is done, where it is not in the way of the answer."""
    sys.stderr.write(f"{text}\n")
