"""Folders of the demo: absolute, and never exports among keys."""

import argparse
import json
import os
import subprocess
from pathlib import Path

import pytest

from scheduler.cli.demo import _demo_options, register
from scheduler.demo.poke import DemoActionError, find_demo
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


@pytest.mark.parametrize(
    "words",
    [
        ("--data-dir", "city", "poke", "silence", "m1"),
        ("poke", "--data-dir", "city", "silence", "m1"),
        ("poke", "silence", "m1", "--data-dir", "city"),
        ("poke", "silence", "--data-dir", "city", "m1"),
    ],
)
def test_an_action_takes_the_folder_of_the_demo_at_every_place(words: tuple[str, ...]) -> None:
    parser = argparse.ArgumentParser()
    register(parser)
    assert parser.parse_args(words).data_dir == Path("city")
    assert parser.parse_args(["poke", "silence", "m1"]).data_dir is None


@pytest.mark.parametrize("named", ["city", "city/hub", "city/"])
def test_a_running_demo_is_found_by_its_folder_or_that_of_its_hub(
    tmp_path: Path, named: str
) -> None:
    (tmp_path / "city" / "hub").mkdir(parents=True)
    (tmp_path / "city" / "demo.json").write_text(json.dumps({"pid": os.getpid()}))
    assert find_demo(tmp_path / named) == tmp_path / "city"
    with pytest.raises(DemoActionError, match="no running demo"):
        find_demo(tmp_path / "elsewhere")
