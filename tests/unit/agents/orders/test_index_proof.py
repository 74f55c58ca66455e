"""What the agent keeps of the hub's index: its whole envelope, and how new the next one must be."""

import sqlite3
from pathlib import Path

import pytest

from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.bounds import LAST_EPOCH, LAST_SEQUENCE, MAX_EPOCH
from agents.protocol.envelope import unseal
from agents.protocol.errors import WireError
from agents.protocol.index import DESIRED_INDEX, DesiredIndex, digest_of
from agents.protocol.keys import SigningKey, TrustedKeys
from tests.support.wire_hub import WireHub

HUB, NEW = WireHub(key=SigningKey(bytes(range(32)))), WireHub(key=SigningKey(bytes(32)))
OLD_SCHEMA = """
CREATE TABLE accepted (
  kid TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  digest TEXT NOT NULL, payload BLOB NOT NULL);
"""


def started(folder: Path, *hubs: WireHub, site: str = "site-a") -> Intake:
    """An agent's intake after a start, which trusts these hubs."""
    return Intake(
        site=site,
        trusted_keys=TrustedKeys(hub.key.public for hub in hubs or (HUB,)),
        journal=Journal(folder / "journal.sqlite"),
    )


def journal_of_the_version_before(folder: Path, hub: WireHub, *, epoch: int, sequence: int) -> None:
    payload = DESIRED_INDEX.encode(
        DesiredIndex(site="site-a", site_uid="uid-1", epoch=epoch, sequence=sequence)
    )
    with sqlite3.connect(folder / "journal.sqlite") as database:
        database.executescript(OLD_SCHEMA)
        words = (hub.key.public.kid, epoch, sequence, digest_of(payload), payload)
        database.execute("INSERT INTO accepted VALUES (?, ?, ?, ?, ?)", words)
    database.close()


def test_the_proof_is_the_whole_message_of_the_newest_index_also_after_a_restart(
    tmp_path: Path,
) -> None:
    intake = started(tmp_path)
    assert intake.read_proof() is None
    intake.accept_index(HUB.index(1)[1])
    name, message = HUB.index(2)
    intake.accept_index(message)
    assert intake.read_proof() == started(tmp_path).read_proof() == message.decode()
    payload = unseal(message, topic=name, trusted=TrustedKeys([HUB.key.public]))
    assert DESIRED_INDEX.decode(payload).version == (1, 2)


def test_a_journal_of_the_version_before_opens_and_its_proof_comes_with_the_next_message(
    tmp_path: Path,
) -> None:
    journal_of_the_version_before(tmp_path, HUB, epoch=1, sequence=7)
    intake = started(tmp_path)
    assert intake.index is not None
    assert (intake.index.version, intake.read_proof()) == ((1, 7), None)
    with pytest.raises(WireError, match="not newer"):
        intake.accept_index(HUB.index(6)[1])
    same = HUB.index(7)[1]
    assert not intake.accept_index(same)
    assert intake.read_proof() == started(tmp_path).read_proof() == same.decode()


@pytest.mark.parametrize("spoilt", [b"\xff", b"[]", b"{}", b"{", b'{"site": {}}'])
def test_a_row_of_the_version_before_that_cannot_be_read_is_as_none(
    tmp_path: Path, spoilt: bytes
) -> None:
    journal_of_the_version_before(tmp_path, HUB, epoch=1, sequence=7)
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        database.execute("UPDATE accepted SET payload = ?", (spoilt,))
    database.close()
    assert started(tmp_path).accept_index(HUB.index(7)[1])


def test_another_site_on_the_same_disk_begins_anew_and_the_first_keeps_its_own(
    tmp_path: Path,
) -> None:
    started(tmp_path).accept_index(HUB.index(7)[1])
    other, hub = started(tmp_path, site="site-b"), WireHub(site="site-b", key=HUB.key)
    assert other.index is None
    assert other.accept_index(hub.index(1)[1])
    with pytest.raises(WireError, match="not newer"):
        started(tmp_path).accept_index(HUB.index(6)[1])


@pytest.mark.parametrize(
    ("epoch", "sequence"), [(LAST_EPOCH + 1, 1), (MAX_EPOCH, 1), (1, LAST_SEQUENCE + 1)]
)
def test_no_index_moves_a_counter_near_its_end(tmp_path: Path, epoch: int, sequence: int) -> None:
    intake = started(tmp_path)
    with pytest.raises(WireError, match="kapok hub adopt --epoch"):
        intake.accept_index(HUB.index(sequence, epoch=epoch)[1])
    assert intake.accept_index(HUB.index(LAST_SEQUENCE, epoch=LAST_EPOCH)[1])


def test_a_site_at_the_end_of_the_counter_follows_a_new_key_that_its_settings_trust(
    tmp_path: Path,
) -> None:
    journal_of_the_version_before(tmp_path, HUB, epoch=MAX_EPOCH, sequence=1)
    with pytest.raises(WireError, match="not trusted"):
        started(tmp_path).accept_index(NEW.index(1)[1])
    with pytest.raises(WireError, match="not newer"):
        started(tmp_path, HUB, NEW).accept_index(HUB.index(5)[1])
    assert started(tmp_path, HUB, NEW).accept_index(NEW.index(3)[1])
    intake = started(tmp_path, HUB, NEW)
    assert intake.index is not None
    assert intake.index.epoch == 1, "what was accepted last counts, not what is highest"
    with pytest.raises(WireError, match="not newer"):
        intake.accept_index(NEW.index(1)[1])
    with pytest.raises(WireError, match="above"):
        intake.accept_index(HUB.index(2, epoch=MAX_EPOCH)[1])


def test_a_new_key_counts_afresh_once_it_alone_is_trusted(tmp_path: Path) -> None:
    started(tmp_path).accept_index(HUB.index(9, epoch=10**9)[1])
    with pytest.raises(WireError, match="not newer"):
        started(tmp_path, HUB, NEW).accept_index(NEW.index(1)[1])
    assert started(tmp_path, NEW).accept_index(NEW.index(1)[1])
