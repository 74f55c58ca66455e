"""Segments: bounded runs of records, each signed with the hub's key.

A segment names the first and the last record that it covers, the hash of the last one, the segment
before it, the key and the signature. So a change of any record breaks a signature, and a removed
segment leaves a gap. Segments have a table of their own, so that the records stay what was decided.
The hub's key may change: every segment holds the public key that it was signed with, and the next
one, by another key, covers it. What a key cannot show is what its owner does with it; that is what
witnesses are for (`witnesses.py`).

A head is signed in the same way, at any moment, and leaves the hub: it is not written here.
"""

import base64
import binascii
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scheduler.control.ports.ledger import SignedHead
from scheduler.ledger.record import GENESIS
from scheduler.model.canonical import canonical_json, digest_of_bytes

MAX_SEGMENT_RECORDS = 1024
"""More records without a signature, after one that has one, are a missing segment."""

_CONTEXT = b"kapok-ledger-head\n"  # no other signature of the key covers bytes that begin so
_KEY_PREFIX = "ed25519:"


class _PublicHalf(Protocol):
    def __str__(self) -> str: ...


class HeadKey(Protocol):
    """The part of a signing key that is used here."""

    @property
    def public(self) -> _PublicHalf:
        """The public key; its text is `ed25519:BASE64`."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message."""
        ...


def sign_head(
    key: HeadKey, *, first: int, seq: int, digest: str, previous: str, at: datetime
) -> SignedHead:
    """Signs that record `seq` has this hash, and with it everything before it.

    Args:
        key: the hub's signing key.
        first: the first record that no segment before covers.
        seq: the last record.
        digest: its hash.
        previous: hash of the newest segment, or `GENESIS`.
        at: when it is signed.
    """
    unsigned = SignedHead(
        first=first,
        seq=seq,
        hash=digest,
        previous=previous,
        at=at.isoformat(timespec="seconds"),
        key=str(key.public),
        signature="",
    )
    signature = base64.b64encode(key.sign(_signed_bytes(unsigned))).decode()
    return SignedHead(**{**asdict(unsigned), "signature": signature})


def is_signed(head: SignedHead) -> bool:
    """Whether the signature of a head is that of the key that the head names."""
    try:
        raw = base64.b64decode(head.key.removeprefix(_KEY_PREFIX), validate=True)
        signature = base64.b64decode(head.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, _signed_bytes(head))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return head.key.startswith(_KEY_PREFIX)


def is_signed_by(head: SignedHead, keys: Collection[str]) -> bool:
    """Whether one of these public keys has signed a head."""
    return head.key in keys and is_signed(head)


