"""Reads and watches objects of the hub as kubectl does: as Tables that the server fills, or whole.

The columns are those of the CRDs (`scheduler.hub.crds`), which every client gets, so that `kapok
get` and `kubectl get` show the same.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from scheduler.control.ports.hub import ApiResource, Gone, NotFound, Object
from scheduler.hub.client import HubClient

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
    client: HubClient, query: ObjectQuery, version: str
) -> AsyncIterator[tuple[str, Sequence[object], Object]]:
    """Yields type of the change, cells and object of each one, until cancelled."""
    path, name = query.resource.path(query.namespace), ""
    if len(query.names) == 1:
        name = query.names[0]
    while True:
        parameters = {**query.parameters(name), "resourceVersion": version}
        try:
            async for event in client.watch_as(path, parameters, _TABLE):
                for cells, body in _rows_of(event.object, query.resource):
                    version = str(body.get("metadata", {}).get("resourceVersion", version))
                    if event.type != "BOOKMARK" and query.has(body):
                        yield event.type, cells, body
        except Gone:
            listed = await _list(client, query, name)
            version = listed.version
            for cells, body in listed.rows:
                if query.has(body):
                    yield "MODIFIED", cells, body


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
