"""The README's first minute on a bare Debian: what is missing is said in one sentence.

The machine is a root of Debian's own packages, made by debootstrap: Python without venv, no make,
no compiler. What it needs from the network is Debian's mirror.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import require_tool, skip_or_fail
from tests.support.up import ROOT

SUITE = "bookworm"
TREE = ("Makefile", "README.md", "pyproject.toml", "requirements-dev.lock")

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the bare machine, with what `make` reads of this tree in /kapok."""
    debootstrap = require_tool("debootstrap")
    if os.geteuid():
        skip_or_fail("a root of Debian is made and entered by root only")
    root = tmp_path_factory.mktemp("bare")
    options = ["--variant=minbase", "--include=python3"]
    subprocess.run([debootstrap, *options, SUITE, str(root)], check=True, capture_output=True)
    (root / "kapok").mkdir()
    for name in TREE:
        (root / "kapok" / name).write_bytes((ROOT / name).read_bytes())
    return root


def typed(root: Path, words: str) -> subprocess.CompletedProcess[str]:
    """What a shell in /kapok of the bare machine answers."""
    return subprocess.run(
        [require_tool("chroot"), str(root), "/bin/sh", "-c", f"cd /kapok; {words}"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        capture_output=True,
        text=True,
        check=False,
    )


def in_the_readme(pattern: str) -> str:
    """What the README has first at the place of the pattern's group."""
    found = re.search(pattern, (ROOT / "README.md").read_text(), re.MULTILINE)
    assert found, pattern
    return found[1]


def test_each_missing_package_is_named_until_nothing_is_missing(bare: Path) -> None:
    first = in_the_readme("^(make demo.*)$")
    packages = in_the_readme("`apt-get install (python3 [^`]*)`")
    assert packages.split() == ["python3", "python3-venv", "make"]
    assert "make: not found" in typed(bare, first).stderr
    install = "apt-get install -y -qq --no-install-recommends"
    assert typed(bare, f"{install} make").returncode == 0
    done = typed(bare, first)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, done.stderr
    assert said[0].endswith("apt-get install python3-venv")
    assert not (bare / "kapok/.venv").exists()
    assert typed(bare, f"{install} {packages}").returncode == 0
    assert typed(bare, "python3 -m venv .venv && .venv/bin/python -m pip --version").returncode == 0
