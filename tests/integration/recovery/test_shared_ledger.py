"""A hub that moves its ledger into PostgreSQL, or has lost it, and a key that replicas share."""

import asyncio
import base64
import json
import shutil
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.control.ports.hub import NAMESPACE, SECRETS
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.verify import verify
from scheduler.recovery.files import check_mounted_secret
from scheduler.recovery.signing_key import load_signing_key, replace_key_in_secret
from scheduler.runtime.data_dir import DataDirectoryError
from scheduler.settings import HubSettings
from tests.support.fake_hub import FakeHub
from tests.support.kept_data import make_data
from tests.support.ledgers import entry
from tests.support.postgres import PostgresServer

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


@pytest.fixture
def url(postgres: PostgresServer) -> PostgresUrl:
    return postgres.new_database()


@pytest.fixture
def places(root: Path, url: PostgresUrl) -> list[str]:
    """The options of a command that has the data directory and the database."""
    password, config = root.with_name("password"), root.with_name("scheduler.yaml")
    password.write_text(url.password)
    config.write_text(json.dumps({"ledger": {"url": str(url), "password_file": str(password)}}))
    return ["--data-dir", str(root), "--config", str(config), "-o", "json"]


def test_a_ledger_that_moved_lacks_nothing(
    root: Path, url: PostgresUrl, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hub", "adopt", *places]) == 1
    (loss,) = json.loads(capsys.readouterr().out)["lost"]
    assert loss["name"] == "ledger"
    assert "kapok ledger move" in loss["sentence"]
    assert main(["ledger", "move", *places]) == 0
    moved = json.loads(capsys.readouterr().out)
    with LedgerReader(root / "ledger.db") as file, LedgerReader(url) as database:
        assert list(file.rows()) == list(database.rows())
        assert moved["records"] == database.count() > 0
    assert main(["hub", "adopt", *places]) == 0
    assert json.loads(capsys.readouterr().out)["lost"] == []
    assert main(["ledger", "move", *places]) == 1
    assert "name a database without a ledger" in capsys.readouterr().err
    assert main(["ledger", "move", "--data-dir", str(root)]) == 2


def test_a_new_chain_names_the_end_of_the_lost_one(
    root: Path, url: PostgresUrl, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with LedgerReader(root / "ledger.db") as file:
        named = file.find(str(decision_of(root)["id"]))
    assert main(["hub", "adopt", "--lost", "ledger", *places]) == 0
    capsys.readouterr()
    with LedgerReader(url) as reader:
        first = reader.last()
        assert verify(reader).is_ok
    assert first is not None
    assert named is not None
    assert first.kind == "adoption"
    assert first.content["handover"]["hash"] == named.hash
    assert first.content["handover"]["seq"] == named.seq
    assert main(["hub", "adopt", *places]) == 0  # and nothing is lost any more


def decision_of(root: Path) -> dict[str, str]:
    """The newest decision that a status of the stopped hub names."""
    import sqlite3  # noqa: PLC0415 - of this helper

    with sqlite3.connect(root / "hub" / "objects.db") as connection:
        rows = connection.execute("SELECT data FROM objects WHERE resource LIKE '%/workloads'")
        found = [json.loads(data).get("status", {}).get("decision") for (data,) in rows]
    connection.close()
    decided: list[dict[str, str]] = [one for one in found if one]
    return max(decided, key=lambda one: int(one["id"].partition("-")[2]))


def test_a_lowered_epoch_is_accepted_by_the_ledger(
    root: Path, url: PostgresUrl, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def append(epoch: int) -> str:
        async with Ledger(root, url=url) as ledger:
            return (await ledger.append(entry(1, epoch=epoch))).id

    assert main(["ledger", "move", *places]) == 0
    capsys.readouterr()
    assert main(["hub", "adopt", "--epoch", "500", *places]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["epoch"], answer["newKey"]) == (500, False)
    with LedgerReader(url) as reader:
        last = reader.last()
    assert last is not None
    assert last.id == f"500-{last.seq}"
    assert asyncio.run(append(501)).startswith("501-")


async def test_replicas_share_the_key_of_a_secret(tmp_path: Path) -> None:
    hub, settings = FakeHub(), HubSettings(kubeconfig="k", signing_key_secret="kapok-hub-key")  # noqa: S106 - a name
    first = await load_signing_key(settings, tmp_path / "one", hub)
    second = await load_signing_key(settings, tmp_path / "two", hub)
    assert first.raw() == second.raw()
    await replace_key_in_secret(hub, "kapok-hub-key")
    secret = await hub.get(SECRETS, "kapok-hub-key", NAMESPACE)
    assert base64.b64decode(secret["data"]["hub.key.replaced"]) == first.raw()
    assert (await load_signing_key(settings, tmp_path, hub)).raw() != first.raw()
    for data, says in ((b"short", "not an Ed25519 key"), (None, "not an Ed25519 key")):
        packed = base64.b64encode(data).decode() if data else None
        await hub.merge_patch(
            SECRETS, "kapok-hub-key", {"data": {"hub.key": packed}}, namespace=NAMESPACE
        )
        with pytest.raises(ValueError, match=f"Secret kapok-system/kapok-hub-key.*{says}"):
            await load_signing_key(settings, tmp_path, hub)
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(("mode", "is_refused"), [(0o440, False), (0o400, False), (0o444, True)])
async def test_a_mounted_key_may_be_read_by_its_group(
    tmp_path: Path, mode: int, *, is_refused: bool
) -> None:
    path = tmp_path / "hub.key"
    path.write_bytes(bytes(range(32)))
    path.chmod(mode)
    if is_refused:
        with pytest.raises(DataDirectoryError, match="chmod 600"):
            check_mounted_secret(path)
    else:
        check_mounted_secret(path)
    settings = HubSettings(signing_key_file=str(path))
    assert (await load_signing_key(settings, tmp_path, FakeHub())).raw() == bytes(range(32))
    settings = HubSettings(signing_key_file=str(tmp_path / "none"))
    with pytest.raises(DataDirectoryError, match="mount the Secret"):
        await load_signing_key(settings, tmp_path, FakeHub())
