"""The schemas of the core kinds, from core_schemas.json.

`build_schemas.py` generates that file.
"""

import functools
from importlib.resources import files

import msgspec

from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.structural import SchemaNode, compile_schema

_PREFIXES = {
    "": "io.k8s.api.core.v1.",
    "apps": "io.k8s.api.apps.v1.",
    "batch": "io.k8s.api.batch.v1.",
    "events.k8s.io": "io.k8s.api.events.v1.",
    "coordination.k8s.io": "io.k8s.api.coordination.v1.",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.",
}
"""The prefixes of OpenAPI names, by API group."""
OBJECT_META_DEFINITION = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@functools.cache
def load_definitions() -> dict[str, JsonObject]:
    """All definitions, by OpenAPI name."""
    data = (files(__package__) / "core_schemas.json").read_bytes()
    found: dict[str, JsonObject] = msgspec.json.decode(data)
    return found


def definition_name(group: str, kind: str) -> str:
    """The OpenAPI name of a core kind."""
    return _PREFIXES[group] + kind


@functools.cache
def schema_node_of(name: str) -> SchemaNode:
    """The compiled schema of a definition."""
    reference = {"$ref": f"#/components/schemas/{name}"}
    return compile_schema(reference, load_definitions())
