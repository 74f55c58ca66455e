"""Tables: what kubectl prints, made by the server.

Source: "Receiving resources as Tables" of the Kubernetes API concepts.
"""

from collections.abc import Iterable
from datetime import datetime

from scheduler.apiserver.kinds.durations import age, human_duration
from scheduler.apiserver.kinds.resources import Column, Resource
from scheduler.apiserver.kinds.table_cells import Age, Span
from scheduler.hub.schema.json_types import Json, JsonObject


def table(
    resource: Resource,
    items: Iterable[JsonObject],
    metadata: JsonObject,
    *,
    include: str,
    now: datetime,
    headers: bool = True,
) -> JsonObject:
    """Objects as a Table.

    Args:
        resource: whose columns are shown.
        items: the objects, in the form of the requested version.
        metadata: the list's metadata.
        include: `Metadata` (default), `Object` or `None`: what each row carries of its object.
        now: for ages.
        headers: False in watches after the first event.
    """
    columns = [_definition(column) for column in resource.columns] if headers else None
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": [_row(resource, item, include, now) for item in items],
    }


def _definition(column: Column) -> JsonObject:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(resource: Resource, item: JsonObject, include: str, now: datetime) -> JsonObject:
    shown = resource.from_view(item) if resource.from_view and not resource.custom else item
    cells = [_cell(column.value(shown), now) for column in resource.columns]
    row: JsonObject = {"cells": cells}
    if include == "Object":
        row["object"] = item
    elif include != "None":
        row["object"] = partial(item)
    return row


def partial(item: JsonObject) -> JsonObject:
    """The metadata alone, as kind PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def _cell(value: Json, now: datetime) -> Json:
    if isinstance(value, Age):
        return age(value.since, now)
    if isinstance(value, Span):
        return _span(value, now)
    return value


def _span(value: Span, now: datetime) -> str:
    if not value.start:
        return ""
    end = datetime.fromisoformat(value.end) if value.end else now
    return human_duration((end - datetime.fromisoformat(value.start)).total_seconds())
