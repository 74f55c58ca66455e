"""What was accepted is read back as it was written, and nothing else is ever read."""

import zlib
from base64 import b64decode, b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.control.status.accepted import (
    MAX_CONTENT_BYTES,
    AcceptedDamaged,
    is_complete,
    pack_accepted,
    unpack_accepted,
)
from scheduler.model.canonical import digest_of_bytes
from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.kinds import Workload
from scheduler.model.kinds.workload import MAX_ACCEPTED_CHARACTERS, WorkloadSpec
from tests.support.counts import examples
from tests.support.sites import demand_or_refusal, workload

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def accepted_of(settings_: dict[str, Any], replicas: int) -> tuple[WorkloadSpec, Demand]:
    raw = workload(replicas, manifests=[{
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": settings_,
    }])  # fmt: skip
    demand = demand_or_refusal(workload(replicas, placed={"m1": 1}))
    assert isinstance(demand, Demand)
    return decode_as(raw, Workload).spec, demand


SPEC, DEMAND = accepted_of({"a": "1"}, 3)
PACKED = pack_accepted(SPEC, DEMAND)


@settings(max_examples=examples(60), deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.integers(0, 50))
def test_it_is_read_as_it_was_written(data: dict[str, Any], replicas: int) -> None:
    spec, demand = accepted_of(data, replicas)
    packed = pack_accepted(spec, demand)
    assert packed == pack_accepted(spec, demand)
    found = unpack_accepted(packed.digest, packed.content)
    lasting = msgspec.structs.replace(demand, placed=(), quota_left=None, budget_left=None)
    assert found.demand == lasting
    assert msgspec.to_builtins(found.spec) == msgspec.to_builtins(spec)
    assert pack_accepted(found.spec, found.demand) == packed, "equal content is not written again"


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, len(PACKED.content) - 1), st.sampled_from("Ab9/=+ \n\u00e9"))
def test_a_changed_character_is_noticed(at: int, character: str) -> None:
    content = PACKED.content[:at] + character + PACKED.content[at + 1 :]
    try:
        found = unpack_accepted(PACKED.digest, content)
    except AcceptedDamaged:
        return
    assert found == unpack_accepted(PACKED.digest, PACKED.content)


@settings(max_examples=examples(80), deadline=None)
@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda one: b64encode(one).decode()))
def test_anything_else_is_damaged(content: str) -> None:
    with pytest.raises(AcceptedDamaged):
        unpack_accepted(PACKED.digest, content)


@settings(max_examples=examples(80), deadline=None)
@given(VALUES | st.dictionaries(st.sampled_from(["spec", "demand"]), VALUES, max_size=2))
def test_a_content_with_a_right_digest_and_another_form_is_damaged(value: Any) -> None:  # noqa: ANN401 - JSON
    plain = msgspec.json.encode(value)
    content = b64encode(zlib.compress(plain)).decode()
    with pytest.raises(AcceptedDamaged):
        unpack_accepted(digest_of_bytes(plain), content)


@pytest.mark.parametrize("size", [MAX_CONTENT_BYTES + 1, 128 * 1024 * 1024])
def test_a_bomb_is_not_unpacked(size: int) -> None:
    packer, piece = zlib.compressobj(1), bytes(1 << 20)
    packed = b"".join(packer.compress(piece) for _ in range(0, size, 1 << 20))
    content = b64encode(packed + packer.flush()).decode()
    with pytest.raises(AcceptedDamaged):
        unpack_accepted(PACKED.digest, content)


def test_deep_nesting_is_damaged_and_ends_nothing() -> None:
    plain = b'{"spec":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    content = b64encode(zlib.compress(plain)).decode()
    with pytest.raises(AcceptedDamaged):
        unpack_accepted(digest_of_bytes(plain), content)


def test_the_data_of_secrets_is_left_out_and_then_no_order_is_made_of_it() -> None:
    text = 'kind: Secret\nstringData: {password: "hunter2"}\n'
    spec, demand = accepted_of({"copy": text}, 1)
    packed = pack_accepted(spec, demand)
    assert b"hunter2" not in zlib.decompress(b64decode(packed.content))
    assert not unpack_accepted(packed.digest, packed.content).is_complete
    assert is_complete(SPEC)


def test_what_is_too_large_for_a_status_leaves_it_empty() -> None:
    noise = "".join(digest_of_bytes(str(one).encode())[7:] for one in range(2600))
    spec, demand = accepted_of({"noise": noise}, 1)
    packed = pack_accepted(spec, demand)
    assert len(packed.content) > MAX_ACCEPTED_CHARACTERS
    assert (packed.reference(4).content, packed.reference(4).digest) == ("", packed.digest)
    assert PACKED.reference(4).content == PACKED.content
