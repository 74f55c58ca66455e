"""`/api/v1/words/LANG`: the page's catalogue, and recorded texts in a language."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from scheduler.web.answers.words import WordHandlers
from tests.support.catalogues import read

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(WordHandlers().routes())
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_a_catalogue_is_sent_once_and_then_known_by_its_tag(client: Client) -> None:
    first = await client.get("/api/v1/words/zh")
    assert (first.status, await first.json()) == (200, read("zh"))
    assert "max-age=" in first.headers["Cache-Control"]
    again = await client.get("/api/v1/words/zh", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await client.get("/api/v1/words/en", headers={"If-None-Match": first.headers["ETag"]})
    assert other.status == 200


async def test_recorded_texts_are_said_in_the_order_asked(client: Client) -> None:
    texts = ["placed on m1 (2)", "<b>not ours</b>", "m2 is cordoned"]
    answer = await client.get("/api/v1/words/zh/said", params=[("text", text) for text in texts])
    said = (await answer.json())["texts"]
    assert answer.content_type == "application/json"
    assert said[1] == texts[1]
    assert [said[0], said[2]] == ["放置于 m1（2）", "m2 已被封锁，不接收新负载"]
    english = await client.get("/api/v1/words/en/said", params=[("text", text) for text in texts])
    assert await english.json() == {"texts": texts}


@pytest.mark.parametrize(
    ("path", "params", "status", "says"),
    [
        ("/api/v1/words/fr", [], 404, "no language 'fr'; write en or zh"),
        ("/api/v1/words/fr/said", [("text", "a")], 404, "write en or zh"),
        ("/api/v1/words/zh/said", [("text", "a")] * 65, 400, "at most 64 texts"),
        ("/api/v1/words/zh/said", [("text", "a" * 2049)], 400, "at most 2048 characters"),
    ],
)
async def test_what_is_not_answered_says_what_to_write(
    client: Client, path: str, params: list[tuple[str, str]], status: int, says: str
) -> None:
    answer: aiohttp.ClientResponse = await client.get(path, params=params)
    assert (answer.status, says in await answer.text()) == (status, True)
