"""The Containerfiles: their lines install each program into an empty environment.

No image is built here. The lines of the first stage run as they are, with the paths of the image
in a temporary folder; only the installation of Debian packages is left out: it needs root.
"""

import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from build_kernel import PURE_WHEEL
from scheduler import __version__
from tests.support.kustomize import of_kind, overlay

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
FILES = {"kapok": "scheduler", "kapok-agent": "agent"}
"""The Containerfile of each program."""
OVERLAYS = {"kapok": "single", "kapok-agent": "agent-pull"}
PATHS = ("/src", "/wheels", "/opt/kapok")
"""The folders of the first stage that the lines name."""
PACKED = ("scheduler", "agents", "manifests", "configs")
"""The folders that the wheel is built from."""


@dataclass(frozen=True)
class Line:
    """An instruction of a Containerfile."""

    word: str
    rest: str


def stages_of(program: str) -> list[list[Line]]:
    """The instructions by stage, each without its FROM."""
    path = ROOT / "containers" / f"{FILES[program]}.Containerfile"
    stages: list[list[Line]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        if not text or text.startswith("#"):
            continue
        line = Line(*text.split(maxsplit=1))
        if line.word == "FROM":
            stages.append([])
        else:
            stages[-1].append(line)
    return stages


def values_of(stage: list[Line], word: str) -> list[str]:
    return [line.rest for line in stage if line.word == word]


def local(text: str, folder: Path) -> list[str]:
    """The words of a command, with the paths of the image in a folder."""

    def local_word(word: str) -> str:
        if word == "python":
            return sys.executable
        return f"{folder}{word}" if word.startswith(PATHS) else word

    return [local_word(word) for word in shlex.split(text)]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Runs a command; returns what it writes."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout + done.stderr


def install_lines(stage: list[Line]) -> Iterator[Line]:
    for line in stage:
        if line.word in {"COPY", "ENV", "RUN"} and not line.rest.startswith("apt-get"):
            yield line


def see_packages_of_this_environment(folder: Path) -> None:
    """Stands for a package index: the versions of the lock are those that the tests run with."""
    [packages] = (folder / "opt/kapok/lib").glob("python3*/site-packages")
    shared = folder / "packages"
    shared.mkdir()
    for one in (path for path in sys.path if path.endswith("site-packages")):
        for entry in Path(one).iterdir():
            if entry.suffix != ".pth" and "kapok" not in entry.name:
                (shared / entry.name).symlink_to(entry)
    # Found by pip as installed, after what is installed into the environment itself.
    (packages / "of-the-tests.pth").write_text(f"{shared}\n", encoding="utf-8")


@pytest.mark.parametrize("program", FILES)
def test_the_install_lines_copy_what_there_is_and_install_by_hash(program: str) -> None:
    """What the soak runs for minutes, as it stands: sources, the lock, then the wheel alone."""
    stage = stages_of(program)[0]
    copied = {name for rest in values_of(stage, "COPY") for name in rest.split()[:-1]}
    assert {"pyproject.toml", "build_kernel.py", "kapok_entry.py", *PACKED} <= copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    installs = [shlex.split(one) for one in values_of(stage, "RUN") if "pip install" in one]
    of_lock, of_wheel = installs
    assert of_lock[-2] == "-r"
    assert of_lock[-1] in copied
    assert "--require-hashes" in of_lock
    assert {"--no-deps", "--no-index", "/wheels"} <= set(of_wheel)
    assert of_wheel[-1] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]


@pytest.mark.soak
@pytest.mark.parametrize("program", FILES)
def test_the_install_lines_make_a_program_that_runs(program: str, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    # Nothing comes from an index, and the kernel's compiler has its own tests.
    environment = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_COMPILE": "1",
        PURE_WHEEL: "1",
    }
    for line in install_lines(stages_of(program)[0]):
        if line.word == "COPY":
            *names, target = line.rest.split()
            for name in names:
                if (ROOT / name).is_dir():
                    ignored = shutil.ignore_patterns("*.so", "*.so.*", "__pycache__")
                    shutil.copytree(ROOT / name, source / target, ignore=ignored)
                else:
                    shutil.copy(ROOT / name, source / target)
        elif line.word == "ENV":
            environment |= dict(one.split("=", 1) for one in line.rest.split())
        else:
            run(*local(line.rest, tmp_path), cwd=source, **environment)
            if "-m venv" in line.rest:
                see_packages_of_this_environment(tmp_path)
    shutil.rmtree(source)
    programs, empty = tmp_path / "opt/kapok/bin", tmp_path / "empty"
    empty.mkdir()
    assert "usage: " in run(programs / program, "--help", cwd=empty)
    where = "import agents, scheduler; print(agents.__file__, scheduler.__file__)"
    found = run(programs / "python", "-c", where, cwd=empty).split()
    assert all(one.startswith(f"{tmp_path}/opt/kapok/") for one in found)
    manifests = "from scheduler.runtime.packaged_files import packaged_folder as p"
    shipped = run(programs / "python", "-c", f"{manifests}; print(p('manifests'))", cwd=empty)
    assert (Path(shipped.strip()) / "overlays/ha/kustomization.yaml").is_file()


@pytest.mark.parametrize("program", FILES)
def test_the_image_is_small_and_of_the_user_of_the_deployment(program: str) -> None:
    build, image = stages_of(program)
    [deployment] = of_kind(overlay(OVERLAYS[program]), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    security = pod["securityContext"]
    assert values_of(image, "USER") == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    assert values_of(image, "ENTRYPOINT") == [f'["{program}"]']
    assert pod["containers"][0]["command"] == [program]
    # Only the environment comes into the image: no compiler, no sources, no cache of pip.
    assert values_of(image, "COPY") == ["--from=build /opt/kapok /opt/kapok"]
    assert not values_of(image, "RUN")
    assert all("--no-cache-dir" in one for one in values_of(build, "RUN") if "pip install" in one)
    text = (ROOT / "containers" / f"{FILES[program]}.Containerfile").read_text(encoding="utf-8")
    assert f"-t {program}:{__version__} ." in text
    assert "://" not in text


def test_the_lock_of_the_scheduler_adds_the_driver_of_the_database_alone() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return {line.rstrip(" \\") for line in lines if "==" in line and line[0].isalnum()}

    added = pins("requirements-ha.lock") - pins("requirements-hub.lock")
    assert {one.partition("==")[0] for one in added} == {"psycopg", "psycopg-binary"}
    assert pins("requirements-hub.lock") <= pins("requirements-ha.lock")
    assert pins("requirements-ha.lock") <= pins("requirements-dev.lock")
