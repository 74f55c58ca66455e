"""Ctrl-C ends a command with 130 and at most one line, also while it is being imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_SHELL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""What a shell gives its commands; what runs the tests may have it ignored."""
_AT_IMPORT = """
import os, signal, sys
target = sys.argv[1]
class Finder:
    def find_spec(self, name, path=None, _=None):
        if name == target:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
import kapok_entry
run, sys.argv[1:] = sys.argv[1:], sys.argv[3:]
sys.exit(getattr(kapok_entry, run[1])())
"""


def _interrupted_at(module: str, command: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command that gets SIGINT as soon as it imports a module."""
    return subprocess.run(
        [sys.executable, "-c", _SHELL + _AT_IMPORT, module, command, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "command", "words"),
    [
        ("scheduler.cli.support.output", "kapok", ["get", "sites"]),
        ("scheduler.cli.get", "kapok", ["get", "sites"]),
        ("numpy", "kapok", ["place", "-f", "x.yaml"]),
        ("agents.doctor", "kapok_agent", ["doctor"]),
    ],
)
def test_ctrl_c_during_an_import_ends_without_a_traceback(
    module: str, command: str, words: list[str]
) -> None:
    done = _interrupted_at(module, command, *words)
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 1, done.stderr


def test_a_command_that_was_started_with_ctrl_c_ignored_goes_on() -> None:
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + _AT_IMPORT
    done = subprocess.run(
        [sys.executable, "-c", ignored, "scheduler.cli.entry", "kapok", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage: kapok" in done.stdout
