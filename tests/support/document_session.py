"""A reader who types what a document says, with the real programs of this tree.

The reader has a folder and a home of its own. `kapok`, `kapok-agent` and `kubectl` are on its PATH.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.console_blocks import Command, NotRun, SavedFile, Step, Stop, prints
from tests.support.up import KUBECTL, ROOT

_PROGRAMS = {"kapok": "kapok", "kapok-agent": "kapok_agent"}
_TYPED_AGAIN_SECONDS = 60.0
_STARTS_WITHIN_SECONDS = 90.0


@dataclass(slots=True)
class Reader:
    """One reader of one document.

    Attributes:
        folder: where the reader types.
        tree: the version of Kapok whose programs run.
        ran: the commands that ended well.
        not_run: the commands that the document marks so.
    """

    folder: Path
    tree: Path = ROOT
    ran: list[str] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    _background: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def follow(self, steps: Sequence[Step]) -> None:
        """Does each step; fails at the first one that is not as the document says."""
        for step in steps:
            match step:
                case SavedFile(name=name, text=text):
                    (self.folder / name).write_text(text, encoding="utf-8")
                case Stop(words=words):
                    self._stop(words)
                case NotRun():
                    self.not_run.append(step)
                case Command(until=""):
                    self._type(step)
                case Command():
                    self._leave_running(step)

    def end(self) -> None:
        """Ends what runs in the background, the newest first."""
        for process in reversed(self._background.values()):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(60)

    def _type(self, command: Command) -> None:
        deadline = time.monotonic() + _TYPED_AGAIN_SECONDS
        while True:
            done = subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", command.words],
                cwd=self.folder,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            text = done.stdout + done.stderr
            if prints(command, text) and (command.output or done.returncode == 0):
                break
            said = f"{command.words}\nended with {done.returncode} and printed:\n{text}"
            assert command.output, said
            assert time.monotonic() < deadline, f"{said}\nnot: {command.output}"
            time.sleep(0.5)  # noqa: TID251 - a reader waits and types again
        self.ran.append(command.words)

    def _leave_running(self, command: Command) -> None:
        log = self.folder / f"background-{len(self.ran)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/bash", "-c", f"exec {command.words}"],
                cwd=self.folder,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._background[command.words] = process
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while command.until not in (said := log.read_text(errors="replace")):
            assert process.poll() is None, f"{command.words} ended:\n{said}"
            assert time.monotonic() < deadline, (
                f"{command.words} wrote no {command.until!r}:\n{said}"
            )
            time.sleep(0.2)  # noqa: TID251 - a real process is waited for
        self.ran.append(command.words)

    def _stop(self, words: str) -> None:
        process = self._background.pop(words)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
        self.ran.append(f"stop {words}")

    def _environment(self) -> dict[str, str]:
        kept = {"LANG": "C.UTF-8", "PYTHONPATH": str(self.tree), "HOME": str(self.folder / "home")}
        return {**kept, "PATH": f"{self.folder / 'home' / 'bin'}:{os.environ['PATH']}"}


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    """A reader with an empty folder; what it left running is ended."""
    programs = folder / "home" / "bin"
    programs.mkdir(parents=True)
    for name, function in _PROGRAMS.items():
        start = f"import sys; sys.argv[0] = {name!r}; import kapok_entry"
        words = [sys.executable, "-c", f"{start}; sys.exit(kapok_entry.{function}())"]
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)
    (programs / "kubectl").symlink_to(KUBECTL)
    one = Reader(folder)
    try:
        yield one
    finally:
        one.end()
