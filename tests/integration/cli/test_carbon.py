"""`kapok carbon`: power, carbon and cost of sites and of placed work, offline and from a hub."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.cli.entry import main
from scheduler.control.ports.hub import SITES, TENANTS, WORKLOADS, HubError
from scheduler.hub.client import open_hub
from scheduler.hub.crds.generate import make_crds

pytestmark = pytest.mark.integration
API = "kapok.dev/v1alpha1"
READY = {"type": "Ready", "status": "True", "reason": "Reporting", "message": ""}
NOW = "2026-11-24T12:00:00Z"


def site(name: str, **status: Any) -> dict[str, Any]:  # noqa: ANN401
    ready = {**READY, "lastTransitionTime": NOW}
    return {
        "apiVersion": API,
        "kind": "Site",
        "metadata": {"name": name},
        "spec": {
            "tier": "edge",
            "energy": {"pue": 1.5, "pueOrigin": "measured"},
            "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.05},
        },
        "status": {"observedAt": NOW, "conditions": [ready], **status},
    }


def workload(name: str, namespace: str, shares: dict[str, int]) -> dict[str, Any]:
    groups = [
        {"sites": [one], "replicas": count, "phase": "Running"} for one, count in shares.items()
    ]
    return {
        "apiVersion": API,
        "kind": "Workload",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "dataClass": "general-2",
            "demand": {"replicas": 2, "requests": {"cpu": "10", "memory": "10Gi"}},
        },
        "status": {"phase": "Running", "placement": {"generation": 1, "groups": groups}},
    }


OBJECTS = [
    site(
        "m1",
        power={"watts": 4000, "origin": "measured"},
        intensity={"gco2PerKwh": 400, "origin": "yearly", "observedAt": NOW},
    ),
    site("m2", power={"watts": 1000, "origin": "estimated"}),
    site("m3"),
    {
        "apiVersion": API,
        "kind": "Tenant",
        "metadata": {"name": "bureau"},
        "spec": {"namespaces": ["health"]},
    },
    workload("web", "health", {"m1": 2}),
    workload("db", "health", {"m2": 1}),
    workload("idle", "health", {}),
]


@pytest.fixture
def city(tmp_path: Path) -> str:
    path = tmp_path / "city.yaml"
    path.write_text(yaml.safe_dump_all(OBJECTS), encoding="utf-8")
    return str(path)


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["carbon", *words, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_site_shows_what_its_equipment_draws(
    city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "-f", city)
    rows = {one["name"]: one for one in found["rows"]}
    assert list(rows) == ["m1", "m2", "m3"]
    one = rows["m1"]
    assert one["watts"] == 4000
    assert one["gco2PerHour"] == pytest.approx(4 * 1.5 * 400)
    assert one["cnyPerHour"] == pytest.approx(4 * 1.5 * 0.6)
    assert one["measuredRatio"] == pytest.approx(2 / 3)  # power and PUE; the intensity is yearly
    assert one["origin"] == "yearly"
    assert rows["m2"]["gco2PerHour"] is None
    assert rows["m3"]["watts"] is rows["m3"]["cnyPerHour"] is None
    total = found["total"]
    assert (total["watts"], total["unknownPower"]) == (5000, 1)
    assert total["carbonKnownRatio"] == pytest.approx(0.8)


def test_work_draws_what_its_requests_do(city: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "-f", city, "--by", "workload")
    rows = {one["name"]: one for one in found["rows"]}
    assert set(rows) == {"health/web", "health/db"}
    watts = 10 * 3.3 + 10 * 0.4
    web = rows["health/web"]
    assert web["watts"] == pytest.approx(2 * watts)
    assert web["gco2PerHour"] == pytest.approx(2 * watts / 1000 * 1.5 * 400)
    assert web["cnyPerHour"] == pytest.approx(2 * (watts / 1000 * 1.5 * 0.6 + 10 * 0.05))
    assert (web["tenant"], web["origin"]) == ("bureau", "assumed")
    assert rows["health/db"]["gco2PerHour"] is None
    [tenant] = answer(capsys, "-f", city, "--by", "tenant")["rows"]
    assert tenant["name"] == "bureau"
    assert tenant["watts"] == pytest.approx(3 * watts)
    assert tenant["carbonKnownRatio"] == pytest.approx(2 / 3)


def test_what_is_not_known_is_a_question_mark_and_an_empty_cell(
    city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["carbon", "-f", city]) == 0
    found = capsys.readouterr()
    lines = found.out.splitlines()
    assert lines[0].split()[:3] == ["SITE", "KILOWATTS", "KGCO2E/H"]
    assert lines[1].split() == ["m1", "4.000", "2.400", "3.60", "yearly", "67%"]
    assert lines[3].split() == ["m3", "?", "?", "?", "unknown", "?"]
    assert lines[4].split()[0] == "TOTAL"
    assert "the power of 1 sites is not known" in found.err
    assert main(["carbon", "-f", city, "-o", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["kgco2e_h"] == "2.4"
    assert rows[2]["kilowatts"] == ""


def test_an_old_intensity_counts_as_it_is_and_not_as_the_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"gco2PerKwh": 400, "origin": "measured", "observedAt": "2026-11-20T12:00:00Z"}
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump_all([site("m1", intensity=old), workload("w", "a", {"m1": 1})]))
    [row] = answer(capsys, "-f", str(path), "--by", "workload")["rows"]
    assert row["gco2PerHour"] == pytest.approx((10 * 3.3 + 10 * 0.4) / 1000 * 1.5 * 400)


def test_wrong_usage_is_said(city: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["carbon", "-f", city, "-n", "health"]) == 2
    assert "add --by workload" in capsys.readouterr().err


async def test_a_hub_gives_the_same_as_its_files(
    tmp_path: Path, city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ApiServerOptions(
        data_dir=tmp_path / "hub", crds=make_crds(), name="hub", namespaces=["health"]
    )
    kinds = {"Site": SITES, "Tenant": TENANTS, "Workload": WORKLOADS}
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        for one in OBJECTS:
            resource, meta = kinds[one["kind"]], one["metadata"]
            await hub.create(resource, one)
            if one.get("status"):
                await hub.merge_patch(
                    *(resource, meta["name"], {"status": one["status"]}),
                    namespace=meta.get("namespace"),
                    subresource="status",
                )
        hub_words = ("--kubeconfig", str(running.kubeconfig_path))
        for by in ("site", "tenant", "workload"):
            live = await asyncio.to_thread(answer, capsys, "--by", by, *hub_words)
            files = await asyncio.to_thread(answer, capsys, "--by", by, "-f", city)
            assert (live["rows"], live["total"]) == (files["rows"], files["total"])
    code = await asyncio.to_thread(main, ["carbon", *hub_words])
    assert code == 1
    assert HubError.__name__ not in capsys.readouterr().err
