"""When another package has one of our import names, the commands say so, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kapok_entry import import_problem

ROOT = Path(__file__).resolve().parents[2]


def run(command: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Starts a command as its script does, with `path` before ours."""
    found = f"import sys, kapok_entry; sys.argv[1:] = ['--help']; sys.exit(kapok_entry.{command}())"
    return subprocess.run(
        [sys.executable, "-c", found],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])},
        cwd=path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("form", ["package", "module", "over ours"])
@pytest.mark.parametrize(
    ("command", "name"),
    [("kapok", "scheduler"), ("kapok", "agents"), ("kapok_agent", "agents")],
)
def test_a_package_before_ours_is_named(tmp_path: Path, form: str, command: str, name: str) -> None:
    taken = tmp_path / f"{name}.py" if form == "module" else tmp_path / name / "__init__.py"
    taken.parent.mkdir(exist_ok=True)
    taken.write_text('"""Schedules something else."""\n')
    if form == "over ours":  # installed into the same folder, whose other files are still ours
        for each in ("cli", "app.py"):
            (tmp_path / name / each).symlink_to(ROOT / name / each)
    done = run(command, tmp_path)
    assert done.returncode == 2
    assert f"the import name `{name}` is another package here: {taken}" in done.stderr
    assert "an environment of its own: python3 -m venv" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_that_the_agent_does_not_use_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "scheduler.py").write_text("raise RuntimeError\n")
    assert run("kapok_agent", tmp_path).returncode == 0


def test_our_own_packages_are_known(tmp_path: Path) -> None:
    assert import_problem() == ""
    done = run("kapok", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "usage: kapok" in done.stdout
