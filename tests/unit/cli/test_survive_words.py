"""`kapok survive` on files: the table, the JSON, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.cli.entry import main
from tests.support.sites import grant, nodes, site, workload

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """The loss of gz-edge is survived, that of gz-core is not."""
    objects = [
        site("gz-core", nodes(4)),
        site("gz-edge", nodes(2)),
        grant("gz-core", "gz-edge"),
        workload(3, name="web", placed={"gz-edge": 3}),
        workload(3, name="db", placed={"gz-core": 3}),
    ]
    path = tmp_path / "hub.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return path


@pytest.fixture
def kapok(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, Any, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.startswith("{") else out, err

    return run


def test_every_site_is_one_row_and_one_that_is_not_survived_is_exit_code_1(
    kapok: Run, fleet: Path
) -> None:
    code, answer, _ = kapok("survive", "-f", fleet, "-o", "json")
    assert code == 1
    assert {"losses", "computedAt", "seconds"} <= set(answer)
    rows = {one["of"]: one for one in answer["losses"]}
    assert {name: one["survives"] for name, one in rows.items()} == {
        "gz-core": False,
        "gz-edge": True,
    }
    assert rows["gz-core"]["lost"][0]["workload"] == "ns/db"
    assert rows["gz-core"]["smallestChange"]


def test_the_table_has_what_is_lost_first(kapok: Run, fleet: Path) -> None:
    code, text, _ = kapok("survive", "-f", fleet)
    assert code == 1
    head, first, second, *_ = text.splitlines()
    assert head.split() == ["LOSS", "SURVIVES", "WORKLOADS", "LOST", "WHY"]
    assert first.split()[:4] == ["gz-core", "no", "1", "1"]
    assert second.split()[:4] == ["gz-edge", "yes", "1", "0"]


def test_one_loss_that_is_survived_shows_its_plan(kapok: Run, fleet: Path) -> None:
    code, text, _ = kapok("survive", "-f", fleet, "gz-edge")
    assert code == 0
    assert "ns/web goes to gz-core (3)" in text


@pytest.mark.parametrize("word", ["gz-cor", "province=CN-GD", "provnce=x", "site="])
def test_a_name_that_does_not_exist_is_exit_code_2(kapok: Run, fleet: Path, word: str) -> None:
    code, out, err = kapok("survive", "-f", fleet, word)
    assert (code, out) == (2, "")
    assert err.startswith("kapok survive: ")
    assert word != "gz-cor" or "did you mean gz-core" in err


def test_a_time_of_the_running_scheduler_is_refused(kapok: Run) -> None:
    code, _, err = kapok("survive", "--now", "2026-11-23T08:01:00Z")
    assert code == 2
    assert "--now" in err
