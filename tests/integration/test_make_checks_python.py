"""`make` on a bare machine: one sentence that names the package to install, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.integration]


def make(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Sets up an environment in the folder with this Python."""
    return subprocess.run(
        ["/usr/bin/make", "-s", f"VENV={folder / 'env'}", f"PYTHON={python}", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def python_without(folder: Path, *, words: str, version: str) -> str:
    """A Python in which a check that has these words fails, and which has this version."""
    program = folder / "python"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *python_version*) echo {version};; *{words}*) exit 1;;'
        f' *) exec {sys.executable} "$@";; esac\n'
    )
    program.chmod(0o755)
    return str(program)


def the_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What was said, without make's own line about its recipe."""
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, done.stderr
    return said[0]


def test_a_machine_without_python_learns_what_to_install(tmp_path: Path) -> None:
    sentence = the_sentence(make(tmp_path, "no-such-python"))
    assert "there is no no-such-python" in sentence
    assert "apt-get install python3 python3-venv" in sentence
    assert not (tmp_path / "env").exists()


def test_an_old_python_is_named_with_its_version(tmp_path: Path) -> None:
    old = python_without(tmp_path, words="version_info", version="3.9.2")
    sentence = the_sentence(make(tmp_path, old))
    assert "3.11 or newer" in sentence
    assert "is 3.9.2" in sentence
    assert "make PYTHON=python3.11" in sentence


def test_a_python_without_venv_names_its_package(tmp_path: Path) -> None:
    bare = python_without(tmp_path, words="ensurepip", version="3.11.7")
    sentence = the_sentence(make(tmp_path, bare))
    assert "apt-get install python3-venv" in sentence
    assert not (tmp_path / "env").exists()
