"""`kapok ledger` as people and scripts call it."""

import json
import sqlite3
from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from scheduler.cli.entry import main
from scheduler.ledger.ledger import Ledger
from scheduler.mqtt.keyring import note_public_key
from tests.support.ledgers import entry, fill

pytestmark = pytest.mark.integration


async def test_verify_answers_in_json_and_by_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(tmp_path, 4)
    words = ["ledger", "verify", "--data-dir", str(tmp_path), "-o", "json"]
    assert main(words) == 0
    good = json.loads(capsys.readouterr().out)
    assert (good["records"], good["ok"], good["first_bad"]) == (4, True, None)

    connection = sqlite3.connect(tmp_path / "ledger.db")
    with connection:
        connection.execute("UPDATE records SET subject = 'else/where' WHERE seq = 3")
    connection.close()
    assert main(words) == 1
    bad = json.loads(capsys.readouterr().out)
    assert (bad["records"], bad["ok"], bad["first_bad"]) == (4, False, 3)
    assert main(words[:-2]) == 1
    assert "record 3 of 4" in capsys.readouterr().out


async def test_it_works_while_the_writer_is_at_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.append(entry(1))
        assert main(["ledger", "verify", "--data-dir", str(tmp_path), "-o", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["records"] == 1
        assert (await ledger.append(entry(2))).seq == 2


async def test_an_anchor_kept_elsewhere_finds_a_cut_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(tmp_path, 4)
    monkeypatch.setenv("KAPOK_DATA_HOME", str(tmp_path))
    assert main(["ledger", "anchor"]) == 0
    anchor = capsys.readouterr().out.strip()
    assert main(["ledger", "verify", "--anchor", anchor]) == 0
    connection = sqlite3.connect(tmp_path / "ledger.db")
    with connection:
        connection.execute("DELETE FROM records WHERE seq = 4")
    connection.close()
    assert main(["ledger", "verify"]) == 0
    assert main(["ledger", "verify", "--anchor", anchor]) == 1


async def test_list_and_show_find_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipts = await fill(tmp_path, 6)
    where = ["--data-dir", str(tmp_path)]
    assert main(["ledger", "list", *where]) == 0
    assert "placed on m3" in capsys.readouterr().out
    assert main(["ledger", "list", *where, "--subject", "health/work-1", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["records"]
    assert [record["id"] for record in listed] == ["7-1", "7-6"]
    assert main(["ledger", "show", receipts[2].id, *where, "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["hash"] == receipts[2].hash
    assert shown["record"]["content"]["number"] == 3
    assert main(["ledger", "show", "9-99", *where]) == 1
    assert "ledger list" in capsys.readouterr().err


def test_a_missing_ledger_is_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "verify", "--data-dir", str(tmp_path), "-o", "json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--data-dir" in said.err


def test_a_file_that_is_no_ledger_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger.db").write_bytes(b"\x00" * 5000)
    assert main(["ledger", "verify", "--data-dir", str(tmp_path), "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


async def test_what_is_signed_and_by_whose_key_is_said_also_without_a_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, other = SigningKey(bytes(range(32))), SigningKey(bytes(32))
    await fill(tmp_path, 2)
    words = ["ledger", "verify", "--data-dir", str(tmp_path)]
    assert main(words) == 0
    assert "no record is signed" in capsys.readouterr().out
    await fill(tmp_path, 3, key=hub, start=3)
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"records up to 5 are signed in 1 segments by key {hub.public.kid}" in said
    assert "records 1 to 2 were written before, without a signature" in said
    assert "no record is witnessed" in said
    note_public_key(tmp_path / "hub.keys", hub)
    assert main(words) == 0
    capsys.readouterr()
    (tmp_path / "hub.keys").write_text(f"{other.public}\n")
    assert main([*words, "-o", "json"]) == 1
    assert "which is no key of this hub" in json.loads(capsys.readouterr().out)["sentence"]
    assert main([*words, "--key", str(hub.public)]) == 0


@pytest.mark.parametrize("text", ["", "[]", "[" * 9_999, '{"heads": 1}', '{"site": "m1"}'])
async def test_a_file_that_holds_no_heads_is_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    await fill(tmp_path, 1)
    (tmp_path / "m1.json").write_text(text)
    words = ["ledger", "verify", "--data-dir", str(tmp_path), "--witness"]
    assert main([*words, str(tmp_path / "m1.json")]) == 2
    assert "m1.json" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "none.json")]) == 2
