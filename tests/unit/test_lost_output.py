"""A command whose output cannot be written says so in one line, and never with a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "a few lines": (
        "import sys, kapok_entry; sys.argv[1:] = ['version'];sys.exit(kapok_entry.kapok())"
    ),
    "an agent": (
        "import sys, kapok_entry;"
        "kapok_entry._agent_main = lambda: lambda: print('x' * 100_000) or 0;"
        "sys.exit(kapok_entry.kapok_agent())"
    ),
}


def _run(command: str, redirection: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command as a shell does that sends its output somewhere."""
    return subprocess.run(
        [
            "/bin/bash",
            "-o",
            "pipefail",
            "-c",
            f'"$0" -c "$1" {redirection}',
            sys.executable,
            command,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_is_one_line_and_code_1(command: str) -> None:
    done = _run(command, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == []
    assert "the output could not be written whole: No space left on device" in done.stderr


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("redirection", ["| true", ">&-", "2>&-", ">&- 2>&-"])
def test_a_reader_that_is_gone_is_no_failure(command: str, redirection: str) -> None:
    done = _run(command, redirection)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_failure_of_the_system_stays_one() -> None:
    missing = (
        "import sys, kapok_entry;"
        "kapok_entry._kapok_main = lambda: lambda: open('/nowhere/at/all');"
        "sys.exit(kapok_entry.kapok())"
    )
    done = _run(missing, ">/dev/full")
    assert "FileNotFoundError" in done.stderr
