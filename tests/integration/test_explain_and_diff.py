"""Why a workload runs where it runs: from files, and from what the hub recorded."""

import json
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.demand import NotAccepted
from scheduler.model.workload import WorkloadSpec
from scheduler.placement import DEFAULT_TERMS, choose
from tests.support.sites import NOW, Raw, demand, fleet_of, grant, nodes, room, site, workload

pytestmark = pytest.mark.integration


def explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *objects: Raw, versus: str = ""
) -> tuple[int, Raw]:
    path = tmp_path / "all.yaml"
    path.write_text("\n---\n".join(json.dumps(each) for each in objects), encoding="utf-8")
    words = ["explain", "ns/app", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"]
    code = main([*words, *(["--versus", versus] if versus else [])])
    answer: Raw = json.loads(capsys.readouterr().out)
    return code, answer


def test_every_site_has_verdicts_room_and_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {
        "energy": {"pue": 1.5, "pueOrigin": "measured"},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.05},
    }
    grams = {"gco2PerKwh": 441.9, "origin": "yearly", "observedAt": "2026-11-23T08:00:00Z"}
    known = site("m1", nodes(4), spec=spec, intensity=grams)
    code, answer = explained(tmp_path, capsys, known, room("m2", 9), grant("m1", "m2"), workload(2))
    assert (code, answer["line"]) == (0, "placed on m1 (2)")
    first, second = answer["sites"]
    assert (first["admitted"], first["room"], first["replicas"]) == (True, 4, 2)
    carbon = next(each for each in first["costs"] if each["term"] == "carbon")
    assert (carbon["origin"], carbon["ageSeconds"]) == ("yearly", 60)
    # 1 core of 3.3 W and 1 GiB of 0.4 W, times PUE 1.5, 441.9 g/kWh and 0.1 CNY/kg
    assert carbon["cnyPerReplicaHour"] == pytest.approx(3.7e-3 * 1.5 * 0.4419 * 0.1)
    total = sum(each["cnyPerReplicaHour"] for each in first["costs"])
    assert first["totalCnyPerReplicaHour"] == pytest.approx(total)
    assert second["totalCnyPerReplicaHour"] is None
    assert {each["origin"] for each in second["costs"]} == {"unknown"}


@pytest.mark.parametrize(
    ("objects", "kind", "becomes"),
    [
        ([room("m1", 3), grant("m1"), workload(5)], "workload.replicas", "3"),
        ([room("m1", 3, spec={"cordon": True}), grant("m1"), workload(3)], "site.cordon", "false"),
        (
            [room("m1", 3), grant("m1", dataClass="general-1"), workload(3)],
            "grant.dataClass",
            "general-2",
        ),
        (
            [site("m1", nodes(4, cpu="4")), grant("m1"), workload(1, requests={"cpu": "6"})],
            "workload.requests.cpu",
            "4",
        ),
        (
            [room("m1", 3), grant("m1"), workload(1, imagePlatforms=["linux/arm64"])],
            "workload.imagePlatforms",
            "linux/amd64, linux/arm64",
        ),
    ],
    ids=str,
)
def test_the_smallest_change_is_verified_by_the_engine(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    objects: list[Raw],
    *,
    kind: str,
    becomes: str,
) -> None:
    code, answer = explained(tmp_path, capsys, *objects)
    assert code == 1
    found = {each["kind"]: each for each in answer["smallestChange"]}
    assert found[kind]["to"] == becomes
    assert all(each["verified"] for each in found.values())


def test_versus_leaves_the_chosen_sites_and_one_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sites = [room(f"m{place}", place) for place in (1, 2, 3)]
    asked = workload(3, placement={"strategy": "Aggregated"})
    code, answer = explained(tmp_path, capsys, *sites, grant("m1", "m2", "m3"), asked, versus="m1")
    assert (code, [each["name"] for each in answer["sites"]]) == (0, ["m1", "m3"])


async def test_the_hub_explains_and_compares_what_it_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = fleet_of(room("m1", 3), room("m2", 9))
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.facts(facts.name, facts)
        for replicas in (2, 4):
            asked = demand(workload(replicas, placement={"strategy": "Aggregated"}))
            decision = choose(asked, fleet, now=NOW)
            content = {"demand": asked, "terms": DEFAULT_TERMS, "decision": decision}
            await recorder.record(
                subject=asked.key, epoch=3, at=NOW, content=content, spec=WorkloadSpec()
            )
        refusal = NotAccepted(reason="spread", condition="SpreadImpossible", message="never")
        content = {"refusal": refusal}
        await recorder.record(
            subject="ns/never", epoch=3, at=NOW, content=content, spec=WorkloadSpec()
        )
    where = ["--data-dir", str(tmp_path), "-o", "json"]
    assert main(["explain", "ns/app", *where]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["decision"], answer["line"]) == ("3-2", "placed on m2 (4)")
    assert len(answer["sites"]) == 2
    assert main(["explain", "ns/never", *where]) == 1
    assert json.loads(capsys.readouterr().out)["line"] == "not accepted: never"
    assert main(["explain", "ns/unheard", *where]) == 2
    assert "nothing was decided about ns/unheard" in capsys.readouterr().err
    assert main(["diff", "3-1", "3-2", *where]) == 1
    compared = json.loads(capsys.readouterr().out)
    assert compared["sites"] == {"m2": [2, 4]}
    assert compared["demand"] == {"replicas": [2, 4]}
    assert compared["facts"] == {}
    assert main(["diff", "3-1", "3-1", *where]) == 0
