"""The OpenAPI document has the routes of the server, and each reference of it leads somewhere."""

import json
import re
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from scheduler.web.openapi.document import document_bytes, openapi_document
from scheduler.web.openapi.routes import API_ROUTES
from scheduler.web.openapi.schemas import SCHEMAS

DOCUMENT = openapi_document()


def references(value: Any) -> set[str]:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        own = {str(value["$ref"])} if "$ref" in value else set()
        return own.union(*(references(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(references(one) for one in value))
    return set()


def test_every_schema_is_one_and_is_used() -> None:
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name)
    assert references(DOCUMENT) == {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_operations_have_names_of_their_own_and_say_what_they_do() -> None:
    operations = [one for path in DOCUMENT["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names)) == len(API_ROUTES)
    assert all(one["summary"].endswith(".") for one in operations)
    for one in operations:
        if one["security"]:
            assert {"401", "403"} <= one["responses"].keys()


def test_the_document_is_json_without_an_address() -> None:
    text = document_bytes().decode()
    assert json.loads(text)["openapi"] == "3.1.0"
    assert "://" not in text
