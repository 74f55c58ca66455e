"""What would have to give way or to end, through files as `kapok explain` and `place` read them."""

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from tests.support.sites import NOW, Raw, grant, nodes, site, workload

FULL = site("m1", nodes(1, cpu="0"))


def running(name: str, replicas: int, priority: int, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    raw = workload(replicas, name=name, priority=priority, placed={"m1": replicas}, **spec)
    raw["status"]["phase"] = "Running"
    raw["status"]["placement"]["groups"][0] |= {"phase": "Running", "since": "2026-11-23T07:00:00Z"}
    return raw


def run(folder: Path, capsys: pytest.CaptureFixture[str], command: list[str], *objects: Raw) -> Any:  # noqa: ANN401 - JSON
    path = folder / "all.json"
    path.write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [grant("m1"), *objects]})
    )
    main([*command, "-f", str(path), "--now", NOW.isoformat(), "-o", "json"])
    return json.loads(capsys.readouterr().out)


def changes(
    folder: Path, capsys: pytest.CaptureFixture[str], *objects: Raw
) -> dict[str, dict[str, Any]]:
    answer = run(folder, capsys, ["explain", "ns/app"], *objects)
    assert all(each["verified"] for each in answer["smallestChange"])
    return {each["kind"]: each for each in answer["smallestChange"]}


def test_it_names_the_work_that_would_have_to_give_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = changes(
        tmp_path,
        capsys,
        FULL,
        running("b", 2, 10),
        running("c", 2, 20),
        workload(1, name="app", priority=100),
    )
    one = found["workload.preemption"]
    assert one["sentence"] == "fits if ns/b (priority 10) gives way at m1 (1 of 2)"
    assert (one["target"], one["from"], one["to"]) == ("ns/app", "Never", "LowerPriority")
    assert (one["who"], one["site"]) == ("tenant", "m1")
    assert "workload.priority" not in found


def test_where_only_higher_work_is_in_the_way_it_says_which_priority_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = workload(1, name="app", priority=100, preemption="LowerPriority")
    found = changes(tmp_path, capsys, FULL, running("b", 1, 300), asked)
    assert found["workload.priority"]["to"] == "301"
    assert "ns/b (priority 300) gives way" in found["workload.priority"]["sentence"]


def test_it_says_when_enough_ends_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = changes(
        tmp_path,
        capsys,
        FULL,
        running("j", 1, 500, schedule={"durationSeconds": 25200}),
        running("k", 1, 500, schedule={"durationSeconds": 7200}),
        running("l", 1, 500),
        workload(2, name="app"),
    )
    one = found["time"]
    assert one["sentence"] == "fits after 2026-11-23T14:00:00Z, when ns/j ends"
    assert (one["target"], one["to"]) == ("ns/j", "2026-11-23T14:00:00Z")


def test_a_broken_budget_is_named_and_what_is_not_enough_is_not_offered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded = running("b", 1, 10)
    del guarded["spec"]["demand"]
    labels = {"app": "b"}
    guarded["spec"]["manifests"] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "b"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "containers": [
                            {
                                "name": "c",
                                "image": "i",
                                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                            }
                        ]
                    },
                },
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "guard"},
            "spec": {"selector": {"matchLabels": labels}, "maxUnavailable": 0},
        },
    ]
    found = changes(tmp_path, capsys, FULL, guarded, workload(1, name="app", priority=100))
    assert "guard (maxUnavailable: 0)" in found["workload.preemption"]["sentence"]
    none = changes(tmp_path, capsys, FULL, guarded, workload(2, name="app", priority=100))
    assert not none.keys() & {"workload.preemption", "workload.priority", "time"}


def test_place_says_what_would_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = workload(1, name="app", priority=100, preemption="LowerPriority")
    answer = run(tmp_path, capsys, ["place"], FULL, running("b", 2, 10), asked)
    (one,) = [each for each in answer["decisions"] if each["workload"] == "ns/app"]
    assert one["phase"] == "Waiting"
    assert "for it end 1 of 2 of ns/b at m1 (priority 10)" in one["line"]
