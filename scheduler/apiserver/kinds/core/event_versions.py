"""The two forms of one Event: v1 (stored) and events.k8s.io/v1.

Source: pkg/apis/core/v1 conversion of Kubernetes; the API reference names the deprecated fields.
"""

from scheduler.hub.schema.json_types import JsonObject

_EVENTS_V1_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_V1_NAMES = {new: old for old, new in _EVENTS_V1_NAMES.items()}


def _rename_fields(item: JsonObject, names: dict[str, str], api_version: str) -> JsonObject:
    made = {names.get(key, key): value for key, value in item.items()}
    made["apiVersion"] = api_version
    if isinstance(made.get("metadata"), dict):
        made["metadata"] = dict(made["metadata"])
    return made


def to_events_v1(item: JsonObject) -> JsonObject:
    """The stored Event as events.k8s.io/v1."""
    return _rename_fields(item, _EVENTS_V1_NAMES, "events.k8s.io/v1")


def from_events_v1(item: JsonObject) -> JsonObject:
    """An Event of events.k8s.io/v1 as it is stored."""
    return _rename_fields(item, _V1_NAMES, "v1")
