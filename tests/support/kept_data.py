"""A data directory as a stopped `kapok up` leaves it, made without starting one."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.control.leader_election import EPOCH_ANNOTATION, LEASE_NAME
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS
from scheduler.hub.client import open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import LedgerEntry, Receipt
from scheduler.mqtt.keyring import load_or_make_key, write_public_key
from scheduler.mqtt.received_messages import ReceivedAgent, ReceivedMessages
from tests.support.sites import workload

EPOCH = 7
Damage = Callable[[Path], object]


async def make_data(root: Path) -> None:
    """A hub with a Lease and one decided workload, its ledger, key, ports and counts."""
    async with Ledger(root) as ledger:  # creates the directory, mode 0700
        entry = LedgerEntry(
            kind="decision",
            subject="ns/app",
            epoch=EPOCH,
            at=datetime(2026, 11, 23, 8, 1, tzinfo=UTC),
            content={"decision": {"line": "placed on m1 (1)"}},
        )
        receipt = await ledger.append(entry)
    await _make_hub(root / "hub", receipt)
    _write_key_and_ports(root)
    async with ReceivedMessages(folder=root) as received:
        for number in range(200):
            received.note((f"m{number}", "key", "main"), ReceivedAgent(1, "boot", 1, 2))


def _write_key_and_ports(root: Path) -> None:
    write_public_key(root / "hub.pub", load_or_make_key(root / "hub.key"))
    (root / "ports.json").write_text("{}\n")


async def _make_hub(folder: Path, receipt: Receipt) -> None:
    options = ApiServerOptions(data_dir=folder, crds=make_crds(), namespaces=("ns", NAMESPACE))
    lease: dict[str, Any] = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {
            "name": LEASE_NAME,
            "namespace": NAMESPACE,
            "annotations": {EPOCH_ANNOTATION: str(EPOCH)},
        },
        "spec": {"holderIdentity": "", "leaseTransitions": EPOCH},
    }
    decision = {
        "id": receipt.id,
        "hash": receipt.hash,
        "line": "placed on m1 (1)",
        "decidedAt": "2026-11-23T08:01:00Z",
    }
    status = {
        "epoch": EPOCH,
        "phase": "Running",
        "decision": decision,
        "placement": {"generation": 1, "groups": [{"sites": ["m1"], "replicas": 1}]},
    }
    async with serve(options) as server, open_hub(server.kubeconfig_path) as client:
        await client.create(LEASES, lease)
        await client.create(WORKLOADS, {**workload(), "status": {}})
        await client.merge_patch(
            WORKLOADS, "app", {"status": status}, namespace="ns", subresource="status"
        )


def files_of(root: Path) -> dict[str, bytes]:
    """The content of every file, without locks and SQLite's own side files."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock" and not path.name.endswith(("-wal", "-shm"))
    }


def remove(path: Path) -> None:
    """Deletes a file, of a database with its side files."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def cut_off(path: Path) -> None:
    """Keeps the first half of a file, as a full disk or a broken copy leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def scramble(path: Path) -> None:
    """Writes bytes that mean nothing."""
    path.write_bytes(bytes(range(256)) * 40)


def empty(path: Path) -> None:
    """Leaves a file of no bytes."""
    path.write_bytes(b"")


def replace_by_folder(path: Path) -> None:
    """Puts a directory where the file was."""
    path.unlink()
    path.mkdir()


def loosen(path: Path) -> None:
    """Lets the group read a file."""
    path.chmod(0o640)


def set_version(path: Path) -> None:
    """Marks a database as written by a much newer version."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def damage_a_page(path: Path) -> None:
    """Overwrites the middle of a file; its beginning and its length stay."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = b"\xee" * 4096
    path.write_bytes(data)
