"""A merge patch of a status leaves a large spec as text, with the same result as reading it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.custom.definitions import custom_resources_of
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.apiserver.write.merge_patch import apply_merge_patch
from scheduler.control.ports.hub import WORKLOADS
from scheduler.hub.crds.generate import make_crds
from tests.support.api_store import Store, open_store
from tests.support.widgets import widget_crd

_ENV = [{"name": f"SETTING_{number}", "value": f"{number:032x}"} for number in range(60)]
_POD = {"containers": [{"name": "web", "image": "web:1", "env": _ENV}]}
_SPEC: dict[str, Any] = {
    "dataClass": "general-2",
    "replicas": 2,
    "manifests": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": _POD},
    ],
}
_PLACED = {"phase": "Placed", "epoch": 3, "incarnation": "a1", "replicas": 2}
_PATCHES: list[dict[str, Any]] = [
    {"status": {"phase": "Running", "ready": 2}},
    {"status": {"phase": None, "readiness": "2/2"}},
    {"status": None},
    {"status": {"epoch": 2}},
    {"status": {"incarnation": "b2"}},
    {"status": {"phase": "NoSuchPhase"}},
    {"status": {"noSuchField": 1}},
    {"status": "text"},
    {"status": {"phase": "Running"}, "spec": {"replicas": 9, "manifests": None}},
    {"status": {"phase": "Running"}, "spec": None},
    {"spec": {"replicas": 9}},
    {"metadata": {"labels": {"a": "b"}, "resourceVersion": "1"}, "status": {"phase": "Running"}},
    {"metadata": {"uid": "another"}, "status": {"phase": "Running"}},
    {"metadata": None},
    {"kind": "Site", "status": {"phase": "Running"}},
    {},
]


@pytest.mark.parametrize("patch", _PATCHES)
async def test_a_status_is_written_as_if_the_spec_were_decoded(
    tmp_path: Path, patch: dict[str, Any]
) -> None:
    async with open_store(tmp_path) as store:
        workloads = _add_custom(store, _crd(WORKLOADS.kind))
        for name in ("around", "whole"):
            await _create(store, workloads, name, _SPEC)
            await _patch(store, workloads, name, {"status": _PLACED}, changes_by_field=False)

        around = await _patch(store, workloads, "around", patch, changes_by_field=True)
        whole = await _patch(store, workloads, "whole", patch, changes_by_field=False)

        assert around == whole
        assert _shown(_stored(store, workloads, "around").decode()) == _shown(
            _stored(store, workloads, "whole").decode()
        )
        assert store.in_memory("workloads") == store.on_disk("workloads")


async def test_versions_of_a_workload_share_their_spec(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        workloads = _add_custom(store, _crd(WORKLOADS.kind))
        await _create(store, workloads, "a", _SPEC)
        first = _stored(store, workloads, "a")
        await _patch(store, workloads, "a", {"status": _PLACED}, changes_by_field=True)
        second = _stored(store, workloads, "a")

        assert first.has_spec_apart
        assert second.size_beside(first) == second.size_around_spec
        assert second.decode()["spec"] == first.decode()["spec"]


async def test_rules_that_compare_a_spec_are_evaluated_with_it(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        widgets = _add_custom(store, widget_crd("example.org"))
        parts = [{"name": "a", "count": 3}]
        spec = {"size": "large", "replicas": 1, "parts": parts, "free": {"text": "x" * 2000}}
        await _create(store, widgets, "a", spec)

        found = await _patch(
            store, widgets, "a", {"status": {"phase": "Ready"}}, changes_by_field=True
        )

        assert found["spec"] == spec
        assert found["status"] == {"phase": "Ready"}


def _crd(kind: str) -> dict[str, Any]:
    return next(one for one in make_crds() if one["spec"]["names"]["kind"] == kind)


def _add_custom(store: Store, definition: dict[str, Any]) -> ServerResource:
    store.writer.catalog.remove_crd(definition["metadata"]["name"])
    [resource] = custom_resources_of(definition)
    store.writer.catalog.add(resource)
    return resource


async def _create(store: Store, resource: ServerResource, name: str, spec: dict[str, Any]) -> None:
    spaces = store.resource("namespaces")
    if "default" not in store.writer.collection(spaces.collection_name).objects:
        space = {"metadata": {"name": "default", "uid": "uid-default"}}
        await store.writer.put(spaces, "default", space, WriteOptions())
    item = {
        "apiVersion": resource.api_version,
        "kind": resource.group_resource.kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    await store.writer.create(resource, "default", item, WriteOptions(field_manager="tests"))


async def _patch(
    store: Store,
    resource: ServerResource,
    name: str,
    patch: dict[str, Any],
    *,
    changes_by_field: bool,
) -> dict[str, Any]:
    """What a patch of the status gives: the object, or the error."""
    options = WriteOptions(field_manager="tests", is_patch=True, subresource="status")
    options = replace(options, changes_by_field=changes_by_field)
    try:
        done = await store.writer.update(
            resource, "default", name, lambda old: apply_merge_patch(old, patch), options
        )
    except ApiError as error:
        return {"error": error.message.replace(name, "NAME"), "code": error.code}
    leaves_spec = changes_by_field and resource.group_resource.kind == WORKLOADS.kind
    assert isinstance(done.item["spec"], msgspec.Raw) is leaves_spec
    assert StoredObject("", 0, done.data).decode()["metadata"] == done.item["metadata"]
    return _shown(StoredObject("", 0, done.data).decode())


def _stored(store: Store, resource: ServerResource, name: str) -> StoredObject:
    return store.writer.get(resource, "default", name)


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """An object without what differs between two of them."""
    own = ("name", "uid", "resourceVersion")
    metadata = {key: value for key, value in item["metadata"].items() if key not in own}
    return {**item, "metadata": metadata}
