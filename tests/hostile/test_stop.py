"""SIGTERM to the whole process group always ends `kapok up`: its broker dies at the same moment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.up import ROOT


def _stop(count: int, folder: Path, *, timeout: float) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.stopping_up", str(count), str(folder)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=True,
        cwd=ROOT,
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(300)
def test_a_signal_to_the_group_ends_it_each_of_4_times(tmp_path: Path) -> None:
    assert _stop(4, tmp_path, timeout=280) == {"stopped": 4, "failed": 0, "hung": 0}


@pytest.mark.soak
def test_a_signal_to_the_group_ends_it_each_of_200_times(tmp_path: Path) -> None:
    found = _stop(200, tmp_path, timeout=1800)
    sys.stdout.write(json.dumps({"scenario": "stop", **found}) + "\n")
    assert found == {"stopped": 200, "failed": 0, "hung": 0}
