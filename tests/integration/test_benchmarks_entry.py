"""`python -m benchmarks`: the answer's form, and that every benchmark is documented."""

import json
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from benchmarks.__main__ import main, names
from benchmarks._city import read_shapes
from benchmarks._hub_client import parse_costs
from benchmarks._mixes import MIXES, mixed_demands
from scheduler.model.canonical import canonical_json

README = Path(__file__).parents[2] / "benchmarks" / "README.md"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "openb-gpu-v2023"
    folder.mkdir()
    (folder / "openb_node_list_all_node.csv").write_text(
        "sn,cpu_milli,memory_mib,gpu,model\n"
        + "".join(f"n{n},8000,32768,{n % 2 * 2},T4\n" for n in range(6))
    )
    (folder / "openb_pod_list_default.csv").write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time\n"
        + "".join(f"p{n},2000,1024,1,600,,{n},{n + 9}\n" for n in range(40))
    )
    return tmp_path


def test_the_last_line_is_one_object_with_rows_machine_and_commit(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", "--json", "--data", str(data), "--sites", "2", "--stretch", "1", "20"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer.keys() == {"benchmark", "rows", "machine", "commit"}
    assert (answer["benchmark"], len(answer["rows"])) == ("simulate", 2)
    first, second = answer["rows"]
    assert first["placed"] + first["refused"] == second["placed"] + second["refused"] == 40
    assert first["wrong_fits"] == 0
    assert answer["machine"]["cores"] >= 1


def test_each_scenario_is_a_row_with_its_seconds(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["whatif", "--json", "--data", str(data), "--size", "6x40", "--nodes", "4"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["scenario"].split()[0] for row in rows] == [
        "drain", "lose", "lose", "add", "price", "load"
    ]  # fmt: skip
    for row in rows:
        assert (row["sites"], row["workloads"]) == (6, 40)
        assert row["seconds"] > 0


def test_the_losses_of_sites_and_provinces_are_rows_with_their_seconds(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["survive", "--json", "--data", str(data), "--size", "6x40", "--nodes", "4"]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["losses_of"] for row in rows] == ["site", "province", "site+province"]
    for row in rows:
        assert row["losses"] == row["survived"] + row["not_survived"] + row["unknown"]
        assert row["displaced"] > 0
        assert row["cpu_seconds"] >= 0
    assert rows[0]["losses"] == 6


def test_people_get_a_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--data", str(data), "--sites", "2", "--stretch", "1"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["sites", "stretch", "placed"]
    assert row.split()[0] == "2"


def test_missing_data_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAPOK_DATA_DIR", raising=False)
    assert main(["simulate", "--json"]) == 2
    assert "openb-gpu-v2023" in capsys.readouterr().err
    assert main(["simulate", "--json", "--data", str(tmp_path)]) == 2
    assert "openb_node_list_all_node.csv" in capsys.readouterr().err


def test_an_unknown_benchmark_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fastest", "--json"])
    assert ended.value.code == 2
    assert "fastest" in capsys.readouterr().err


def test_every_benchmark_has_a_chapter_in_the_readme() -> None:
    headings = {line[3:].strip() for line in README.read_text().splitlines() if line[:3] == "## "}
    assert set(names()) <= headings


WORKLOAD = {"name": "w", "replicas": 2, "requests": {"cpu": "2"}, "value": 5, "cost": [1, None]}
SITES = [{"name": "a", "free": {"cpu": "4"}}, {"name": "b", "free": {"cpu": 8}}]


def solved(tmp_path: Path, instance: object) -> int:
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(instance))
    words = ["batch", "--json", "--instance", str(path), "--out", str(tmp_path / "out.json")]
    return main(words)


def test_an_instance_from_a_file_is_solved_and_written(tmp_path: Path) -> None:
    assert solved(tmp_path, {"sites": SITES, "workloads": [WORKLOAD]}) == 0
    answer = json.loads((tmp_path / "out.json").read_text())
    assert answer["assignment"] == [{"workload": "w", "site": "a", "replicas": 2}]
    assert (answer["achieved"], answer["bound"]) == (8.0, 8.0)


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({"sites": [], "workloads": [WORKLOAD]}, "$.sites"),
        ({"sites": SITES, "workloads": []}, "$.workloads"),
        ({"sites": SITES, "workloads": [{**WORKLOAD, "cost": [1]}]}, "1 entries for 2 sites"),
        ({"sites": SITES, "workloads": [{**WORKLOAD, "replicas": -1}]}, "$.workloads[0].replicas"),
        ({"sites": SITES, "workloads": [{**WORKLOAD, "value": None}]}, "$.workloads[0].value"),
        ({"sites": SITES, "workloads": [WORKLOAD, WORKLOAD]}, "workloads: duplicate name w"),
        (
            {"sites": SITES, "workloads": [{**WORKLOAD, "cost": [float("nan"), 1]}]},
            "malformed",
        ),
        (
            {"sites": SITES, "workloads": [{**WORKLOAD, "requests": {"cpu": "x"}}]},
            "workload w: cpu: 'x' is not a quantity",
        ),
    ],
)
def test_a_bad_instance_is_refused_by_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], instance: object, message: str
) -> None:
    assert solved(tmp_path, instance) == 2
    assert message in capsys.readouterr().err


