"""`kapok simulate` as people call it, checked by a reader that shares no code with it."""

import csv
import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from tests.support.trace_checker import find_problems, read

DATA = os.environ.get("KAPOK_DATA_DIR")
IN_GATE = os.environ.get("CI", "") not in ("", "false", "0")
_NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
_POD_COLUMNS = (
    "name",
    "cpu_milli",
    "memory_mib",
    "num_gpu",
    "gpu_milli",
    "gpu_spec",
    "creation_time",
    "deletion_time",
)


_needs_data = pytest.mark.skipif(
    DATA is None and not IN_GATE, reason="openb-gpu-v2023: KAPOK_DATA_DIR is not set"
)


def _write(path: Path, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """Fifteen machines under heavy load: many pods have to wait."""
    chance = random.Random(3)  # noqa: S311 - a seeded example
    nodes = [
        (f"node-{n}", chance.choice([8000, 32000, 64000]), 65536, cards, "T4" if cards else "")
        for n, cards in enumerate(chance.choices([0, 2, 4, 8], k=15))
    ]
    pods = [
        (
            f"pod-{n}",
            chance.choice([1000, 4000, 12000]),
            chance.choice([1024, 8192]),
            *chance.choice([(0, 0), (1, 470), (1, 810), (1, 1000), (2, 1000), (8, 1000)]),
            "",
            start := chance.randrange(3000),
            start + chance.randrange(3000),
        )
        for n in range(200)
    ]
    return (
        _write(tmp_path / "nodes.csv", _NODE_COLUMNS, nodes),
        _write(tmp_path / "pods.csv", _POD_COLUMNS, pods),
    )


def _simulate(
    capsys: pytest.CaptureFixture[str], nodes: Path, pods: Path, *words: str
) -> dict[str, object]:
    assert main(["simulate", "--nodes", str(nodes), "--pods", str(pods), *words, "-o", "json"]) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_no_node_is_over_committed_and_no_card_over_filled(
    small: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = tmp_path / "placed.csv"
    answer = _simulate(capsys, *small, "--sites", "5", "--assignments", str(placed))
    assert find_problems(*small, placed) == []
    assert len(read(placed)) == answer["placed"]
    assert answer["waited"]
    refused = answer["refused"]
    assert isinstance(refused, dict)
    assert refused.keys() <= {"full", "fragmented"}
    assert answer["placed"] + sum(refused.values()) == 200


def test_the_checker_finds_what_is_wrong(
    small: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = tmp_path / "placed.csv"
    _simulate(capsys, *small, "--sites", "5", "--assignments", str(placed))
    rows = read(placed)
    for row in rows:
        row |= {"site": rows[0]["site"], "node": rows[0]["node"], "gpus": ""}
    crowded = _write(tmp_path / "crowded.csv", tuple(rows[0]), [tuple(r.values()) for r in rows])
    assert find_problems(*small, crowded)


@pytest.mark.parametrize("policy", ["CostOptimal", "Aggregated", "Balanced", "green-batch"])
def test_every_policy_places_soundly(
    small: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    placed = tmp_path / "placed.csv"
    words = ("--sites", "7", "--seed", "1", "--policy", policy, "--assignments", str(placed))
    answer = _simulate(capsys, *small, *words)
    assert find_problems(*small, placed) == []
    assert answer["wrong_fits"] == 0


def test_a_policy_may_come_from_a_file(
    small: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: kapok.dev/v1alpha1\nkind: PlacementPolicy\nmetadata: {name: mine}\n"
        "spec: {placement: {strategy: CostOptimal, siteGroups: [{name: one, sites: [site-1]}]}}\n"
    )
    placed = tmp_path / "placed.csv"
    words = ("--sites", "5", "--policy", str(policy), "--assignments", str(placed))
    answer = _simulate(capsys, *small, *words)
    assert answer["policy"] == "mine"
    assert {row["site"] for row in read(placed)} == {"site-1"}


def test_people_get_a_table_and_a_pipe_gets_plain_progress(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    nodes, pods = map(str, small)
    assert main(["simulate", "--nodes", nodes, "--pods", pods, "--sites", "5"]) == 0
    printed = capsys.readouterr()
    assert "round-robin" in printed.out
    assert "wrong fits" in printed.out
    assert "kapok: 200 of 200 pods" in printed.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sites", "0"], "--sites 0: expected 1 to 15"),
        (["--sites", "16"], "expected 1 to 15"),
        (["--sites", "2", "--policy", "cheapest"], "none of CostOptimal"),
        (["--sites", "2", "--policy", "edge-everywhere"], "a pod runs once"),
        (["--sites", "2", "--policy", "{nodes}"], "holds no PlacementPolicy"),
        (["--sites", "2", "--stretch", "nan"], "--stretch nan"),
        (["--sites", "2", "--assignments", "/nowhere/x.csv"], "the folder /nowhere does not exist"),
        (["--sites", "2", "--pods", "{nodes}"], "column name: missing column"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    nodes, pods = small
    given = [word.format(nodes=nodes) for word in words]
    assert main(["simulate", "--nodes", str(nodes), "--pods", str(pods), *given]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err.splitlines()[-1]


@pytest.mark.timeout(180)
@_needs_data
def test_the_openb_trace_is_placed_soundly_within_a_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = _openb()
    placed, began = tmp_path / "placed.csv", time.process_time()
    answer = _simulate(capsys, *trace, "--sites", "20", "--assignments", str(placed))
    assert find_problems(*trace, placed) == []
    assert (answer["placed"], answer["refused"]) == (8152, {})
    assert answer["wrong_fits"] == 0
    baselines = answer["baselines"]
    assert isinstance(baselines, dict)
    assert baselines["round-robin"]["wrong_fits"] > 0
    assert time.process_time() - began < 60  # in CPU time: on a busy machine anything is slow


@pytest.mark.soak
@_needs_data
@pytest.mark.parametrize("sites", [1, 50, 1523])
@pytest.mark.parametrize("policy", ["CostOptimal", "Balanced", "Aggregated"])
def test_the_openb_trace_is_sound_for_every_grouping_and_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sites: int, policy: str
) -> None:
    trace, placed = _openb(), tmp_path / "placed.csv"
    words = ("--sites", str(sites), "--policy", policy, "--assignments", str(placed))
    answer = _simulate(capsys, *trace, *words)
    found = find_problems(*trace, placed)
    line = {"scenario": f"openb {sites} sites {policy}", "problems": len(found), **answer}
    with capsys.disabled():
        print(json.dumps(line))  # noqa: T201 - what `make soak` is for
    assert found == []
    assert answer["wrong_fits"] == 0


def _openb() -> tuple[Path, Path]:
    assert DATA, "the gate needs KAPOK_DATA_DIR with openb-gpu-v2023"
    folder = Path(DATA) / "openb-gpu-v2023"
    return folder / "openb_node_list_all_node.csv", folder / "openb_pod_list_default.csv"
