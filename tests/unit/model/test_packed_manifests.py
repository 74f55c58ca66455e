"""Manifests in little memory read as those that they were made of."""

from typing import Any

import msgspec
import pytest

from scheduler.model.canonical import canonical_json, to_plain_json
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.packed_manifests import PackedManifests, pack_manifests


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
    many = [pack_manifests(manifests(2000, f"m-{number}")) for number in range(300)]
    for number, one in enumerate(many):
        assert one[0]["metadata"]["name"] == f"m-{number}"
    assert many[0][0] is not many[0][0] or many[0][0] == manifests(2000, "m-0")[0]
    assert many[299][0] is many[299][0], "read just now"
    first, again = many[5][0], [one[0] for one in many[6:]]
    assert len(again) == 294
    assert many[5][0] is not first
    assert many[5][0] == first