def key_id_of(public_key: str) -> str:
    """The id by which people and messages name a public key."""
    try:
        raw = base64.b64decode(public_key.removeprefix(_KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return "unreadable"
    return sha256(raw).hexdigest()[:16]


def segment_body(head: SignedHead) -> bytes:
    """The bytes of a segment as they are stored; their digest is the segment's hash."""
    return canonical_json(asdict(head))


def read_segment(body: object) -> SignedHead | None:
    """Reads a stored segment, which may have been edited; None when it is none."""
    try:
        return head_of(json.loads(body)) if isinstance(body, bytes) else None
    except (RecursionError, ValueError):
        return None


def head_of(tree: object) -> SignedHead | None:
    """Reads a head from JSON that anyone may have written; None when it is none."""
    if not isinstance(tree, Mapping):
        return None
    values: dict[str, Any] = {one.name: tree.get(one.name) for one in fields(SignedHead)}
    numbers, texts = [values.pop("first"), values.pop("seq")], list(values.values())
    if not all(type(one) is int and 0 < one < 1 << 62 for one in numbers):
        return None
    if not all(isinstance(one, str) and len(one) <= 128 for one in texts):  # noqa: PLR2004 - a key or signature is shorter
        return None
    return SignedHead(first=numbers[0], seq=numbers[1], **values)


class SegmentError(ValueError):
    """A segment does not fit its place; the message is the sentence that says how.

    Attributes:
        seq: the first record that may have been changed; 0: the one that was checked.
    """

    def __init__(self, sentence: str, *, seq: int = 0) -> None:
        super().__init__(sentence)
        self.seq = seq


class SegmentChecker:
    """Checks the segments of a chain whose hashes are right, record after record.

    Attributes:
        count: segments so far.
        unsigned_before: records before the first segment's first, written by a version that did
            not sign.
        signed_to: the last record that a segment covers; 0 before the first.
        keys: public keys of the segments, in order of their first segment.
        newest_key: the key of the last segment; "" before the first.
    """

    def __init__(self, bodies: Iterable[object]) -> None:
        """Takes the stored segments, in order."""
        self.count = 0
        self.unsigned_before = 0
        self.signed_to = 0
        self.keys: list[str] = []
        self.newest_key = ""
        self._newest_hash = GENESIS
        self._hashes = {GENESIS}
        self._bodies = iter(bodies)
        self._next: tuple[SignedHead, str] | None = None
        self._is_started = False

    def check(self, seq: int, digest: str) -> None:
        """Checks the segments that end at a record.

        Args:
            seq: sequence of the record.
            digest: its hash.

        Raises:
            SegmentError: one of them is not the next segment, or not signed for this record.
        """
        if not self._is_started:
            self._is_started = True
            self._advance()
        while self._next and self._next[0].seq <= seq:
            head, own_hash = self._next
            self._check_next(head, seq, digest)
            self._accept(head, own_hash)
            self._advance()
        if self.count and seq - self.signed_to > MAX_SEGMENT_RECORDS:
            raise SegmentError(
                f"no segment covers records {self.signed_to + 1} to {seq}, and a segment has at"
                f" most {MAX_SEGMENT_RECORDS}: one was removed",
                seq=self.signed_to + 1,
            )

    def check_end(self, records: int) -> None:
        """Checks that no segment is signed for a record after the last one.

        Raises:
            SegmentError: the end of the ledger was cut off.
        """
        if not self._is_started:
            self._advance()
        if self._next:
            raise SegmentError(
                f"the end was cut off: a segment is signed for record {self._next[0].seq},"
                f" {records} remain",
                seq=records + 1,
            )

    def has(self, segment_hash: str) -> bool:
        """Whether a segment with this hash was there; so is the one before the first."""
        return segment_hash in self._hashes

    def _check_next(self, head: SignedHead, seq: int, digest: str) -> None:
        first_unsigned = self.signed_to + 1
        if head.previous != self._newest_hash or (self.count and head.first != first_unsigned):
            raise SegmentError(
                f"the segment of records {head.first} to {head.seq} does not follow the one before"
                " it: a segment was removed, or moved",
                seq=first_unsigned,
            )
        if not is_signed(head):
            raise SegmentError(
                f"the signature of records {head.first} to {head.seq} does not match: they were"
                f" rewritten without key {key_id_of(head.key)}",
                seq=min(head.first, seq),
            )
        if (head.seq, head.hash) != (seq, digest):
            raise SegmentError(
                f"the segment of records {head.first} to {head.seq} is signed for another record"
                f" {head.seq}: history was rewritten without key {key_id_of(head.key)}",
                seq=min(head.first, seq),
            )

    def _advance(self) -> None:
        body = next(self._bodies, None)
        if body is None:
            self._next = None
            return
        head = read_segment(body)
        if head is None or not isinstance(body, bytes):
            raise SegmentError(
                f"segment {self.count + 1} cannot be read: it was edited", seq=self.signed_to + 1
            )
        self._next = (head, digest_of_bytes(body))

    def _accept(self, head: SignedHead, own_hash: str) -> None:
        if not self.count:
            self.unsigned_before = head.first - 1
        self.count += 1
        self.signed_to, self._newest_hash = head.seq, own_hash
        self._hashes.add(own_hash)
        self.newest_key = head.key
        if head.key not in self.keys:
            self.keys.append(head.key)

    def check_newest_key(self, trusted: Collection[str]) -> None:
        """Checks that the last segment is by a key of this hub; older ones are covered by it.

        Raises:
            SegmentError: another key has signed it.
        """
        if trusted and self.newest_key and self.newest_key not in trusted:
            known = ", ".join(sorted(key_id_of(one) for one in trusted))
            raise SegmentError(
                f"the segment is signed by key {key_id_of(self.newest_key)}, which is no key of"
                f" this hub ({known}): the ledger was signed again by another key",
                seq=1,
            )


def _signed_bytes(head: SignedHead) -> bytes:
    signed = asdict(head)
    del signed["signature"]
    return _CONTEXT + canonical_json(signed)
