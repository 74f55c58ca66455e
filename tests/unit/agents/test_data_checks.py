"""A damaged or lost file of an agent is named before the start, with what to do."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agents.cli import main
from agents.orders.journal import Journal
from agents.runtime.data_checks import adopt_boots, check_data_files, check_no_boots_lost
from agents.runtime.data_dir import (
    IdentityError,
    load_or_create_client_id,
    load_or_create_key,
    record_boot,
)

FILES = ("agent.key", "boots", "client-id", "journal.sqlite")
SECRETS = ("agent.key", "client-id", "journal.sqlite")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """What an agent that ran once has left."""
    load_or_create_key(tmp_path)
    record_boot(tmp_path)
    load_or_create_client_id(tmp_path)
    Journal(tmp_path / "journal.sqlite").close()
    check_data_files(tmp_path)
    return tmp_path


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loosen(path: Path) -> None:
    path.chmod(0o640)


def set_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def writing(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "way_out"),
    [
        *(
            pytest.param(name, replace_by_folder, "not a file; ", id=f"a folder as {name}")
            for name in FILES
        ),
        *(
            pytest.param(name, loosen, "run: chmod 600 ", id=f"{name} readable by a group")
            for name in SECRETS
        ),
        ("agent.key", writing(b"short"), "move it away to get a new key"),
        *(
            pytest.param("boots", writing(data), "--adopt boots", id=f"boots of {data!a}")
            for data in (b"", b"nonsense", b"-4", b"9" * 60, b"\xff\x00")
        ),
        ("journal.sqlite", set_version, "a newer kapok-agent wrote it; use the newer version"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_out(
    data_dir: Path, name: str, damage: Callable[[Path], object], way_out: str
) -> None:
    damage(data_dir / name)
    with pytest.raises(IdentityError) as caught:
        check_data_files(data_dir)
    assert str(caught.value).startswith(f"{data_dir / name}: ")
    assert way_out in str(caught.value)


def test_a_lost_count_of_starts_is_refused_until_it_is_adopted_above_every_count(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    former = record_boot(data_dir).number
    (data_dir / "boots").unlink()
    with pytest.raises(IdentityError, match=r"boots: lost: .*kapok-agent --adopt boots"):
        check_no_boots_lost(data_dir)
    monkeypatch.setenv("KAPOK_AGENT_SITE", "m1")
    monkeypatch.setenv("KAPOK_AGENT_DATA_DIR", str(data_dir))
    assert main([]) == 1  # the start itself
    assert "boots: lost: missing beside journal.sqlite" in capsys.readouterr().err
    assert not (data_dir / "boots").exists()
    assert main(["--adopt", "boots"]) == 0
    check_no_boots_lost(data_dir)
    assert record_boot(data_dir).number > former + 1_000_000
    assert main(["--adopt", "boots"]) == 1


def test_a_clock_at_its_beginning_gives_a_count_that_is_valid(data_dir: Path) -> None:
    (data_dir / "boots").unlink()
    assert adopt_boots(data_dir, now_seconds=0) == 1
    check_data_files(data_dir)


def test_a_first_start_misses_nothing(tmp_path: Path) -> None:
    check_data_files(tmp_path)
    check_no_boots_lost(tmp_path)
    load_or_create_key(tmp_path)  # `--show-key` comes before the first start
    check_no_boots_lost(tmp_path)
