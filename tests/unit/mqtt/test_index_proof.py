"""A proof is a whole index that our key has signed for this site, and nothing else is one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.envelope import seal
from agents.protocol.index import DESIRED_INDEX, DesiredIndex, digest_of
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.topics import TopicKind, site_topic
from scheduler.control.ports.agents import ProofRefused, ProvenIndex
from scheduler.mqtt.order_publisher import OrderPublisher, read_index_proof
from scheduler.mqtt.outbox import Outbox

OURS, AGENT = SigningKey(bytes(range(32))), SigningKey(bytes(32))


def signed(
    *,
    key: SigningKey = OURS,
    topic: TopicKind = "desired",
    topic_site: str = "m1",
    site: str = "m1",
    uid: str = "u",
    epoch: int = 9,
) -> str:
    payload = DESIRED_INDEX.encode(DesiredIndex(site=site, site_uid=uid, epoch=epoch, sequence=3))
    where = site_topic(topic_site, topic)
    return seal(payload, topic=where, key=key, includes_public_key=True).decode()


def read(proof: str) -> ProvenIndex:
    return read_index_proof(proof, site="m1", site_uid="u", own_keys=TrustedKeys([OURS.public]))


def test_an_index_that_our_key_signed_for_this_site_proves_its_version() -> None:
    payload = DESIRED_INDEX.encode(DesiredIndex(site="m1", site_uid="u", epoch=9, sequence=3))
    assert read(signed()) == ProvenIndex(version=(9, 3), digest=digest_of(payload))


async def test_what_we_publish_is_such_a_proof() -> None:
    outbox = Outbox()
    publisher = OrderPublisher(key=OURS, outbox=outbox)
    digest = publisher.publish_index("m1", "u", (4, 2), {})
    proof = (await outbox.take()).payload.decode()
    assert publisher.read_proof("m1", "u", proof) == ProvenIndex(version=(4, 2), digest=digest)


REFUSED = {
    "the uid of another site": (signed(uid="u2"), "wrong-site"),
    "the name of another site": (signed(site="m2"), "wrong-site"),
    "an index sent to another site": (signed(topic_site="m2", site="m2"), "signature"),
    "the agent's own signature": (signed(key=AGENT), "unknown-key"),
    "another message of ours": (signed(topic="hub"), "signature"),
    "no JSON": ("{", "malformed"),
    "nothing": ("", "malformed"),
    "a lone surrogate": ("\ud800", "malformed"),
    "an empty object": ("{}", "malformed"),
    "deep JSON": ("[" * 10_000 + "]" * 10_000, "too-deep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_by_its_reason(name: str) -> None:
    proof, reason = REFUSED[name]
    with pytest.raises(ProofRefused) as refusal:
        read(proof)
    assert refusal.value.reason == reason


def test_the_name_of_our_key_on_the_agents_signature_is_refused() -> None:
    envelope = json.loads(signed(key=AGENT))
    envelope["kid"], envelope["publicKey"] = OURS.public.kid, str(OURS.public)
    with pytest.raises(ProofRefused, match="signature"):
        read(json.dumps(envelope))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_proof_with_one_byte_changed_is_refused_or_says_the_same(at: int, by: int) -> None:
    """Only what the signature does not cover may change: the key that introduces the sender."""
    data = bytearray(signed().encode())
    data[at % len(data)] ^= by
    try:
        found = read(data.decode(errors="surrogateescape"))
    except ProofRefused:
        return
    assert found == read(signed())
