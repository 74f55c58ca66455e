"""The schemas of the core kinds, from core_schemas.json.

`build_schemas.py` generates that file.
"""

import functools
from importlib.resources import files

import msgspec

from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.structural import SchemaNode, compile_schema

_EXTENSIONS_GROUP = "apiextensions.k8s.io"
_EXTENSIONS_PREFIX = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions."
OBJECT_META_DEFINITION = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@functools.cache
def load_definitions() -> dict[str, JsonObject]:
    """All definitions, by OpenAPI name."""
    data = (files(__package__) / "core_schemas.json").read_bytes()
    found: dict[str, JsonObject] = msgspec.json.decode(data)
    return found


def definition_name(group: str, version: str, kind: str) -> str:
    """The OpenAPI name of a core kind: that of its Go package, and the kind.

    Args:
        group: the API group; empty for the core group.
        version: its version.
        kind: the kind.
    """
    if group == _EXTENSIONS_GROUP:
        return f"{_EXTENSIONS_PREFIX}{version}.{kind}"
    package = group.partition(".")[0] or "core"
    return f"io.k8s.api.{package}.{version}.{kind}"


@functools.cache
def schema_node_of(name: str) -> SchemaNode:
    """The compiled schema of a definition."""
    reference = {"$ref": f"#/components/schemas/{name}"}
    return compile_schema(reference, load_definitions())
