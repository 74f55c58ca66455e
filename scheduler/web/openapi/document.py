"""The document, made of the routes and the schemas."""

import re
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from scheduler import __version__
from scheduler.web.openapi.routes import API_ROUTES, JSON, PLAIN, ApiRoute
from scheduler.web.openapi.schemas import NAME, SCHEMAS, TEXT, Schema, ref

_PLACE: Final = re.compile(r"\{(\w+)\}")
_KEYS: Final = frozenset({"id", "digest", "language"})
_DESCRIPTION: Final = (
    "The HTTP API of `kapok up`: the state of the scheduler and its ledger. A request carries a "
    "bearer token of the hub, whose rights apply (TokenReview, SubjectAccessReview); the page has "
    "a session, which only reads. Refusals are text that says what to do. Answers only gain "
    "fields, and what is not known is left out or null, never 0."
)
_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read; the text says what to write.",
    HTTPStatus.UNAUTHORIZED: "The token is missing, or the hub does not know it.",
    HTTPStatus.FORBIDDEN: "The token lacks the right that the text names, or the Host is another.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.CONFLICT: "Its values contradict each other or the fleet; the text names them.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many questions of one holder; wait some seconds.",
    HTTPStatus.SERVICE_UNAVAILABLE: "It cannot be answered now; the text says why.",
}


@cache
def document_bytes() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(openapi_document())


def openapi_document() -> dict[str, Any]:
    """The document (OpenAPI 3.1)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in API_ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kapok",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: ApiRoute) -> dict[str, Any]:
    statuses = [*route.refusals] if route.rights == "none" else [401, *route.refusals]
    # Every path checks the Host.
    answers = {str(status): _refusal(status) for status in sorted({*statuses, 403})}
    operation: dict[str, Any] = {
        "operationId": _name_of(route),
        "summary": route.summary,
        "parameters": [*_in_path(route), *_in_query(route)],
        "responses": {str(route.status): _good_answer(route), **answers},
        "security": [] if route.rights == "none" else [{"token": []}],
    }
    if route.body:
        content = {JSON: {"schema": ref(route.body)}}
        operation["requestBody"] = {"required": route.is_body_required, "content": content}
    return operation


def _name_of(route: ApiRoute) -> str:
    """A name of letters, digits and `_`, of its own for each route."""
    return re.sub(r"[^a-z0-9]+", "_", f"{route.method}{route.path}").strip("_")


def _in_path(route: ApiRoute) -> list[Schema]:
    """Names of objects; of ids, digests and languages a wrong one is not found."""
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {**TEXT, "minLength": 1} if name in _KEYS else NAME,
        }
        for name in _PLACE.findall(route.path)
    ]


def _in_query(route: ApiRoute) -> list[Schema]:
    return [
        {
            "name": one.name,
            "in": "query",
            "description": one.meaning,
            "required": one.is_required,
            "schema": one.schema,
        }
        for one in route.query
    ]


def _good_answer(route: ApiRoute) -> Schema:
    schema = ref(route.answer) if route.answer else TEXT
    return {"description": route.summary, "content": {route.content_type: {"schema": schema}}}


def _refusal(status: int) -> Schema:
    return {"description": _REFUSALS[HTTPStatus(status)], "content": {PLAIN: {"schema": TEXT}}}
