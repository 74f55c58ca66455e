"""Lists in pages: what a page says, and that the next one is fetched while one is used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from scheduler.control.ports.hub import CONFIG_MAPS, Busy, Gone
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.list_pages import decode_metadata_page, decode_page


def item(number: int) -> dict[str, object]:
    metadata = {
        "name": f"object-{number}",
        "namespace": "default",
        "uid": f"u{number}",
        "resourceVersion": str(number),
        "managedFields": [{"manager": "someone"}],
    }
    return {"metadata": metadata, "data": {"a": "1"}}


class PagingServer:
    """Serves a list of `pages` pages of two objects, and counts the requests."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.answers_to: dict[str, int] = {}
        self.has_asked = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        token = request.query.get("continue", "0")
        self.asked.append(token)
        self.has_asked.set()
        if code := self.answers_to.get(token):
            return web.json_response({"kind": "Status", "code": code}, status=code)
        page = int(token)
        meta = {"resourceVersion": "77"}
        if page + 1 < self.pages:
            meta["continue"] = str(page + 1)
        items = [item(2 * page), item(2 * page + 1)]
        return web.json_response({"metadata": meta, "items": items})


@asynccontextmanager
async def client_of(server: PagingServer, folder: Path) -> AsyncIterator[HubClient]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        path = folder / "kubeconfig"
        document = {
            "clusters": [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "one", "user": {"token": "secret"}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "current-context": "one",
        }
        path.write_bytes(msgspec.json.encode(document))
        async with open_hub(path) as client:
            yield client
    finally:
        await runner.cleanup()


async def test_all_pages_come_in_order(tmp_path: Path) -> None:
    server = PagingServer(3)
    async with client_of(server, tmp_path) as client:
        pages = [page async for page in client.list_pages(CONFIG_MAPS)]
        names = [one["metadata"]["name"] for page in pages for one in page.items]
        assert names == [f"object-{number}" for number in range(6)]
        assert {page.resource_version for page in pages} == {"77"}
        assert server.asked == ["0", "1", "2"]
        listing = await client.list(CONFIG_MAPS)
        assert [one["metadata"]["name"] for one in listing.items] == names


async def test_the_next_page_is_asked_for_while_one_is_used(tmp_path: Path) -> None:
    server = PagingServer(3)
    async with client_of(server, tmp_path) as client:
        pages = client.list_pages(CONFIG_MAPS)
        await anext(pages)
        server.has_asked.clear()
        async with asyncio.timeout(20):
            await server.has_asked.wait()  # though the second page was not asked for yet
        assert server.asked == ["0", "1"]
        await pages.aclose()  # type: ignore[attr-defined] # an async generator


async def test_an_expired_token_is_raised_by_the_page_that_it_concerns(tmp_path: Path) -> None:
    server = PagingServer(3)
    server.answers_to["1"] = 410
    async with client_of(server, tmp_path) as client:
        pages = client.list_pages(CONFIG_MAPS)
        first = await anext(pages)
        assert len(first.items) == 2
        with pytest.raises(Gone):
            await anext(pages)


async def test_a_list_that_is_left_half_way_leaves_no_request_behind(tmp_path: Path) -> None:
    server = PagingServer(3)
    server.answers_to["1"] = 500
    async with client_of(server, tmp_path) as client:
        pages = client.list_pages(CONFIG_MAPS)
        await anext(pages)
        server.has_asked.clear()
        async with asyncio.timeout(20):
            await server.has_asked.wait()
        await pages.aclose()  # type: ignore[attr-defined] # an async generator
        left = {one for one in asyncio.all_tasks() if one.get_name().startswith("list ")}
        if left:
            await asyncio.wait(left, timeout=20)
        assert all(one.done() for one in left)
        assert server.asked == ["0", "1"]


async def test_versions_come_without_the_rest_of_the_metadata(tmp_path: Path) -> None:
    server = PagingServer(2)
    async with client_of(server, tmp_path) as client:
        listing = await client.list_metadata(CONFIG_MAPS)
    assert listing.resource_version == "77"
    assert listing.items[3] == {
        "metadata": {
            "name": "object-3",
            "namespace": "default",
            "uid": "u3",
            "resourceVersion": "3",
        }
    }


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{", b'{"items": [{}]}', b'{"items": [{"metadata": {"name": 1}}]}']
)
def test_an_answer_that_is_no_list_of_metadata_is_trouble_of_the_hub(answer: bytes) -> None:
    with pytest.raises(Busy, match="GET /x"):
        decode_metadata_page(answer, "GET /x")


def test_a_list_without_items_is_empty() -> None:
    for decode in (decode_page, decode_metadata_page):
        page = decode(b'{"metadata": {"resourceVersion": "5"}, "items": null}', "GET /x")
        assert (page.items, page.resource_version, page.token) == ([], "5", "")
