"""A hub whose owner has all keys writes its ledger again: its sites and statuses know better."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agents.orders.heads import load_heads
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.keys import TrustedKeys
from scheduler.cli.entry import main
from scheduler.mqtt.keyring import load_or_make_key
from tests.hostile.test_objects import deployment, phase, workload
from tests.integration.ledger.test_segments import rewrite
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Json = dict[str, Any]
SETTINGS = """
freshness: {hear_sites_seconds: 0.2, site_status_seconds: 0.5, silent_after_seconds: 4.0}
dispatch: {repeat_seconds: 1.0}
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The data directory of a hub that has decided and was stopped, and the heads of its site."""
    folder = tmp_path_factory.mktemp("up")
    with running_up(folder, settings=SETTINGS) as up:
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], nodes=100)
        up.apply(site.manifest + json.dumps(workload("first", deployment("first"))))
        intake = Intake(
            site="m1",
            trusted_keys=TrustedKeys.parse([up.ready["hubKey"]]),
            journal=Journal(folder / "journal.sqlite"),
        )
        with running_sites(site):
            eventually(lambda: phase(up, "first") == "Running")
            up.apply(json.dumps(workload("second", deployment("second"))))
            eventually(lambda: phase(up, "second") == "Running")
            for message in site.index_messages:
                intake.accept_index(message)
        heads = [asdict(one.head) for one in load_heads(folder / "journal.sqlite", "m1")]
        (folder / "m1.json").write_text(json.dumps({"site": "m1", "heads": heads}))
        assert up.stop() == 0
        yield up.data_dir, folder / "m1.json"


def verdict(data_dir: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Json:
    code = main(["ledger", "verify", "--data-dir", str(data_dir), "-o", "json", *words])
    found: Json = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 1)
    return found


def copy_of(data_dir: Path, target: Path) -> Path:
    """The files that `kapok ledger verify` reads."""
    (target / "hub").mkdir(parents=True)
    for name in ("ledger.db", "hub.key", "hub.pub", "hub.keys", "hub/objects.db"):
        (target / name).write_bytes((data_dir / name).read_bytes())
        (target / name).chmod(0o600)
    return target


def test_an_honest_ledger_is_signed_and_witnessed(
    stopped: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir, heads = stopped
    found = verdict(data_dir, capsys, "--witness", str(heads))
    assert found["ok"], found
    assert found["signed"]["segments"] >= 1
    assert found["witnessed"]["witnessed_by"] == "site m1"
    assert verdict(data_dir, capsys)["witnessed"]["seq"] >= 2


@pytest.mark.parametrize("has_hub", [True, False], ids=["with the hub", "with the site alone"])
@pytest.mark.parametrize("attack", ["rewrite", "cut", "replace"])
def test_the_owner_of_all_keys_cannot_change_what_was_witnessed(
    stopped: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    attack: str,
    has_hub: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    data_dir = copy_of(stopped[0], tmp_path / "copy")
    key = load_or_make_key(data_dir / "hub.key")
    if attack == "cut":
        with sqlite3.connect(data_dir / "ledger.db") as database:
            database.execute("DELETE FROM records WHERE seq > 1")
            database.execute("DELETE FROM segments")
        database.close()
    else:
        rewrite(data_dir, key=key, edit=_rewritten if attack == "rewrite" else _other)
    words = () if has_hub else ("--witness", str(stopped[1]))
    if not has_hub:
        (data_dir / "hub/objects.db").unlink()
    found = verdict(data_dir, capsys, *words)
    assert not found["ok"]
    expected = "the end was cut off" if attack == "cut" else "history was rewritten"
    assert expected in found["sentence"]


def _rewritten(fields: Json) -> Json:
    return fields | ({"at": "2020-01-01T00:00:00+00:00"} if fields["seq"] == 1 else {})


def _other(fields: Json) -> Json:
    return fields | {"at": "2020-01-01T00:00:00+00:00"}
