"""`kapok hub adopt`: accepts the loss that is named, and only that; then a start finds nothing."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.cli.entry import main
from scheduler.control.leader_election import EPOCH_ANNOTATION, LEASE_NAME, ORDERS_ANNOTATION
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS, Object
from scheduler.hub.client import HubClient, open_hub
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.verify import verify
from scheduler.mqtt.keyring import load_or_make_key
from tests.support.kept_data import EPOCH, files_of, make_data, remove

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept") / "data"
    asyncio.run(make_data(root))
    return root


@pytest.fixture
def root(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "data")
    return tmp_path / "data"


def in_hub(root: Path, act: Any) -> Any:  # noqa: ANN401 - a coroutine function and its result
    """Runs something with a client of the data directory's hub."""

    async def with_hub() -> Any:  # noqa: ANN401 - as above
        async with (
            serve(ApiServerOptions(data_dir=root / "hub")) as server,
            open_hub(server.kubeconfig_path) as client,
        ):
            return await act(client)

    return asyncio.run(with_hub())


async def read_lease(client: HubClient) -> Object:
    return await client.get(LEASES, LEASE_NAME, NAMESPACE)


async def delete_lease(client: HubClient) -> None:
    await client.delete(LEASES, LEASE_NAME, NAMESPACE)


async def forge_status(client: HubClient) -> None:
    decision = {"id": "8-1", "hash": "sha256:" + "1" * 64, "decidedAt": "2026-11-24T08:00:00Z"}
    patch = {"status": {"decision": {**decision, "line": "x"}, "epoch": 8}}
    await client.merge_patch(WORKLOADS, "app", patch, namespace="ns", subresource="status")


def adopt(
    capsys: pytest.CaptureFixture[str], root: Path, *words: str
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["hub", "adopt", "--data-dir", str(root), *words, "-o", "json"])
    captured = capsys.readouterr()
    assert not captured.err
    return code, json.loads(captured.out)


def lose(root: Path, name: str) -> None:
    if name == "objects":
        remove(root / "hub/objects.db")
    elif name == "lease":
        in_hub(root, delete_lease)
    elif name == "keys":
        remove(root / "hub.key")
    elif name == "ledger":
        remove(root / "ledger.db")
    elif name == "received":
        remove(root / "received.db")
    else:
        in_hub(root, forge_status)


def soaked(*losses: str) -> Any:  # noqa: ANN401 - pytest's own type
    return pytest.param(losses, marks=pytest.mark.soak)


@pytest.mark.parametrize(
    "losses",
    [
        ("objects", "keys"),
        soaked("objects"),
        soaked("keys", "ledger"),
        soaked("keys"),
        soaked("ledger"),
        soaked("lease"),
        soaked("a ledger cut off"),
        soaked("lease", "keys"),
        ("received",),
    ],
    ids=str,
)
def test_losses_are_shown_then_accepted_and_recorded(
    root: Path, losses: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for loss in losses:
        lose(root, loss)
    names = sorted("ledger" if loss.startswith("a ledger") else loss for loss in losses)
    words = [word for name in names for word in ("--lost", name)]
    before = {one: (root / one).exists() for one in ("ledger.db", "hub.key", "hub/objects.db")}
    code, shown = adopt(capsys, root, *words, "--dry-run")
    assert (code, shown["dryRun"], shown["remaining"]) == (0, True, [])
    assert sorted(shown["accepted"]) == names
    assert {one: (root / one).exists() for one in before} == before
    code, answer = adopt(capsys, root, *words)
    assert (code, sorted(answer["accepted"])) == (0, names)
    with LedgerReader(root / "ledger.db") as reader:
        record = reader.last_about("hub")
        assert record is not None
        assert (record.kind, sorted(record.content["lost"])) == ("adoption", names)
        assert verify(reader).is_ok
    assert adopt(capsys, root)[1]["lost"] == []
    annotations = in_hub(root, read_lease)["metadata"]["annotations"]
    assert int(annotations[EPOCH_ANNOTATION]) >= EPOCH
    is_hub_lost = bool({"objects", "lease"} & set(names))
    assert annotations.get(ORDERS_ANNOTATION) == ("Keep" if is_hub_lost else None)
    if "keys" in names:
        assert answer["hubKey"] == str(load_or_make_key(root / "hub.key").public)
        assert (root / "hub.pub").read_text().strip() == answer["hubKey"]


def test_a_loss_that_is_not_named_or_not_there_is_not_accepted(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "hub.key").write_bytes(b"k" * 32)
    before = files_of(root)
    code, answer = adopt(capsys, root, "--lost", "ledger")
    assert (code, answer["accepted"]) == (1, [])
    assert (answer["notLost"], answer["remaining"]) == (["ledger"], ["keys"])
    kept_files = ("hub.key", "hub.pub", "ledger.db")
    assert {one: before[one] for one in kept_files} == {
        one: files_of(root)[one] for one in kept_files
    }


def test_a_directory_that_does_not_exist_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hub", "adopt", "--data-dir", str(tmp_path / "none")]) == 1
    assert "no such data directory" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
