"""A ledger that is written again, cut, replaced or signed by another key is found out."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger import sealer
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import GENESIS
from scheduler.ledger.segments import head_of, is_signed, sign_head
from scheduler.ledger.verify import VerificationResult, verify
from scheduler.ledger.witnesses import Witnesses
from scheduler.model.canonical import canonical_json, digest_of_bytes
from tests.support.ledgers import NOON, entry, fill

pytestmark = pytest.mark.integration

HUB, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))
HUB_KEYS = frozenset({str(HUB.public)})
RECORDS = 12
LAST = RECORDS + 3  # with a segment after every four


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
    edit: Callable[[dict[str, object]], dict[str, object] | None] = lambda fields: fields,
) -> None:
    """Writes every record again with `edit`, and all hashes; with a key also all signatures.

    A record of which `edit` makes None is left out, and what follows moves up.
    """
    with opened(data_dir) as connection:
        rows = connection.execute("SELECT body FROM records ORDER BY seq").fetchall()
        connection.execute("DELETE FROM records")
        seq, previous, segment, first = 0, GENESIS, GENESIS, 1
        for (old,) in rows:
            fields = edit(json.loads(old))
            if fields is None:
                continue
            seq += 1
            fields |= {"seq": seq, "id": f"7-{seq}", "previous": previous}
            content = fields["content"]
            is_segment = fields["kind"] == "segment"
            if is_segment and key and isinstance(content, Mapping):
                head = sign_head(
                    key, first=first, seq=seq - 1, digest=previous, previous=segment, at=NOON
                )
                fields["content"] = {**content, "segment": asdict(head)}
            body = canonical_json(fields)
            previous = digest_of_bytes(body)
            if is_segment:
                segment, first = previous, seq
            connection.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
                (seq, fields["id"], previous, fields["subject"], body),
            )


def _edit_5(fields: dict[str, object]) -> dict[str, object]:
    content = fields["content"]
    if isinstance(content, dict) and content.get("number") == 5:
        return fields | {"content": {"number": 5, "decision": {"line": "placed on m9"}}}
    return fields


def _cut(data_dir: Path, keep: int) -> None:
    with opened(data_dir) as connection:
        connection.execute("DELETE FROM records WHERE seq > ?", (keep,))


async def test_segments_are_bounded_signed_and_chained(tmp_path: Path) -> None:
    heads = await signed_ledger(tmp_path)
    verdict = verdict_of(tmp_path, *heads)
    assert verdict.is_ok
    assert (verdict.records, verdict.signed.segments, verdict.signed.signed_to) == (LAST, 3, 14)
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


async def test_a_dropped_segment_is_found(tmp_path: Path) -> None:
    await signed_ledger(tmp_path)
    seen = list[int]()

    def drop_second(fields: dict[str, object]) -> dict[str, object] | None:
        seen.append(1) if fields["kind"] == "segment" else None
        return None if fields["kind"] == "segment" and len(seen) == 2 else fields

    rewrite(tmp_path, edit=drop_second)
    found = verdict_of(tmp_path).first_finding
    assert found is not None
    assert "rewritten" in found.sentence


async def test_more_records_without_a_segment_than_one_may_have_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.ledger.segments.MAX_SEGMENT_RECORDS", 6)
    await signed_ledger(tmp_path)
    rows = iter(range(LAST + 1))

    def drop_later(fields: dict[str, object]) -> dict[str, object] | None:
        return None if fields["kind"] == "segment" and next(rows) else fields

    rewrite(tmp_path, edit=drop_later)
    found = verdict_of(tmp_path).first_finding
    assert found is not None
    assert "one was removed" in found.sentence


async def test_swapped_keys_are_found(tmp_path: Path) -> None:
    await signed_ledger(tmp_path)

    def swap(fields: dict[str, object]) -> dict[str, object]:
        content = fields["content"]
        if fields["kind"] == "segment" and isinstance(content, dict):
            segment = content["segment"] | {"key": str(OTHER.public)}
            return fields | {"content": content | {"segment": segment}}
        return fields

    rewrite(tmp_path, edit=swap)
    found = verdict_of(tmp_path, trusted=frozenset()).first_finding
    assert found is not None
    assert f"without key {OTHER.public.kid}" in found.sentence


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
    assert verdict.signed.signed_to == verdict.records - 1


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
