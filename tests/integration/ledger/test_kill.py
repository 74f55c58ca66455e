"""`kill -9` at any moment: what was called durable is there, and nothing half-written."""

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.verify import parse_anchor, verify

pytestmark = pytest.mark.integration

_WRITER = [sys.executable, "-m", "tests.support.ledgers"]


def append_until_killed(data_dir: Path, after_seconds: float) -> list[str]:
    """Runs the writing process, kills it, and returns the anchors that it had printed."""
    process = subprocess.Popen([*_WRITER, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    killer = threading.Timer(after_seconds, process.kill)
    killer.start()
    rest = process.stdout.read()
    killer.join()
    process.stdout.close()
    process.wait()
    return [line for line in (first + rest).split("\n")[:-1] if line]  # the last may be torn


def run_rounds(data_dir: Path, rounds: int) -> int:
    """Kills the writer so many times at seeded moments.

    Returns:
        How many records were acknowledged, all of which are there.
    """
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    acknowledged: list[str] = []
    for _ in range(rounds):
        acknowledged += append_until_killed(data_dir, chance.uniform(0.0, 0.15))
        with LedgerReader(data_dir / "ledger.db") as reader:
            anchors = [parse_anchor(anchor) for anchor in acknowledged]
            verdict = verify(reader, anchors)
        assert verdict.first_finding is None, verdict.first_finding
        assert verdict.records >= len(acknowledged)
    return len(acknowledged)


@pytest.mark.timeout(180)
def test_kill_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert run_rounds(tmp_path, rounds=5) > 5


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kill_nine_loses_nothing_in_two_hundred_rounds(tmp_path: Path) -> None:
    count = sum(run_rounds(tmp_path / str(ledger), rounds=10) for ledger in range(20))
    sys.stdout.write(
        json.dumps({"scenario": "ledger-kill-9", "kills": 200, "records": count}) + "\n"
    )
