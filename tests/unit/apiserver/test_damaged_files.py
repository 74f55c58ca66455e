"""Damaged files at the start: they are replaced, or one sentence names the file and the way out."""

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from scheduler.apiserver.auth.rbac import Identity
from scheduler.apiserver.auth.tokens import OWNER, TokenStore
from scheduler.apiserver.base.errors import DamagedFile
from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.apiserver.storage.sqlite import SqliteStore
from tests.support.api_raw import raw_client
from tests.support.widgets import widget_crd

CRDS = [widget_crd("damaged.kapok.dev")]
GARBAGE = [b"\x00\xff garbage", b"", b"{}", b"[1, null]", b'"x"']
SOAK = pytest.mark.soak


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


async def start(folder: Path) -> "Counter[str]":
    """Starts a server and reads from it; returns the faults that it reported."""
    faults: Counter[str] = Counter()
    options = ApiServerOptions(
        data_dir=folder, crds=CRDS, on_fault=lambda where: faults.update([where])
    )
    async with serve(options) as server, raw_client(server) as client:
        answer = await client.request(b"GET", b"/apis/damaged.kapok.dev/v1/widgets")
        assert answer.code == 200
    return faults


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a stopped server."""
    folder = tmp_path_factory.mktemp("template") / "hub"
    asyncio.run(start(folder))
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of the data directory of a stopped server."""
    return shutil.copytree(template, tmp_path / "hub")


@pytest.mark.parametrize(
    "content", [GARBAGE[0], *(pytest.param(c, marks=SOAK) for c in GARBAGE[1:])]
)
async def test_files_that_the_server_can_make_are_replaced(folder: Path, content: bytes) -> None:
    for name in ("port", "tls.crt", "tls.key", "ca.crt", "kubeconfig"):
        (folder / name).write_bytes(content)
    assert not await start(folder)


@SOAK
@pytest.mark.parametrize("name", ["port", "tls.crt", "tls.key", "ca.crt", "kubeconfig"])
@pytest.mark.parametrize("content", GARBAGE)
async def test_each_such_file_alone_is_replaced(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    assert not await start(folder)


@pytest.mark.parametrize("name", ["port", "tls.crt", "kubeconfig", "tokens.json"])
async def test_a_folder_in_the_place_of_a_file_is_named(folder: Path, name: str) -> None:
    make_folder(folder / name)
    with pytest.raises(DamagedFile, match=str(folder / name)) as refused:
        await _start_plainly(folder)
    assert "remove" in str(refused.value) or "move it away" in str(refused.value)


async def _start_plainly(folder: Path) -> None:
    """Starts a server; the only error of its group is raised itself."""
    try:
        await start(folder)
    except* DamagedFile as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raised = error
    else:
        return
    raise raised


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_file_of_tokens_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"tokens\.json: .*kapok hub token"):
        TokenStore(path).get_or_create(OWNER)


def test_a_role_that_does_not_exist_is_a_damaged_file_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps([{"name": "x", "role": "root", "namespaces": [], "token": "t"}]))
    with pytest.raises(DamagedFile, match="unknown role 'root'"):
        TokenStore(path).get_or_create(OWNER)


def test_the_owner_of_an_earlier_version_keeps_its_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.touch(mode=0o600)
    entry = {"name": "kapok-admin", "role": "administrator", "namespaces": [], "token": "old"}
    path.write_text(json.dumps([entry, {**entry, "name": "bob", "token": "other"}]))
    store = TokenStore(path)
    assert store.get_or_create(OWNER) == "old"
    assert store.identity_of(b"other") == Identity("bob", "administrator")


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "objects.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DamagedFile, match=r"objects\.db: .* kapok hub restore"):
        SqliteStore(tmp_path / "objects.db").open()


@pytest.mark.parametrize(
    "content",
    [b"{", *(pytest.param(c, marks=SOAK) for c in (b"", b"[]", b'{"metadata":{}}', b"\xff"))],
)
async def test_a_damaged_definition_is_counted_and_made_again(folder: Path, content: bytes) -> None:
    with sqlite3.connect(folder / "objects.db") as connection:
        changed = connection.execute(
            "UPDATE objects SET data = ? WHERE key = 'widgets.damaged.kapok.dev'", (content,)
        )
        assert changed.rowcount == 1
    connection.close()
    assert set(await start(folder)) == {"api-load"}
    assert not await start(folder)
