"""Folders of the demo: absolute, and never exports among keys."""

import argparse
import subprocess
from pathlib import Path

import pytest

from scheduler.cli.demo import _demo_options, register
from scheduler.demo.poke import DemoActionError
from scheduler.demo.run import DemoOptions
from scheduler.runtime.data_dir import ignore_in_git


def _options(*words: str) -> DemoOptions:
    parser = argparse.ArgumentParser()
    register(parser)
    return _demo_options(parser.parse_args(words))


def test_relative_folders_become_absolute() -> None:
    options = _options("--data-dir", "city", "--export", "out")
    assert options.folder == Path.cwd() / "city"
    assert options.export_to == Path.cwd() / "out"


@pytest.mark.parametrize("export", ["city", ".", "./city/"])
def test_an_export_around_the_keys_is_refused(export: str) -> None:
    with pytest.raises(DemoActionError, match="name a folder that does not hold the demo's"):
        _options("--data-dir", "city", "--export", export)


def test_git_sees_nothing_of_a_folder_with_keys(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *words],  # noqa: S607 - the developer's own git
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    git("init", "--quiet")
    (tmp_path / "city").mkdir()
    (tmp_path / "city" / "hub.key").write_text("secret")
    ignore_in_git(tmp_path / "city")
    assert git("status", "--porcelain", "--untracked-files=all") == ""
