"""An answer does not contradict itself, names odd figures, and offers a way out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from scheduler.model.demand.demand import NotAccepted
from scheduler.placement.choose import choose
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    demand_or_refusal,
    fleet_of,
    grant,
    nodes,
    site,
    workload,
)


def answer(tmp_path: Path, capsys: pytest.CaptureFixture[str], *objects: Raw) -> Any:  # noqa: ANN401 - JSON
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
    main(["place", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"])
    (row,) = json.loads(capsys.readouterr().out)["decisions"]
    return row


def priced(name: str, grams: float = 500, **prices: float) -> Raw:
    spec: Raw = {"prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.05, **prices}}
    return site(name, nodes(4), spec=spec, intensity={"gco2PerKwh": grams, "origin": "yearly"})


def test_what_runs_is_listed_although_the_spec_is_not_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = workload(2, placement={"spread": [{"by": "site", "minGroups": 3}]}, placed={"s0": 2})
    row = answer(tmp_path, capsys, priced("s0"), grant("s0"), edited)
    assert (row["phase"], row["sites"]) == ("Refused", [{"name": "s0", "replicas": 2}])
    assert row["line"].endswith("; running replicas stay on s0 (2)")


def test_an_unmet_rule_is_a_violation_with_its_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = workload(2, placement={"spread": [{"by": "site", "minGroups": 2}]}, placed={"s0": 2})
    row = answer(tmp_path, capsys, priced("s0"), grant("s0"), asked)
    assert (row["optimal"], row["gap"]) == (False, None)
    assert "does not meet spread" in row["line"]
    assert row["violations"] == [
        {
            "rule": "spread",
            "sentence": "spread by site: minGroups is 2, the replicas are in 1 (s0)",
        }
    ]


@pytest.mark.parametrize("mode", ["Steady", "Fresh"])
def test_a_fresh_run_begins_with_the_first_group_and_a_steady_one_stays(mode: str) -> None:
    groups = [{"name": "A", "sites": ["s0"]}, {"name": "B", "sites": ["s1"]}]
    asked = workload(2, placement={"mode": mode, "siteGroups": groups}, placed={"s1": 2})
    asked["status"]["lastGroup"] = "B"
    found = choose(demand(asked), fleet_of(priced("s0"), priced("s1")), now=NOW)
    assert [each.site for each in found.assignment] == ["s0" if mode == "Fresh" else "s1"]


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (priced("m1", 0.58), "implausible intensity in gCO2/kWh at m1 (0.58)"),
        (priced("m1", 580_000), "implausible intensity in gCO2/kWh at m1 (5.8e+05)"),
        (priced("m1", energyCnyPerKwh=600), "implausible energy price in CNY/kWh at m1 (600)"),
        (priced("m1", energyCnyPerKwh=0.0006), "implausible energy price in CNY/kWh at m1"),
        (priced("m1", coreCnyPerHour=5000), "implausible core price in CNY/h at m1 (5000)"),
    ],
)
def test_a_figure_in_another_unit_is_named(odd: Raw, words: str) -> None:
    found = choose(demand(workload(1)), fleet_of(odd, priced("m2")), now=NOW)
    assert any(words in each for each in found.notes)


@pytest.mark.parametrize("grams", [0, 15, 580, 1200])
def test_a_plausible_figure_is_not_named(grams: float) -> None:
    found = choose(demand(workload(1)), fleet_of(priced("m1", grams)), now=NOW)
    assert not any("implausible" in each for each in found.notes)


@pytest.mark.parametrize(
    ("replicas", "placement"),
    [
        (1, {"spread": [{"by": "city", "minGroups": 2}]}),
        (4, {"spread": [{"by": "city", "minGroups": 3, "maxGroups": 2}]}),
        (7, {"spread": [{"by": "city", "maxGroups": 2, "maxPerGroup": 3}]}),
        (3, {"strategy": "Duplicated", "spread": [{"by": "city", "maxPerGroup": 2}]}),
        (4, {"spread": [{"by": "site", "maxGroups": 2}, {"by": "city", "minGroups": 3}]}),
    ],
)
def test_what_contradicts_itself_gets_an_offer_that_is_accepted(
    replicas: int, placement: Raw
) -> None:
    refused = demand_or_refusal(workload(replicas, placement=placement))
    assert isinstance(refused, NotAccepted)
    offers = re.findall(r"(\w+): (\d+)", refused.message.rpartition("write ")[2])
    assert offers, refused.message
    for field, value in offers:
        for index in range(len(placement["spread"])):
            spread = [dict(each) for each in placement["spread"]]
            spread[index][field] = int(value)
            changed = placement if field == "replicas" else {**placement, "spread": spread}
            asked = workload(int(value) if field == "replicas" else replicas, placement=changed)
            if not isinstance(demand_or_refusal(asked), NotAccepted):
                break
        else:
            raise AssertionError(f"{field}: {value} is refused too")
