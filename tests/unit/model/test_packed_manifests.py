"""Manifests in little memory read as those that they were made of."""

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from scheduler.model.canonical import canonical_json, to_plain_json
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.containers import field_names
from scheduler.model.manifests.recorded import recorded_manifests
from scheduler.model.packed_manifests import PackedManifests, deflate, pack_manifests
from scheduler.model.remembered import remembered_of_manifests


def manifests(size: int, name: str = "a") -> tuple[dict[str, Any], ...]:
    first = {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x" * size}}
    return (first, {"kind": "Service", "spec": {"ports": [1, 2.5, None, True, "木棉"]}})


@pytest.mark.parametrize("size", [0, 10_000])
def test_a_reader_sees_the_manifests_that_were_packed(size: int) -> None:
    plain = manifests(size)
    packed = pack_manifests(plain)
    assert isinstance(packed, PackedManifests)
    assert tuple(packed) == plain
    assert (len(packed), packed[1], packed[:1]) == (2, plain[1], plain[:1])
    assert packed == plain
    assert plain == packed
    assert packed == pack_manifests(manifests(size))
    assert packed != pack_manifests(manifests(size, "b"))
    assert packed != manifests(size, "b")
    assert hash(packed) == hash(pack_manifests(plain))


def test_a_spec_with_packed_manifests_is_equal_and_encoded_alike() -> None:
    plain = WorkloadSpec(replicas=2, manifests=manifests(10))
    packed = msgspec.structs.replace(plain, manifests=pack_manifests(plain.manifests))
    assert packed == plain
    assert plain == packed
    assert canonical_json(packed) == canonical_json(plain)
    assert to_plain_json(packed) == to_plain_json(plain)


def test_none_and_what_cannot_be_encoded_stay_as_they_are() -> None:
    huge: tuple[dict[str, Any], ...] = ({"spec": {"number": 2**80}},)
    assert pack_manifests(()) == ()
    assert pack_manifests(huge) == huge


def test_only_the_manifests_that_were_read_last_are_kept_decoded() -> None:
    many = [pack_manifests(manifests(20_000, f"m-{number}")) for number in range(300)]
    for number, one in enumerate(many):
        assert one[0]["metadata"]["name"] == f"m-{number}"
    assert many[0][0] is not many[0][0] or many[0][0] == manifests(20_000, "m-0")[0]
    assert many[299][0] is many[299][0], "read just now"
    first, again = many[5][0], [one[0] for one in many[6:]]
    assert len(again) == 294
    assert many[5][0] is not first
    assert many[5][0] == first


def test_what_is_computed_of_manifests_is_remembered_while_they_are_decoded() -> None:
    asked: list[int] = []

    def count(found: Sequence[dict[str, Any]]) -> int:
        asked.append(len(found))
        return len(found)

    counted = remembered_of_manifests(count)
    plain = manifests(20_000)
    packed = pack_manifests(plain)
    assert [counted(packed), counted(packed), counted(plain), counted(plain)] == [2, 2, 2, 2]
    assert asked == [2, 2], "once of each"
    assert counted(list(plain)) == counted(list(plain)) == 2
    assert asked == [2, 2, 2, 2], "a list may be changed"
    others = [pack_manifests(manifests(20_000, f"o-{number}")) for number in range(200)]
    assert counted(packed) == counted(packed) == 2
    assert len(asked) == 5, "once more after it was dropped"
    assert len(others) == 200


def test_manifests_of_a_spec_are_cleaned_and_recorded_once() -> None:
    packed = pack_manifests(manifests(10))
    assert clean_manifests(packed) is clean_manifests(packed)
    assert recorded_manifests(packed) is recorded_manifests(packed)
    assert recorded_manifests(packed) == recorded_manifests(manifests(10))
    assert field_names(packed) == field_names(list(manifests(10))) >= {"ports", "text"}


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 70_000])
def test_what_is_deflated_inflates_to_the_same_bytes(size: int) -> None:
    data = b"".join(b"%d," % (n * n) for n in range(20_000))[:size]
    assert len(data) == size
    assert zlib.decompress(deflate(data, 1)) == data
    assert deflate(data, 1) == deflate(data, 1)
