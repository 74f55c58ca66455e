"""Tables: the rows and columns that kubectl prints.

Source: "Receiving resources as Tables" of the Kubernetes API concepts.
"""

from collections.abc import Iterable
from datetime import datetime

from scheduler.apiserver.kinds.durations import format_age, format_human_duration
from scheduler.apiserver.kinds.resources import ServerResource, TableColumn
from scheduler.apiserver.kinds.table_cells import AgeCell, DurationCell
from scheduler.hub.schema.json_types import Json, JsonObject


def make_table(
    resource: ServerResource,
    items: Iterable[JsonObject],
    metadata: JsonObject,
    *,
    include_object: str,
    now: datetime,
    with_headers: bool = True,
) -> JsonObject:
    """Converts objects to a Table.

    Args:
        resource: the resource, which has the columns.
        items: the objects, in the form of the requested version.
        metadata: the metadata of the list.
        include_object: what a row has of its object: `Metadata` (default), `Object` or `None`.
        now: the current time, for ages.
        with_headers: whether to include column definitions; a watch does in its first event only.
    """
    columns = [_column_definition(column) for column in resource.columns] if with_headers else None
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": [make_row(resource, item, include_object, now) for item in items],
    }


def _column_definition(column: TableColumn) -> JsonObject:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def make_row(
    resource: ServerResource, item: JsonObject, include_object: str, now: datetime
) -> JsonObject:
    """The row of one object."""
    shown = (
        resource.to_storage_version(item)
        if resource.to_storage_version and not resource.is_custom
        else item
    )
    cells = [_format_cell(column.cell_of(shown), now) for column in resource.columns]
    row: JsonObject = {"cells": cells}
    if include_object == "Object":
        row["object"] = item
    elif include_object != "None":
        row["object"] = make_partial_metadata(item)
    return row


def make_partial_metadata(item: JsonObject) -> JsonObject:
    """The metadata of an object, as kind PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def _format_cell(value: Json, now: datetime) -> Json:
    if isinstance(value, AgeCell):
        return format_age(value.since, now)
    if isinstance(value, DurationCell):
        return _format_duration_cell(value, now)
    return value


def _format_duration_cell(value: DurationCell, now: datetime) -> str:
    if not value.start:
        return ""
    try:
        end = datetime.fromisoformat(value.end) if value.end else now
        return format_human_duration((end - datetime.fromisoformat(value.start)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # as `format_age`
        return "<invalid>"
