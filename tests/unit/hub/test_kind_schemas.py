"""Schemas of the hub are read once for each hash, and do without a hub that does not answer."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from scheduler.control.ports.hub import Busy
from scheduler.hub.kind_schemas import KindSchemas
from tests.support.fake_clock import FakeClock

WIDGETS = "apis/e.com/v1"
GOOD = {"apiVersion": "e.com/v1", "kind": "Thing", "spec": {"size": "s"}}
BAD = {"apiVersion": "e.com/v1", "kind": "Thing", "spec": {"siez": "s"}}
WANTED = frozenset({"e.com/v1", "none/v1"})


def document(field: str) -> bytes:
    spec = {"type": "object", "properties": {field: {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"spec": spec},
        "x-kubernetes-group-version-kind": [{"group": "e.com", "version": "v1", "kind": "Thing"}],
    }
    return msgspec.json.encode({"components": {"schemas": {"com.e.v1.Thing": schema}}})


class FakeClient:
    """Serves one document, and counts what is read."""

    def __init__(self) -> None:
        self.hash, self.data, self.reads, self.is_away = "1", document("size"), 0, False

    async def raw(self, _method: str, _path: str) -> dict[str, Any]:
        if self.is_away:
            raise Busy("away")
        url = f"/openapi/v3/{WIDGETS}?hash={self.hash}"
        return {"paths": {WIDGETS: {"serverRelativeURL": url}, "bad": 7}}

    async def read_bytes(self, path: str, query: Mapping[str, str]) -> bytes:
        self.reads += 1
        if self.is_away:
            raise Busy("away")
        assert (path, dict(query)) == (f"/openapi/v3/{WIDGETS}", {"hash": self.hash})
        return self.data


def made() -> tuple[KindSchemas, FakeClient, FakeClock]:
    client, clock = FakeClient(), FakeClock()
    return KindSchemas(client=client, clock=clock), client, clock  # type: ignore[arg-type]


async def test_a_document_is_read_again_when_its_hash_changes() -> None:
    schemas, client, clock = made()
    first = await schemas.refresh(WANTED)
    assert (schemas.find_problem(GOOD), client.reads) == ("", 1)
    assert schemas.find_problem(BAD) == 'unknown field "spec.siez"'
    assert schemas.find_problem({**BAD, "kind": "Other"}) == "", "not known, so not judged"
    assert await schemas.refresh(WANTED) == first
    await clock.advance(61)
    assert (await schemas.refresh(WANTED), client.reads) == (first, 1)
    client.hash, client.data = "2", document("siez")
    await clock.advance(61)
    assert await schemas.refresh(WANTED) != first
    assert (schemas.find_problem(BAD), client.reads) == ("", 2)


async def test_a_manifest_stays_as_it_is_however_it_is_nested() -> None:
    schemas, _, _ = made()
    await schemas.refresh(WANTED)
    manifest = {**GOOD, "spec": {"size": None}}
    assert schemas.find_problem(manifest) == ""
    assert manifest == {**GOOD, "spec": {"size": None}}
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"size": deep}
    assert schemas.find_problem({**GOOD, "spec": deep}) == "it is nested too deeply"


async def test_a_hub_that_is_away_is_asked_once_a_minute_and_refuses_nothing() -> None:
    schemas, client, clock = made()
    client.is_away = True
    for _ in range(3):
        assert await schemas.refresh(WANTED) == ""
    assert (schemas.find_problem(BAD), client.reads) == ("", 0)
    client.is_away = False
    await clock.advance(61)
    await schemas.refresh(WANTED)
    assert schemas.find_problem(BAD)
    client.is_away = True
    await clock.advance(61)
    await schemas.refresh(WANTED)
    assert schemas.find_problem(BAD), "what was known before still counts"


async def test_a_document_that_is_none_refuses_nothing() -> None:
    for data in (b"", b"{", b"[]", b'{"components": {"schemas": {"a": {"$ref": "#/x"}}}}'):
        schemas, client, _ = made()
        client.data = data
        await schemas.refresh(WANTED)
        assert schemas.find_problem(BAD) == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"^([a-z0-9]+[-.]?)+$"},  # doubles with each letter here
        {"type": "string", "pattern": r"^\pL+\z"},  # Go's, none of Python's
        {"type": "string", "maxLength": {}},  # no API server sends it
    ],
)
async def test_no_definition_holds_up_or_ends_what_is_decided(schema: dict[str, object]) -> None:
    schemas, client, _ = made()
    spec = {"size": schema, "pattern": {"type": "string"}}
    tree = msgspec.json.decode(document("size"))
    tree["components"]["schemas"]["com.e.v1.Thing"]["properties"]["spec"]["properties"] = spec
    client.data = msgspec.json.encode(tree)
    await schemas.refresh(WANTED)
    long_text = {**GOOD, "spec": {"size": "a" * 5000 + "!", "pattern": "p"}}
    assert schemas.find_problem(long_text) == ""
