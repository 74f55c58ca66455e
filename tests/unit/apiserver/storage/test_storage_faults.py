"""A disk that does not accept writes: the client is told, and memory equals the disk."""

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.storage.sqlite import ObjectRow
from scheduler.hub.schema.json_types import JsonObject
from tests.support.api_store import Store, open_store


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the file's lock."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@contextmanager
def full_disk(_path: Path) -> Iterator[None]:
    """No file of this process can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def _check_same(store: Store, names: set[str]) -> None:
    assert store.in_memory("configmaps") == store.on_disk("configmaps")
    assert {key.removeprefix("default/") for key in store.in_memory("configmaps")} == names
    assert not store.writer.collection("/configmaps").pending_writes


@pytest.mark.parametrize("broken", [locked, full_disk])
async def test_a_disk_that_refuses_writes_is_503_and_recovers(tmp_path: Path, broken) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - one of the two above
    async with open_store(tmp_path) as store:
        await store.put("configmaps", "before", data={"k": "1"})
        with broken(store.path):
            for _attempt in range(2):
                with pytest.raises(ApiError) as refused:
                    await store.put("configmaps", "meanwhile")
                assert (refused.value.code, refused.value.headers["Retry-After"]) == (503, "1")
                with pytest.raises(ApiError):
                    await store.put("configmaps", "before", data={"k": "2"})
        await _check_same(store, {"before"})
        await store.put("configmaps", "after")
        await _check_same(store, {"before", "after"})
        assert store.faults == {"api-storage": 4}
    async with open_store(tmp_path) as again:
        await _check_same(again, {"before", "after"})


async def test_a_write_that_cannot_be_stored_does_not_fail_its_neighbours(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        keys = enumerate(("a", "\ud800", "b"), start=1)
        rows = [ObjectRow("/configmaps", f"default/{key}", number, b"{}") for number, key in keys]
        done = [store.database.submit((row,)) for row in rows]
        found = [await asyncio.wait_for(_outcome_of(one), 5) for one in done]
        assert found == ["", "UnicodeEncodeError", ""]
        await store.put("configmaps", "later")


async def _outcome_of(done: "asyncio.Future[None]") -> str:
    try:
        await done
    except Exception as error:  # noqa: BLE001 - its name is the result
        return type(error).__name__
    return ""


async def test_a_missing_file_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with locked(store.path), pytest.raises(ApiError):
            await store.put("configmaps", "refused")
        for suffix in ("", "-wal", "-shm"):
            store.path.with_name(f"objects.db{suffix}").unlink(missing_ok=True)
        with pytest.raises(ApiError):
            await store.put("configmaps", "refused")
        assert not store.path.exists()


async def test_a_failing_follower_of_writes_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        seen: list[str] = []

        def fail(*_anything: object) -> None:
            raise AttributeError("a fault in the index of owners")

        store.writer.add_listener(fail)
        store.writer.add_listener(lambda _resource, item, _type: seen.append(item["data"]["k"]))
        await store.put("configmaps", "one", data={"k": "1"})
        await store.put("configmaps", "one", data={"k": "2"})
        assert seen == ["1", "2"]
        assert store.faults == {"api-listener": 2}


async def test_a_write_that_loses_is_answered_when_the_other_one_can_be_read(
    tmp_path: Path,
) -> None:
    """A client reads again and tries again at once; what it reads must not be the old version."""
    async with open_store(tmp_path) as store:
        kind, seen = store.resource("configmaps"), list[str]()
        await store.put("configmaps", "one", data={"k": "0"}, apiVersion="v1", kind="ConfigMap")
        version = store.writer.get(kind, "default", "one").decode()["metadata"]["resourceVersion"]

        async def change(value: str) -> None:
            def transform(old: JsonObject) -> JsonObject:
                meta = {**old["metadata"], "resourceVersion": version}
                return {**old, "metadata": meta, "data": {"k": value}}

            try:
                await store.writer.update(kind, "default", "one", transform, WriteOptions())
            except ApiError as error:
                assert error.code == 409  # noqa: PT017 - one of the two is refused
                seen.append(store.writer.get(kind, "default", "one").decode()["data"]["k"])

        await asyncio.gather(change("1"), change("2"))  # noqa: TID251 - none of them fails
        assert seen == ["1"]
