"""A running `kapok up --listen` and machines that join it, each a real process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.up import FAST_SETTINGS, ROOT, Up


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended.

    Attributes:
        code: its exit code.
        out: its stdout.
        said: its stderr.
    """

    code: int
    out: str
    said: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def settings_with(certificate_seconds: int = 7_776_000) -> str:
    """Fast settings whose certificates live for so long."""
    return f"{FAST_SETTINGS}joining: {{certificate_seconds: {certificate_seconds}}}\n"


def operator(up: Up, *words: str) -> Done:
    """Runs `kapok` against the hub."""
    return _run("scheduler.cli.entry", *words, "--data-dir", str(up.data_dir))


def machine(folder: Path, *words: str, environment: dict[str, str] | None = None) -> Done:
    """Runs `kapok-agent join` on a machine whose files are in a folder."""
    files = ("--data-dir", str(folder / "data"), "--config", str(folder / "agent.yaml"))
    return _run("agents.cli", "join", *words, *files, environment=environment)


def _run(module: str, *words: str, environment: dict[str, str] | None = None) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def running_agent(folder: Path) -> Iterator[None]:
    """The agent of a machine that has joined, for the time of the context."""
    command = [sys.executable, "-m", "agents.cli", "--config", str(folder / "agent.yaml")]
    with (folder / "agent.log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
