"""Work that can wait, through `kapok place` and `kapok explain` on files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.cli.entry import main
from tests.support.sites import Raw, grant, nodes, site, workload

pytestmark = pytest.mark.integration
NOW = "2026-11-23T08:01:00Z"
STEPS = [("08:00", 300), ("11:00", 20), ("14:00", 80)]


def forecast() -> Raw:
    steps = [{"at": f"2026-11-23T{hour}:00Z", "gco2PerKwh": grams} for hour, grams in STEPS]
    issued = {"observedAt": "2026-11-23T06:00:00Z", "origin": "modelled", "stepSeconds": 10_800}
    return issued | {"steps": steps}


def written(folder: Path, **energy: object) -> list[str]:
    spec = {
        "energy": {"pue": 1.2, "pueOrigin": "measured", **energy},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.05},
    }
    intensity = {"gco2PerKwh": 300, "origin": "measured", "observedAt": "2026-11-23T08:00:00Z"}
    schedule = {"deadline": "2026-11-23T18:00:00Z", "durationSeconds": 7200}
    prices = {"waitingCnyPerHour": 0.0001}
    asked = workload(2, placement={"preset": "green-batch", "prices": prices}, schedule=schedule)
    objects = [site("tianfu", nodes(9), spec=spec, intensity=intensity), grant("tianfu"), asked]
    file = folder / "all.yaml"
    file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    return ["-f", str(file), "--now", NOW, "-o", "json"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:  # noqa: ANN401 - JSON
    main(list(arguments))
    return json.loads(capsys.readouterr().out)


def test_the_answer_contains_the_planned_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(tmp_path, forecast=forecast())
    decision = answer(capsys, "place", *files)["decisions"][0]
    assert decision["phase"] == "Waiting"
    assert decision["reasons"] == {"deadline": 1}
    assert decision["startAt"] == "2026-11-23T11:00:00Z"
    assert decision["planned"] == [{"name": "tianfu", "replicas": 2}]
    explanation = answer(capsys, "explain", "ns/app", *files)
    assert explanation["smallestChange"] == []
    costs = {each["term"]: each for each in explanation["sites"][0]["costs"]}
    assert costs["carbon"]["origin"] == "modelled"
    assert costs["carbon"]["ageSeconds"] == 7260.0
    assert costs["waiting"]["cnyPerReplicaHour"] > 0


def test_an_answer_without_a_planned_start_does_not_mention_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = answer(capsys, "place", *written(tmp_path))["decisions"][0]
    assert decision["phase"] == "Placed"
    assert not {"startAt", "planned"} & set(decision)


def test_a_forecast_without_its_date_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undated = forecast()
    del undated["observedAt"]
    assert main(["place", *written(tmp_path, forecast=undated)]) == 2
    assert "spec.energy.forecast" in capsys.readouterr().err
