"""A shell completes commands, options, choices and kinds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from tests.support.up import ROOT


def _completions(line: str, folder: Path) -> list[str]:
    """What the shell would offer after `line`."""
    answer = folder / "answer"
    subprocess.run(
        [sys.executable, "-m", "scheduler.cli.entry"],
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "_ARGCOMPLETE_IFS": "\n",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        },
    )
    return [word.strip() for word in answer.read_text().split("\n")]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kapok ge", "get"),
        ("kapok get work", "workloads"),
        ("kapok hub tok", "token"),
    ],
)
def test_a_line_is_completed(line: str, offered: str, tmp_path: Path) -> None:
    assert offered in _completions(line, tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "kapok" in capsys.readouterr().out
