"""A ledger that is written again, cut, replaced or signed by another key is found out."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger import sealer
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import GENESIS
from scheduler.ledger.segments import head_of, is_signed, read_segment, segment_body, sign_head
from scheduler.ledger.verify import VerificationResult, verify
from scheduler.ledger.witnesses import Witnesses
from scheduler.model.canonical import canonical_json, digest_of_bytes
from tests.support.ledgers import NOON, entry, fill

pytestmark = pytest.mark.integration

HUB, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))
HUB_KEYS = frozenset({str(HUB.public)})
RECORDS = 12


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "_SEAL_AFTER_RECORDS", 4)


@contextmanager
def opened(data_dir: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(data_dir / "ledger.db")
    try:
        with connection:
            yield connection
    finally:
        connection.close()


async def signed_ledger(data_dir: Path, key: SigningKey = HUB) -> list[SignedHead]:
    """Twelve decisions in three segments; returns the heads of the moment after each."""
    heads = []
    async with Ledger(data_dir, key=key) as ledger:
        for number in range(1, RECORDS + 1):
            await ledger.append(entry(number))
            head = ledger.head()
            assert head is not None
            heads.append(head)
    return heads


def verdict_of(
    data_dir: Path, *heads: SignedHead, trusted: frozenset[str] = HUB_KEYS
) -> VerificationResult:
    witnesses = Witnesses()
    trees = [asdict(head) for head in heads]
    witnesses.add_heads(trees, witness="site m1", trusted=trusted, is_outside=True)
    with LedgerReader(data_dir / "ledger.db") as reader:
        return verify(reader, witnesses.anchors, trusted_keys=trusted)


def rewrite(
    data_dir: Path,
    *,
    key: SigningKey | None = None,
    edit: Callable[[dict[str, object]], dict[str, object]] = lambda fields: fields,
) -> None:
    """Writes every record again with `edit`, and all hashes; with a key also all segments."""
    with opened(data_dir) as connection:
        rows = connection.execute("SELECT seq, body FROM records ORDER BY seq").fetchall()
        previous, hashes = GENESIS, dict[int, str]()
        for seq, old in rows:
            body = canonical_json(edit(json.loads(old)) | {"previous": previous})
            previous = hashes[seq] = digest_of_bytes(body)
            connection.execute(
                "UPDATE records SET hash = ?, body = ? WHERE seq = ?", (previous, body, seq)
            )
        segment = GENESIS
        for number, old in connection.execute("SELECT * FROM segments ORDER BY number").fetchall():
            head = read_segment(old)
            if key and head:
                at = datetime.fromisoformat(head.at)
                signed = sign_head(
                    key,
                    first=head.first,
                    seq=head.seq,
                    digest=hashes[head.seq],
                    previous=segment,
                    at=at,
                )
                body = segment_body(signed)
                segment = digest_of_bytes(body)
                connection.execute("UPDATE segments SET body = ? WHERE number = ?", (body, number))


def _edit_5(fields: dict[str, object]) -> dict[str, object]:
    content = fields["content"]
    if isinstance(content, dict) and content.get("number") == 5:
        return fields | {"content": {"number": 5, "decision": {"line": "placed on m9"}}}
    return fields


def _cut(data_dir: Path, keep: int, segments: int = 0) -> None:
    with opened(data_dir) as connection:
        connection.execute("DELETE FROM records WHERE seq > ?", (keep,))
        if segments:
            connection.execute("DELETE FROM segments WHERE number > ?", (segments,))


async def test_segments_are_bounded_signed_and_chained(tmp_path: Path) -> None:
    heads = await signed_ledger(tmp_path)
    verdict = verdict_of(tmp_path, *heads)
    assert verdict.is_ok
    assert (verdict.records, verdict.signed.segments, verdict.signed.signed_to) == (RECORDS, 3, 12)
    assert verdict.signed.keys == (HUB.public.kid,)
    assert all(is_signed(head) for head in heads)
    witnessed = verdict.newest_witnessed
    assert witnessed is not None
    assert (witnessed.seq, witnessed.witness) == (heads[-1].seq, "site m1")


@pytest.mark.parametrize("key", [None, OTHER], ids=["no key", "another key"])
async def test_a_rewrite_without_the_key_is_found_without_a_witness(
    tmp_path: Path, key: SigningKey | None
) -> None:
    await signed_ledger(tmp_path)
    rewrite(tmp_path, key=key, edit=_edit_5)
    found = verdict_of(tmp_path).first_finding
    assert found is not None
    assert ("no key of this hub" if key else "rewritten") in found.sentence


async def test_a_rewrite_by_an_owner_of_the_key_is_found_up_to_the_newest_head_of_a_site(
    tmp_path: Path,
) -> None:
    heads = await signed_ledger(tmp_path)
    rewrite(tmp_path, key=HUB, edit=_edit_5)
    assert verdict_of(tmp_path).is_ok  # its signatures are right: only a witness knows better
    verdict = verdict_of(tmp_path, heads[1], heads[8])
    assert verdict.first_finding is not None
    assert "site m1" in verdict.first_finding.sentence
    assert "history was rewritten" in verdict.first_finding.sentence
    assert verdict.first_finding.intact_to == heads[1].seq


async def test_a_cut_end_is_found_by_what_a_site_holds(tmp_path: Path) -> None:
    heads = await signed_ledger(tmp_path)
    _cut(tmp_path, 9)
    found = verdict_of(tmp_path).first_finding
    assert found is not None
    assert "cut off: a segment is signed for record 12" in found.sentence
    _cut(tmp_path, 9, segments=2)
    assert verdict_of(tmp_path).is_ok  # cut where a kill could have ended it: a site knows better
    found = verdict_of(tmp_path, heads[-1]).first_finding
    assert found is not None
    assert (found.seq, "cut off" in found.sentence, "site m1" in found.sentence) == (10, True, True)


async def test_a_fresh_consistent_ledger_in_its_place_is_found(tmp_path: Path) -> None:
    heads = await signed_ledger(tmp_path / "old")
    (tmp_path / "new").mkdir()
    await fill(tmp_path / "new", RECORDS * 2, key=HUB)
    assert verdict_of(tmp_path / "new").is_ok
    found = verdict_of(tmp_path / "new", heads[-1]).first_finding
    assert found is not None
    assert "history was rewritten" in found.sentence
    await fill(tmp_path / "short", 2, key=HUB)
    found = verdict_of(tmp_path / "short", heads[-1]).first_finding
    assert found is not None
    assert "cut off" in found.sentence


@pytest.mark.parametrize("number", [1, 2])
async def test_a_dropped_segment_is_found(tmp_path: Path, number: int) -> None:
    await signed_ledger(tmp_path)
    with opened(tmp_path) as connection:
        connection.execute("DELETE FROM segments WHERE number = ?", (number,))
    found = verdict_of(tmp_path).first_finding
    assert found is not None
    assert "a segment was removed" in found.sentence
    assert found.seq == 1 + 4 * (number - 1)


async def test_dropped_segments_at_the_end_are_found_by_a_head_that_names_them(
    tmp_path: Path,
) -> None:
    heads = await signed_ledger(tmp_path)
    with opened(tmp_path) as connection:
        connection.execute("DELETE FROM segments")
    found = verdict_of(tmp_path, heads[-1]).first_finding
    assert found is not None
    assert "a segment before it is missing: site m1" in found.sentence


async def test_more_records_without_a_segment_than_one_may_have_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.ledger.segments.MAX_SEGMENT_RECORDS", 6)
    await signed_ledger(tmp_path)
    _cut(tmp_path, RECORDS, segments=1)
    found = verdict_of(tmp_path).first_finding
    assert found is not None
    assert "one was removed" in found.sentence


async def test_swapped_keys_are_found(tmp_path: Path) -> None:
    await signed_ledger(tmp_path)
    with opened(tmp_path) as connection:
        connection.execute(
            "UPDATE segments SET body = CAST(replace(body, ?, ?) AS BLOB) WHERE number = 1",
            (str(HUB.public), str(OTHER.public)),
        )
    found = verdict_of(tmp_path, trusted=frozenset()).first_finding
    assert found is not None
    assert f"without key {OTHER.public.kid}" in found.sentence


@pytest.mark.parametrize("body", ["b'{'", "x'00'", "'text'", "1"])
async def test_an_edited_segment_is_found(tmp_path: Path, body: str) -> None:
    await signed_ledger(tmp_path)
    with opened(tmp_path) as connection:
        connection.execute(f"UPDATE segments SET body = {body.lstrip('b')} WHERE number = 2")  # noqa: S608 - of this file
    found = verdict_of(tmp_path).first_finding
    assert found is not None
    assert "cannot be read" in found.sentence


async def test_a_new_key_of_the_hub_covers_what_the_key_before_signed(tmp_path: Path) -> None:
    await signed_ledger(tmp_path)
    await fill(tmp_path, 3, key=OTHER, start=20)
    verdict = verdict_of(tmp_path, trusted=frozenset({str(OTHER.public)}))
    assert verdict.is_ok
    assert verdict.signed.keys == (HUB.public.kid, OTHER.public.kid)
    assert not verdict_of(tmp_path).is_ok  # the new key is not known to be the hub's


async def test_records_before_the_first_segment_are_said_to_be_unsigned(tmp_path: Path) -> None:
    await fill(tmp_path, 5)
    assert verdict_of(tmp_path).signed.segments == 0
    await fill(tmp_path, 3, key=HUB, start=6)
    verdict = verdict_of(tmp_path)
    assert verdict.is_ok
    assert (verdict.signed.unsigned_before, verdict.signed.signed_to) == (5, 8)


async def test_records_that_a_kill_left_unsigned_belong_to_the_next_segment(tmp_path: Path) -> None:
    await signed_ledger(tmp_path)
    await fill(tmp_path, 2, start=20)  # without a key, as if killed before the segment
    await fill(tmp_path, 1, key=HUB, start=30)
    verdict = verdict_of(tmp_path)
    assert verdict.is_ok
    assert verdict.signed.signed_to == verdict.records == RECORDS + 3


@pytest.mark.parametrize(
    "tree",
    [None, [], {}, {"first": True}, {"first": 1 << 70}, {"seq": "1"}, {"signature": "\ud800"}],
)
async def test_what_is_no_head_is_read_as_none(tmp_path: Path, tree: object) -> None:
    head = (await signed_ledger(tmp_path))[0]
    whole = {**asdict(head), **tree} if isinstance(tree, dict) and tree else tree
    read = head_of(whole)
    assert read is None or not is_signed(read)


async def test_heads_that_no_key_of_the_hub_signed_accuse_no_one(tmp_path: Path) -> None:
    await signed_ledger(tmp_path)
    false = sign_head(OTHER, first=1, seq=3, digest=GENESIS, previous=GENESIS, at=NOON)
    edited = asdict(false) | {"seq": 4}
    witnesses = Witnesses()
    witnesses.add_heads(
        [asdict(false), edited, "?"], witness="site m1", trusted=HUB_KEYS, is_outside=True
    )
    assert witnesses.anchors == []
    assert len(witnesses.notes) == 3
