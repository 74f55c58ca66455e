"""Requests that an OpenAPI document allows and some that it does not, and what answers must be."""

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

_PLACE = re.compile(r"\{(\w+)\}")
_NAMES = st.one_of(
    st.sampled_from(["default", "health", "work-00001", "large-00000", "1-1", "sha256:0", "a"]),
    st.text(min_size=1, max_size=40),
)
_VALUES = st.one_of(
    _NAMES,
    st.integers().map(str),
    st.sampled_from(
        ["", "0", "-1", "1e9", "NaN", "9" * 400, "%00", "\x00", "\u0661", "true", "a/b"]
    ),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@dataclass(frozen=True)
class ApiRequest:
    """One request to a path of the document."""

    method: str
    template: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    token: str | None = "good"  # noqa: S105 - a test's


@st.composite
def requests_of(draw: st.DrawFn, document: dict[str, Any]) -> ApiRequest:
    """A request to one of the paths but the endless one."""
    operations = [
        (method, template, operation)
        for template, methods in document["paths"].items()
        for method, operation in methods.items()
        if "text/event-stream" not in json.dumps(operation)
    ]
    method, template, operation = draw(st.sampled_from(operations))
    names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    chosen = draw(st.lists(st.sampled_from(names), max_size=4)) if names else []
    known = [(name, draw(_VALUES)) for name in chosen]
    stray = [(draw(_NAMES), draw(_VALUES))] if draw(st.integers(0, 5)) == 0 else []
    body = None
    if method == "post":
        body = draw(st.one_of(st.just(b""), st.just(b"{}"), st.binary(max_size=30), _json_bytes()))
    return ApiRequest(
        method=method,
        template=template,
        path=_PLACE.sub(lambda _: quote(draw(_NAMES), safe=""), template),
        query=[*known, *stray],
        body=body,
        token=draw(st.sampled_from(["good", "good", "health", "bad", None])),
    )


def _json_bytes() -> st.SearchStrategy[bytes]:
    question = st.fixed_dictionaries(
        {},
        optional={
            "sites": st.lists(_NAMES, max_size=3),
            "pod": _NAMES,
            "tailLines": st.integers(),
            "positions": _JSON,
            "other": _JSON,
        },
    )
    return (question | _JSON).map(lambda value: json.dumps(value).encode())


async def check_answer(
    session: aiohttp.ClientSession, root: str, document: dict[str, Any], request: ApiRequest
) -> int:
    """Sends a request; the answer must be one that the document names. Returns its status."""
    headers = {"Authorization": f"Bearer {request.token}"} if request.token else {}
    query = urlencode(request.query, errors="surrogatepass")
    url = f"{root}{request.path}" + (f"?{query}" if query else "")
    operation = document["paths"][request.template][request.method]
    async with session.request(
        request.method, url, data=request.body, headers=headers, allow_redirects=False
    ) as answer:
        body, status = await answer.read(), answer.status
        kind = answer.content_type
    where = f"{request} → {status} {body[:300]!r}"
    if body == b"404: Not Found":  # of aiohttp: the name has changed the path
        assert "{" in request.template, where
        return status
    assert str(status) in operation["responses"], where
    if operation["security"] and request.token in ("bad", None):
        assert status >= 400, where
    content = operation["responses"][str(status)]["content"]
    assert kind in content, where
    if kind == "application/json":
        schema = {**content[kind]["schema"], "components": document["components"]}
        found = json.loads(body, parse_constant=partial(refuse_constant, where))
        problems = list(Draft202012Validator(schema).iter_errors(found))
        assert not problems, f"{where}: {problems[0].message}"
    return status


def refuse_constant(where: str, word: str) -> None:
    """NaN and Infinity are no JSON."""
    raise AssertionError(f"{word} in {where}")
