"""Reads and watches objects of the hub as kubectl does: as Tables that the server fills, or whole.

The columns are those of the CRDs (`scheduler.hub.crds`), which every client gets, so that `kapok
get` and `kubectl get` show the same.
"""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from scheduler.control.ports.hub import ApiResource, Busy, Gone, NotFound, Object
from scheduler.hub.client import HubClient
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.clock import Clock

_JSON = "application/json"
_TABLE = f"application/json;as=Table;v=v1;g=meta.k8s.io,{_JSON}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectQuery:
    """Which objects are asked for.

    Attributes:
        resource: their kind.
        namespace: their namespace; None: all.
        names: their names; empty: all.
        labels: a label selector; empty: all.
    """

    resource: ApiResource
    namespace: str | None = None
    names: tuple[str, ...] = ()
    labels: str = ""

    def parameters(self, name: str = "") -> dict[str, str]:
        """The query of the request: the selectors, and in a Table whole objects beside the rows."""
        found = {"includeObject": "Object"}
        if self.labels:
            found["labelSelector"] = self.labels
        if name:
            found["fieldSelector"] = f"metadata.name={name}"
        return found

    def has(self, body: Object) -> bool:
        """Whether an object of a watch is one of those asked for by name."""
        return not self.names or body.get("metadata", {}).get("name") in self.names


@dataclass(frozen=True, slots=True)
class ListedObjects:
    """What the hub has.

    Attributes:
        headers: name and priority of each column.
        rows: the cells of each object, and the object.
        version: the resource version that a watch goes on from.
    """

    headers: Sequence[tuple[str, int]]
    rows: Sequence[tuple[Sequence[object], Object]]
    version: str


async def list_objects(client: HubClient, query: ObjectQuery) -> ListedObjects:
    """Lists the objects.

    Raises:
        NotFound: one that is asked for by name does not exist; the message names it.
    """
    if not query.names:
        return await _list(client, query, "")
    listed = [await _list(client, query, name) for name in query.names]
    for name, one in zip(query.names, listed, strict=True):
        if not one.rows:
            where = f" in namespace {query.namespace}" if query.namespace else ""
            raise NotFound(f"{query.resource.plural} {name!r} not found{where}")
    rows = [row for one in listed for row in one.rows]
    return ListedObjects(listed[0].headers, rows, listed[0].version)


async def _list(client: HubClient, query: ObjectQuery, name: str) -> ListedObjects:
    path = query.resource.path(query.namespace)
    parameters = {**query.parameters(name), "limit": "500"}
    headers: list[tuple[str, int]] = []
    rows: list[tuple[Sequence[object], Object]] = []
    while True:
        table = await client.read_as(path, parameters, _TABLE)
        headers = headers or _headers_of(table)
        rows += _rows_of(table, query.resource)
        meta = table.get("metadata") or {}
        if not meta.get("continue"):
            return ListedObjects(headers, rows, str(meta.get("resourceVersion", "")))
        parameters = {**parameters, "continue": str(meta["continue"])}


async def watch_objects(
    client: HubClient,
    query: ObjectQuery,
    listed: ListedObjects,
    *,
    clock: Clock,
    notice: Callable[[str], None],
) -> AsyncIterator[tuple[Sequence[object], Object]]:
    """Yields cells and object of each change, until cancelled; a hub that is away is waited for.

    After a gap that the hub has no changes of (410) everything is listed again: what has changed is
    yielded, and what was deleted is named.

    Args:
        client: reaches the hub.
        query: which objects.
        listed: what was listed before.
        clock: for the pauses between attempts.
        notice: takes what the reader should know of a gap.

    Raises:
        Refused: the hub does not allow it.
    """
    name = query.names[0] if len(query.names) == 1 else ""
    known = _KnownVersions(query, listed)
    backoff = JitteredBackoff(
        first_seconds=0.5,
        max_seconds=15.0,
        min_seconds=0.1,
        jitter=random.Random(),  # noqa: S311 - it spreads clients, and hides nothing
    )
    path, is_away, must_list = query.resource.path(query.namespace), False, False
    while True:
        try:
            if must_list:
                for row in known.changed_in(await _list(client, query, name), notice):
                    yield row
                must_list = False
            async for row in _changes(client, path, query.parameters(name), known):
                is_away = False
                backoff.reset()
                yield row
        except Gone:
            must_list = True
        except Busy as error:
            if not is_away:
                notice(f"the hub is away, and the watch goes on when it answers again: {error}")
            is_away = True
            await clock.sleep(backoff.next_seconds(error.retry_after_seconds))


async def _changes(
    client: HubClient, path: str, parameters: Mapping[str, str], known: "_KnownVersions"
) -> AsyncIterator[tuple[Sequence[object], Object]]:
    """The changes of one stream, until the server ends it."""
    query = {**parameters, "resourceVersion": known.version, "allowWatchBookmarks": "true"}
    async for event in client.watch_as(path, query, _TABLE):
        for cells, body in _rows_of(event.object, known.query.resource):
            if known.take(event.type, body) and event.type != "BOOKMARK":
                yield cells, body


class _KnownVersions:
    """The versions of the objects that were shown, so that a list shows only what is new."""

    def __init__(self, query: ObjectQuery, listed: ListedObjects) -> None:
        self.query, self.version = query, listed.version
        self._shown = {_key_of(body): _version_of(body) for _, body in listed.rows}

    def take(self, event: str, body: Object) -> bool:
        """Takes in a change; returns whether it is about one of those asked for."""
        self.version = _version_of(body) or self.version
        if not self.query.has(body):
            return False
        if event == "DELETED":
            self._shown.pop(_key_of(body), None)
        elif event != "BOOKMARK":
            self._shown[_key_of(body)] = _version_of(body)
        return True

    def changed_in(
        self, listed: ListedObjects, notice: Callable[[str], None]
    ) -> list[tuple[Sequence[object], Object]]:
        """Takes in a whole list; returns the rows that differ from what was shown."""
        rows = [(cells, body) for cells, body in listed.rows if self.query.has(body)]
        found = {_key_of(body): _version_of(body) for _, body in rows}
        for namespace, name in sorted(self._shown.keys() - found.keys()):
            title = f"{namespace}/{name}" if namespace else name
            notice(f"{self.query.resource.kind} {title} was deleted while the hub was away")
        before, self._shown, self.version = self._shown, found, listed.version
        return [row for row in rows if before.get(_key_of(row[1])) != found[_key_of(row[1])]]


def _key_of(body: Object) -> tuple[str, str]:
    meta = body.get("metadata") or {}
    return str(meta.get("namespace", "")), str(meta.get("name", ""))


def _version_of(body: Object) -> str:
    return str((body.get("metadata") or {}).get("resourceVersion", ""))


def _headers_of(table: Mapping[str, object]) -> list[tuple[str, int]]:
    columns = table.get("columnDefinitions")
    if not isinstance(columns, list):
        return [("Name", 0)]  # a server without Tables
    return [(str(one.get("name", "")), int(one.get("priority") or 0)) for one in columns]


def _rows_of(table: Object, resource: ApiResource) -> list[tuple[Sequence[object], Object]]:
    type_meta = {"apiVersion": resource.api_version, "kind": resource.kind}
    if table.get("kind") == "Table":
        return [
            (row["cells"], {**type_meta, **(row.get("object") or {})})
            for row in table.get("rows") or ()
        ]
    items = table.get("items", [table])
    return [((one["metadata"]["name"],), {**type_meta, **one}) for one in items]
