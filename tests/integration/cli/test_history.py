"""`kapok history`: from the ledger's file, and over the network with the rights of a token."""

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.cli.support.ledger_access import LedgerUnreachable, RemoteLedger
from scheduler.cli.support.web_access import WebClient
from scheduler.inquiry.timeline import read_records, timeline
from tests.integration.cli.test_ledger_rights import address
from tests.integration.cli.test_replay import demand, record

pytestmark = pytest.mark.integration
KEY = "health/appointment"

__all__ = ["address"]  # a fixture


async def test_the_file_is_read_without_a_scheduler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(tmp_path, demand(), {"line": "=placed\n\x1b[2J 广州"})
    words = ["history", KEY, "--data-dir", str(tmp_path)]
    assert await asyncio.to_thread(main, words) == 0
    found = capsys.readouterr()
    assert "Placed" in found.out
    assert "\x1b" not in found.out
    assert found.out.count("\n") == 2
    assert "1 decisions that changed nothing are left out" in found.err
    assert await asyncio.to_thread(main, [*words, "-o", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["workload"] == KEY
    assert (answer["kept"], [one["event"] for one in answer["entries"]]) == (1, ["Placed"])
    assert sum(one["replicas"] for one in answer["entries"][0]["to"]) == 4
    assert await asyncio.to_thread(main, [*words, "--all", "-o", "csv"]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert [row[header.index("event")] for row in rows] == ["Placed", "Kept"]
    assert rows[0][header.index("line")] == "'=placed\\n\\x1b[2J 广州"
    assert await asyncio.to_thread(main, [*words, "-o", "name"]) == 0
    assert capsys.readouterr().out == "3-1\n"


async def test_what_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["history", "health/other", "--data-dir", str(tmp_path)]
    assert await asyncio.to_thread(main, words) == 2
    assert "ledger" in capsys.readouterr().err
    await record(tmp_path, demand())
    assert await asyncio.to_thread(main, words) == 1
    assert "no record about health/other" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["history", KEY, "--limit", "-1"])
    assert ended.value.code == 2


async def test_a_tenant_reads_its_own_history_and_no_other(address: str) -> None:
    def read() -> None:
        remote = RemoteLedger(WebClient(address, "tenant"))
        records, _ = read_records(remote, KEY, 1000)
        assert [one["event"] for one in timeline(records)] == ["Placed", "Kept"]
        with pytest.raises(LedgerUnreachable, match="may not get workloads"):
            read_records(remote, "police/case-files", 1000)

    await asyncio.to_thread(read)
