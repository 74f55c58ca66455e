"""A running demo is upgraded: files of earlier versions open with the code of today."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents.orders.journal import Journal
from agents.protocol.keys import TrustedKeys
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.replay import replay
from scheduler.ledger.verify import verify
from scheduler.model.decision import ENGINE_VERSION
from tests.support.up import ROOT, Up, eventually, running_up

ENGINES = {
    "step-4": "3",
    "step-5": "4",
    "step-7": "5",
    "step-8": "6",
    "step-9": "7",
    "step-11": "7",
    "step-12": "7",
    "step-13": "7",
}
JOURNAL = "journal.sqlite"
GOLDEN = sorted(
    (path for path in (ROOT / "tests/golden").iterdir() if path.is_dir()),
    key=lambda path: int(path.name.removeprefix("step-")),
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

each_golden = pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
last_golden_and_the_others_in_the_soak = pytest.mark.parametrize(
    "golden",
    [
        pytest.param(path, id=path.name, marks=() if path == GOLDEN[-1] else pytest.mark.soak)
        for path in GOLDEN
    ],
)


def unpacked(golden: Path, data_dir: Path) -> Path:
    """Writes a golden data directory; returns the ledger's path."""
    (data_dir / "hub").mkdir(parents=True)
    for packed in golden.glob("*.gz"):
        name = packed.name.removesuffix(".gz")
        if name == JOURNAL:
            continue
        target = (data_dir / "hub" if name == "objects.db" else data_dir) / name
        target.write_bytes(gzip.decompress(packed.read_bytes()))
        target.chmod(0o600)
    return data_dir / "ledger.db"


def placements(objects: dict[str, Any]) -> dict[str, Any]:
    """Where each workload runs, by the groups of its status."""
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": [
            (group["sites"], group["replicas"])
            for group in one["status"].get("placement", {}).get("groups", [])
        ]
        for one in objects["items"]
    }


@each_golden
def test_a_ledger_written_before_verifies_and_replays_the_same_apart_from_texts(
    golden: Path, tmp_path: Path
) -> None:
    ledger = unpacked(golden, tmp_path)
    with LedgerReader(ledger) as reader:
        verdict = verify(reader)
        assert (verdict.is_ok, verdict.records) == (True, 26)
        answers = {record.id: replay(reader, record) for record in reader.records()}
    engine = ENGINES[golden.name]
    same = (
        "the same, byte for byte"
        if engine == ENGINE_VERSION
        else f"the same; engine {engine} may have worded its texts differently"
    )
    assert {id_: (answer.is_same, answer.sentence) for id_, answer in answers.items()} == {
        id_: (True, f"{id_} decided again: {same}") for id_ in answers
    }
    assert {one.recorded.engine for one in answers.values() if one.recorded} == {engine}


@last_golden_and_the_others_in_the_soak
def test_a_hub_of_an_earlier_version_opens_with_every_placement(
    golden: Path, tmp_path: Path
) -> None:
    unpacked(golden, tmp_path / "data")
    objects = tmp_path / "written.db"
    objects.write_bytes((tmp_path / "data/hub/objects.db").read_bytes())
    with running_up(tmp_path) as up:
        after = placements(json.loads(up.kubectl("get", "kw", "-A", "-o", "json")))
        assert len(after) == 26
        assert after["health/appointment"] == [(["gz-core"], 4), (["shaoguan"], 2)]
        assert sum(bool(groups) for groups in after.values()) == 20
        assert len(up.kubectl("get", "sites", "-o", "name").split()) == 12
        assert eventually(lambda: incarnations(up)) == written_incarnations(objects)


def incarnations(up: Up) -> dict[str, str]:
    """The incarnation of each workload; {} while one has none."""
    found = {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": one["status"].get(
            "incarnation", ""
        )
        for one in json.loads(up.kubectl("get", "kw", "-A", "-o", "json"))["items"]
    }
    return found if all(found.values()) else {}


def written_incarnations(objects: Path) -> dict[str, str]:
    """What the earlier version noted of each workload, by which the sites know their orders.

    Until step 6 it stood in an annotation, since then in the status.
    """
    with closing(sqlite3.connect(objects)) as connection:
        rows = connection.execute(
            "SELECT data FROM objects WHERE resource LIKE '%workloads%'"
        ).fetchall()
    found = [json.loads(data) for (data,) in rows]
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": one["status"].get(
            "incarnation"
        )
        or one["metadata"]["annotations"]["kapok.dev/incarnation"]
        for one in found
    }


@each_golden
def test_a_journal_of_an_earlier_agent_opens_with_its_index_and_orders(
    golden: Path, tmp_path: Path
) -> None:
    packed = golden / f"{JOURNAL}.gz"
    if not packed.exists():
        assert golden.name == "step-4", "only step-4 was kept without a journal"
        return
    path = tmp_path / JOURNAL
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    path.chmod(0o600)
    journal = Journal(path)
    assert journal.problem is None
    hub_key = gzip.decompress((golden / "hub.pub.gz").read_bytes()).decode().strip()
    [index] = journal.accepted_indexes("gz-core")
    assert index.kid in TrustedKeys.parse([hub_key]).ids()
    assert index.payload
    assert len(journal.applied_generations()) == 4
    assert sum(map(len, journal.created_objects().values())) == 8
    journal.close()
