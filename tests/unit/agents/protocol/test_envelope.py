"""What the signature protects: who, where, what for, and every byte."""

import base64
import dataclasses
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.bounds import MAX_ENVELOPE_BYTES, MAX_PART_BYTES
from agents.protocol.envelope import deflate, inflate, seal, unseal, unseal_unadmitted
from agents.protocol.errors import WireError
from agents.protocol.index import IndexEntry, digest_of
from agents.protocol.keys import PublicKey, SigningKey, TrustedKeys
from agents.protocol.orders import (
    OrderContent,
    pack_content,
    seal_parts,
    unpack_content,
)
from agents.protocol.topics import is_site_name, order_token, order_topic, parse_topic, site_topic

KEY = SigningKey(bytes(range(32)))
OTHER = SigningKey(bytes(32))
TRUSTED = TrustedKeys([KEY.public])
TOPIC = site_topic("site-a", "desired")
PAYLOAD = b'{"a":"' + b"x" * 600 + b'"}'


def refused(data: bytes, *, on: str = TOPIC, trusted: TrustedKeys = TRUSTED) -> str:
    with pytest.raises(WireError) as caught:
        unseal(data, topic=on, trusted=trusted)
    return caught.value.reason


@given(payload=st.binary(max_size=2_000))
def test_a_sealed_payload_is_opened(payload: bytes) -> None:
    assert unseal(seal(payload, topic=TOPIC, key=KEY), topic=TOPIC, trusted=TRUSTED) == payload


@pytest.mark.parametrize(
    "other",
    [
        site_topic("site-b", "desired"),
        site_topic("site-a", "hub"),
        order_topic("site-a", "h/n/w/1"),
    ],
)
def test_a_message_is_good_on_its_own_topic_only(other: str) -> None:
    assert refused(seal(PAYLOAD, topic=TOPIC, key=KEY), on=other) == "signature"


@pytest.mark.parametrize("field", ["payload", "signature"])
def test_a_changed_byte_is_found(field: str) -> None:
    envelope = json.loads(seal(PAYLOAD, topic=TOPIC, key=KEY))
    raw = bytearray(base64.b64decode(envelope[field]))
    raw[5] ^= 1
    envelope[field] = base64.b64encode(raw).decode()
    assert refused(json.dumps(envelope).encode()) == "signature"


def test_the_encoding_is_signed_too() -> None:
    envelope = json.loads(seal(PAYLOAD, topic=TOPIC, key=KEY))
    assert envelope["encoding"] == "deflate"
    assert refused(json.dumps(envelope | {"encoding": "part"}).encode()) == "signature"


def test_a_stranger_is_refused_before_anything_is_unpacked() -> None:
    assert refused(seal(PAYLOAD, topic=TOPIC, key=OTHER)) == "unknown-key"


def test_a_stranger_with_a_trusted_key_id_is_refused() -> None:
    envelope = json.loads(seal(PAYLOAD, topic=TOPIC, key=OTHER)) | {"kid": KEY.public.kid}
    assert refused(json.dumps(envelope).encode()) == "signature"


def test_two_keys_may_be_valid_at_once() -> None:
    both = TrustedKeys([KEY.public, OTHER.public])
    for key in (KEY, OTHER):
        assert unseal(seal(PAYLOAD, topic=TOPIC, key=key), topic=TOPIC, trusted=both) == PAYLOAD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"alg": "none"}, "algorithm"),
        ({"alg": "SM2"}, "algorithm"),
        ({"encoding": "json\nkapok/v1/site-a/hub"}, "algorithm"),
        ({"payload": "%%%"}, "malformed"),
        ({"signature": ""}, "signature"),
        ({"signature": "AAAA"}, "signature"),
        ({"payload": None}, "malformed"),
    ],
)
def test_envelopes_with_other_words_are_refused(change: dict[str, object], reason: str) -> None:
    envelope = json.loads(seal(PAYLOAD, topic=TOPIC, key=KEY)) | change
    assert refused(json.dumps(envelope).encode()) == reason


@given(garbage=st.binary(max_size=60))
def test_garbage_is_only_ever_a_wire_error(garbage: bytes) -> None:
    assert refused(garbage)


@given(cut=st.integers(0, 200))
def test_a_truncated_envelope_is_refused(cut: int) -> None:
    assert refused(seal(PAYLOAD, topic=TOPIC, key=KEY)[:cut])


def test_an_oversized_envelope_is_not_parsed() -> None:
    assert refused(b" " * (MAX_ENVELOPE_BYTES + 1)) == "too-large"


def test_a_bomb_is_defused_at_the_bound() -> None:
    bomb = zlib.compress(bytes(64 * 1024 * 1024), 9)
    message = seal(bomb, topic=TOPIC, key=KEY, encoding="deflate")
    assert len(message) < 100_000
    assert refused(message) == "too-large"


@pytest.mark.parametrize(("keep", "more"), [(-3, b""), (None, b"more")], ids=["cut", "followed"])
def test_deflated_data_must_end_where_it_says(keep: int | None, more: bytes) -> None:
    with pytest.raises(WireError):
        inflate(zlib.compress(PAYLOAD)[:keep] + more, 10_000)