@pytest.mark.soak
def test_growing_series_are_drawn_as_a_chart(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.growth._USUAL_SITES", 5)
    monkeypatch.setattr("benchmarks.growth._SITES", (4, 9))
    chart = tmp_path / "growth.svg"
    words = ["growth", "--json", "--data", str(data), "--decisions", "12", "--plot", str(chart)]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    varied = {row["varied"] for row in rows}
    assert varied == {"sites", "nodes per site", "hard rules", "distinct requests"}
    assert all(row["us_per_decision"] > 0 for row in rows)
    points = chart.read_text(encoding="utf-8").count("<circle")
    assert points == len(rows)


@pytest.mark.timeout(180)
def test_the_way_through_the_hub_is_measured_beside_a_client_that_decides_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = ["hub", "--json", "--quick", "--sites", "1", "--form", "deployment"]
    assert main([*words, "--case", "drain", "--case", "ceiling"]) == 0
    said = capfd.readouterr()
    drain, ceiling = json.loads(said.out.splitlines()[-1])["rows"]
    assert (drain["hub"], drain["case"], drain["workloads"]) == ("embedded", "drain", 12)
    assert (ceiling["case"], ceiling["writes_by_kind"]["workloads"]) == ("ceiling", 1.0)
    assert drain["created_to_ordered_p99_seconds"] >= drain["created_to_placed_p50_seconds"] > 0
    assert drain["writes_by_kind"]["workloads/status"] >= 1.0
    assert "case=drain" in said.err


@pytest.mark.timeout(180)
@pytest.mark.soak
def test_the_work_of_a_lost_site_is_planned_ordered_and_withdrawn(
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = ["hub", "--json", "--quick", "--form", "deployment", "--case", "failover"]
    assert main(words) == 0
    said = capfd.readouterr()
    (row,) = json.loads(said.out.splitlines()[-1])["rows"]
    assert (row["hub"], row["case"], row["workloads"], row["sites"]) == (
        "embedded",
        "failover",
        12,
        1,
    )
    planned = row["allowed_to_planned_seconds"]
    assert row["allowed_to_decided_p50_seconds"] >= planned > -1.0
    assert row["allowed_to_ordered_p99_seconds"] >= row["allowed_to_ordered_p50_seconds"] > 0
    assert row["allowed_to_withdrawn_last_seconds"] > row["allowed_to_decided_p50_seconds"]
    assert row["writes_by_kind"]["workloads/status"] >= 1.0
    assert main([*words, "--sites", "1"]) == 2
    assert "--sites 2" in capfd.readouterr().err


def test_writes_are_counted_by_kind_from_the_metrics_of_a_server() -> None:
    name = "apiserver_request_total"
    text = f"""
# TYPE {name} counter
{name}{{code="200",group="kapok.dev",resource="workloads",subresource="status",verb="PATCH"}} 3
{name}{{code="409",group="kapok.dev",resource="workloads",subresource="status",verb="PATCH"}} 9
{name}{{code="200",group="kapok.dev",resource="workloads",subresource="",verb="WATCH"}} 9
{name}{{code="201",group="apps",resource="deployments",subresource="",verb="POST"}} 2
process_cpu_seconds_total 1.5
"""
    ours, everything = (parse_costs(text, only_ours=each) for each in (True, False))
    assert ours.writes == {"workloads/status": 3}
    assert everything.writes == {"workloads/status": 3, "deployments": 2}
    assert (ours.cpu_seconds, ours.resident_bytes) == (1.5, None)


def test_decide_has_a_row_for_each_mix_and_says_how_fast_the_machine_is(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.decide._RECORDED", 2)
    monkeypatch.setattr("benchmarks.decide._WARM_UP", 2)
    words = ["decide", "--json", "--data", str(data), "--sites", "4", "--nodes", "2"]
    assert main([*words, "--decisions", "12"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["mix"] for row in rows] == [*MIXES, "equal"]
    assert all(row["machine_factor"] > 0 for row in rows)
    *single, equal = rows
    assert all(row["decisions"] == 12 for row in single)
    assert equal["decisions"] == 500 * equal["records"] == 1000


@pytest.mark.parametrize("mix", [mix for mix in MIXES if mix != "plain"])
def test_no_two_demands_of_a_mix_ask_the_same(data: Path, mix: str) -> None:
    shapes = read_shapes(data)
    asked = list(mixed_demands(mix, shapes, 200, Random(1)))  # noqa: S311 - a test, seeded
    wanted = {canonical_json(replace(each, key="", replicas=1)) for each in asked}
    assert len(wanted) == len(asked)


def test_the_size_of_a_real_agent_over_tls(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.agent._QUICK_SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("benchmarks.agent._QUICK_WINDOW_SECONDS", 0.2)
    assert main(["agent", "--json", "--quick", "--case", "host-idle"]) == 0
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert row["case"] == "host-idle"
    assert 10 < row["rss_mib"] <= row["peak_rss_mib"] < 60
    assert row["first_report_seconds"] > 0


def test_every_kind_of_report_is_taken_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", "--json", "--reports", "100", "--nodes", "3"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["case"].partition("-")[0] for row in rows] == [
        *("full", "full", "delta", "delta", "heartbeat")
    ]
    assert all(row["us_per_report"] > row["verify_us"] > 0 for row in rows[:-1])
    assert rows[-1]["us_per_report"] > 0, "a heartbeat has no signature"
