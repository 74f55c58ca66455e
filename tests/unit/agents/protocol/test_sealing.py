"""Sealed content: who can open it, and that it stays the same."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.errors import WireError
from agents.protocol.sealing.box import (
    SealedBox,
    SealingKey,
    is_sealing_key,
    seal_content,
    sealing_secret_of,
)

SITE_KEY = SealingKey(bytes(range(32)))
SECRET = sealing_secret_of(bytes(32))


def sealed(
    content: bytes, *, site: str = "m1", order: str = "o", secret: bytes = SECRET
) -> SealedBox:
    return seal_content(
        content, recipient=SITE_KEY.public, site=site, order_id=order, secret=secret
    )


@given(st.binary(max_size=4096))
def test_the_site_opens_what_was_sealed_for_it(content: bytes) -> None:
    box = sealed(content)
    assert SITE_KEY.open(box, site="m1", order_id="o") == content
    assert box == sealed(content)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_two_contents_never_share_a_key(one: bytes, other: bytes) -> None:
    assert (sealed(one).sender == sealed(other).sender) is (one == other)


def test_one_content_has_another_key_for_each_site_order_and_hub() -> None:
    boxes = (
        sealed(b"x"),
        sealed(b"x", site="m2"),
        sealed(b"x", order="p"),
        sealed(b"x", secret=sealing_secret_of(bytes([1] * 32))),
    )
    assert len({box.sender for box in boxes}) == len(boxes)


@pytest.mark.parametrize(("site", "order"), [("m2", "o"), ("m1", "p"), ("m1o", "")])
def test_a_box_is_refused_at_another_site_and_in_another_order(site: str, order: str) -> None:
    with pytest.raises(WireError) as refused:
        SITE_KEY.open(sealed(b"x"), site=site, order_id=order)
    assert refused.value.reason == "signature"


@given(st.integers(0, 10_000))
def test_a_box_that_was_changed_is_refused(position: int) -> None:
    box = sealed(b"some content")
    raw = bytearray(base64.b64decode(box.data))
    raw[position % len(raw)] ^= 1
    changed = replace(box, data=base64.b64encode(raw).decode())
    with pytest.raises(WireError):
        SITE_KEY.open(changed, site="m1", order_id="o")
    with pytest.raises(WireError):
        SITE_KEY.open(replace(box, sender=SITE_KEY.public), site="m1", order_id="o")


def test_another_key_of_the_site_says_so() -> None:
    with pytest.raises(WireError) as refused:
        SealingKey.generate().open(sealed(b"x"), site="m1", order_id="o")
    assert refused.value.reason == "unknown-key"


@pytest.mark.parametrize(
    "text",
    ["", "x25519:", "ed25519:" + "A" * 43 + "=", "x25519:AAAA", "x25519:" + "é" * 44],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert not is_sealing_key(text)
    with pytest.raises(WireError):
        seal_content(b"x", recipient=text, site="m1", order_id="o", secret=SECRET)


def test_a_key_with_which_every_secret_is_the_same_is_refused() -> None:
    zero = "x25519:" + base64.b64encode(bytes(32)).decode()
    with pytest.raises(WireError):
        seal_content(b"x", recipient=zero, site="m1", order_id="o", secret=SECRET)


def test_neither_key_nor_box_shows_the_content() -> None:
    raw = base64.b64encode(SITE_KEY.raw()).decode()
    assert raw not in repr(SITE_KEY)
    assert b"marker" not in repr(sealed(b"marker")).encode()
