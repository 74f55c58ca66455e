"""Objects that the garbage collector cannot process: it tries them again and continues."""

from pathlib import Path

from scheduler.apiserver.garbage_collector import GarbageCollector
from tests.support.api_store import open_store, running_task

_LOST_OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "lost", "uid": "uid-lost"}


async def test_an_object_that_cannot_be_collected_does_not_keep_the_others(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        collector = GarbageCollector(store.writer)
        async with running_task(collector.run()):
            broken = {"ownerReferences": [_LOST_OWNER | {"apiVersion": 5}]}
            await store.put("configmaps", "broken", metadata=broken)
            await store.put("configmaps", "orphan", metadata={"ownerReferences": [_LOST_OWNER]})
            while "default/orphan" in store.in_memory("configmaps"):
                await store.clock.advance(0.1)
            assert store.faults["api-collector"] >= 1


async def test_it_is_tried_again_with_a_growing_delay(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        collector = GarbageCollector(store.writer)
        async with running_task(collector.run()):
            broken = {"ownerReferences": [_LOST_OWNER | {"apiVersion": 5}]}
            await store.put("configmaps", "broken", metadata=broken)
            await store.clock.settle()
            counts = []
            for seconds in (1, 2, 4, 8):
                await store.clock.advance(seconds - 0.5)
                counts.append(store.faults["api-collector"])
                await store.clock.advance(0.5)
            assert counts == [1, 2, 3, 4]
            await store.put("configmaps", "broken")  # mended: nothing is left to try
            await store.clock.advance(1000)
            tries = store.faults["api-collector"]
            await store.clock.advance(1000)
            assert store.faults["api-collector"] == tries


async def test_an_event_that_cannot_be_read_does_not_keep_the_others(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        old = {"creationTimestamp": "2020-01-01T00:00:00Z"}
        await store.put("events", "broken", metadata=old, series=["x"])
        await store.put("events", "old", metadata=old)
        async with running_task(GarbageCollector(store.writer).expire_events()):
            await store.clock.advance(61)
            while "default/old" in store.in_memory("events"):
                await store.clock.settle()
            assert store.faults["api-event-expiry"] >= 1
            assert "default/broken" in store.in_memory("events")


async def test_a_stored_object_that_cannot_be_read_does_not_stop_the_start(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.put("configmaps", "broken", metadata={"ownerReferences": [{"uid": ["x"]}]})
        await store.put("configmaps", "orphan", metadata={"ownerReferences": [_LOST_OWNER]})
    async with open_store(tmp_path) as again:
        collector = GarbageCollector(again.writer)
        collector.load()
        assert again.faults == {"api-load": 1}
        async with running_task(collector.run()):
            while "default/orphan" in again.in_memory("configmaps"):
                await again.clock.settle()
