"""The chain of hashes."""

import json

import pytest

from scheduler.ledger.blobs import blob_of, unpack
from scheduler.ledger.record import GENESIS, chain_entry
from scheduler.ledger.verify import Anchor, parse_anchor
from scheduler.model.canonical import digest_of_bytes
from tests.support.ledgers import entry


def test_a_record_holds_the_hash_of_the_one_before_it() -> None:
    first = chain_entry(entry(1), seq=1, previous=GENESIS)
    second = chain_entry(entry(2), seq=2, previous=first.hash)
    assert json.loads(second.body)["previous"] == first.hash
    assert second.hash == digest_of_bytes(second.body)


def test_an_id_contains_the_epoch_and_the_sequence() -> None:
    assert chain_entry(entry(1, epoch=12), seq=345, previous=GENESIS).id == "12-345"


def test_the_order_of_keys_changes_no_hash() -> None:
    one = chain_entry(entry(1, content={"a": 1, "b": {"c": 2, "d": 3}}), seq=1, previous=GENESIS)
    two = chain_entry(entry(1, content={"b": {"d": 3, "c": 2}, "a": 1}), seq=1, previous=GENESIS)
    assert one.hash == two.hash


def test_an_unknown_figure_is_null_and_not_zero() -> None:
    record = chain_entry(entry(1, content={"cost": float("nan")}), seq=1, previous=GENESIS)
    assert record.content["cost"] is None


def test_a_value_that_json_cannot_express_is_refused() -> None:
    with pytest.raises(TypeError):
        chain_entry(entry(1, content={"what": object()}), seq=1, previous=GENESIS)


def test_an_anchor_reads_back_what_a_receipt_prints() -> None:
    record = chain_entry(entry(1), seq=3, previous=GENESIS)
    assert parse_anchor(record.anchor + "\n") == Anchor(3, record.hash)


@pytest.mark.parametrize(
    "text", ["", "3", "0:sha256:" + "0" * 64, "3:md5:00", "x:sha256:" + "0" * 64]
)
def test_a_wrong_anchor_is_refused_with_the_form_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="SEQ:sha256:"):
        parse_anchor(text)


@pytest.mark.parametrize("harm", [b"", b"not zlib", "tail", "cut"])
def test_a_damaged_blob_does_not_unpack(harm: bytes | str) -> None:
    packed = blob_of({"free": list(range(100))}).packed
    damaged = {"tail": packed + b"x", "cut": packed[:-5]}.get(str(harm), harm)
    assert isinstance(damaged, bytes)
    with pytest.raises(ValueError, match=r"not a zlib stream|truncated"):
        unpack(damaged)
