"""`kapok whatif` and `kapok capacity` on files: words, saved scenarios, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.cli.asking.scenario_words import sort_words
from scheduler.cli.entry import main
from scheduler.cli.support.manifest_files import ManifestFileError, read_objects
from tests.support.sites import Raw, grant, nodes, site, workload

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A folder with a fleet of two sites."""
    objects = [
        site("gz-core", nodes(4)),
        site("gz-edge", nodes(4)),
        grant("gz-core", "gz-edge", "gz-new"),
        workload(3, name="web", placed={"gz-edge": 3}),
    ]
    folder = tmp_path / "export"
    folder.mkdir()
    write(folder / "hub.yaml", *objects)
    return folder


def write(path: Path, *objects: Raw) -> Path:
    path.write_text(yaml.safe_dump_all(objects, allow_unicode=True))
    return path


def saved(path: Path, *lines: object) -> Path:
    scenario = {"scenario": list(lines)}
    head = {"apiVersion": "kapok.dev/v1alpha1", "kind": "WhatIf", "metadata": {"name": "s"}}
    return write(path, {**head, "spec": scenario})


@pytest.fixture
def kapok(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, Any, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.startswith("{") else out, err

    return run


def test_a_scenario_on_files_is_answered_as_one_json_object(kapok: Run, fleet: Path) -> None:
    code, answer, _ = kapok("whatif", "-f", fleet, "drain", "gz-edge", "-o", "json")
    assert code == 0
    assert {"before", "after", "unplaced", "moves", "cost", "hottestSite", "seconds"} <= set(answer)
    assert set(answer["cost"]) >= {"cnyPerHour", "gco2PerHour"}
    assert answer["moves"] == [
        {"workload": "ns/web", "from": "gz-edge", "to": "gz-core", "replicas": 3}
    ]
    code, answer, _ = kapok("whatif", "-o", "json", "-f", fleet, "lose", "gz-core", "gz-edge")
    assert code == 1
    assert [one["workload"] for one in answer["unplaced"]] == ["ns/web"]


def test_people_get_before_and_after_side_by_side(kapok: Run, fleet: Path) -> None:
    code, text, _ = kapok("whatif", "-f", fleet, "load", "9")
    assert code == 1
    assert "1 workload is left without a place" in text
    assert "BEFORE" in text
    assert "would help: site.add a site like" in text


def test_a_file_after_add_belongs_to_add_and_one_before_it_to_the_fleet(
    kapok: Run, fleet: Path, tmp_path: Path
) -> None:
    new = write(tmp_path / "new.yaml", site("gz-new", nodes(9)))
    code, answer, _ = kapok("whatif", "-f", fleet, "add", "-f", new, "-o", "json")
    assert code == 0
    assert answer["after"]["sites"] == 3
    for verb, file, said in (
        ("grant", new, "holds no SiteGrant"),
        ("policy", new, "holds no PlacementPolicy"),
        ("add", fleet / "hub.yaml", "takes Site, with its SiteGrant"),
        ("add", tmp_path / "none.yaml", "No such file"),
    ):
        code, _, err = kapok("whatif", "-f", fleet, verb, "-f", file)
        assert code == 2
        assert said in err


def test_a_saved_scenario_names_its_files_from_its_own_folder(
    kapok: Run, fleet: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "plans"
    folder.mkdir()
    write(folder / "new.yaml", site("gz-new", nodes(9)))
    saved(folder / "grow.yaml", "add -f new.yaml")
    plan = saved(folder / "all.yaml", "lose gz-edge", "-f grow.yaml", "load 1.5")
    code, answer, _ = kapok("whatif", "-f", plan, "-f", fleet, "-o", "json")
    assert code == 0
    assert (answer["after"]["sites"], answer["after"]["sitesReporting"]) == (3, 2)
    assert answer["after"]["replicas"] == 5


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "spec.scenario is missing"),
        (["-f loop.yaml"], "names itself: loop.yaml → loop.yaml"),
        (["drain 'gz"], "No closing quotation"),
        ([3], "is no line"),
        (["drain gz-egde"], "did you mean gz-edge?"),
        (["drain gz-edge", "lose gz-edge"], "drained and lost"),
    ],
)
def test_a_saved_scenario_that_says_nothing_is_refused(
    kapok: Run, fleet: Path, tmp_path: Path, lines: list[object], said: str
) -> None:
    plan = saved(tmp_path / "loop.yaml", *lines)
    code, out, err = kapok("whatif", "-f", fleet, "-f", plan)
    assert (code, out) == (2, "")
    assert said in err


