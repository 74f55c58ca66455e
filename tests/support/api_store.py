"""The object store of the API server on a real file, without a socket."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler.apiserver.base.faults import FaultReporter
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.apiserver.kinds.resources import ResourceCatalog, ServerResource
from scheduler.apiserver.storage.sqlite import SqliteStore
from scheduler.apiserver.write.writer import ObjectWriter
from tests.support.fake_clock import FakeClock


@dataclass(slots=True)
class Store:
    """A writer on a file, and the faults that it counted."""

    path: Path
    clock: FakeClock
    database: SqliteStore
    writer: ObjectWriter
    faults: "Counter[str]" = field(default_factory=Counter)

    def resource(self, plural: str) -> ServerResource:
        return next(one for one in self.writer.catalog.all() if one.group_resource.plural == plural)

    async def put(self, plural: str, name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Writes an object as it is, without the checks of requests."""
        metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
        item = {"metadata": metadata | more.pop("metadata", {}), **more}
        await self.writer.put(self.resource(plural), f"default/{name}", item, WriteOptions())
        return item

    def in_memory(self, plural: str) -> dict[str, bytes]:
        objects = self.writer.collection(self.resource(plural).collection_name).objects
        return {key: stored.data for key, stored in objects.items()}

    def on_disk(self, plural: str) -> dict[str, bytes]:
        name = self.resource(plural).collection_name
        connection = sqlite3.connect(self.path)
        try:
            rows = connection.execute("SELECT key, data FROM objects WHERE resource = ?", (name,))
            return dict(rows.fetchall())
        finally:
            connection.close()


@asynccontextmanager
async def open_store(folder: Path) -> AsyncIterator[Store]:
    """A store on `objects.db` of a folder, for the duration of the context."""
    clock, faults = FakeClock(), Counter[str]()
    catalog = ResourceCatalog()
    for resource in core_resources():
        catalog.add(resource)
    path = folder / "objects.db"
    database = SqliteStore(path, lock_timeout_seconds=0.05)
    reporter = FaultReporter(lambda where: faults.update([where]), clock)
    writer = ObjectWriter(catalog=catalog, database=database, clock=clock, faults=reporter)
    writer.load()
    database.start()
    try:
        yield Store(path, clock, database, writer, faults)
    finally:
        await database.close()


@asynccontextmanager
async def running_task(*loops: Any) -> AsyncIterator[None]:  # noqa: ANN401 - coroutines
    """Runs endless loops for the duration of the context; a loop that ends early fails the test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        yield
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
