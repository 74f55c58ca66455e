"""The wheel, installed into an empty environment in an empty folder, does the main job."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def run(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the source tree."""
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=240,
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_alone_runs_the_demo_without_mosquitto(wheel: Path, tmp_path: Path) -> None:
    assert run(sys.executable, "-m", "venv", "env", cwd=tmp_path).returncode == 0
    python, kapok = tmp_path / "env/bin/python", tmp_path / "env/bin/kapok"
    agent = tmp_path / "env/bin/kapok-agent"

    pip(python, "--require-hashes", "-r", ROOT / "requirements-agent.lock", cwd=tmp_path)
    pip(python, "--no-deps", wheel, cwd=tmp_path)
    bare = run(kapok, "up", cwd=tmp_path)
    assert bare.returncode == 2
    assert "pip install 'kapok-scheduler[hub]'" in bare.stderr
    assert run(agent, "--help", cwd=tmp_path).returncode == 0

    pip(python, "--require-hashes", "-r", ROOT / "requirements-hub.lock", cwd=tmp_path)
    hidden = path_without("mosquitto")
    assert shutil.which("mosquitto", path=hidden) is None
    demo = run(kapok, "demo", "--exit-when-settled", "-o", "json", cwd=tmp_path, PATH=hidden)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    summary = json.loads(demo.stdout)["summary"]
    assert summary["violations"] == 0
    assert summary["reporting"] == summary["sites"]
