"""`kapok hub adopt --epoch` on the files of an embedded hub, with the rules of the real CRDs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from scheduler.control.leader_election import EPOCH_ANNOTATION, LEASE_NAME
from scheduler.control.ports.hub import LEASES, NAMESPACE, NAMESPACES, WORKLOADS, Refused
from scheduler.hub.client import HubClient
from scheduler.mqtt.keyring import load_or_make_key
from scheduler.runtime.data_dir import locked_data_directory
from scheduler.services import open_hub_client
from scheduler.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

END = 2**31 - 1
EPOCHS = {"low": 3, "end": END, "new": None}


@asynccontextmanager
async def hub_of(data_dir: Path) -> AsyncIterator[HubClient]:
    with locked_data_directory(data_dir) as directory:
        async with open_hub_client(Settings(), directory, on_hub_fault=print) as (_, hub):
            yield hub


async def spoil(data_dir: Path) -> None:
    """Makes a hub whose Lease, and the status of one workload, are at the end of the epochs."""
    async with hub_of(data_dir) as hub:
        for name in (NAMESPACE, "a"):
            await hub.create(NAMESPACES, {"metadata": {"name": name}})
        lease = {
            "metadata": {
                "name": LEASE_NAME,
                "namespace": NAMESPACE,
                "annotations": {EPOCH_ANNOTATION: str(END)},
            },
            "spec": {"leaseTransitions": END},
        }
        await hub.create(LEASES, lease)
        for name, epoch in EPOCHS.items():
            body = {"metadata": {"name": name, "namespace": "a"}, "spec": {"demand": {}}}
            await hub.create(
                WORKLOADS, {"apiVersion": WORKLOADS.api_version, "kind": "Workload", **body}
            )
            if epoch:
                await write_epoch(hub, name, epoch)


async def write_epoch(hub: HubClient, name: str, epoch: int | None) -> None:
    status = {"status": {"epoch": epoch}}
    await hub.merge_patch(WORKLOADS, name, status, namespace="a", subresource="status")


async def read_back(data_dir: Path) -> tuple[int, dict[str, Any]]:
    """The epoch of the Lease, and that of each status."""
    async with hub_of(data_dir) as hub:
        for name, lower in (("low", None), ("low", 1), ("end", 2)):
            with pytest.raises(Refused, match=r"status\.epoch must not decrease"):
                await write_epoch(hub, name, lower)
        lease = await hub.get(LEASES, LEASE_NAME, NAMESPACE)
        workloads = (await hub.list(WORKLOADS)).items
    epochs = {one["metadata"]["name"]: one.get("status", {}).get("epoch") for one in workloads}
    return lease["spec"]["leaseTransitions"], epochs


def test_a_hub_at_the_end_of_the_epochs_is_repaired_and_has_a_new_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = tmp_path / "data"
    assert main(["hub", "adopt", "--epoch", "--data-dir", str(data_dir)]) == 1
    assert "does not exist" in capsys.readouterr().err
    asyncio.run(spoil(data_dir))
    old = load_or_make_key(data_dir / "hub.key").public
    assert main(["hub", "adopt", "--epoch", "--data-dir", str(data_dir), "-o", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    key = load_or_make_key(data_dir / "hub.key").public
    assert key.kid != old.kid
    assert answer["hubKey"] == str(key) == (data_dir / "hub.pub").read_text().strip()
    assert load_or_make_key(data_dir / "hub.key.replaced").public.kid == old.kid
    assert (answer["epoch"], answer["epochBefore"], answer["statuses"]) == (3, END, 1)
    assert asyncio.run(read_back(data_dir)) == (3, {"low": 3, "end": 3, "new": None})
    assert main(["hub", "adopt", "--epoch", "--data-dir", str(data_dir)]) == 1
    assert "nothing to repair: the epoch is 3" in capsys.readouterr().err
