"""Warnings about a written object do not depend on the form that the client sends or asks for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.hub.schema.json_types import JsonObject
from tests.support.api_client import Client

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PROTOBUF = "application/vnd.kubernetes.protobuf"
FORMS = ["application/json", "application/yaml", TABLE, METADATA, f"{PROTOBUF}, */*"]


def about(raw: JsonObject) -> list[str]:
    return [f"nothing reads {raw['metadata']['name']} with {sorted(raw['data'])}"]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with serve(
        ApiServerOptions(data_dir=tmp_path, warning_funcs={"ConfigMap": about})
    ) as server:
        yield Client.of(server.kubeconfig_path)


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def in_protobuf(name: str) -> bytes:
    entry = field(1, b"a") + field(2, b"b")
    raw = field(1, field(1, name.encode())) + field(2, entry)
    kind = field(1, b"v1") + field(2, b"ConfigMap")
    return b"k8s\0" + field(1, kind) + field(2, raw)


@pytest.mark.parametrize("accept", FORMS)
async def test_every_form_of_an_answer_has_the_warning(client: Client, accept: str) -> None:
    def write() -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
        for method, path, data, kind in (
            ("POST", CONFIG_MAPS, body | {"data": {"a": "b"}}, "application/json"),
            ("PATCH", f"{CONFIG_MAPS}/x", {"data": {"c": "d"}}, "application/merge-patch+json"),
            ("POST", CONFIG_MAPS, in_protobuf("y"), PROTOBUF),
        ):
            answer = client.request(method, path, data, kind=kind, headers={"Accept": accept})
            assert answer.code in (200, 201)
            assert "nothing reads" in (answer.headers["Warning"] or "")
        deleted = client.request("DELETE", f"{CONFIG_MAPS}/x", headers={"Accept": accept})
        assert deleted.headers["Warning"] is None

    await asyncio.to_thread(write)