def test_a_stranger_may_introduce_himself_but_not_as_another() -> None:
    message = seal(PAYLOAD, topic=TOPIC, key=OTHER, includes_public_key=True)
    payload, key = unseal_unadmitted(message, topic=TOPIC)
    assert (payload, str(key)) == (PAYLOAD, str(OTHER.public))
    posing = json.loads(message) | {"publicKey": str(KEY.public)}
    with pytest.raises(WireError):
        unseal_unadmitted(json.dumps(posing).encode(), topic=TOPIC)
    with pytest.raises(WireError):
        unseal_unadmitted(seal(PAYLOAD, topic=TOPIC, key=OTHER), topic=TOPIC)


def test_keys_are_written_and_read_in_one_form() -> None:
    assert str(PublicKey.parse(str(KEY.public))) == str(KEY.public)
    for wrong in ("", "ed25519:", "ed25519:AAAA", "rsa:AAAA", str(KEY.public)[8:], "ed25519:é"):
        with pytest.raises(WireError):
            PublicKey.parse(wrong)


def test_a_private_key_never_shows_in_its_repr() -> None:
    assert KEY.raw().hex() not in repr(KEY)
    assert SigningKey(KEY.raw()).public.kid == KEY.public.kid


# ---------------------------------------------------------------- orders in parts


def content(filling: str = "") -> OrderContent:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": filling}}
    return OrderContent(
        id="hub/health/appointment/1",
        generation=3,
        site="site-a",
        namespace="health",
        name="appointment",
        manifests=(manifest,),
    )


def parts_of(order: OrderContent) -> tuple[IndexEntry, list[bytes]]:
    packed = pack_content(order)
    messages = seal_parts(packed, site="site-a", key=KEY)
    return packed.entry, [unseal(data, topic=name, trusted=TRUSTED) for name, data in messages]


def test_large_content_travels_in_parts() -> None:
    noise = base64.b64encode(
        b"".join(digest_of(bytes([n % 256, n // 256])).encode() for n in range(16_000))
    ).decode()
    order = content(noise)
    entry, parts = parts_of(order)
    assert len(parts) == entry.parts > 1
    assert max(len(part) for part in parts) <= MAX_PART_BYTES
    assert unpack_content(entry, parts, site="site-a") == order


@pytest.mark.parametrize("size", [0, 1, 511, 4095, 4096, 4097, 70_000])
def test_what_is_deflated_inflates_to_the_same_bytes(size: int) -> None:
    data = b"".join(digest_of(str(n).encode()).encode() for n in range(1000))[:size]
    assert len(data) == size
    for level in (1, 6):
        packed = deflate(data, level)
        assert packed == deflate(data, level)
        assert inflate(packed, size) == zlib.decompress(packed) == data


def test_equal_content_gives_an_equal_entry() -> None:
    assert pack_content(content("x")).entry == pack_content(content("x")).entry


def test_content_that_is_not_what_the_index_names_is_refused() -> None:
    entry, _ = parts_of(content("x"))
    _, other = parts_of(content("y"))
    with pytest.raises(WireError) as caught:
        unpack_content(entry, other, site="site-a")
    assert caught.value.reason == "digest"


def test_content_of_another_site_is_refused() -> None:
    entry, parts = parts_of(content("x"))
    with pytest.raises(WireError) as caught:
        unpack_content(entry, parts, site="site-b")
    assert caught.value.reason == "wrong-site"


def test_content_of_another_order_is_refused_though_its_digest_is_listed() -> None:
    entry, parts = parts_of(content("x"))
    with pytest.raises(WireError) as caught:
        unpack_content(dataclasses.replace(entry, id="hub/other/w/1"), parts, site="site-a")
    assert caught.value.reason == "digest"


# ---------------------------------------------------------------- topics


def test_topics_are_read_back() -> None:
    token = order_token("hub/health/appointment/1")
    assert parse_topic(order_topic("site-a", "hub/health/appointment/1", 2)).part == 2
    assert parse_topic(order_topic("site-a", "hub/health/appointment/1")).token == token
    assert parse_topic(site_topic("site-a", "report")).kind == "report"


@given(name=st.text(max_size=60))
def test_any_other_topic_is_only_ever_a_wire_error(name: str) -> None:
    with pytest.raises(WireError):
        parse_topic(name)


@pytest.mark.parametrize(
    "name",
    [
        "kapok/v1/site-a",
        "kapok/v1/site-a/report/more",
        "kapok/v1/site-a/orders",
        "kapok/v1/site-a/orders/xyz",
        "kapok/v1/site-a/orders/" + "0" * 32 + "/0",
        "kapok/v1/site-a/orders/" + "0" * 32 + "/1/2",
        "kapok/v2/site-a/report",
        "kapok/v1/../report",
        "kapok/v1/+/report",
        "kapok/v1/A/report",
        "x" * 600,
    ],
)
def test_topics_of_nobody_are_refused(name: str) -> None:
    with pytest.raises(WireError):
        parse_topic(name)


def test_site_names_hold_no_topic_characters() -> None:
    assert is_site_name("gz-nansha-edge")
    assert not any(
        is_site_name(name) for name in ("", "a/b", "+", "#", "A", "-a", "a" * 300, "a\n")
    )
