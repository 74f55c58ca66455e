"""The wheel, installed into an empty environment in an empty folder, does the main job.

It holds the compiled kernel where one can be built, and is for every platform where not.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from build_kernel import FOLDER, PURE_WHEEL, SUFFIX
from tests.support.tools import require_kernel

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def run(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the source tree."""
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


def pip(python: Path, *words: str | Path, cwd: Path) -> None:
    """Installs; a failure shows what pip said."""
    done = run(python, "-m", "pip", "install", "--quiet", *words, cwd=cwd)
    assert done.returncode == 0, done.stderr


def path_without(program: str) -> str:
    """PATH without the folders that hold a program."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(one for one in folders if not (Path(one) / program).exists())


def built(kind: str, folder: Path, root: Path = ROOT, *, is_pure: bool = False) -> Path:
    """A wheel or an sdist of a source tree."""
    hatchling = [sys.executable, "-m", "hatchling", "build"]
    environment = {PURE_WHEEL: "1" if is_pure else ""}
    done = run(*hatchling, "-t", kind, "-d", folder, cwd=root, **environment)
    assert done.returncode == 0, done.stderr
    [found] = folder.iterdir()
    return found


def kernels_in(names: list[str]) -> list[str]:
    """The compiled files among those of an archive."""
    return [name for name in names if name.endswith((".so", ".pyd", ".dylib"))]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_kernel_and_is_for_this_python(wheel: Path) -> None:
    require_kernel()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{python}-{python}-" in wheel.name
    assert kernels_in(zipfile.ZipFile(wheel).namelist()) == [str(FOLDER / f"kernel{SUFFIX}")]


def test_the_wheel_holds_every_file_of_the_page(wheel: Path) -> None:
    page = Path("scheduler/web/page")
    names = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / page).rglob("*") if path.is_file()
    }
    assert (page / "vendor" / "preact" / "LICENSE").as_posix() in names
    assert names <= set(zipfile.ZipFile(wheel).namelist())


def test_a_pure_wheel_is_for_every_platform_and_says_that_it_is_slower(tmp_path: Path) -> None:
    folder, says = tmp_path / "unpacked", "from scheduler.placement.kernel import loader as c"
    pure = built("wheel", tmp_path / "pure", is_pure=True)
    shutil.unpack_archive(pure, folder, "zip")
    assert pure.name.endswith("-py3-none-any.whl")
    assert kernels_in(zipfile.ZipFile(pure).namelist()) == []

    words = [sys.executable, "-c", f"{says}; print(c.__file__, c.MODE_SENTENCE)"]
    done = run(*words, cwd=folder)
    assert done.stdout.startswith(str(folder)), done.stderr
    assert "interpreted, slower and with the same answers: no kernel was built" in done.stdout

    (folder / FOLDER / f"kernel{SUFFIX}").write_bytes(b"of another machine")
    assert "interpreted, slower and with the same answers: the kernel does not load" in (
        run(*words, cwd=folder).stdout
    )


def test_an_editable_install_finds_its_kernel_in_the_source_tree(tmp_path: Path) -> None:
    require_kernel()
    root = tmp_path / "source"
    (root / FOLDER).mkdir(parents=True)
    (root / FOLDER / "kernel.pyx").write_text("INTERFACE: int = 1\n")
    for name in ("agents", "manifests", "configs"):
        (root / name).mkdir()
    for name in ("pyproject.toml", "build_kernel.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    built("wheel:editable", tmp_path / "wheel", root)
    assert (root / FOLDER / f"kernel{SUFFIX}").exists()


def test_the_sdist_holds_what_the_kernel_is_built_from_and_no_kernel(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path / "sdist")) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"build_kernel.py", f"{FOLDER}/kernel.pyx", f"{FOLDER}/kernel.pyi"} <= set(names)
    assert kernels_in(names) == []


@pytest.mark.soak
def test_the_wheel_alone_runs_the_demo_without_mosquitto(wheel: Path, tmp_path: Path) -> None:
    assert run(sys.executable, "-m", "venv", "env", cwd=tmp_path).returncode == 0
    python, kapok = tmp_path / "env/bin/python", tmp_path / "env/bin/kapok"
    agent = tmp_path / "env/bin/kapok-agent"

    pip(python, "--require-hashes", "-r", ROOT / "requirements-agent.lock", cwd=tmp_path)
    pip(python, "--no-deps", wheel, cwd=tmp_path)
    bare = run(kapok, "up", cwd=tmp_path)
    assert bare.returncode == 2
    assert "pip install 'PATH/TO/kapok[hub]'" in bare.stderr
    assert run(agent, "--help", cwd=tmp_path).returncode == 0

    pip(python, "--require-hashes", "-r", ROOT / "requirements-hub.lock", cwd=tmp_path)
    hidden = path_without("mosquitto")
    assert shutil.which("mosquitto", path=hidden) is None
    words = ("demo", "--size", "small", "--exit-when-settled", "-o", "json")
    demo = run(kapok, *words, cwd=tmp_path, PATH=hidden)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    summary = json.loads(demo.stdout)["summary"]
    assert summary["violations"] == 0
    assert summary["reporting"] == summary["sites"]

    version = json.loads(run(kapok, "version", "-o", "json", cwd=tmp_path).stdout)
    is_pure = wheel.name.endswith("-py3-none-any.whl")
    assert version["kernel"] == ("interpreted" if is_pure else "compiled")
    assert f"placement kernel: {version['kernel']}" in demo.stderr
