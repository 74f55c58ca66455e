"""The archive for machines without network: install.sh refuses in one sentence, or installs."""

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from agents import __version__
from agents.upgrade.build import build_archive
from tests.support.tools import require_tool
from tests.support.up import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PLAIN = {"PATH": "/usr/bin:/bin:/usr/sbin", "LANG": "C"}


def install(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs install.sh by the plainest shell there is, without this environment."""
    shell = shutil.which("dash") or "/bin/sh"
    return subprocess.run(
        [shell, str(folder / "install.sh"), *words],
        env={**PLAIN, **more},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """An unpacked archive whose wheels are missing: enough for all that is refused before."""
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.copy(ROOT / "agents/upgrade/install.sh", folder)
    texts = {
        "architecture": os.uname().machine,
        "version": "1.2.3",
        "pythons": "3.11 3.12 3.13",
        "requirements.txt": "",
    }
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n")
    return with_sums(folder)


def with_sums(folder: Path) -> Path:
    names = sorted(one.name for one in folder.iterdir() if one.name != "SHA256SUMS")
    lines = [f"{sha256((folder / one).read_bytes()).hexdigest()}  {one}\n" for one in names]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def old_python(folder: Path) -> Path:
    path = folder / "python3"
    path.write_text("#!/bin/sh\necho 3.9\n")
    path.chmod(0o755)
    return path


def test_an_old_python_is_refused_in_one_sentence(unpacked: Path, tmp_path: Path) -> None:
    words = ["--prefix", str(tmp_path / "p"), "--python", str(old_python(tmp_path))]
    done = install(unpacked, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("install.sh: Python 3.11 or later is needed"), done.stderr
    assert "python3 3.9" in done.stderr
    assert done.stderr.count("\n") == 1
    done = install(unpacked, *words, LC_ALL="zh_CN.UTF-8")
    assert "需要 Python 3.11 或更高版本" in done.stderr
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "riscv64\n"}, "this archive is for riscv64"),
        ({"requirements.txt": "# cut\n"}, "the archive is damaged"),
        ({"pythons": None}, "pythons is missing beside this script"),
    ],
    ids=["architecture", "damaged", "incomplete"],
)
def test_an_archive_that_does_not_fit_is_refused(
    unpacked: Path, tmp_path: Path, change: dict[str, str | None], said: str
) -> None:
    for name, text in change.items():
        if text is None:
            (unpacked / name).unlink()
        else:
            (unpacked / name).write_text(text)
    done = install(unpacked, "--prefix", str(tmp_path / "p"), "--bin", "")
    assert done.returncode == 1
    assert said in done.stderr, done.stderr
    assert not list(tmp_path.glob("p/versions/*/*"))


def test_another_program_of_that_name_and_odd_paths_are_left_alone(
    unpacked: Path, tmp_path: Path
) -> None:
    (tmp_path / "kapok-agent").write_text("mine")
    done = install(unpacked, "--prefix", str(tmp_path / "p"), "--bin", str(tmp_path))
    assert done.returncode == 1
    assert "is another program" in done.stderr, done.stderr
    assert (tmp_path / "kapok-agent").read_text() == "mine"
    done = install(unpacked, "--prefix", f"{tmp_path}/a b; rm -rf x")
    assert done.returncode == 1
    assert install(unpacked, "--no-such").returncode == 2
    done = install(unpacked, "--prefix", str(tmp_path / "never"), "--uninstall")
    assert (done.returncode, "nothing is installed" in done.stderr) == (1, True)


@pytest.mark.soak
def test_the_archive_installs_without_network_twice_and_goes_again(tmp_path: Path) -> None:
    python = require_tool("python3.11")
    architecture = os.uname().machine
    path = build_archive(ROOT, tmp_path / "out", architecture=architecture, pythons=["3.11"])
    assert (
        sha256(path.read_bytes()).hexdigest() in path.with_name(f"{path.name}.sha256").read_text()
    )
    shutil.unpack_archive(path, tmp_path, filter="data")
    folder, prefix = tmp_path / path.name.removesuffix(".tar.gz"), tmp_path / "empty" / "prefix"
    unshare = ["unshare", "--net", "--map-root-user"]
    has_namespaces = subprocess.run([*unshare, "true"], check=False).returncode == 0
    command = [*(unshare if has_namespaces else []), "/bin/sh", str(folder / "install.sh")]
    words = ["--prefix", str(prefix), "--bin", str(tmp_path / "bin"), "--python", python]
    for _ in range(2):
        done = subprocess.run(
            [*command, *words],
            env=PLAIN | {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PYTHONPATH": "/nowhere"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    linked = tmp_path / "bin" / "kapok-agent"
    said = subprocess.run(
        [linked, "--version"], env=PLAIN, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == f"kapok-agent {__version__}"
    assert len(list((prefix / "versions").iterdir())) == 1
    size = sum(one.lstat().st_size for one in prefix.rglob("*") if one.is_file())
    assert size < 40 * 10**6
    assert install(folder, *words, "--uninstall").returncode == 0
    assert not prefix.exists()
    assert not linked.is_symlink()