def test_wrong_usage_is_2_and_says_the_way_out(
    kapok: Run, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAPOK_DATA_HOME", str(tmp_path / "none"))
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    for words, said in (
        (["-f", fleet], "the scenario is empty"),
        (["-f", empty, "drain", "x"], "no Site and no WhatIf"),
        (["drain", "gz-edge", "-f"], "name a file"),
        (["drain", "gz-edge"], "kapok up"),
        (["drain", "gz-edge", "--now", "2026-11-23T08:00:00Z"], "leave it out"),
        (["-f", fleet, "load", "-1"], "above 0"),
        (["-f", fleet, "price", "x=1"], "the prices are"),
    ):
        code, out, err = kapok("whatif", *words)
        assert (code, out) == (2, "")
        assert said in err
    with pytest.raises(SystemExit) as exit_:
        kapok("whatif", "-f", fleet, "drain", "gz-edge", "--outptu", "json")
    assert exit_.value.code == 2


def test_options_stand_anywhere() -> None:
    words = ["drain", "a", "-o", "json", "add", "-f", "x", "-f=y", "load", "-1", "-f", "z"]
    found = sort_words(words, frozenset({"-o"}))
    assert found.options == ["-o", "json"]
    assert found.scenario == ["drain", "a", "add", "-f", "x", "-f", "y", "load", "-1"]
    assert found.files == ["z"]


def test_capacity_of_files_as_a_table_and_as_json(kapok: Run, fleet: Path, tmp_path: Path) -> None:
    code, answer, _ = kapok("capacity", "-f", fleet, "--cpu", "1", "-o", "json")
    assert code == 0
    assert {"moves", "stuck", "seconds", "sites"} <= set(answer)
    assert [(one["name"], one["replicas"]) for one in answer["sites"]] == [
        ("gz-core", 4),
        ("gz-edge", 4),
    ]
    code, text, _ = kapok("capacity", "-f", fleet, "--cpu", "2")
    assert code == 1
    assert "fragmented" in text
    shape = write(tmp_path / "w.yaml", workload(1, requests={"cpu": "500m"}))
    code, answer, _ = kapok("capacity", "-f", fleet, "-f", shape, "-o", "json")
    assert (code, answer["shape"]["dataClass"], answer["replicas"]) == (0, "general-2", 16)
    for words, said in (
        (["--cpu", "1,5"], "is not a quantity"),
        (["--class", "secret"], "secret"),
        (["--request", "x"], "NAME=AMOUNT"),
        (["--cpu", "1", "-f", shape], "not both"),
        (["-n", "Ns!"], "regex"),
    ):
        code, out, err = kapok("capacity", "-f", fleet, *words)
        assert (code, out) == (2, "")
        assert said in err


@pytest.mark.parametrize("line", ["", "# a note", "3,14,15,92"])
def test_a_large_file_without_an_object_is_refused_by_name_before_it_is_parsed(
    tmp_path: Path, line: str
) -> None:
    junk = tmp_path / "junk.yaml"
    junk.write_text(f"{line}\n" * (6 * 2**20 // (len(line) + 1)))
    with pytest.raises(ManifestFileError, match=r"junk\.yaml: no Kubernetes object in 6,\d"):
        list(read_objects([str(junk)]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpu", "1.5"), "nvidia.com/gpu: 1.5 is no whole number"),
        (("--cpu", "2", "--request", "cpu=1"), "--request cpu=1: --cpu 2 says another amount"),
        (
            ("--request", "a.b/c=1", "--request", "a.b/c=2"),
            "--request a.b/c=2: --request a.b/c=1 says another amount",
        ),
    ],
)
def test_a_shape_that_no_pod_has_or_that_contradicts_itself_is_refused(
    kapok: Run, fleet: Path, words: tuple[str, ...], said: str
) -> None:
    code, out, err = kapok("capacity", "-f", fleet, *words)
    assert (code, out, said in err) == (2, "", True), err


def test_the_same_amount_twice_is_no_contradiction(kapok: Run, fleet: Path) -> None:
    code, answer, _ = kapok(
        "capacity", "-f", fleet, "--cpu", "1", "--request", "cpu=1", "-o", "json"
    )
    assert (code, answer["shape"]["requests"]) == (0, {"cpu": "1"})
