"""The versions of an object in memory: what they share, and that each is read as it was written."""

import msgspec
import pytest

from scheduler.apiserver.storage import stored_object
from scheduler.apiserver.storage.collection import CollectionEvent
from scheduler.apiserver.storage.stored_object import SpecText, StoredObject
from scheduler.hub.schema.json_types import JsonObject

_LARGE: JsonObject = {
    "manifests": [{"kind": "ConfigMap", "data": {f"key-{n}": "v" * 20 for n in range(100)}}]
}
_ORDERS: list[JsonObject] = [
    {"kind": "Workload", "metadata": {"name": "a"}, "spec": _LARGE, "status": {"phase": "Placed"}},
    {"spec": _LARGE, "kind": "Workload", "metadata": {"name": "a"}},
    {"kind": "Workload", "metadata": {"name": "a"}, "spec": _LARGE},
    {"spec": _LARGE},
    {"metadata": {"name": "a", "managedFields": [{"spec": _LARGE}]}, "spec": _LARGE},
    {"metadata": {"name": "a"}, "spec": {"replicas": 1}, "status": {}},
    {"metadata": {"name": "a"}, "spec": "a text " * 400},
    {"metadata": {"name": "a"}, "data": {"key": "value " * 400}},
]


def _version(item: JsonObject, before: StoredObject | None = None) -> StoredObject:
    return StoredObject.of_item("ns/a", 1, item, before)[0]


@pytest.mark.parametrize("item", _ORDERS)
def test_an_object_is_read_as_it_was_written(item: JsonObject) -> None:
    stored, data = StoredObject.of_item("ns/a", 7, item, None)

    assert stored.data == data == msgspec.json.encode(item)
    assert stored.size == len(data)
    assert stored.decode() == item
    assert StoredObject.of_data("ns/a", 7, data).data == data


@pytest.mark.parametrize("item", _ORDERS)
def test_an_object_from_disk_keeps_every_byte(item: JsonObject) -> None:
    data = msgspec.json.format(msgspec.json.encode(item), indent=2)

    stored = StoredObject.of_data("ns/a", 7, data)

    assert stored.data == data
    assert stored.decode() == item
    assert _version(item, stored).decode() == item


@pytest.mark.parametrize("data", [b"[" + b"1," * 1000 + b"1]", b"{" * 2000, b'"' + b"x" * 2000])
def test_what_is_no_object_is_not_stored(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's words do not matter
        StoredObject.of_data("ns/a", 7, data)


def test_versions_share_a_spec_that_did_not_change() -> None:
    first = _version({**_ORDERS[0]})
    second = _version({**_ORDERS[0], "status": {"phase": "Running"}}, first)
    third = _version({**_ORDERS[0], "spec": {**_LARGE, "replicas": 2}}, second)

    assert second.size_beside(first) < 200 < second.size
    assert third.size_beside(second) == third.size
    assert second.decode()["status"] == {"phase": "Running"}
    assert CollectionEvent(2, "MODIFIED", second, first).size == second.size_beside(first)
    assert CollectionEvent(1, "ADDED", first, None).size == first.size


def test_copies_around_the_spec_are_written_as_whole_objects() -> None:
    first = _version({**_ORDERS[0]})

    old, new = first.decode_around_spec()
    new["status"] = {"phase": "Running"}
    second, data = StoredObject.of_item("ns/a", 2, new, first)

    assert old["spec"] == new["spec"] == msgspec.Raw(msgspec.json.encode(_LARGE))
    assert old["status"] == {"phase": "Placed"}
    assert msgspec.json.decode(data) == second.decode()
    assert second.decode() == {**_ORDERS[0], "status": {"phase": "Running"}}
    assert second.size_beside(first) < 200


def test_texts_that_were_not_written_lately_are_deflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_object, "_MAX_PLAIN_BYTES", 10_000)
    old = _version({**_ORDERS[0]})
    texts = [SpecText(b"{%d:" % n + b"x" * 3000 + b"}") for n in range(5)]
    for one in texts:
        one.keep_plain(one.text)

    assert old.data == msgspec.json.encode(_ORDERS[0])
    assert [one.is_deflated for one in texts] == [True, True, False, False, False]
    assert [one.text[:3] for one in texts] == [b"{%d:" % n for n in range(5)]
    texts[0].keep_plain(texts[0].text)
    assert [one.is_deflated for one in texts] == [False, True, True, False, False]
