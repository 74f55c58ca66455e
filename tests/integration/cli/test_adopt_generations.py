"""`kapok hub adopt --generations`, and `kapok hub restore`, on the files of an embedded hub."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from scheduler.control.generation_floor import GENERATIONS_LIFTED_BY, lift_generations
from scheduler.control.leader_election import (
    EPOCH_ANNOTATION,
    KEEP_ORDERS,
    LEASE_NAME,
    ORDERS_ANNOTATION,
)
from scheduler.control.ports.hub import LEASES, NAMESPACE, NAMESPACES, WORKLOADS
from scheduler.hub.client import HubClient
from tests.integration.cli.test_adopt_epoch import hub_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PLACED = {"m1": 4, "m2": 5}
END = 2**52


async def fill(data_dir: Path) -> None:
    """A hub of epoch 3 with a placed workload, one at the last generation, and one not placed."""
    async with hub_of(data_dir) as hub:
        for name in (NAMESPACE, "a"):
            await hub.create(NAMESPACES, {"metadata": {"name": name}})
        notes = {EPOCH_ANNOTATION: "3"}
        metadata = {"name": LEASE_NAME, "namespace": NAMESPACE, "annotations": notes}
        await hub.create(LEASES, {"metadata": metadata, "spec": {"leaseTransitions": 3}})
        for name, generation in (("placed", 5), ("end", END), ("new", 0)):
            kind = {"apiVersion": WORKLOADS.api_version, "kind": "Workload"}
            body = {"metadata": {"name": name, "namespace": "a"}, "spec": {"demand": {}}}
            await hub.create(WORKLOADS, {**kind, **body})
            if generation:
                groups = [
                    {"sites": [site], "replicas": 1, "generation": one, "phase": "Running"}
                    for site, one in PLACED.items()
                ]
                placement = {"generation": generation, "groups": groups}
                status = {"status": {"epoch": 3, "placement": placement}}
                await hub.merge_patch(WORKLOADS, name, status, namespace="a", subresource="status")


async def unknown_orders(data_dir: Path) -> str | None:
    async with hub_of(data_dir) as hub:
        lease = await hub.get(LEASES, LEASE_NAME, NAMESPACE)
    value: str | None = (lease["metadata"].get("annotations") or {}).get(ORDERS_ANNOTATION)
    return value


async def statuses(data_dir: Path) -> dict[str, Any]:
    async with hub_of(data_dir) as hub:
        found = (await hub.list(WORKLOADS)).items
    return {one["metadata"]["name"]: one.get("status", {}) for one in found}


def adopt(data_dir: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    command = ["hub", "adopt", "--generations", "--data-dir", str(data_dir), "-o", "json", *words]
    code = main(command)
    return code, json.loads(capsys.readouterr().out)


def test_generations_are_lifted_and_the_orders_that_stand_keep_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = tmp_path / "data"
    asyncio.run(fill(data_dir))
    before = asyncio.run(statuses(data_dir))
    code, answer = adopt(data_dir, capsys, "--dry-run")
    assert (code, answer["generationsLifted"], answer["dryRun"]) == (0, 2, True)
    assert asyncio.run(statuses(data_dir)) == before
    code, answer = adopt(data_dir, capsys)
    assert (code, answer["generationsLifted"]) == (1, 1)
    assert "at the end" in answer["refusedStatuses"]["a/end"]
    after = asyncio.run(statuses(data_dir))
    placement = after["placed"]["placement"]
    assert placement["generation"] == 5 + GENERATIONS_LIFTED_BY
    assert {one["sites"][0]: one["generation"] for one in placement["groups"]} == PLACED
    assert (after["end"], after["new"]) == (before["end"], before["new"])
    assert after["placed"]["epoch"] == 3
    assert asyncio.run(unknown_orders(data_dir)) == KEEP_ORDERS


@pytest.mark.soak
def test_a_restore_lifts_them_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_dir, copy = tmp_path / "data", str(tmp_path / "monday.db")
    asyncio.run(fill(data_dir))
    for word in ("backup", "restore"):
        assert main(["hub", word, copy, "--data-dir", str(data_dir)]) == 0
    capsys.readouterr()
    placement = asyncio.run(statuses(data_dir))["placed"]["placement"]
    assert placement["generation"] == 5 + GENERATIONS_LIFTED_BY


@pytest.mark.soak
def test_an_epoch_above_that_of_the_sites_lifts_them_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = tmp_path / "data"
    asyncio.run(fill(data_dir))
    main(["hub", "adopt", "--epoch", "12", "--data-dir", str(data_dir), "-o", "json"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["epoch"], answer["generationsLifted"]) == (12, 1)
    placed = asyncio.run(statuses(data_dir))["placed"]
    assert placed["placement"]["generation"] == 5 + GENERATIONS_LIFTED_BY


@pytest.mark.soak
def test_a_write_of_another_client_in_between_is_kept(tmp_path: Path) -> None:
    async def lift() -> tuple[int, dict[str, Any]]:
        async with hub_of(tmp_path / "data") as hub:
            seen: list[int] = []

            async def disturb() -> None:
                """Another client writes after the list and before the first write."""
                if not seen:
                    seen.append(1)
                    patch = {"status": {"placement": {"generation": 9}}}
                    await write(hub, patch)

            found = await lift_generations(hub, epoch=3, before_each=disturb)
            return found.workloads, await hub.get(WORKLOADS, "placed", "a")

    async def write(hub: HubClient, patch: dict[str, Any]) -> None:
        await hub.merge_patch(WORKLOADS, "placed", patch, namespace="a", subresource="status")

    asyncio.run(fill(tmp_path / "data"))
    count, placed = asyncio.run(lift())
    assert count == 1
    assert placed["status"]["placement"]["generation"] == 9 + GENERATIONS_LIFTED_BY
